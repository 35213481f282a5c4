//! What stands in front of a frame or packet, before anything is sealed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::frame::checksum::{self, Sum};
use crate::frame::vxlan;

/// The port that VXLAN has inside WireGuard: IANA's (RFC 7348 section 8).
pub const VXLAN_PORT: u16 = 4789;

const UDP: u8 = 17;
const UDP_LEN: usize = 8;
const HOP_LIMIT: u8 = 64;
/// Don't Fragment, RFC 791.
const DF: u16 = 0x4000;

/// The two ends of VXLAN inside WireGuard, which takes only IP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelIps {
    /// Over IPv4: ours, and the peer's.
    V4(Ipv4Addr, Ipv4Addr),
    /// Over IPv6: ours, and the peer's.
    V6(Ipv6Addr, Ipv6Addr),
}

/// The headers in front of a frame or packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    /// Nothing: WireGuard seals the packet as it is.
    None,
    /// A VXLAN or VXLAN-GPE header: the payload of a datagram.
    Vxlan([u8; vxlan::HEADER_LEN]),
    /// IP, UDP and VXLAN: the payload of WireGuard.
    Tunnel {
        /// From where to where.
        ips: TunnelIps,
        /// The VXLAN header.
        vxlan: [u8; vxlan::HEADER_LEN],
        /// The UDP source port: entropy of the flow, which a far end may spread load by.
        source_port: u16,
        /// The traffic class: DSCP and ECN.
        tos: u8,
    },
}

impl TunnelIps {
    /// Pairs addresses of one family.
    pub fn new(ours: IpAddr, theirs: IpAddr) -> Option<Self> {
        match (ours, theirs) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => Some(Self::V4(ours, theirs)),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => Some(Self::V6(ours, theirs)),
            _ => None,
        }
    }

    /// Gives the length of the headers from IP to VXLAN.
    pub const fn header_len(self) -> usize {
        self.ip_len() + UDP_LEN + vxlan::HEADER_LEN
    }

    const fn ip_len(self) -> usize {
        match self {
            Self::V4(..) => 20,
            Self::V6(..) => 40,
        }
    }

    /// Finds VXLAN from the peer to us in a packet that the peer sealed; gives what is in front of
    /// its header, and the traffic class.
    pub fn decapsulate(self, packet: &[u8]) -> Option<(usize, u8)> {
        let (at, tos) = match self {
            Self::V4(ours, theirs) => udp_in_v4(packet, theirs, ours)?,
            Self::V6(ours, theirs) => udp_in_v6(packet, theirs, ours)?,
        };
        let udp: &[u8; UDP_LEN] = packet.get(at..)?.first_chunk()?;
        let [_, _, high, low, length_high, length_low, ..] = *udp;
        let is_vxlan = u16::from_be_bytes([high, low]) == VXLAN_PORT;
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        (is_vxlan && length == packet.len() - at).then_some((at + UDP_LEN, tos))
    }
}

fn udp_in_v4(packet: &[u8], from: Ipv4Addr, to: Ipv4Addr) -> Option<(usize, u8)> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let len = usize::from(header[0] & 0x0f) * 4;
    // No fragment: neither an offset nor more to come.
    let is_whole = u16::from_be_bytes([header[6], header[7]]) & 0x3fff == 0;
    let is_udp = header[0] >> 4 == 4 && len >= 20 && header[9] == UDP && is_whole;
    let is_ours = header[12..16] == from.octets() && header[16..20] == to.octets();
    (is_udp && is_ours).then_some((len, header[1]))
}

fn udp_in_v6(packet: &[u8], from: Ipv6Addr, to: Ipv6Addr) -> Option<(usize, u8)> {
    let header: &[u8; 40] = packet.first_chunk()?;
    let is_udp = header[0] >> 4 == 6 && header[6] == UDP;
    let is_ours = header[8..24] == from.octets() && header[24..40] == to.octets();
    (is_udp && is_ours).then_some((40, header[0] << 4 | header[1] >> 4))
}

impl Outer {
    /// Gives the length.
    pub const fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Vxlan(_) => vxlan::HEADER_LEN,
            Self::Tunnel { ips, .. } => ips.header_len(),
        }
    }

    /// Whether there is nothing.
    pub const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether it may stand in the bytes in front of a packet that was received: there is room for
    /// a VXLAN header, and it is the same for every peer.
    pub const fn fits_in_place(&self) -> bool {
        matches!(self, Self::None | Self::Vxlan(_))
    }

    /// Writes the headers to the front of `head`, the rest of which and `body` are what follows.
    ///
    /// # Panics
    ///
    /// Panics if `head` is shorter than [`Outer::len`].
    pub fn write(&self, head: &mut [u8], body: &[u8]) {
        match self {
            Self::None => {}
            Self::Vxlan(vxlan) => head[..vxlan.len()].copy_from_slice(vxlan),
            Self::Tunnel { ips, vxlan, source_port, tos } => {
                let at = ips.ip_len();
                let (ip, udp) = head.split_at_mut(at);
                udp[UDP_LEN..UDP_LEN + vxlan.len()].copy_from_slice(vxlan);
                // A frame of 64 KiB is far above every path: it never comes here.
                let len = (udp.len() + body.len()) as u16;
                udp[..2].copy_from_slice(&source_port.to_be_bytes());
                udp[2..4].copy_from_slice(&VXLAN_PORT.to_be_bytes());
                udp[4..6].copy_from_slice(&len.to_be_bytes());
                udp[6..8].fill(0);
                match *ips {
                    TunnelIps::V4(from, to) => write_v4(ip, len, from, to, *tos),
                    TunnelIps::V6(from, to) => {
                        write_v6(ip, len, from, to, *tos);
                        // Zero is allowed over IPv4 only (RFC 7348 section 5, RFC 6935).
                        let checksum = udp_checksum(from, to, udp, body);
                        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
                    }
                }
            }
        }
    }
}

fn write_v4(ip: &mut [u8], len: u16, from: Ipv4Addr, to: Ipv4Addr, tos: u8) {
    let total = len + 20;
    ip.fill(0);
    (ip[0], ip[1]) = (0x45, tos);
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip[6..8].copy_from_slice(&DF.to_be_bytes());
    (ip[8], ip[9]) = (HOP_LIMIT, UDP);
    ip[12..16].copy_from_slice(&from.octets());
    ip[16..20].copy_from_slice(&to.octets());
    let sum = checksum::ipv4_header(ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn write_v6(ip: &mut [u8], len: u16, from: Ipv6Addr, to: Ipv6Addr, tos: u8) {
    ip.fill(0);
    (ip[0], ip[1]) = (0x60 | tos >> 4, tos << 4);
    ip[4..6].copy_from_slice(&len.to_be_bytes());
    (ip[6], ip[7]) = (UDP, HOP_LIMIT);
    ip[8..24].copy_from_slice(&from.octets());
    ip[24..40].copy_from_slice(&to.octets());
}

fn udp_checksum(from: Ipv6Addr, to: Ipv6Addr, udp: &[u8], body: &[u8]) -> u16 {
    let len = (udp.len() + body.len()) as u16;
    let mut sum = checksum::pseudo_v6(from, to, UDP, len);
    sum.add_bytes(udp);
    let mut rest = Sum::default();
    rest.add_bytes(body);
    match udp.len() % 2 {
        0 => sum.add(rest),
        // Behind an odd number of bytes every byte has the other's place (RFC 1071 section 2).
        _ => sum.add_u16(rest.fold().swap_bytes()),
    }
    match sum.checksum() {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Headers, Layer};

    fn outer(ips: TunnelIps) -> Outer {
        Outer::Tunnel { ips, vxlan: [8, 0, 0, 0, 0, 0, 42, 0], source_port: 50_000, tos: 3 }
    }

    fn pairs() -> [TunnelIps; 2] {
        let v6 = |last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
        [
            TunnelIps::V4(Ipv4Addr::new(10, 255, 0, 1), Ipv4Addr::new(10, 255, 0, 2)),
            TunnelIps::V6(v6(1), v6(2)),
        ]
    }

    fn reversed(ips: TunnelIps) -> TunnelIps {
        match ips {
            TunnelIps::V4(a, b) => TunnelIps::V4(b, a),
            TunnelIps::V6(a, b) => TunnelIps::V6(b, a),
        }
    }

    /// Writes a packet whose frame stands partly in the head.
    fn packet(ips: TunnelIps, in_head: usize, frame: &[u8]) -> Vec<u8> {
        let outer = outer(ips);
        let mut head = vec![0; outer.len()];
        head.extend(&frame[..in_head]);
        outer.write(&mut head, &frame[in_head..]);
        head.extend(&frame[in_head..]);
        head
    }

    #[test]
    fn headers_are_valid_and_are_found_again_by_the_other_end() {
        let frame: Vec<_> = (0..101u8).collect();
        for ips in pairs() {
            let whole = packet(ips, 0, &frame);
            for in_head in 0..frame.len() {
                assert_eq!(packet(ips, in_head, &frame), whole, "{in_head}");
            }
            let headers = Headers::parse(&whole, Layer::L3).unwrap();
            assert_eq!(headers.end_at(), whole.len());
            let valid = checksum::verify_transport(&whole, &headers);
            let expected = match ips {
                TunnelIps::V4(..) => checksum::Check::Absent,
                TunnelIps::V6(..) => checksum::Check::Valid,
            };
            assert_eq!(valid, expected);
            let found = reversed(ips).decapsulate(&whole);
            assert_eq!(found, Some((ips.header_len() - vxlan::HEADER_LEN, 3)));
            assert_eq!(ips.decapsulate(&whole), None, "from us");
        }
    }

    #[test]
    fn what_is_not_vxlan_from_the_peer_is_not_found() {
        for ips in pairs() {
            let whole = packet(ips, 0, &[7; 60]);
            let (to, udp) = (reversed(ips), ips.ip_len());
            for len in 0..whole.len() {
                assert_eq!(to.decapsulate(&whole[..len]), None, "{len}");
            }
            let with = |at: usize, value: u8| {
                let mut changed = whole.clone();
                changed[at] = value;
                to.decapsulate(&changed)
            };
            assert_eq!(with(0, 0x50), None, "version");
            assert_eq!(with(udp + 3, 0), None, "port");
            assert_eq!(with(udp + 5, 0), None, "length");
            assert_eq!(with(udp - 1, 9), None, "destination");
            match ips {
                TunnelIps::V4(..) => {
                    assert_eq!((with(6, 0x20), with(7, 1)), (None, None), "fragments");
                    assert_eq!((with(9, 6), with(0, 0x44)), (None, None), "protocol, length");
                }
                TunnelIps::V6(..) => assert_eq!(with(6, 44), None, "next header"),
            }
        }
    }
}
