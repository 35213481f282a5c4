//! Neighbour discovery (RFC 4861): what a message claims about addresses, in its payload.

use std::net::Ipv6Addr;

use super::{Headers, L4, Mac};

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// Source and target link-layer address (section 4.6.1); length in units of eight bytes.
const OPTION_LINK_ADDRESSES: [u8; 2] = [1, 2];
const OPTION_UNIT: usize = 8;

mod field {
    use std::ops::Range;

    pub(super) const TARGET: Range<usize> = 8..24;
    pub(super) const OPTION_MAC: Range<usize> = 2..8;
}

/// What a message claims beside its own source address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The address that an advertisement says to have.
    pub address: Option<Ipv6Addr>,
    /// The MAC that it says to have it at.
    pub mac: Option<Mac>,
}

/// Gives what a neighbour discovery message claims; nothing for every other packet.
///
/// # Panics
///
/// Panics if `headers` were not made from `bytes`.
pub fn claim(bytes: &[u8], headers: &Headers) -> Claim {
    let L4::Icmp6 { kind } = headers.l4 else { return Claim::default() };
    let message = &bytes[headers.l4_at()..headers.end_at()];
    let options_at = match kind {
        ROUTER_SOLICITATION => 8,
        ROUTER_ADVERTISEMENT => 16,
        NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT => field::TARGET.end,
        _ => return Claim::default(),
    };
    let target = message.get(field::TARGET).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    Claim {
        address: target.filter(|_| kind == NEIGHBOUR_ADVERTISEMENT).map(Ipv6Addr::from),
        mac: message.get(options_at..).and_then(link_address),
    }
}

/// Finds the link-layer address among the options.
fn link_address(mut options: &[u8]) -> Option<Mac> {
    loop {
        let len = usize::from(*options.get(1)?) * OPTION_UNIT;
        let (option, rest) = options.split_at_checked(len).filter(|_| len > 0)?;
        if OPTION_LINK_ADDRESSES.contains(&option[0]) {
            return Some(Mac(option[field::OPTION_MAC].try_into().ok()?));
        }
        options = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Layer, protocol};

    /// An advertisement of fd00::7 at 02:00:00:00:00:07, behind an option that means nothing.
    fn advertisement() -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, protocol::ICMP6, 255];
        let address: Ipv6Addr = "fd00::7".parse().unwrap();
        packet.extend([0xfd; 32]);
        packet.extend([NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, 0x20, 0, 0, 0]);
        packet.extend(address.octets());
        packet.extend([14, 1, 0, 0, 0, 0, 0, 0]);
        packet.extend([2, 1, 2, 0, 0, 0, 0, 7]);
        let len = (packet.len() - 40) as u16;
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        packet
    }

    fn claim_of(packet: &[u8]) -> Claim {
        claim(packet, &Headers::parse(packet, Layer::L3).unwrap())
    }

    #[test]
    fn advertisement_claims_its_target_and_mac() {
        let claim = claim_of(&advertisement());
        assert_eq!(claim.address, Some("fd00::7".parse().unwrap()));
        assert_eq!(claim.mac, Some(Mac([2, 0, 0, 0, 0, 7])));
    }

    #[test]
    fn solicitation_claims_no_target() {
        let mut packet = advertisement();
        packet[40] = NEIGHBOUR_SOLICITATION;
        assert_eq!(claim_of(&packet), Claim { address: None, mac: Some(Mac([2, 0, 0, 0, 0, 7])) });
    }

    #[test]
    fn what_is_cut_short_or_of_length_zero_claims_nothing_more() {
        let whole = advertisement();
        for len in 44..whole.len() {
            let mut packet = whole[..len].to_vec();
            packet[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
            let claim = claim_of(&packet);
            assert_eq!(claim.mac, None);
            assert_eq!(claim.address.is_some(), len >= 64);
        }
        let mut endless = whole;
        endless[65] = 0;
        assert_eq!(claim_of(&endless).mac, None);
    }

    #[test]
    fn echo_claims_nothing() {
        let mut packet = advertisement();
        packet[40] = 128;
        assert_eq!(claim_of(&packet), Claim::default());
    }
}
