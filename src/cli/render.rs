//! Reports as tables.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::table::Align::{Left, Right};
use super::table::Table;
use super::units;
use crate::api::report::{
    DeviceKind, DeviceOffload, Drops, FdbEntry, Network, Peer, Route, Socket, SocketCarrier, Status,
};

/// Stands where there is no value.
const NOTHING: &str = "-";

/// Prints the daemon, its networks and its sockets.
pub(super) fn status(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let Status { name, version, pid, uptime_secs, state } = status;
    let up = units::seconds(*uptime_secs);
    let drops = state.drops_total;
    writeln!(out, "{name}: up {up}, tunctl {version}, pid {pid}, packets dropped: {drops}\n")?;
    networks(out, &state.networks)?;
    writeln!(out)?;
    sockets(out, &state.underlay)?;
    let devices = state.networks.iter().map(|n| (n.interface.clone(), &n.device_offload.refused));
    let sockets = state.underlay.iter().map(|s| (s.address.to_string(), &s.refused));
    for (place, refused) in devices.chain(sockets).filter(|(_, refused)| !refused.is_empty()) {
        writeln!(out, "\n{place}: refused by the kernel: {}", refused.join(", "))?;
    }
    Ok(())
}

fn networks(out: &mut impl Write, networks: &[Network]) -> io::Result<()> {
    let mut table = Table::new([
        ("NETWORK", Left),
        ("VNI", Right),
        ("DEVICE", Left),
        ("INTERFACE", Left),
        ("MTU", Right),
        ("PEERS", Right),
        ("ENTRIES", Right),
        ("SENT", Right),
        ("RECEIVED", Right),
        ("OFFLOAD", Left),
        ("ADDRESSES", Left),
    ]);
    for network in networks {
        table.row([
            network.name.clone(),
            network.vni.to_string(),
            match network.device {
                DeviceKind::Tun => "tun".into(),
                DeviceKind::Tap => "tap".into(),
            },
            network.interface.clone(),
            network.mtu.to_string(),
            network.peers.to_string(),
            format!("{}/{}", network.entries, network.max_entries),
            units::bytes(network.sent_bytes),
            units::bytes(network.received_bytes),
            device_offload(&network.device_offload),
            list(&network.addresses),
        ]);
    }
    table.print(out)
}

fn device_offload(offload: &DeviceOffload) -> String {
    let DeviceOffload { gso, uso, csum, gro, big_tcp, refused: _ } = *offload;
    set(&[("gso", gso), ("uso", uso), ("csum", csum), ("gro", gro), ("big_tcp", big_tcp)])
}

fn sockets(out: &mut impl Write, sockets: &[Socket]) -> io::Result<()> {
    let mut table = Table::new([
        ("UNDERLAY", Left),
        ("CARRIER", Left),
        ("OFFLOAD", Left),
        ("RECEIVE BUFFER", Right),
        ("SEND BUFFER", Right),
    ]);
    for socket in sockets {
        table.row([
            socket.address.to_string(),
            match socket.carrier {
                SocketCarrier::Vxlan => "vxlan".into(),
                SocketCarrier::VxlanGpe => "vxlan-gpe".into(),
                SocketCarrier::WireGuard => "wireguard".into(),
                SocketCarrier::Quic => "quic".into(),
                SocketCarrier::Sending => "sending".into(),
            },
            set(&[("gso", socket.gso), ("gro", socket.gro)]),
            buffer(socket.receive_buffer_bytes),
            buffer(socket.send_buffer_bytes),
        ]);
    }
    table.print(out)
}

/// A socket that only sends, or only receives, has one buffer.
fn buffer(bytes: u64) -> String {
    or_nothing((bytes > 0).then(|| units::bytes(bytes)))
}

/// Prints the peers.
pub(super) fn peers(out: &mut impl Write, peers: &[Peer]) -> io::Result<()> {
    let mut table = Table::new([
        ("PEER", Left),
        ("TRANSPORT", Left),
        ("ENDPOINT", Left),
        ("LOCAL", Left),
        ("PATH MTU", Right),
        ("ENTRIES", Right),
        ("SENT", Right),
        ("RECEIVED", Right),
        ("LAST RECEIVED", Right),
        ("HANDSHAKE", Right),
        ("EXPIRES", Right),
        ("DROPS", Right),
        ("NETWORKS", Left),
    ]);
    for peer in peers {
        table.row([
            peer.name.clone(),
            peer.transport.to_string(),
            or_nothing(peer.endpoint),
            or_nothing(peer.local),
            peer.path_mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string()),
            peer.entries.to_string(),
            units::bytes(peer.sent_bytes),
            units::bytes(peer.received_bytes),
            since(peer.last_received_secs),
            match &*peer.transport {
                "vxlan" => NOTHING.into(),
                _ => since(peer.last_handshake_secs),
            },
            expires(peer),
            peer.drops.to_string(),
            list(&peer.networks),
        ]);
    }
    table.print(out)
}

/// How long the peer's certificate can be used.
fn expires(peer: &Peer) -> String {
    let at = peer.quic.as_ref().and_then(|quic| quic.certificate_expires);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match at.map(|at| at.checked_sub(now)) {
        None => NOTHING.into(),
        Some(None) => "expired".into(),
        Some(Some(left)) => format!("in {}", units::seconds(left)),
    }
}

fn since(secs: Option<u64>) -> String {
    secs.map_or_else(|| "never".into(), |secs| format!("{} ago", units::seconds(secs)))
}

/// The forwarding tables, printed part by part.
pub(super) fn fdb() -> Table<7> {
    Table::new([
        ("NETWORK", Left),
        ("VLAN", Right),
        ("ADDRESS", Left),
        ("PLACE", Left),
        ("KIND", Left),
        ("IDLE", Right),
        ("MOVES", Right),
    ])
}

/// A row of [`fdb`].
pub(super) fn fdb_row(entry: FdbEntry) -> [String; 7] {
    let address = entry.mac.or_else(|| entry.ip.map(|ip| ip.to_string()));
    [
        entry.network,
        if entry.vlan == 0 { NOTHING.into() } else { entry.vlan.to_string() },
        or_nothing(address),
        entry.place,
        if entry.is_static { "static".into() } else { "learned".into() },
        or_nothing(entry.idle_secs.map(units::seconds)),
        entry.moves.to_string(),
    ]
}

/// Prints the routes.
pub(super) fn routes(out: &mut impl Write, routes: &[Route]) -> io::Result<()> {
    let mut table = Table::new([("NETWORK", Left), ("PREFIX", Left), ("PEERS", Left)]);
    for route in routes {
        let mut peers = list(&route.peers);
        if route.shared {
            peers.push_str(" (shared)");
        }
        table.row([route.network.clone(), route.prefix.to_string(), peers]);
    }
    table.print(out)
}

/// Prints the reasons that happened, then where.
pub(super) fn drops(out: &mut impl Write, drops: &Drops) -> io::Result<()> {
    if drops.total == 0 {
        return writeln!(out, "no packet was dropped");
    }
    let mut table = Table::new([("REASON", Left), ("PACKETS", Right), ("EXPLANATION", Left)]);
    for count in drops.reasons.iter().filter(|count| count.packets > 0) {
        let packets = count.packets.to_string();
        table.row([count.reason.to_string(), packets, count.explanation.to_string()]);
    }
    table.print(out)?;
    if drops.networks.is_empty() && drops.peers.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new([("WHERE", Left), ("REASON", Left), ("PACKETS", Right)]);
    let networks = drops.networks.iter().map(|named| ("network", named));
    let peers = drops.peers.iter().map(|named| ("peer", named));
    for (kind, named) in networks.chain(peers) {
        for count in &named.reasons {
            let place = format!("{kind} {}", named.name);
            table.row([place, count.reason.to_string(), count.packets.to_string()]);
        }
    }
    table.print(out)
}

/// Names what is on.
fn set(flags: &[(&str, bool)]) -> String {
    let on: Vec<_> = flags.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect();
    if on.is_empty() { "none".into() } else { on.join(" ") }
}

fn list(items: &[impl Display]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    if items.is_empty() { NOTHING.into() } else { items.join(" ") }
}

fn or_nothing(value: Option<impl Display>) -> String {
    value.map_or_else(|| NOTHING.into(), |value| value.to_string())
}
