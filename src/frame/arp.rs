//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use super::{Mac, Net, ParseError, be16};

/// Length of an ARP packet for IPv4 over Ethernet.
pub const LEN: usize = 28;

const HARDWARE_ETHERNET: u16 = 1;
/// The kernel takes it on Ethernet, too (net/ipv4/arp.c, arp_process).
const HARDWARE_IEEE802: u16 = 6;
const OPERATION_REQUEST: u16 = 1;

/// What an ARP packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpInfo {
    /// The address that the sender claims.
    pub sender: Ipv4Addr,
    /// The link address that the sender claims it for.
    pub sender_mac: Mac,
    /// The address that is asked for, or the receiver of the answer.
    pub target: Ipv4Addr,
    /// Whether it is a request; otherwise a reply or another operation.
    pub request: bool,
}

/// Parses what follows EtherType 0x0806; other address families are [`Net::Other`].
pub(super) fn parse(packet: &[u8]) -> Result<Net, ParseError> {
    let packet: &[u8; LEN] = packet.first_chunk().ok_or(ParseError::ArpTruncated)?;
    let hardware = be16(packet, 0);
    let is_ethernet = hardware == HARDWARE_ETHERNET || hardware == HARDWARE_IEEE802;
    if !is_ethernet || packet[2..6] != [0x08, 0x00, 6, 4] {
        return Ok(Net::Other);
    }
    let [.., s0, s1, s2, s3, _, _, _, _, _, _, t0, t1, t2, t3] = *packet;
    let mut sender_mac = Mac::default();
    sender_mac.0.copy_from_slice(&packet[8..14]);
    Ok(Net::Arp(ArpInfo {
        sender: Ipv4Addr::new(s0, s1, s2, s3),
        sender_mac,
        target: Ipv4Addr::new(t0, t1, t2, t3),
        request: be16(packet, 6) == OPERATION_REQUEST,
    }))
}
