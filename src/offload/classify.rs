//! What a receive buffer is: datagrams, or one datagram that holds a whole GSO packet.

use super::Gso;
use crate::frame::checksum::looks_partial;
use crate::frame::{Headers, L4, Layer, Net, ipv4, ipv6, vxlan};

/// Datagrams of one UDP GSO packet: the kernel makes no more of them, and takes no more
/// (UDP_MAX_SEGMENTS, include/linux/udp.h).
const UDP_SEGMENTS_MAX: u64 = 128;

/// What a receive buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// Datagrams of equal length, the last may be shorter; or one.
    Datagrams {
        /// Length of each but the last, bytes; never 0.
        stride: usize,
    },
    /// One datagram whose payload is a GSO packet with a partial checksum, from a kernel peer on
    /// this machine.
    Super {
        /// How it would have been cut.
        gso: Gso,
    },
    /// Neither: what claims to be a GSO packet ends elsewhere than the buffer.
    Unclear,
}

/// Says what a receive buffer is, from its VXLAN header on.
///
/// `stride` is the segment size that came with UDP_GRO. A VXLAN device of the kernel on the other
/// end of a veth hands over GSO packets uncut: inner TCP without any mark, and inner UDP marked
/// with the segment size of the *inner* datagrams. Cutting by that would read inner payload as
/// VXLAN headers, and let whoever sends it speak in any network. So a stride is believed only if
/// the first frame ends within it by its own IP length; whatever else is one datagram.
///
/// `network_mtu` is that of the inner IP packets. The slices' own VXLAN headers are not compared.
pub fn classify(buffer: &[u8], stride: Option<u16>, layer: Layer, network_mtu: u16) -> Buffer {
    let whole = Buffer::Datagrams { stride: buffer.len().max(1) };
    let stride = stride.map_or(0, usize::from);
    let is_run = stride > 0 && stride < buffer.len();
    // Nothing that a GSO packet could hide in: the common single datagram.
    if !is_run && buffer.len() <= usize::from(network_mtu) {
        return whole;
    }
    let Some(frame) = buffer.get(vxlan::HEADER_LEN..) else {
        // cold: slices of less than a VXLAN header
        return if is_run { Buffer::Datagrams { stride } } else { whole };
    };
    let Ok(headers) = Headers::parse(frame, layer) else {
        // A GSO packet of the kernel can be parsed, so this is a run with a bad first frame.
        return if is_run { Buffer::Datagrams { stride } } else { whole };
    };
    if is_run {
        return classify_run(frame, &headers, stride);
    }
    match tcp_size(frame, &headers, network_mtu) {
        Some(size) => Buffer::Super { gso: Gso::Tcp { size } },
        None => whole,
    }
}

/// Says what a buffer with a segment size is.
fn classify_run(frame: &[u8], headers: &Headers, stride: usize) -> Buffer {
    let is_udp = matches!(headers.l4, L4::Udp { .. }) && !headers.is_fragment();
    let is_partial = looks_partial(frame, headers);
    // A first frame with a finished checksum is no GSO packet, whatever length it claims: its
    // slice is refused by itself later, and those of others are not lost with it. But where a
    // routing header or a source route names the destination that the checksum is over, there is
    // no telling whether it is finished.
    if ends_within(headers, stride) || !is_udp || !(is_partial || has_options(headers)) {
        return Buffer::Datagrams { stride };
    }
    // cold: a kernel peer on this machine
    let gso = Gso::Udp { size: stride as u16 };
    let is_whole = headers.end_at() == frame.len();
    if is_partial && is_whole && gso.packets(headers) <= UDP_SEGMENTS_MAX {
        Buffer::Super { gso }
    } else {
        Buffer::Unclear
    }
}

/// Whether there is more in front of the transport header than the fixed IP header.
fn has_options(headers: &Headers) -> bool {
    let fixed = match &headers.net {
        Net::V4(_) => ipv4::HEADER_LEN,
        Net::V6(_) => ipv6::HEADER_LEN,
        Net::Arp(_) | Net::Other => 0,
    };
    headers.l4_at() - headers.l3_at() > fixed
}

/// Whether the first frame ends within the first slice. What is not IP has no length of its own,
/// and no GSO.
fn ends_within(headers: &Headers, stride: usize) -> bool {
    match &headers.net {
        Net::V4(_) | Net::V6(_) => vxlan::HEADER_LEN + headers.end_at() <= stride,
        Net::Arp(_) | Net::Other => true,
    }
}

/// Gives the segment size of a TCP packet that is larger than the network and has a partial
/// checksum: what the MTU leaves for payload.
fn tcp_size(frame: &[u8], headers: &Headers, network_mtu: u16) -> Option<u16> {
    let is_tcp = matches!(headers.l4, L4::Tcp { .. });
    let is_large = headers.end_at() - headers.l3_at() > usize::from(network_mtu);
    if !is_tcp || !is_large || !looks_partial(frame, headers) {
        return None;
    }
    let overhead = (headers.payload_start() - headers.l3_at()) as u16;
    network_mtu.checked_sub(overhead).filter(|size| *size > 0)
}

#[cfg(test)]
mod tests;
