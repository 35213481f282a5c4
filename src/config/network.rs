//! `[[network]]`: one overlay segment, its device, and what it may learn and flood.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::peer::Vni;

use super::section::{Section, WordOrNumber};
use super::{Mac, defaults, name};

/// The least MTU that IPv4 hosts must take (RFC 791 section 3.1: 576 bytes).
pub(crate) const MTU_MIN: u16 = 576;

/// The least MTU of a link that carries IPv6 (RFC 8200 section 5).
pub(super) const MTU_MIN_IPV6: u16 = 1280;

/// The largest inner packet that a datagram carries: 65 535 - IPv4 20 - UDP 8 - VXLAN 8 - Ethernet 14.
pub(crate) const MTU_MAX: u16 = 65_485;

/// The largest VLAN identifier (IEEE 802.1Q 9.6: 4095 is reserved).
const VLAN_MAX: u16 = 4094;

/// The most entries of one forwarding table: a GiB of memory at 64 bytes an entry.
const ENTRIES: RangeInclusive<u32> = 1..=1 << 24;

/// The longest time that is kept for one entry: a week, seconds.
const AGE: RangeInclusive<u32> = 1..=604_800;

/// The kind of a network's device, and with it what its packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// L3: IP packets, carried in VXLAN-GPE.
    Tun,
    /// L2: Ethernet frames, carried in VXLAN.
    Tap,
}

impl DeviceKind {
    /// The word that the file uses.
    pub const fn name(self) -> &'static str {
        match self {
            DeviceKind::Tun => "tun",
            DeviceKind::Tap => "tap",
        }
    }
}

/// Which kernel routes a tun network gets for its peers' `allowed_ips`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routes {
    /// Routes in the main table.
    Auto,
    /// None.
    Off,
    /// Routes in this table.
    Table(u32),
}

/// The limit on what is sent to all peers, packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// Packets a second.
    pub rate_pps: u32,
    /// Packets that may come at once.
    pub burst: u32,
}

/// The limits of a network's forwarding table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learning {
    /// An address unseen for so long is forgotten.
    pub ageing: Duration,
    /// Entries of the network.
    pub max_entries: u32,
    /// Entries behind one peer; at most `max_entries`.
    pub max_entries_per_peer: u32,
    /// Entries behind our own device; at most `max_entries`.
    pub max_entries_local: u32,
    /// Moves of one address within the window before it is held where it is.
    pub move_limit: u8,
    /// The window in which moves are counted.
    pub move_window: Duration,
    /// For how long an address is held.
    pub hold_down: Duration,
}

/// A forwarding entry that is neither learned nor aged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticEntry {
    /// The address; unicast.
    pub mac: Mac,
    /// The VLAN, 0 = untagged.
    pub vlan: u16,
    /// The peer, as a position in `Config::peers`; none = behind our own device.
    pub peer: Option<usize>,
}

/// `[[network]]`: one overlay segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The name, unique: 1 to 32 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// The VNI, unique among the networks of the same device kind.
    pub vni: Vni,
    /// The kind of its device.
    pub device: DeviceKind,
    /// The name of its device, unique.
    pub interface: String,
    /// The device's addresses; empty if it joins a bridge.
    pub addresses: Vec<IpNet>,
    /// The bridge that the TAP joins.
    pub bridge: Option<String>,
    /// The largest inner IP packet, bytes; none = found out ("auto").
    pub mtu: Option<u16>,
    /// The kernel routes of a tun network.
    pub routes: Routes,
    /// Whether packets of one peer may go to another.
    pub relay: bool,
    /// The device's queue length, packets.
    pub txqueuelen: u32,
    /// Whether the MSS in TCP SYNs is lowered to what fits.
    pub mss_clamp: bool,
    /// The limit on what is sent to all peers.
    pub flood: Flood,
    /// The limits of the forwarding table.
    pub learning: Learning,
    /// Entries that are neither learned nor aged.
    pub static_entries: Vec<StaticEntry>,
}

/// A network as read, and the static entries, whose peers are not known yet.
pub(super) struct Read<'a> {
    pub(super) network: Network,
    pub(super) entries: Vec<Section<'a>>,
}

impl Network {
    pub(super) fn read<'a>(section: &mut Section<'a>) -> Read<'a> {
        let name = name::read(section, "name", name::NETWORK_CHARS_MAX);
        let device = read_device(section);
        let interface = name::read_interface(section, "interface");
        let mut network = Self {
            interface: interface.unwrap_or_else(|| default_interface(device, &name)),
            name,
            vni: read_vni(section),
            device,
            addresses: section.list("addresses", read_address),
            bridge: name::read_interface(section, "bridge"),
            mtu: section.number_or_auto("mtu", MTU_MIN..=MTU_MAX),
            routes: read_routes(section),
            relay: section.flag("relay", defaults::RELAY),
            txqueuelen: section.number("txqueuelen", 1..=100_000).unwrap_or(defaults::TXQUEUELEN),
            mss_clamp: section.flag("mss_clamp", defaults::MSS_CLAMP),
            flood: Flood::read(section),
            learning: Learning::read(section),
            static_entries: Vec::new(),
        };
        network.check(section);
        let entries = section.tables("static_entries");
        if device == DeviceKind::Tun && !entries.is_empty() {
            section.fault("static_entries", "expected no such key: a tun network has no MACs");
            return Read { network, entries: Vec::new() };
        }
        let mut read = Read { network, entries };
        read.network.static_entries = read.entries.iter_mut().map(StaticEntry::read).collect();
        read
    }

    /// Checks the keys of the network against each other.
    fn check(&mut self, section: &mut Section<'_>) {
        let sound_kind = section.is_sound("device");
        if self.bridge.is_some() {
            if sound_kind && self.device == DeviceKind::Tun {
                section.fault("bridge", "expected no such key: a tun device cannot join a bridge");
            } else if section.has("addresses") {
                let expected = "expected no such key beside bridge: addresses belong on the bridge";
                section.fault("addresses", expected);
            }
            if self.bridge.as_ref() == Some(&self.interface) {
                section.fault("bridge", "expected another name than the network's own interface");
            }
        }
        if sound_kind && self.device == DeviceKind::Tap && matches!(self.routes, Routes::Table(_)) {
            section.fault("routes", "expected \"auto\" or \"off\": only tun networks have routes");
        }
        let has_ipv6 = self.addresses.iter().any(|net| matches!(net, IpNet::V6(_)));
        if has_ipv6 && self.mtu.is_some_and(|mtu| mtu < MTU_MIN_IPV6) {
            let expected = format!("expected at least {MTU_MIN_IPV6}, because addresses has IPv6");
            section.fault("mtu", expected);
        }
    }
}

fn read_device(section: &mut Section<'_>) -> DeviceKind {
    const EXPECTED: &str = "expected \"tun\" or \"tap\"";
    section.missing("device", EXPECTED);
    section.value("device", EXPECTED).unwrap_or(DeviceKind::Tap)
}

fn read_vni(section: &mut Section<'_>) -> Vni {
    section.missing("vni", &format!("expected a number from 0 to {}", Vni::MAX));
    section.number("vni", 0..=Vni::MAX).and_then(Vni::new).unwrap_or(Vni::from_bytes([0; 3]))
}

/// `tun-NAME` or `tap-NAME`, cut to what the kernel takes.
fn default_interface(device: DeviceKind, network: &str) -> String {
    let name = format!("{}-{network}", device.name());
    name.chars().take(name::INTERFACE_BYTES_MAX).collect()
}

/// Reads an address of a device, or gives what was expected.
pub(crate) fn read_address(text: &str) -> Result<IpNet, Cow<'static, str>> {
    let Ok(net) = text.parse::<IpNet>() else {
        return Err("expected an address with its prefix length, such as \"10.9.0.1/24\"".into());
    };
    let address = net.addr();
    let is_special = match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    };
    let has_hosts = net.max_prefix_len() - net.prefix_len() >= 2;
    let is_network = has_hosts && address == net.network();
    let is_broadcast = has_hosts && matches!(net, IpNet::V4(_)) && address == net.broadcast();
    if is_special || address.is_unspecified() || is_network || is_broadcast {
        return Err(format!("expected the address of a host; {address} is none in {net}").into());
    }
    Ok(net)
}

fn read_routes(section: &mut Section<'_>) -> Routes {
    let expected = format!("expected \"auto\", \"off\" or a table number from 1 to {}", u32::MAX);
    match section.value("routes", &expected) {
        None => Routes::Auto,
        Some(WordOrNumber::Word(word)) if word == "auto" => Routes::Auto,
        Some(WordOrNumber::Word(word)) if word == "off" => Routes::Off,
        Some(WordOrNumber::Number(table)) if table > 0 => Routes::Table(table),
        Some(WordOrNumber::Word(_) | WordOrNumber::Number(_)) => {
            section.fault("routes", expected);
            Routes::Auto
        }
    }
}

impl Flood {
    fn read(section: &mut Section<'_>) -> Self {
        let rate = section.number("flood_rate_pps", 1..=100_000_000);
        let burst = section.number("flood_burst", 1..=1_000_000);
        Self {
            rate_pps: rate.unwrap_or(defaults::FLOOD_RATE_PPS),
            burst: burst.unwrap_or(defaults::FLOOD_BURST),
        }
    }
}

impl Learning {
    fn read(section: &mut Section<'_>) -> Self {
        let max_entries = section.number("max_entries", ENTRIES).unwrap_or(defaults::ENTRIES_MAX);
        let per_peer = ("max_entries_per_peer", defaults::ENTRIES_PER_PEER_MAX);
        let local = ("max_entries_local", defaults::ENTRIES_LOCAL_MAX);
        let move_limit = section.number("move_limit", 1..=u8::MAX);
        Self {
            ageing: read_seconds(section, "ageing_secs", defaults::AGEING_SECS),
            max_entries,
            max_entries_per_peer: read_share(section, per_peer, max_entries),
            max_entries_local: read_share(section, local, max_entries),
            move_limit: move_limit.unwrap_or(defaults::MOVE_LIMIT),
            move_window: read_seconds(section, "move_window_secs", defaults::MOVE_WINDOW_SECS),
            hold_down: read_seconds(section, "hold_down_secs", defaults::HOLD_DOWN_SECS),
        }
    }
}

fn read_seconds(section: &mut Section<'_>, key: &'static str, default: u32) -> Duration {
    Duration::from_secs(section.number(key, AGE).unwrap_or(default).into())
}

/// Reads a share of the table; the default is cut to the whole, a number larger than it is refused.
fn read_share(section: &mut Section<'_>, (key, default): (&'static str, u32), whole: u32) -> u32 {
    let Some(share) = section.number(key, ENTRIES) else { return default.min(whole) };
    if share > whole && section.is_sound("max_entries") {
        section.fault(key, format!("expected at most max_entries, {whole}"));
    }
    share
}

impl StaticEntry {
    /// Reads an entry; its peer is looked up later.
    fn read(section: &mut Section<'_>) -> Self {
        const EXPECTED: &str = "expected a unicast MAC, such as \"02:00:00:00:00:02\"";
        section.missing("mac", EXPECTED);
        let mac = section.parsed::<Mac>("mac", EXPECTED);
        if mac.is_some_and(|mac| mac.is_multicast() || mac.is_zero()) {
            section.fault("mac", EXPECTED);
        }
        let vlan = section.number("vlan", 0..=VLAN_MAX).unwrap_or(0);
        Self { mac: mac.unwrap_or(Mac([0; 6])), vlan, peer: None }
    }
}
