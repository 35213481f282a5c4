//! What a packet is: header views and builders for the formats that cross a tunnel. Pure.
//!
//! Bytes from outside pass one gate, [`Headers::parse`], which is called once per packet or GSO
//! packet; what it gives is small and `Copy`, and every offset in it lies inside the bytes that it
//! was made from. Functions that take bytes and their [`Headers`] panic if the two do not belong
//! together; they never do on what a peer sends. This room keeps no state and knows no table.
//!
//! Read [`headers`] first, then [`checksum`].

pub mod arp;
pub mod checksum;
pub mod ecn;
pub mod ethernet;
pub mod headers;
pub mod hop_limit;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod l4;
pub mod ndp;
pub mod tcp;

pub mod vxlan;

#[cfg(test)]
pub(crate) mod build;

pub use arp::ArpInfo;
pub use ethernet::{Link, Mac, MacError};
pub use headers::{Headers, Net, ParseError};
pub use ipv4::V4Info;
pub use ipv6::V6Info;
pub use l4::L4;

/// What a network carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Ethernet frames, by a TAP device.
    L2,
    /// IP packets, by a TUN device.
    L3,
}

/// IP protocol numbers (IANA).
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP4: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMP6: u8 = 58;
}

/// Reads a big-endian number; the caller has checked that it is there.
fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Writes a big-endian number; the caller has checked that there is room.
fn put_be16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
