//! The overhead table: what each way of crossing adds to a packet.

use std::net::IpAddr;

use super::outer::TunnelIps;
use super::wireguard::DATA_OVERHEAD;

/// UDP header, RFC 768.
const UDP: u16 = 8;
/// VXLAN or VXLAN-GPE header, RFC 7348 section 5.
const VXLAN: u16 = 8;
/// What QUIC leaves room for around a datagram: flags, the peer's connection ID, the packet number
/// and the tag (RFC 9000 section 17.3.1, RFC 9001 section 5.3), the frame's type and length (RFC 9221).
pub const QUIC: u16 = 1 + 8 + 4 + 16 + 9;
/// Ethernet header of a frame without a VLAN tag.
pub const ETHERNET: u16 = 14;

/// What is put around a frame or packet, inside the outer UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// A VXLAN or VXLAN-GPE header.
    Vxlan,
    /// WireGuard around an IP packet.
    WireGuard,
    /// QUIC around a VXLAN or VXLAN-GPE header.
    Quic,
    /// WireGuard around VXLAN between these addresses, around a frame.
    VxlanInWireGuard(TunnelIps),
}

impl Wrap {
    /// Gives the bytes that it adds.
    pub const fn len(self) -> u16 {
        match self {
            Self::Vxlan => VXLAN,
            Self::WireGuard => DATA_OVERHEAD as u16,
            Self::Quic => QUIC + VXLAN,
            Self::VxlanInWireGuard(ips) => (DATA_OVERHEAD + ips.header_len()) as u16,
        }
    }

    /// Whether it adds nothing: never.
    pub const fn is_empty(self) -> bool {
        false
    }
}

/// The smallest outer MTU that is believed: what IPv6 demands of every link (RFC 8200 section 5),
/// and for IPv4 the 576 bytes that every host takes (RFC 791).
pub const fn smallest_path_mtu(to: IpAddr) -> u16 {
    match to {
        IpAddr::V4(_) => 576,
        IpAddr::V6(_) => 1280,
    }
}

/// The outer IP and UDP headers.
pub const fn datagram_header_len(to: IpAddr) -> u16 {
    let ip = match to {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    };
    ip + UDP
}

/// Bytes around the inner frame or packet, from the outer IP header on.
pub const fn outer_len(wrap: Wrap, to: IpAddr) -> u16 {
    datagram_header_len(to) + wrap.len()
}

/// The largest inner frame or packet that crosses a path in one datagram.
pub const fn inner_max(wrap: Wrap, to: IpAddr, path_mtu: u16) -> u16 {
    path_mtu.saturating_sub(outer_len(wrap, to))
}

/// The largest inner IP packet: an untagged frame has its Ethernet header inside.
pub const fn network_mtu(wrap: Wrap, to: IpAddr, path_mtu: u16, is_frame: bool) -> u16 {
    inner_max(wrap, to, path_mtu).saturating_sub(if is_frame { ETHERNET } else { 0 })
}

/// Sizes that real paths have (RFC 1191 section 7.1, and those of tunnels), largest first.
const PLATEAUS: [u16; 14] =
    [9000, 8166, 4352, 2002, 1500, 1492, 1480, 1450, 1420, 1400, 1350, 1280, 1006, 576];

/// What to believe of a path that refused a datagram with `refused` bytes of UDP payload: the next
/// size below it.
pub fn smaller_path_mtu(to: IpAddr, refused: u32) -> u16 {
    let size = refused + u32::from(datagram_header_len(to));
    let plateau = PLATEAUS.into_iter().find(|plateau| u32::from(*plateau) < size);
    plateau.unwrap_or(0).max(smallest_path_mtu(to))
}

/// The segments of a GSO packet that still fit into one send: a device that hands over no more
/// saves a second, short send for each.
pub const fn run_segments(wrap: Wrap, network_mtu: u16, is_frame: bool) -> u32 {
    let link = if is_frame { ETHERNET } else { 0 };
    (65_535 - 20 - UDP as u32) / (network_mtu as u32 + link as u32 + wrap.len() as u32)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn overhead_over_ethernet_is_what_the_documentation_says() {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(network_mtu(Wrap::Vxlan, v4, 1500, true), 1450);
        assert_eq!(network_mtu(Wrap::Vxlan, v4, 1500, false), 1464);
        assert_eq!(network_mtu(Wrap::Vxlan, v6, 1500, true), 1430);
        assert_eq!(network_mtu(Wrap::Vxlan, v6, 1500, false), 1444);
    }

    #[test]
    fn overhead_of_wireguard_is_what_wg_quick_takes_it_for() {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(network_mtu(Wrap::WireGuard, v4, 1500, false), 1440);
        assert_eq!(network_mtu(Wrap::WireGuard, v6, 1500, false), 1420);
        let ips = TunnelIps::V4(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
        assert_eq!(network_mtu(Wrap::VxlanInWireGuard(ips), v4, 1500, true), 1390);
        let ips = TunnelIps::V6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        assert_eq!(network_mtu(Wrap::VxlanInWireGuard(ips), v6, 1500, true), 1350);
    }

    #[test]
    fn as_many_segments_as_one_send_takes() {
        assert_eq!(
            (run_segments(Wrap::Vxlan, 1464, false), run_segments(Wrap::Vxlan, 1450, true)),
            (44, 44)
        );
        assert_eq!(
            (run_segments(Wrap::Vxlan, 8964, false), run_segments(Wrap::Vxlan, 8950, true)),
            (7, 7)
        );
    }

    #[test]
    fn a_path_that_refused_a_size_is_smaller_than_it() {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(smaller_path_mtu(v4, 1472), 1492);
        assert_eq!(smaller_path_mtu(v4, 1472 - 8), 1480);
        assert_eq!(smaller_path_mtu(v6, 1452), 1492);
        assert_eq!(smaller_path_mtu(v4, 100), 576);
        assert_eq!(smaller_path_mtu(v6, 1232), 1280);
    }
}
