//! The documented keys are the printed keys.

use serde_json::{Value, json};

use super::*;

#[test]
fn status_has_the_documented_keys() {
    let status = Status {
        name: "site-a".into(),
        version: "0.1.0".into(),
        pid: 7,
        uptime_secs: 60,
        state: State {
            networks: vec![Network {
                name: "office".into(),
                vni: 42,
                device: DeviceKind::Tap,
                interface: "tap-office".into(),
                mtu: 1450,
                addresses: vec!["10.9.0.1/24".parse().unwrap()],
                peers: 1,
                entries: 2,
                max_entries: 131_072,
                device_offload: DeviceOffload {
                    gso: true,
                    refused: vec!["uso: EINVAL".into()],
                    ..DeviceOffload::default()
                },
                sent_packets: 1,
                sent_bytes: 60,
                received_packets: 2,
                received_bytes: 120,
                received_bad_checksums: 3,
            }],
            underlay: vec![Socket {
                address: "[::]:4789".parse().unwrap(),
                carrier: SocketCarrier::VxlanGpe,
                gso: true,
                gro: false,
                refused: Vec::new(),
                receive_buffer_bytes: 4_194_304,
                send_buffer_bytes: 4_194_304,
            }],
            drops_total: 3,
            worker: Worker {
                threads: 1,
                waits: 2,
                sends: 5,
                sent_datagrams: 9,
                ..Worker::default()
            },
        },
    };

    assert_stable(
        &status,
        json!({
            "name": "site-a", "version": "0.1.0", "pid": 7, "uptime_secs": 60,
            "networks": [{
                "name": "office", "vni": 42, "device": "tap", "interface": "tap-office",
                "mtu": 1450, "addresses": ["10.9.0.1/24"], "peers": 1, "entries": 2,
                "max_entries": 131_072,
                "device_offload": {
                    "gso": true, "uso": false, "csum": false, "gro": false,
                    "big_tcp": false,
                    "refused": ["uso: EINVAL"],
                },
                "sent_packets": 1, "sent_bytes": 60, "received_packets": 2, "received_bytes": 120,
                "received_bad_checksums": 3,
            }],
            "underlay": [{
                "address": "[::]:4789", "carrier": "vxlan-gpe", "gso": true, "gro": false,
                "refused": [], "receive_buffer_bytes": 4_194_304, "send_buffer_bytes": 4_194_304,
            }],
            "drops_total": 3,
            "worker": {
                "threads": 1, "waits": 2, "would_block": 0, "device_reads": 0,
                "device_read_packets": 0, "device_writes": 0, "device_written_packets": 0,
                "device_big_writes": 0, "receives": 0, "received_datagrams": 0, "sends": 5,
                "sent_datagrams": 9,
            },
        }),
    );
}

#[test]
fn peer_has_the_documented_keys() {
    let peer = Peer {
        name: "site-b".into(),
        transport: "wireguard".into(),
        public_key: Some("qB0=".into()),
        endpoint: Some("192.0.2.2:4789".parse().unwrap()),
        last_handshake_secs: Some(7),
        local: None,
        path_mtu: Some(1500),
        networks: vec!["office".into()],
        entries: 1,
        sent_packets: 2,
        sent_bytes: 3,
        received_packets: 4,
        received_bytes: 5,
        last_received_secs: None,
        drops: 6,
        quic: Some(QuicConnection {
            dialled: true,
            certificate_sha256: Some("00ff".into()),
            certificate_expires: Some(1_800_000_000),
            group: Some("X25519MLKEM768".into()),
            cipher: Some("AES-128-GCM".into()),
            rtt_us: 120,
            window_bytes: 65_536,
            lost_packets: 8,
        }),
    };

    assert_stable(
        &peer,
        json!({
            "name": "site-b", "transport": "wireguard", "public_key": "qB0=",
            "endpoint": "192.0.2.2:4789", "last_handshake_secs": 7, "local": null,
            "path_mtu": 1500, "networks": ["office"], "entries": 1, "sent_packets": 2,
            "sent_bytes": 3, "received_packets": 4, "received_bytes": 5,
            "last_received_secs": null, "drops": 6,
            "quic": {
                "dialled": true, "certificate_sha256": "00ff",
                "certificate_expires": 1_800_000_000, "group": "X25519MLKEM768",
                "cipher": "AES-128-GCM", "rtt_us": 120, "window_bytes": 65_536, "lost_packets": 8,
            },
        }),
    );
}

#[test]
fn fdb_entry_has_the_documented_keys_and_either_mac_or_ip() {
    let mac = FdbEntry {
        network: "office".into(),
        vlan: 7,
        mac: Some("02:00:00:00:00:02".into()),
        ip: None,
        place: "site-b".into(),
        is_static: false,
        idle_secs: Some(4),
        moves: 1,
    };
    let ip = FdbEntry {
        vlan: 0,
        mac: None,
        ip: Some("10.9.0.2".parse().unwrap()),
        place: "local".into(),
        is_static: true,
        idle_secs: None,
        ..mac.clone()
    };

    assert_stable(
        &FdbPage { entries: vec![mac, ip], next: Some(9) },
        json!({
            "entries": [
                {
                    "network": "office", "vlan": 7, "mac": "02:00:00:00:00:02", "place": "site-b",
                    "static": false, "idle_secs": 4, "moves": 1,
                },
                {
                    "network": "office", "vlan": 0, "ip": "10.9.0.2", "place": "local",
                    "static": true, "idle_secs": null, "moves": 1,
                },
            ],
            "next": 9,
        }),
    );
}

#[test]
fn route_has_the_documented_keys() {
    let route = Route {
        network: "routed".into(),
        prefix: "fd00:9::/64".parse().unwrap(),
        peers: vec!["site-b".into(), "site-c".into()],
        shared: true,
    };

    assert_stable(
        &route,
        json!({
            "network": "routed", "prefix": "fd00:9::/64", "peers": ["site-b", "site-c"],
            "shared": true,
        }),
    );
}

#[test]
fn drops_list_all_reasons_in_total_and_only_those_that_happened_for_a_name() {
    let mut counters = DropCounters::default();
    counters.count(DropReason::UnknownPeer, 3);
    counters.count(DropReason::NoRoute, 4);

    let mut drops = Drops::new(&counters);
    drops.networks.extend(NamedDrops::new("office", &counters));
    drops.peers.extend(NamedDrops::new("site-b", &DropCounters::default()));

    assert_eq!(drops.total, 7);
    assert_eq!(drops.reasons.len(), DropReason::ALL.len());
    assert!(drops.peers.is_empty());
    let printed = serde_json::to_value(&drops).unwrap();
    assert_eq!(keys(&printed), ["networks", "peers", "reasons", "total"]);
    assert_eq!(
        printed["networks"],
        json!([{ "name": "office", "reasons": [
            {
                "reason": "unknown_peer", "packets": 3,
                "explanation": DropReason::UnknownPeer.explanation(),
            },
            {
                "reason": "no_route", "packets": 4,
                "explanation": DropReason::NoRoute.explanation(),
            },
        ]}])
    );
    assert_eq!(serde_json::from_value::<Drops>(printed).unwrap(), drops);
}

/// Checks what is printed, and that it is read again.
#[track_caller]
fn assert_stable<T>(report: &T, expected: Value)
where
    T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let printed = serde_json::to_value(report).unwrap();
    assert_eq!(printed, expected);
    assert_eq!(&serde_json::from_value::<T>(printed).unwrap(), report);
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
