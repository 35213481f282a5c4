//! `[underlay]`, `[offload]` and `[vxlan]`: how datagrams are sent and received.

use std::net::IpAddr;

use serde::Deserialize;

use super::section::{Draft, Section};
use super::{defaults, name};

/// The range that the kernel takes for a socket buffer: it doubles the number, which is an `int`.
const SOCKET_BUFFER_BYTES: std::ops::RangeInclusive<u32> = 4096..=0x3fff_ffff;

/// The most sending sockets: enough entropy for the receive queues of a NIC.
const SOURCE_PORTS_MAX: u8 = 16;

/// `[underlay]`: how our own datagrams travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// Mark on our own datagrams (SO_MARK).
    pub fwmark: Option<u32>,
    /// The only device that datagrams leave from and arrive on (SO_BINDTODEVICE).
    pub bind_device: Option<String>,
    /// Hop limit of the outer header.
    pub ttl: u8,
    /// Whether the inner DSCP goes to the outer header.
    pub copy_dscp: bool,
    /// Number of sending sockets that flows are spread over, 1 to 16; none = found out ("auto").
    pub source_ports: Option<u8>,
    /// Receive buffer of each socket, bytes.
    pub receive_buffer_bytes: u32,
    /// Send buffer of each socket, bytes.
    pub send_buffer_bytes: u32,
}

impl Default for Underlay {
    fn default() -> Self {
        Self {
            fwmark: None,
            bind_device: None,
            ttl: defaults::TTL,
            copy_dscp: defaults::COPY_DSCP,
            source_ports: None,
            receive_buffer_bytes: defaults::SOCKET_BUFFER_BYTES,
            send_buffer_bytes: defaults::SOCKET_BUFFER_BYTES,
        }
    }
}

impl Underlay {
    pub(super) fn read<'a>(root: &mut Section<'a>) -> Option<Draft<'a, Self>> {
        let mut table = root.table("underlay")?;
        let default = Self::default();
        let mut buffer =
            |key| table.number(key, SOCKET_BUFFER_BYTES).unwrap_or(defaults::SOCKET_BUFFER_BYTES);
        let receive_buffer_bytes = buffer("receive_buffer_bytes");
        let send_buffer_bytes = buffer("send_buffer_bytes");
        let source_ports = table.number_or_auto("source_ports", 1..=SOURCE_PORTS_MAX);
        let underlay = Self {
            fwmark: table.number("fwmark", 1..=u32::MAX),
            bind_device: name::read_interface(&mut table, "bind_device"),
            ttl: table.number("ttl", 1..=u8::MAX).unwrap_or(default.ttl),
            copy_dscp: table.flag("copy_dscp", default.copy_dscp),
            source_ports,
            receive_buffer_bytes,
            send_buffer_bytes,
        };
        table.finish();
        Some(Draft { section: table, settings: underlay })
    }
}

/// Whether an offload is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Used where the kernel has it.
    Auto,
    /// Used; a kernel that refuses it is a failed start.
    On,
    /// Not used.
    Off,
}

/// `[offload]`: the switch of each offload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// Take GSO packets from the devices (TUNSETOFFLOAD).
    pub device_gso: Switch,
    /// Coalesce what is written to the devices.
    pub device_gro: Switch,
    /// Coalesce TCP over IPv4 beyond 64 KiB.
    pub device_big_tcp: Switch,
    /// Send runs of datagrams in one call (UDP_SEGMENT).
    pub udp_gso: Switch,
    /// Receive runs of datagrams in one call (UDP_GRO).
    pub udp_gro: Switch,
}

impl Default for Offload {
    fn default() -> Self {
        let switch = defaults::OFFLOAD;
        Self {
            device_gso: switch,
            device_gro: switch,
            device_big_tcp: switch,
            udp_gso: switch,
            udp_gro: switch,
        }
    }
}

impl Offload {
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        let Some(mut table) = root.table("offload") else { return Self::default() };
        let mut switch = |key| {
            let expected = "expected \"auto\", \"on\" or \"off\"";
            table.value(key, expected).unwrap_or(defaults::OFFLOAD)
        };
        let offload = Self {
            device_gso: switch("device_gso"),
            device_gro: switch("device_gro"),
            device_big_tcp: switch("device_big_tcp"),
            udp_gso: switch("udp_gso"),
            udp_gro: switch("udp_gro"),
        };
        table.finish();
        offload
    }
}

/// `[vxlan]`: clear VXLAN and VXLAN-GPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The address that datagrams arrive on and leave from; `::` is any, IPv4 and IPv6 at once.
    pub listen: IpAddr,
    /// VXLAN's port (tap networks), and the peers' where they give none.
    pub port: u16,
    /// VXLAN-GPE's port (tun networks), and the peers' where they give none.
    pub gpe_port: u16,
}

impl Default for Vxlan {
    fn default() -> Self {
        Self {
            listen: defaults::LISTEN,
            port: defaults::VXLAN_PORT,
            gpe_port: defaults::VXLAN_GPE_PORT,
        }
    }
}

impl Vxlan {
    pub(super) fn read<'a>(root: &mut Section<'a>) -> Option<Draft<'a, Self>> {
        let mut table = root.table("vxlan")?;
        let default = Self::default();
        let port = |table: &mut Section<'_>, key| table.number(key, 1..=u16::MAX);
        let expected = "expected an IPv4 or IPv6 address";
        let listen: Option<IpAddr> = table.parsed("listen", expected);
        let vxlan = Self {
            listen: listen.unwrap_or(default.listen).to_canonical(),
            port: port(&mut table, "port").unwrap_or(default.port),
            gpe_port: port(&mut table, "gpe_port").unwrap_or(default.gpe_port),
        };
        if !is_own_address(vxlan.listen) {
            table.fault("listen", "expected an address of this host, or \"::\" or \"0.0.0.0\"");
        }
        if vxlan.port == vxlan.gpe_port {
            let key = if table.has("gpe_port") { "gpe_port" } else { "port" };
            let other = if key == "port" { "gpe_port" } else { "port" };
            table.fault(key, format!("expected another port than {other}, {}", vxlan.port));
        }
        table.finish();
        Some(Draft { section: table, settings: vxlan })
    }

    /// Whether a socket on the listen address can send to an address.
    pub fn can_reach(&self, address: IpAddr) -> bool {
        can_reach(self.listen, address)
    }
}

/// Whether a socket on one address can send to another.
pub fn can_reach(listen: IpAddr, address: IpAddr) -> bool {
    match listen {
        IpAddr::V4(_) => address.is_ipv4(),
        IpAddr::V6(listen) => listen.is_unspecified() || address.is_ipv6(),
    }
}

/// Whether a socket can be bound to the address.
pub(super) fn is_own_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_multicast(),
    }
}
