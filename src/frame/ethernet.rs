//! Ethernet II with 802.1Q and 802.1ad tags.

use std::fmt;
use std::str::FromStr;

use super::{ParseError, be16};

/// Length of an untagged Ethernet header.
pub const HEADER_LEN: usize = 14;

/// Length of one 802.1Q or 802.1ad tag.
pub const TAG_LEN: usize = 4;

/// EtherType of IPv4.
pub const TYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const TYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const TYPE_IPV6: u16 = 0x86dd;

const TYPE_VLAN: u16 = 0x8100;
const TYPE_SERVICE_VLAN: u16 = 0x88a8;
const VID_MASK: u16 = 0x0fff;

/// As deep as the kernel looks (VLAN_MAX_DEPTH, include/linux/if_vlan.h).
const MAX_TAGS: usize = 8;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it is a group address; the broadcast address is one.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it is ff:ff:ff:ff:ff:ff.
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// Whether it is 00:00:00:00:00:00.
    pub const fn is_zero(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    #[inline(always)]
    fn at(bytes: &[u8], offset: usize) -> Self {
        let mut mac = [0; 6];
        mac.copy_from_slice(&bytes[offset..offset + 6]);
        Self(mac)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not six pairs of hexadecimal digits with colons between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ethernet address (six pairs of hexadecimal digits: 02:00:00:00:00:01)")]
pub struct MacError;

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts.next().ok_or(MacError)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(MacError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacError)?;
        }
        if parts.next().is_some() { Err(MacError) } else { Ok(Self(mac)) }
    }
}

/// The link header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Destination address.
    pub dst: Mac,
    /// Source address.
    pub src: Mac,
    /// VLAN identifier of the outermost tag; 0 for an untagged or priority-tagged frame.
    pub vlan: u16,
    /// EtherType behind all tags; below 0x0600 it is an 802.3 length.
    pub ethertype: u16,
}

impl Link {
    /// Parses the header and all tags; gives it with its length.
    #[inline(always)]
    pub(super) fn parse(frame: &[u8]) -> Result<(Self, usize), ParseError> {
        if frame.len() < HEADER_LEN {
            return Err(ParseError::LinkTruncated);
        }
        let mut ethertype = be16(frame, 12);
        let mut len = HEADER_LEN;
        let mut vlan = 0;
        while ethertype == TYPE_VLAN || ethertype == TYPE_SERVICE_VLAN {
            // cold: most frames are untagged
            if len == HEADER_LEN + MAX_TAGS * TAG_LEN {
                return Err(ParseError::TooManyTags);
            }
            if frame.len() < len + TAG_LEN {
                return Err(ParseError::LinkTruncated);
            }
            if len == HEADER_LEN {
                vlan = be16(frame, len) & VID_MASK;
            }
            ethertype = be16(frame, len + 2);
            len += TAG_LEN;
        }
        Ok((Self { dst: Mac::at(frame, 0), src: Mac::at(frame, 6), vlan, ethertype }, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_text_round_trips() {
        let mac: Mac = "02:00:5e:10:00:fF".parse().unwrap();
        assert_eq!(mac, Mac([2, 0, 0x5e, 0x10, 0, 0xff]));
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
    }

    #[test]
    fn mac_text_of_another_shape_is_refused() {
        for text in ["", "02", "02:00:00:00:00", "02:00:00:00:00:00:00", "2:0:0:0:0:0"] {
            assert_eq!(text.parse::<Mac>(), Err(MacError), "{text}");
        }
        for text in ["02-00-00-00-00-00", "+2:00:00:00:00:00", "0g:00:00:00:00:00"] {
            assert_eq!(text.parse::<Mac>(), Err(MacError), "{text}");
        }
    }

    #[test]
    fn group_bit_makes_a_multicast_address() {
        assert!(Mac([0xff; 6]).is_multicast() && Mac([0xff; 6]).is_broadcast());
        assert!(Mac([1, 0, 0x5e, 0, 0, 1]).is_multicast());
        assert!(!Mac([2, 0, 0, 0, 0, 1]).is_multicast());
        assert!(Mac::default().is_zero());
    }

    #[test]
    fn outermost_tag_gives_the_vlan_and_priority_tags_give_none() {
        let frame = |tags: &[u8]| {
            let mut frame = vec![0; 12];
            frame.extend_from_slice(tags);
            frame.extend_from_slice(&[0x88, 0xb5]);
            Link::parse(&frame).map(|(link, len)| (link.vlan, link.ethertype, len))
        };
        assert_eq!(frame(&[]), Ok((0, 0x88b5, 14)));
        assert_eq!(frame(&[0x81, 0, 0xe0, 0]), Ok((0, 0x88b5, 18)));
        assert_eq!(frame(&[0x88, 0xa8, 0x20, 7, 0x81, 0, 0, 9]), Ok((7, 0x88b5, 22)));
        assert_eq!(frame(&[0x81, 0, 0, 1].repeat(8)), Ok((1, 0x88b5, 46)));
        assert_eq!(frame(&[0x81, 0, 0, 1].repeat(9)), Err(ParseError::TooManyTags));
    }
}
