//! What the daemon reports: the JSON of `tunctl status|peers|fdb|routes|drops --json`.
//!
//! The fields are the keys. They are stable: a later version may add some, it renames and removes
//! none. Counters start at 0 with the daemon, and only grow. Sent is what our devices gave and the
//! peers were sent, received is what the peers sent and our devices were given. Packets are
//! counted as the wire carries them (the segments of a GSO packet one by one), bytes as the
//! frames or packets inside the tunnel have, without what encapsulation adds.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::drops::{DropCounters, DropReason};

/// `tunctl status --json`: the daemon, its networks and its sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's name: `name` of the configuration.
    pub name: String,
    /// The daemon's version, such as `0.1.0`.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
    /// Whole seconds since the daemon was ready.
    pub uptime_secs: u64,
    /// The keys of [`State`], on the same level as those above.
    #[serde(flatten)]
    pub state: State,
}

/// The part of [`Status`] that the worker knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The networks, in the order of the configuration.
    pub networks: Vec<Network>,
    /// The sockets on the underlay.
    pub underlay: Vec<Socket>,
    /// Packets dropped, for all reasons together; `tunctl drops` tells them apart.
    pub drops_total: u64,
    /// How the packets were moved.
    #[serde(default)]
    pub worker: Worker,
}

/// The system calls of the packet path in [`State`], and what they moved: packets per call say how
/// well GSO and batching do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Threads that move packets.
    pub threads: u32,
    /// Calls that waited for packets (epoll_wait).
    pub waits: u64,
    /// Reads and receives that found nothing.
    pub would_block: u64,
    /// Reads of devices that gave a packet or a GSO packet.
    pub device_reads: u64,
    /// Packets read, the segments of a GSO packet one by one.
    pub device_read_packets: u64,
    /// Writes to devices.
    pub device_writes: u64,
    /// Packets written, the segments of a GSO packet one by one.
    pub device_written_packets: u64,
    /// Writes of packets larger than IP has a length for (`big_tcp`).
    pub device_big_writes: u64,
    /// Receive calls (recvmmsg) that gave something.
    pub receives: u64,
    /// Datagrams received, those of a run one by one.
    pub received_datagrams: u64,
    /// Send calls (sendmsg, sendmmsg).
    pub sends: u64,
    /// Datagrams sent, those of a run one by one.
    pub sent_datagrams: u64,
}

impl Worker {
    /// Gives these and those of another.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.each_with(other, u64::saturating_add)
    }

    /// Gives what was counted after `earlier`, by as many threads.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self { threads: self.threads, ..self.each_with(earlier, u64::saturating_sub) }
    }

    fn each_with(&self, other: &Self, of: fn(u64, u64) -> u64) -> Self {
        Self {
            threads: self.threads + other.threads,
            waits: of(self.waits, other.waits),
            would_block: of(self.would_block, other.would_block),
            device_reads: of(self.device_reads, other.device_reads),
            device_read_packets: of(self.device_read_packets, other.device_read_packets),
            device_writes: of(self.device_writes, other.device_writes),
            device_written_packets: of(self.device_written_packets, other.device_written_packets),
            device_big_writes: of(self.device_big_writes, other.device_big_writes),
            receives: of(self.receives, other.receives),
            received_datagrams: of(self.received_datagrams, other.received_datagrams),
            sends: of(self.sends, other.sends),
            sent_datagrams: of(self.sent_datagrams, other.sent_datagrams),
        }
    }
}

/// A network in [`State`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The network's name.
    pub name: String,
    /// The VXLAN network identifier, 0 to 16777215.
    pub vni: u32,
    /// What the device carries.
    pub device: DeviceKind,
    /// The name of the kernel's interface.
    pub interface: String,
    /// The MTU of the network: the largest IP packet that it carries, bytes.
    pub mtu: u32,
    /// The addresses that the daemon gave to the interface.
    pub addresses: Vec<IpNet>,
    /// Number of peers.
    pub peers: u32,
    /// Number of entries in the forwarding table, learned and static.
    pub entries: u64,
    /// The most entries that the table takes.
    pub max_entries: u64,
    /// The device's offloads, as they are now.
    pub device_offload: DeviceOffload,
    /// Packets read from the device and sent to a peer.
    pub sent_packets: u64,
    /// Bytes of these.
    pub sent_bytes: u64,
    /// Packets from a peer written to the device.
    pub received_packets: u64,
    /// Bytes of these.
    pub received_bytes: u64,
    /// Those of them whose inner checksum was wrong; they were written as they came.
    pub received_bad_checksums: u64,
}

/// The kind of a network's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// `"tun"`: IP packets.
    Tun,
    /// `"tap"`: Ethernet frames.
    Tap,
}

/// Which offloads a device has in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceOffload {
    /// The device hands over TCP GSO packets (TSO4 and TSO6).
    pub gso: bool,
    /// The device hands over UDP GSO packets (USO4 and USO6).
    pub uso: bool,
    /// The device hands over packets whose checksum is still to be completed.
    pub csum: bool,
    /// What arrives is coalesced before it is written to the device.
    pub gro: bool,
    /// TCP over IPv4 is coalesced beyond 64 KiB, if it is for the host itself.
    pub big_tcp: bool,
    /// What the kernel refused, such as `"uso: EINVAL"`; empty if nothing.
    pub refused: Vec<String>,
}

/// A socket on the underlay, in [`State`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// The address and port that it is bound to.
    pub address: SocketAddr,
    /// What it is for.
    pub carrier: SocketCarrier,
    /// Runs of datagrams are sent in one call (UDP_SEGMENT).
    pub gso: bool,
    /// Runs of datagrams are received in one call (UDP_GRO).
    pub gro: bool,
    /// What the kernel refused, such as `"gso: EIO"`; empty if nothing.
    pub refused: Vec<String>,
    /// The receive buffer that the kernel granted, bytes; 0 for a socket that only sends.
    pub receive_buffer_bytes: u64,
    /// The send buffer that the kernel granted, bytes; 0 for a socket that only receives.
    pub send_buffer_bytes: u64,
}

/// What a socket on the underlay is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketCarrier {
    /// `"vxlan"`: VXLAN arrives here.
    Vxlan,
    /// `"vxlan-gpe"`: VXLAN-GPE arrives here.
    VxlanGpe,
    /// `"wireguard"`: WireGuard arrives here, and leaves.
    #[serde(rename = "wireguard")]
    WireGuard,
    /// `"quic"`: QUIC arrives here, and leaves.
    Quic,
    /// `"sending"`: datagrams leave from here, nothing is expected to arrive.
    Sending,
}

/// One of `tunctl peers --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The peer's name.
    pub name: String,
    /// How it is reached: `"vxlan"`, `"wireguard"` or `"quic"`.
    pub transport: Cow<'static, str>,
    /// Its public key (wireguard), base64; null for vxlan.
    pub public_key: Option<String>,
    /// Its address and port on the underlay; null if it is not known where it is.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since its newest session or connection began (wireguard, quic); null if there is
    /// none, and for vxlan.
    pub last_handshake_secs: Option<u64>,
    /// The address of ours that it sends to, and that our datagrams to it leave from; null until
    /// something arrived from it.
    pub local: Option<IpAddr>,
    /// The largest IP packet that the path to it takes, bytes, with the outer headers; null while
    /// there is no route to it.
    pub path_mtu: Option<u32>,
    /// The names of the networks that it is in.
    pub networks: Vec<String>,
    /// Number of forwarding table entries that point to it, in all networks.
    pub entries: u64,
    /// Packets sent to it.
    pub sent_packets: u64,
    /// Bytes of these.
    pub sent_bytes: u64,
    /// Packets that arrived from it and were accepted.
    pub received_packets: u64,
    /// Bytes of these.
    pub received_bytes: u64,
    /// Whole seconds since something arrived from it; null = never.
    pub last_received_secs: Option<u64>,
    /// Packets from it or to it that were dropped.
    pub drops: u64,
    /// The connection to it (quic); null if there is none, and for others.
    pub quic: Option<QuicConnection>,
}

/// A connection of QUIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuicConnection {
    /// Whether this end has dialled.
    pub dialled: bool,
    /// The SHA-256 of the peer's certificate, hex.
    pub certificate_sha256: Option<String>,
    /// The last second in which the peer's certificate can be used, seconds since 1970.
    pub certificate_expires: Option<u64>,
    /// The group that the keys were agreed in.
    pub group: Option<String>,
    /// The cipher.
    pub cipher: Option<String>,
    /// The estimated round-trip time, µs.
    pub rtt_us: u64,
    /// Bytes that may be under way.
    pub window_bytes: u64,
    /// QUIC packets that were lost on the way to the peer.
    pub lost_packets: u64,
}

/// A part of the forwarding tables; `tunctl fdb --json` prints the entries of all parts as one list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbPage {
    /// The entries of this part.
    pub entries: Vec<FdbEntry>,
    /// The `cursor` of the next part; null = this was the last. Entries learned, moved or aged
    /// between two parts may be in both or in neither.
    pub next: Option<u64>,
}

/// One of `tunctl fdb --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbEntry {
    /// The network's name.
    pub network: String,
    /// The VLAN, 1 to 4094; 0 = untagged, and always 0 in tun networks.
    pub vlan: u16,
    /// The MAC address, lower-case with colons; absent in tun networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The IP address; absent in tap networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Where it is: `"local"` = behind our own device, else the name of a peer.
    pub place: String,
    /// `static`: true = configured, false = learned.
    #[serde(rename = "static")]
    pub is_static: bool,
    /// Whole seconds since something came from it; null for static entries.
    pub idle_secs: Option<u64>,
    /// How often it moved from one place to another.
    pub moves: u32,
}

/// One of `tunctl routes --json`: a prefix of a tun network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The network's name.
    pub network: String,
    /// The prefix, such as `"10.9.0.0/24"`.
    pub prefix: IpNet,
    /// The names of the peers that it leads to.
    pub peers: Vec<String>,
    /// Several peers share it: hosts inside it are learned, and are in `tunctl fdb`.
    pub shared: bool,
}

/// `tunctl drops --json`: every packet that ended neither in a device nor in a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Packets dropped, for all reasons together.
    pub total: u64,
    /// All reasons, those that never happened too. These are all packets; the two lists below
    /// tell some of them apart, a packet from an unknown sender is in neither.
    pub reasons: Vec<DropCount>,
    /// The networks that packets were dropped in.
    pub networks: Vec<NamedDrops>,
    /// The peers that packets were dropped from, or on the way to.
    pub peers: Vec<NamedDrops>,
}

/// The drops of one network or peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedDrops {
    /// The name of the network or peer.
    pub name: String,
    /// The reasons that happened.
    pub reasons: Vec<DropCount>,
}

/// How often a reason happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// The reason, such as `"unknown_peer"`.
    pub reason: Cow<'static, str>,
    /// Packets dropped for it.
    pub packets: u64,
    /// What the reason means: one sentence.
    pub explanation: Cow<'static, str>,
}

impl Drops {
    /// Makes the report of the counters of all packets; the lists of networks and peers are empty.
    pub fn new(all: &DropCounters) -> Self {
        let reasons = DropReason::ALL.iter().map(|&reason| DropCount::new(reason, all)).collect();
        Self { total: all.total(), reasons, ..Self::default() }
    }
}

impl NamedDrops {
    /// Makes the report of one network's or peer's counters; `None` if they are all 0.
    pub fn new(name: &str, counters: &DropCounters) -> Option<Self> {
        let happened = DropReason::ALL.iter().filter(|&&reason| counters.of(reason) > 0);
        let reasons: Vec<_> = happened.map(|&reason| DropCount::new(reason, counters)).collect();
        (!reasons.is_empty()).then(|| Self { name: name.to_owned(), reasons })
    }
}

impl DropCount {
    fn new(reason: DropReason, counters: &DropCounters) -> Self {
        Self {
            reason: reason.name().into(),
            packets: counters.of(reason),
            explanation: reason.explanation().into(),
        }
    }
}

#[cfg(test)]
mod tests;
