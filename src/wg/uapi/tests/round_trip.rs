//! What is written is read as it was, and nothing else is ever taken for it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::print::line;
use super::*;

/// Writes a change as `wg` would.
pub(super) fn emit(set: &Set) -> String {
    let zero = || ZERO.to_owned();
    let mut text = String::new();
    let mut put = |key, value: Option<String>| {
        if let Some(value) = value {
            line(&mut text, key, value);
        }
    };
    let yes = |is_so: bool| is_so.then(|| "true".to_owned());
    let key = set.private_key.as_ref();
    put(
        "private_key",
        key.map(|key| key.as_ref().map_or_else(zero, |key| key.to_hex().to_string())),
    );
    put("listen_port", set.listen_port.map(|port| port.to_string()));
    put("fwmark", set.fwmark.map(|mark| mark.to_string()));
    put("replace_peers", yes(set.replace_peers));
    for peer in &set.peers {
        put("public_key", Some(peer.public_key.to_hex()));
        put("remove", yes(peer.remove));
        put("update_only", yes(peer.update_only));
        let key = peer.preshared_key.as_ref();
        let key = key.map(|key| key.as_ref().map_or_else(zero, |key| key.to_hex().to_string()));
        put("preshared_key", key);
        put("endpoint", peer.endpoint.map(|endpoint| endpoint.to_string()));
        let seconds = peer.persistent_keepalive_interval;
        put("persistent_keepalive_interval", seconds.map(|seconds| seconds.to_string()));
        put("replace_allowed_ips", yes(peer.replace_allowed_ips));
        for allowed_ip in &peer.allowed_ips {
            let value = match allowed_ip {
                AllowedIp::Add(net) => net.to_string(),
                AllowedIp::Remove(net) => format!("-{net}"),
            };
            put("allowed_ip", Some(value));
        }
    }
    text
}

fn nets() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<u32>(), 0u8..=32).prop_map(|(bits, len)| (Ipv4Addr::from(bits).into(), len));
    let v6 = (any::<u128>(), 0u8..=128).prop_map(|(bits, len)| (Ipv6Addr::from(bits).into(), len));
    prop_oneof![v4, v6].prop_map(|(address, len)| IpNet::new(address, len).unwrap().trunc())
}

fn allowed_ips() -> impl Strategy<Value = AllowedIp> {
    (nets(), any::<bool>()).prop_map(|(net, is_added)| match is_added {
        true => AllowedIp::Add(net),
        false => AllowedIp::Remove(net),
    })
}

fn endpoints() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<(u32, u16)>().prop_map(|(ip, port)| SocketAddrV4::new(ip.into(), port).into()),
        any::<(u128, u16, u32)>().prop_map(|(ip, port, zone)| SocketAddrV6::new(
            ip.into(),
            port,
            0,
            zone
        )
        .into()),
    ]
}

fn peers() -> impl Strategy<Value = PeerSet> {
    (
        any::<[u8; 32]>().prop_filter("zero is no key", |key| *key != [0; 32]),
        any::<(bool, bool)>(),
        option::of(any::<[u8; 32]>()),
        option::of(endpoints()),
        option::of(any::<u16>()),
        any::<bool>(),
        vec(allowed_ips(), 0..4),
    )
        .prop_map(|(key, (remove, update_only), psk, endpoint, seconds, replace, ips)| {
            let peer = PeerSet::new(PublicKey::from_bytes(key));
            if remove {
                return PeerSet { remove, ..peer };
            }
            PeerSet {
                update_only,
                preshared_key: psk.map(|key| PresharedKey::from_bytes(&key).ok()),
                endpoint,
                persistent_keepalive_interval: seconds,
                replace_allowed_ips: replace,
                allowed_ips: ips,
                ..peer
            }
        })
}

fn sets() -> impl Strategy<Value = Set> {
    (
        option::of(any::<[u8; 32]>()),
        option::of(any::<u16>()),
        option::of(any::<u32>()),
        any::<bool>(),
        vec(peers(), 0..5),
    )
        .prop_map(|(key, listen_port, fwmark, replace_peers, peers)| Set {
            private_key: key.map(|key| PrivateKey::from_bytes(&key).ok()),
            listen_port,
            fwmark,
            replace_peers,
            peers,
        })
}

proptest! {
    #[test]
    fn change_that_is_written_is_read_as_it_was(set in sets()) {
        let text = emit(&set);
        prop_assert_eq!(emit(&read(&text).unwrap()), text);
    }

    #[test]
    fn change_that_is_cut_anywhere_never_panics_and_never_arrives(set in sets()) {
        let text = format!("set=1\n{}\n", emit(&set));
        for len in 0..text.len() {
            let mut incoming = Incoming::default();
            incoming.push(&text.as_bytes()[..len]);
            prop_assert_eq!(incoming.take(), Ok(None));
            let _ = parse(&text.as_bytes()[..len], &|_| None);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes, &|_| None);
        let mut incoming = Incoming::default();
        incoming.push(&bytes);
        let _ = incoming.take();
    }

    #[test]
    fn any_lines_are_read_or_refused(
        lines in vec(("(private_key|public_key|preshared_key|endpoint|allowed_ip|fwmark|remove)",
                      "[-0-9a-f:./\\[\\]%=true]{0,70}"), 0..8),
    ) {
        let text: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let _ = read(&text);
    }
}
