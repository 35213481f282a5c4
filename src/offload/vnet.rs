//! The header in front of every packet that a device reads or writes (`struct virtio_net_hdr`,
//! include/uapi/linux/virtio_net.h).

use crate::drops::DropReason;
use crate::frame::{Headers, L4, Net, tcp};

/// What the kernel says about a packet's unfinished work, or we to it. Offsets count from the
/// packet's first byte, which for a frame is the link header's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// Bits, see [`VnetHeader::NEEDS_CSUM`].
    pub flags: u8,
    /// The kind of GSO packet, see [`VnetHeader::gso`].
    pub gso_type: u8,
    /// Length of all headers; what the kernel gives is only a hint.
    pub hdr_len: u16,
    /// Payload of each segment, bytes.
    pub gso_size: u16,
    /// Where the bytes begin that the checksum covers.
    pub csum_start: u16,
    /// Where the checksum stands, from `csum_start` on.
    pub csum_offset: u16,
}

/// How a GSO packet is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gso {
    /// Not a GSO packet.
    None,
    /// TCP segments.
    Tcp {
        /// Payload of each but the last, bytes; not zero.
        size: u16,
    },
    /// UDP datagrams.
    Udp {
        /// Payload of each but the last, bytes; not zero.
        size: u16,
    },
}

impl Gso {
    /// Gives the number of wire packets that a packet with these headers stands for.
    pub fn packets(self, headers: &Headers) -> u64 {
        let payload = headers.end_at().saturating_sub(headers.payload_start());
        match self {
            Self::None => 1,
            Self::Tcp { size } | Self::Udp { size } => {
                (payload.div_ceil(usize::from(size.max(1))) as u64).max(1)
            }
        }
    }
}

impl VnetHeader {
    /// Length of the header; native byte order.
    pub const LEN: usize = 10;

    /// The checksum field holds the sum of the pseudo-header; the rest has to be added
    /// (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
    pub const NEEDS_CSUM: u8 = 0x01;

    const GSO_NONE: u8 = 0x00;
    const GSO_TCPV4: u8 = 0x01;
    const GSO_TCPV6: u8 = 0x04;
    const GSO_UDP_L4: u8 = 0x05;
    /// The first segment carries CWR.
    const GSO_ECN: u8 = 0x80;

    /// Gives the header of a GSO packet with a partial checksum; without GSO, of a packet with a
    /// partial checksum; that of a finished packet if it is neither TCP nor UDP.
    pub fn of(headers: &Headers, gso: Gso) -> Self {
        let Some((_, csum_offset)) = headers.l4.checksum_place() else { return Self::default() };
        let (gso_type, gso_size) = match (gso, &headers.net) {
            (Gso::None, _) => (Self::GSO_NONE, 0),
            (Gso::Tcp { size }, Net::V6(_)) => (Self::GSO_TCPV6, size),
            (Gso::Tcp { size }, _) => (Self::GSO_TCPV4, size),
            (Gso::Udp { size }, _) => (Self::GSO_UDP_L4, size),
        };
        let has_cwr = matches!(headers.l4, L4::Tcp { flags, .. } if flags & tcp::flag::CWR != 0);
        let is_tcp_gso = matches!(gso, Gso::Tcp { .. });
        Self {
            flags: Self::NEEDS_CSUM,
            gso_type: gso_type | if has_cwr && is_tcp_gso { Self::GSO_ECN } else { 0 },
            hdr_len: headers.payload_start() as u16,
            gso_size,
            csum_start: headers.l4_start,
            csum_offset: csum_offset as u16,
        }
    }

    /// Whether the checksum is unfinished.
    pub fn needs_checksum(&self) -> bool {
        self.flags & Self::NEEDS_CSUM != 0
    }

    /// Gives the kind of GSO packet.
    ///
    /// # Errors
    ///
    /// [`DropReason::VnetHeader`] for kinds that no device of ours was asked for, and for size 0.
    pub fn gso(&self) -> Result<Gso, DropReason> {
        match (self.gso_type & !Self::GSO_ECN, self.gso_size) {
            (Self::GSO_NONE, _) => Ok(Gso::None),
            (_, 0) => Err(DropReason::VnetHeader),
            (Self::GSO_TCPV4 | Self::GSO_TCPV6, size) => Ok(Gso::Tcp { size }),
            (Self::GSO_UDP_L4, size) => Ok(Gso::Udp { size }),
            _ => Err(DropReason::VnetHeader),
        }
    }

    /// Gives the kind of GSO packet if it is what the packet's own headers say.
    ///
    /// # Errors
    ///
    /// [`DropReason::VnetHeader`] if the two contradict each other.
    pub fn gso_of(&self, headers: &Headers) -> Result<Gso, DropReason> {
        let gso = self.gso()?;
        let place = headers.l4.checksum_place();
        let checksum_fits = !self.needs_checksum()
            || (self.csum_start == headers.l4_start
                && place.is_some_and(|(_, offset)| offset == usize::from(self.csum_offset)));
        let kind_fits = match (gso, self.gso_type & !Self::GSO_ECN, &headers.net, &headers.l4) {
            (Gso::None, ..) => return Ok(gso),
            (Gso::Tcp { .. }, Self::GSO_TCPV4, Net::V4(_), L4::Tcp { .. }) => true,
            (Gso::Tcp { .. }, Self::GSO_TCPV6, Net::V6(_), L4::Tcp { .. }) => true,
            (Gso::Udp { .. }, _, Net::V4(_) | Net::V6(_), L4::Udp { .. }) => true,
            (Gso::Tcp { .. } | Gso::Udp { .. }, ..) => false,
        };
        if kind_fits && checksum_fits && !headers.is_fragment() {
            Ok(gso)
        } else {
            Err(DropReason::VnetHeader)
        }
    }

    /// Gives the header as the kernel reads it.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let [hl0, hl1] = self.hdr_len.to_ne_bytes();
        let [gs0, gs1] = self.gso_size.to_ne_bytes();
        let [cs0, cs1] = self.csum_start.to_ne_bytes();
        let [co0, co1] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, hl0, hl1, gs0, gs1, cs0, cs1, co0, co1]
    }

    /// Reads the header as the kernel writes it; any bytes are one.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Self {
            flags: bytes[0],
            gso_type: bytes[1],
            hdr_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::build::Packet;

    proptest! {
        #[test]
        fn bytes_round_trip(bytes: [u8; VnetHeader::LEN]) {
            prop_assert_eq!(VnetHeader::from_bytes(bytes).to_bytes(), bytes);
        }
    }

    #[test]
    fn default_is_a_packet_without_offload() {
        assert_eq!(VnetHeader::default().to_bytes(), [0; VnetHeader::LEN]);
        assert_eq!(VnetHeader::default().gso(), Ok(Gso::None));
    }

    #[test]
    fn unknown_kinds_and_size_zero_are_refused() {
        for gso_type in 0..=u8::MAX {
            let header = |gso_size| VnetHeader { gso_type, gso_size, ..VnetHeader::default() };
            let expected = match gso_type & 0x7f {
                0 => Ok(Gso::None),
                1 | 4 => Ok(Gso::Tcp { size: 9 }),
                5 => Ok(Gso::Udp { size: 9 }),
                _ => Err(DropReason::VnetHeader),
            };
            assert_eq!(header(9).gso(), expected);
            assert_eq!(header(0).gso().is_ok(), gso_type & 0x7f == 0);
        }
    }

    #[test]
    fn kinds_that_contradict_the_packet_are_refused() {
        let size = 100;
        let tcp = [(Packet::tcp4(), 1), (Packet::tcp6(), 4)];
        let udp = [(Packet::udp4(), 5), (Packet::udp6(), 5)];
        for (packet, kind) in tcp.into_iter().chain(udp) {
            let headers = packet.headers();
            let gso = if kind == 5 { Gso::Udp { size } } else { Gso::Tcp { size } };
            let right = VnetHeader::of(&headers, gso);
            assert_eq!((right.gso_type, right.gso_of(&headers)), (kind, Ok(gso)));
            let start = VnetHeader { csum_start: right.csum_start + 2, ..right };
            let offset = VnetHeader { csum_offset: 4, ..right };
            let others = [1, 4, 5].into_iter().filter(|other| *other != kind);
            let kinds = others.map(|gso_type| VnetHeader { gso_type, ..right });
            for wrong in kinds.chain([start, offset]) {
                assert_eq!(wrong.gso_of(&headers), Err(DropReason::VnetHeader), "{wrong:?}");
            }
        }
        let fragment = Packet::udp4().fragment(0, true).headers();
        let header = VnetHeader::of(&fragment, Gso::Udp { size });
        assert_eq!(header.gso_of(&fragment), Err(DropReason::VnetHeader));
    }
}
