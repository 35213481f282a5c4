//! TCP, UDP and ICMP headers, as far as forwarding and offloads need them.

use super::{ParseError, be16, protocol, tcp};

/// Length of a UDP header.
pub const UDP_HEADER_LEN: usize = 8;

/// Offset of the checksum in a UDP header.
pub const UDP_CHECKSUM: usize = 6;

/// Offset of the length in a UDP header.
pub const UDP_LENGTH: usize = 4;

/// The header behind IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L4 {
    /// TCP (RFC 9293).
    Tcp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Length of the header with its options, 20 to 60 bytes.
        header_len: u8,
        /// The flags byte, see [`tcp::flag`].
        flags: u8,
    },
    /// UDP (RFC 768).
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
    },
    /// ICMP for IPv4.
    Icmp4 {
        /// The message type.
        kind: u8,
    },
    /// ICMP for IPv6.
    Icmp6 {
        /// The message type.
        kind: u8,
    },
    /// Another protocol, by its number; or one of those above, cut short by fragmentation.
    Other(u8),
    /// Not IP, or a fragment that is not the first.
    None,
}

impl L4 {
    /// Parses what is behind the IP headers, up to the end of the packet.
    ///
    /// A TCP or UDP header that is cut short is an error, but in a fragment.
    #[inline(always)]
    pub(super) fn parse(number: u8, bytes: &[u8], in_fragment: bool) -> Result<Self, ParseError> {
        let parsed = match number {
            protocol::TCP => Self::parse_tcp(bytes),
            protocol::UDP => bytes
                .first_chunk::<UDP_HEADER_LEN>()
                .map(|header| Self::Udp { src_port: be16(header, 0), dst_port: be16(header, 2) }),
            protocol::ICMP4 => bytes.first().map(|kind| Self::Icmp4 { kind: *kind }),
            protocol::ICMP6 => bytes.first().map(|kind| Self::Icmp6 { kind: *kind }),
            _ => Some(Self::Other(number)),
        };
        match parsed {
            Some(l4) => Ok(l4),
            None if in_fragment || !matches!(number, protocol::TCP | protocol::UDP) => {
                Ok(Self::Other(number))
            }
            None => Err(ParseError::Transport),
        }
    }

    #[inline(always)]
    fn parse_tcp(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<{ tcp::HEADER_LEN }>()?;
        let header_len = (header[tcp::field::DATA_OFFSET] >> 4) * 4;
        if usize::from(header_len) < tcp::HEADER_LEN || bytes.len() < usize::from(header_len) {
            return None;
        }
        Some(Self::Tcp {
            src_port: be16(header, 0),
            dst_port: be16(header, 2),
            header_len,
            flags: header[tcp::field::FLAGS],
        })
    }

    /// Gives the length of a TCP or UDP header, 0 for others.
    pub fn header_len(&self) -> usize {
        match self {
            Self::Tcp { header_len, .. } => usize::from(*header_len),
            Self::Udp { .. } => UDP_HEADER_LEN,
            Self::Icmp4 { .. } | Self::Icmp6 { .. } | Self::Other(_) | Self::None => 0,
        }
    }

    /// Gives the protocol number and the offset of the checksum in the header, for TCP and UDP.
    pub fn checksum_place(&self) -> Option<(u8, usize)> {
        match self {
            Self::Tcp { .. } => Some((protocol::TCP, tcp::field::CHECKSUM)),
            Self::Udp { .. } => Some((protocol::UDP, UDP_CHECKSUM)),
            Self::Icmp4 { .. } | Self::Icmp6 { .. } | Self::Other(_) | Self::None => None,
        }
    }
}
