//! The answers to the API: what the workers know, as plain report values.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::build::Port;
use super::shared::Core;
use crate::api::query::{Answer, Query};
use crate::api::report;
use crate::forward::Place;
use crate::frame::{Layer, Mac};
use crate::node::{self, Forwarding};
use crate::peer::NetworkId;
use crate::socket::{Lane, Underlay};
use crate::transport::Carrier;
use crate::transport::quic::{ConnectionStatus, Quic};
use crate::transport::wireguard::WireGuard;

/// What is known.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) core: &'a Core,
    pub(super) underlay: &'a Underlay,
    pub(super) wireguard: Option<&'a WireGuard>,
    pub(super) quic: Option<&'a Quic>,
    /// The system calls of all workers.
    pub(super) calls: report::Worker,
}

/// Answers one question. A page of the table is the longest, and bounded.
pub(super) fn answer(known: Known<'_>, query: &Query, now: Instant) -> Answer {
    match query {
        Query::Status => Answer::Status(state(known)),
        Query::Peers => Answer::Peers(peers(known, now)),
        Query::Fdb { network, cursor, max } => fdb(known, network, *cursor, *max, now),
        Query::Routes => Answer::Routes(routes(known)),
        Query::Drops => Answer::Drops(drops(known)),
    }
}

fn state(known: Known<'_>) -> report::State {
    report::State {
        networks: known
            .core
            .node
            .networks()
            .zip(&known.core.ports)
            .map(|(n, p)| network(n, p))
            .collect(),
        underlay: known.underlay.status().into_iter().map(socket).collect(),
        drops_total: known.core.node.drops().total(),
        worker: calls(known),
    }
}

fn calls(known: Known<'_>) -> report::Worker {
    let networks = known.core.node.networks();
    report::Worker {
        device_read_packets: networks.map(|network| network.from_device.packets).sum(),
        ..known.calls
    }
}

fn network(network: &node::Network, port: &Port) -> report::Network {
    let offloads = &port.offloads;
    let refused = offloads.refused.clone().into_iter().chain(port.coalescing_refused.clone());
    report::Network {
        name: network.name.clone(),
        vni: network.vni.number(),
        device: match network.layer {
            Layer::L2 => report::DeviceKind::Tap,
            Layer::L3 => report::DeviceKind::Tun,
        },
        interface: port.interface.clone(),
        mtu: network.mtu.into(),
        addresses: port.addresses.clone(),
        peers: network.forwarding.peers().len() as u32,
        entries: network.forwarding.entries_len() as u64,
        max_entries: port.max_entries.into(),
        device_offload: report::DeviceOffload {
            gso: offloads.tso,
            uso: offloads.uso,
            csum: offloads.csum,
            gro: network.is_coalescing,
            big_tcp: network.merges_big_tcp(),
            refused: refused.collect(),
        },
        sent_packets: network.from_device.packets,
        sent_bytes: network.from_device.bytes,
        received_packets: network.to_device.packets,
        received_bytes: network.to_device.bytes,
        received_bad_checksums: network.invalid_checksums,
    }
}

fn socket(status: crate::socket::SocketStatus) -> report::Socket {
    report::Socket {
        address: status.address,
        carrier: match status.lane {
            Lane::Listen(Carrier::Vxlan) => report::SocketCarrier::Vxlan,
            Lane::Listen(Carrier::VxlanGpe) => report::SocketCarrier::VxlanGpe,
            Lane::Listen(Carrier::WireGuard) => report::SocketCarrier::WireGuard,
            Lane::Listen(Carrier::Quic) => report::SocketCarrier::Quic,
            Lane::Send => report::SocketCarrier::Sending,
        },
        gso: status.gso,
        gro: status.gro,
        refused: status.refused.into_iter().collect(),
        receive_buffer_bytes: status.receive_buffer as u64,
        send_buffer_bytes: status.send_buffer as u64,
    }
}

fn peers(known: Known<'_>, now: Instant) -> Vec<report::Peer> {
    let node = &known.core.node;
    let secs_since = |at| now.saturating_duration_since(at).as_secs();
    let report = |(id, peer): (_, &node::Peer)| {
        let sealed = known.wireguard.and_then(|engine| engine.status(id));
        let quic = known.quic.and_then(|engine| engine.status(id));
        let transport = match (&sealed, &quic) {
            (Some(_), _) => "wireguard",
            (None, Some(_)) => "quic",
            (None, None) => "vxlan",
        };
        let connection = quic.and_then(|status| status.connection);
        let began = sealed.as_ref().and_then(|status| status.established);
        let began = began.or(connection.as_ref().map(|connection| connection.established));
        let networks = || peer.networks.iter().filter_map(|network| node.network(*network));
        let entries = |of: &node::Network| of.forwarding.entries_of(Place::Peer(id)) as u64;
        report::Peer {
            name: peer.name.clone(),
            transport: transport.into(),
            public_key: sealed.as_ref().map(|status| status.key.to_string()),
            last_handshake_secs: began.map(secs_since),
            endpoint: peer.endpoint(layer_of(known, peer)),
            local: peer.local,
            path_mtu: peer.path_mtu.map(u32::from),
            networks: networks().map(|network| network.name.clone()).collect(),
            entries: networks().map(entries).sum(),
            sent_packets: peer.sent.packets,
            sent_bytes: peer.sent.bytes,
            received_packets: peer.received.packets,
            received_bytes: peer.received.bytes,
            last_received_secs: peer.last_received.map(secs_since),
            drops: peer.drops.total(),
            quic: connection.as_ref().map(connection_report),
        }
    };
    node.peers().map(report).collect()
}

fn connection_report(connection: &ConnectionStatus) -> report::QuicConnection {
    let since_1970 = |at: SystemTime| at.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let agreed = connection.agreed;
    report::QuicConnection {
        dialled: connection.is_dialled,
        certificate_sha256: connection.certificate.map(|it| it.to_string()),
        certificate_expires: connection.expires.map(since_1970),
        group: agreed.and_then(|agreed| agreed.group_name()).map(str::to_owned),
        cipher: agreed.and_then(|agreed| agreed.cipher_name()).map(str::to_owned),
        rtt_us: connection.rtt.as_micros() as u64,
        window_bytes: connection.window_bytes,
        lost_packets: connection.lost_packets,
    }
}

/// The layer of a peer's first network: its endpoint is shown with that port.
fn layer_of(known: Known<'_>, peer: &node::Peer) -> Layer {
    let first = peer.networks.first().copied().unwrap_or(NetworkId(0));
    known.core.node.network(first).map_or(Layer::L2, |network| network.layer)
}

fn fdb(known: Known<'_>, name: &str, cursor: u64, max: u32, now: Instant) -> Answer {
    let Some(network) = known.core.node.networks().find(|network| network.name == name) else {
        return Answer::NoSuchNetwork(name.to_owned());
    };
    Answer::Fdb(match &network.forwarding {
        Forwarding::L2(table) => {
            let page = table.table().entries(cursor, max as usize, now);
            let entries = page.entries.iter().map(|entry| {
                let (vlan, mac) = (Some(entry.key.vlan()), Some(Mac(entry.key.mac()).to_string()));
                fdb_entry(known, name, entry, vlan, mac, None)
            });
            report::FdbPage { entries: entries.collect(), next: page.next }
        }
        Forwarding::L3(table) => {
            let page = table.hosts().entries(cursor, max as usize, now);
            let entries = page
                .entries
                .iter()
                .map(|entry| fdb_entry(known, name, entry, None, None, Some(entry.key.into())));
            report::FdbPage { entries: entries.collect(), next: page.next }
        }
    })
}

fn fdb_entry<K>(
    known: Known<'_>,
    network: &str,
    entry: &crate::forward::EntryView<K>,
    vlan: Option<u16>,
    mac: Option<String>,
    ip: Option<std::net::IpAddr>,
) -> report::FdbEntry {
    report::FdbEntry {
        network: network.to_owned(),
        vlan: vlan.unwrap_or(0),
        mac,
        ip,
        place: known.core.node.place_name(entry.place).to_owned(),
        is_static: entry.is_static,
        idle_secs: (!entry.is_static).then_some(entry.idle.as_secs()),
        moves: u32::from(entry.moves),
    }
}

fn routes(known: Known<'_>) -> Vec<report::Route> {
    let node = &known.core.node;
    let of_network = |network: &node::Network| {
        let name = network.name.clone();
        let Forwarding::L3(table) = &network.forwarding else { return Vec::new() };
        let route = |(prefix, peers): (ipnet::IpNet, &[crate::peer::PeerId])| report::Route {
            network: name.clone(),
            prefix,
            peers: peers.iter().map(|&id| node.place_name(Place::Peer(id)).to_owned()).collect(),
            shared: peers.len() > 1,
        };
        table.routes().entries().map(route).collect()
    };
    node.networks().flat_map(of_network).collect()
}

fn drops(known: Known<'_>) -> report::Drops {
    let node = &known.core.node;
    report::Drops {
        networks: node
            .networks()
            .filter_map(|n| report::NamedDrops::new(&n.name, &n.drops))
            .collect(),
        peers: node
            .peers()
            .filter_map(|(_, p)| report::NamedDrops::new(&p.name, &p.drops))
            .collect(),
        ..report::Drops::new(node.drops())
    }
}
