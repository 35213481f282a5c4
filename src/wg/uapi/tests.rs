use std::net::{Ipv6Addr, SocketAddrV6};

use nix::errno::Errno;

use super::*;

mod round_trip;

use round_trip::emit;

const HEX: &str = "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33";
const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn read(lines: &str) -> Result<Set, Refusal> {
    parse(lines.as_bytes(), &|zone| (zone == "eth0").then_some(7))
}

/// Reads the lines of a peer.
fn read_peer(lines: &str) -> Result<PeerSet, Refusal> {
    read(&format!("public_key={HEX}\n{lines}")).map(|mut set| set.peers.remove(0))
}

#[test]
fn example_of_the_specification_is_read() {
    let set = read(
        "private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a\n\
         fwmark=0\n\
         listen_port=12912\n\
         replace_peers=true\n\
         public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33\n\
         preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52\n\
         replace_allowed_ips=true\n\
         allowed_ip=192.168.4.4/32\n\
         endpoint=[abcd:23::33%2]:51820\n\
         public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376\n\
         replace_allowed_ips=true\n\
         allowed_ip=192.168.4.6/32\n\
         persistent_keepalive_interval=111\n\
         endpoint=182.122.22.19:3233\n\
         public_key=662e14fd594556f522604703340351258903b64f35553763f19426ab2a515c58\n\
         remove=true\n",
    )
    .unwrap();

    assert!(matches!(set.private_key, Some(Some(_))));
    assert_eq!((set.fwmark, set.listen_port, set.replace_peers), (Some(0), Some(12912), true));
    let [first, second, third] = set.peers.as_slice() else { panic!("{set:?}") };
    assert_eq!(first.endpoint, Some("[abcd:23::33%2]:51820".parse().unwrap()));
    assert_eq!(first.allowed_ips, [AllowedIp::Add("192.168.4.4/32".parse().unwrap())]);
    assert_eq!(second.persistent_keepalive_interval, Some(111));
    assert!(third.remove && !first.remove);
}

#[test]
fn nothing_said_is_nothing_changed() {
    let set = read("").unwrap();
    assert_eq!(emit(&set), "");
    assert!(set.private_key.is_none() && !set.replace_peers);
}

#[test]
fn secret_of_zeros_takes_the_secret_away() {
    assert!(matches!(read(&format!("private_key={ZERO}")).unwrap().private_key, Some(None)));
    let peer = read_peer(&format!("preshared_key={ZERO}\n")).unwrap();
    assert!(matches!(peer.preshared_key, Some(None)));
}

#[test]
fn lines_of_a_peer_count_one_after_the_other() {
    let peer =
        read_peer("allowed_ip=10.0.0.0/8\nreplace_allowed_ips=true\nallowed_ip=-10.1.2.3/16\n");
    let peer = peer.unwrap();
    assert!(peer.replace_allowed_ips);
    assert_eq!(peer.allowed_ips, [AllowedIp::Remove("10.1.0.0/16".parse().unwrap())]);

    let peer = read_peer("fwmark=1\n").unwrap_err();
    assert_eq!(peer.to_string(), "line 2: \"fwmark\" is no key of a peer");
}

#[test]
fn of_a_peer_that_is_removed_nothing_else_is_said() {
    let peer = read_peer("allowed_ip=10.0.0.0/8\nremove=true\nendpoint=192.0.2.1:1\n").unwrap();
    assert!(peer.remove && peer.allowed_ips.is_empty() && peer.endpoint.is_none());
}

#[test]
fn zone_of_an_endpoint_is_a_number_or_a_name() {
    let endpoint = |text: &str| read_peer(&format!("endpoint={text}")).map(|peer| peer.endpoint);
    let expected = |zone| Some(SocketAddrV6::new("fe80::1".parse().unwrap(), 9, 0, zone).into());
    assert_eq!(endpoint("[fe80::1%3]:9"), Ok(expected(3)));
    assert_eq!(endpoint("[fe80::1%eth0]:9"), Ok(expected(7)));
    assert!(endpoint("[fe80::1%eth1]:9").is_err());
    assert!(endpoint("[fe80::1%eth0]:+9").is_err());
}

#[test]
fn wrong_lines_are_refused_with_the_number_that_wireguard_go_gives() {
    let interface = |line: &str| read(line).unwrap_err().errno();
    for line in [
        "private_key=",
        "private_key=00",
        "listen_port=",
        "listen_port=65536",
        "listen_port=+1",
        "listen_port= 1",
        "fwmark=-1",
        "fwmark=0x1",
        "fwmark=4294967296",
        "replace_peers=false",
        "allowed_ip=10.0.0.0/8",
        "errno=0",
        "=",
        "public_key=00",
        "Fwmark=1",
        "fwmark\r=1",
    ] {
        assert_eq!(interface(line), Errno::EINVAL, "{line}");
    }
    assert_eq!(interface(&format!("public_key={ZERO}")), Errno::EINVAL);
    assert_eq!(interface("fwmark"), Errno::EPROTO);
    assert_eq!(interface(&"x".repeat(LINE_LEN_MAX + 1)), Errno::EIO);
    for line in [
        "remove=false",
        "update_only=1",
        "preshared_key=x",
        "endpoint=example.com:1",
        "endpoint=192.0.2.1",
        "endpoint=192.0.2.1:65536",
        "endpoint=fe80::1:9",
        "allowed_ip=",
        "allowed_ip=10.0.0.0",
        "allowed_ip=10.0.0.0/33",
        "allowed_ip=10.0.0.0/+8",
        "allowed_ip=--10.0.0.0/8",
        "allowed_ip=fe80::%1/64",
        "replace_allowed_ips=",
        "persistent_keepalive_interval=off",
        "persistent_keepalive_interval=65536",
        "protocol_version=2",
        "private_key=00",
        "listen_port=1",
    ] {
        assert_eq!(read_peer(line).unwrap_err().errno(), Errno::EINVAL, "{line}");
    }
    assert!(read_peer("protocol_version=1").is_ok());
}

#[test]
fn refusal_never_shows_a_value() {
    let refusal = read(&format!("private_key={HEX}x")).unwrap_err();
    assert_eq!(refusal.to_string(), "line 1: private_key: expected 64 hex digits");
    let refusal = read(&format!("{HEX}=")).unwrap_err().to_string();
    assert!(!refusal.contains(&HEX[..33]), "{refusal}");
}

#[test]
fn peers_of_one_request_are_limited() {
    let mut text = format!("public_key={HEX}\n").repeat(PEERS_MAX);
    assert_eq!(read(&text).unwrap().peers.len(), PEERS_MAX);
    text.push_str(&format!("public_key={HEX}\n"));
    assert_eq!(read(&text).unwrap_err(), Refusal::TooManyPeers { line: PEERS_MAX + 1 });
}

#[test]
fn interface_without_anything_says_nothing() {
    assert_eq!(snapshot(&Snapshot::default()).as_str(), "");
    assert_eq!(status(None), "errno=0\n\n");
    assert_eq!(status(Some(Errno::EINVAL)), "errno=-22\n\n");
}

#[test]
fn everything_is_told_in_the_order_of_wireguard_go() {
    let peer = PeerSnapshot {
        public_key: PublicKey::from_hex(HEX).unwrap(),
        preshared_key: None,
        endpoint: Some("[fe80::1%2]:51820".parse().unwrap()),
        last_handshake: Some(Duration::new(1_700_000_000, 5)),
        tx_bytes: u64::MAX,
        rx_bytes: 2,
        persistent_keepalive_interval: 25,
        allowed_ips: vec!["10.0.0.0/8".parse().unwrap(), "::/0".parse().unwrap()],
    };
    let interface = Snapshot {
        private_key: Some(PrivateKey::from_bytes(&[0x40; 32]).unwrap()),
        listen_port: 51820,
        fwmark: 51,
        peers: vec![peer],
    };
    let text = snapshot(&interface);
    let expected = format!(
        "private_key={}\nlisten_port=51820\nfwmark=51\npublic_key={HEX}\npreshared_key={ZERO}\n\
         protocol_version=1\nendpoint=[fe80::1%2]:51820\nlast_handshake_time_sec=1700000000\n\
         last_handshake_time_nsec=5\ntx_bytes=18446744073709551615\nrx_bytes=2\n\
         persistent_keepalive_interval=25\nallowed_ip=10.0.0.0/8\nallowed_ip=::/0\n",
        "40".repeat(32)
    );
    assert_eq!(text.as_str(), expected);
}

#[test]
fn text_of_the_longest_peers_never_grows() {
    let peer = || PeerSnapshot {
        public_key: PublicKey::from_hex(HEX).unwrap(),
        preshared_key: None,
        endpoint: Some(SocketAddrV6::new(Ipv6Addr::from([255; 16]), 65535, 0, u32::MAX).into()),
        last_handshake: Some(Duration::MAX),
        tx_bytes: u64::MAX,
        rx_bytes: u64::MAX,
        persistent_keepalive_interval: u16::MAX,
        allowed_ips: vec![IpNet::new(Ipv6Addr::from([255; 16]).into(), 128).unwrap(); 3],
    };
    for count in 0..20 {
        let peers: Vec<_> = std::iter::repeat_with(peer).take(count).collect();
        let private_key = PrivateKey::from_bytes(&[1; 32]).ok();
        let interface = Snapshot { private_key, listen_port: 65535, fwmark: u32::MAX, peers };
        assert!(snapshot(&interface).len() <= print::room(&interface), "{count}");
    }
}
