//! One packet from a device, cut into wire packets.

use std::ops::Range;

use super::{Gso, VnetHeader};
use crate::buffer::HEADER_AREA;
use crate::drops::DropReason;
use crate::frame::checksum::{Sum, pseudo};
use crate::frame::{Headers, L4, Net, ipv4, ipv6, l4, tcp};

/// The largest IP packet.
const IP_LEN_MAX: usize = 65_535;

/// What a header in the batch's header area may gain in front of it on its way out.
const ENCAPSULATION_ROOM: usize = 64;

/// Why a packet cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// The offload header contradicts the packet.
    #[error("{}", .0.explanation())]
    Malformed(DropReason),
    /// Larger than the path takes, and not TCP that could be cut smaller.
    #[error("packet is too large for the path")]
    TooBig,
    /// So many segments that their headers do not fit the batch's memory.
    #[error("GSO packet has too many segments")]
    TooManySegments,
}

impl From<CutError> for DropReason {
    fn from(error: CutError) -> Self {
        match error {
            CutError::Malformed(reason) => reason,
            CutError::TooBig => Self::TooBig,
            CutError::TooManySegments => Self::TooManySegments,
        }
    }
}

/// The plan by which a packet becomes one wire packet or several.
///
/// What all segments share is summed once here; each segment then costs one pass over its payload.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    count: usize,
    /// Payload of each segment but the last.
    size: usize,
    l3_start: usize,
    l4_start: usize,
    payload_start: usize,
    end: usize,
    /// Where a checksum is to be finished: what it covers begins, and the field.
    unfinished: Option<(usize, usize)>,
    stamp: Stamp,
}

/// What is needed to write the headers of a segment.
#[derive(Clone, Copy, Debug, Default)]
struct Stamp {
    is_v4: bool,
    is_tcp: bool,
    /// IPv4 header without length, identification and checksum.
    ip_sum: Sum,
    /// Pseudo-header without length, transport header without what differs between segments.
    l4_sum: Sum,
    id: u16,
    sequence: u32,
    /// TCP data offset and flags.
    flags: u16,
}

impl Cut {
    /// Plans how `bytes`, as read with `vnet` in front, goes out in packets of at most
    /// `max_packet` bytes with the link header.
    ///
    /// TCP GSO packets are cut smaller than the kernel asks if the path is smaller; UDP datagrams
    /// keep their size. Padding behind a GSO packet is left out.
    ///
    /// # Errors
    ///
    /// See [`CutError`]. [`CutError::TooBig`] asks for an ICMP answer.
    ///
    /// # Panics
    ///
    /// Panics if `headers` were not made from `bytes`.
    pub fn plan(
        bytes: &[u8],
        headers: &Headers,
        vnet: VnetHeader,
        max_packet: usize,
    ) -> Result<Self, CutError> {
        let gso = vnet.gso_of(headers).map_err(CutError::Malformed)?;
        let payload_start = headers.payload_start();
        let end = headers.end_at();
        let room = max_packet.min(headers.l3_at() + IP_LEN_MAX).saturating_sub(payload_start);
        let size = match gso {
            Gso::None => end - payload_start,
            Gso::Tcp { size } => usize::from(size).min(room),
            Gso::Udp { size } => usize::from(size).min(end - payload_start),
        };
        let is_gso = gso != Gso::None;
        if is_gso && (size == 0 && end > payload_start || size > room) {
            return Err(CutError::TooBig);
        }
        let count = if is_gso { (end - payload_start).div_ceil(size.max(1)).max(1) } else { 1 };
        if count == 1 && bytes.len() > max_packet {
            return Err(CutError::TooBig);
        }
        if count > 1 && count * (payload_start + ENCAPSULATION_ROOM) > HEADER_AREA {
            return Err(CutError::TooManySegments);
        }
        let unfinished = if count == 1 { unfinished_checksum(headers, vnet)? } else { None };
        let stamp = if count > 1 { Stamp::new(bytes, headers) } else { Stamp::default() };
        Ok(Self {
            count,
            size,
            l3_start: headers.l3_at(),
            l4_start: headers.l4_at(),
            payload_start,
            end,
            unfinished,
            stamp,
        })
    }

    /// Gives the number of wire packets, at least one.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Gives the length of the headers that each segment needs; 0 if the packet goes as it is.
    pub fn header_len(&self) -> usize {
        if self.count == 1 { 0 } else { self.payload_start }
    }

    /// Gives the length of wire packet `index` with its headers, where there are several.
    ///
    /// # Panics
    ///
    /// Panics unless `index` is below [`Cut::count`].
    pub fn segment_len(&self, index: usize) -> usize {
        self.payload_start + self.payload(index).len()
    }

    /// Finishes the checksum of a packet that goes as it is.
    ///
    /// # Panics
    ///
    /// Panics if `bytes` is not what was planned.
    pub fn finish_in_place(&self, bytes: &mut [u8]) {
        let Some((start, field)) = self.unfinished else { return };
        let mut sum = Sum::new();
        sum.add_bytes(&bytes[start..self.end]);
        // Zero would mean "no checksum" in UDP; elsewhere both are the same (skb_checksum_help).
        let checksum = match sum.checksum() {
            0 => 0xffff,
            checksum => checksum,
        };
        bytes[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Writes the headers of segment `index`, link header first, and gives where its payload is
    /// in the original.
    ///
    /// # Panics
    ///
    /// Panics unless there are several segments, `index` is below [`Cut::count`], `original` is
    /// what was planned, and `header` is [`Cut::header_len`] bytes long.
    #[inline]
    pub fn segment(&self, index: usize, original: &[u8], header: &mut [u8]) -> Range<usize> {
        assert!(self.count > 1, "a packet that goes as it is has no segments");
        let payload = self.payload(index);
        let mut sum = Sum::new();
        sum.add_bytes(&original[payload.clone()]);
        header.copy_from_slice(&original[..self.payload_start]);
        self.stamp(index, sum, header);
        payload
    }

    /// Gives how many bytes in front of the packet [`Cut::segment_in_place`] uses, where there are
    /// several segments.
    pub fn front(&self, outer_len: usize) -> usize {
        self.count * (outer_len + self.payload_start) - self.payload_start
    }

    /// Lays out segment `index` right behind the one before, with room for an outer header in
    /// front, and gives where it is together with that. To be called once for each, in order.
    ///
    /// The packet stands in `bytes` behind [`Cut::front`] bytes, and `header` is a copy of its
    /// headers. Each payload moves to the front by the headers that are still to come; the last one
    /// stays where it is.
    ///
    /// # Panics
    ///
    /// As [`Cut::segment`].
    #[inline]
    pub fn segment_in_place(
        &self,
        index: usize,
        header: &[u8],
        bytes: &mut [u8],
        outer_len: usize,
    ) -> Range<usize> {
        assert!(self.count > 1, "a packet that goes as it is has no segments");
        let front = self.front(outer_len);
        let payload = self.payload(index);
        let start = index * (outer_len + self.payload_start + self.size);
        let header_start = start + outer_len;
        let header_end = header_start + self.payload_start;
        let mut sum = Sum::new();
        sum.add_moved(bytes, front + payload.start..front + payload.end, header_end);
        let head = &mut bytes[header_start..header_end];
        head.copy_from_slice(header);
        self.stamp(index, sum, head);
        start..header_end + payload.len()
    }

    fn payload(&self, index: usize) -> Range<usize> {
        assert!(index < self.count, "segment {index} of {}", self.count);
        let start = self.payload_start + index * self.size;
        start..(start + self.size).min(self.end)
    }

    /// Makes the headers of the whole packet those of one segment.
    #[inline]
    fn stamp(&self, index: usize, payload_sum: Sum, header: &mut [u8]) {
        let len = self.segment_len(index);
        self.stamp_ip(index, len, &mut header[self.l3_start..self.l4_start]);
        self.stamp_l4(index, len - self.l4_start, payload_sum, &mut header[self.l4_start..]);
    }

    #[inline]
    fn stamp_ip(&self, index: usize, packet_len: usize, ip: &mut [u8]) {
        let len = (packet_len - self.l3_start) as u16;
        if self.stamp.is_v4 {
            let id = self.stamp.id.wrapping_add(index as u16);
            let mut sum = self.stamp.ip_sum;
            sum.add_u16(len);
            sum.add_u16(id);
            put(ip, ipv4::field::TOTAL_LEN, len);
            put(ip, ipv4::field::ID, id);
            put(ip, ipv4::field::CHECKSUM, sum.checksum());
        } else {
            put(ip, ipv6::field::PAYLOAD_LEN, len - ipv6::HEADER_LEN as u16);
        }
    }

    #[inline]
    fn stamp_l4(&self, index: usize, len: usize, payload_sum: Sum, header: &mut [u8]) {
        let len = len as u16;
        let mut sum = self.stamp.l4_sum;
        sum.add(payload_sum);
        sum.add_u16(len);
        if self.stamp.is_tcp {
            let sequence = self.stamp.sequence.wrapping_add((index * self.size) as u32);
            let flags = self.tcp_flags(index);
            sum.add_u32(sequence);
            sum.add_u16(flags);
            header[tcp::field::SEQUENCE..][..4].copy_from_slice(&sequence.to_be_bytes());
            put(header, tcp::field::DATA_OFFSET, flags);
            put(header, tcp::field::CHECKSUM, sum.checksum());
        } else {
            sum.add_u16(len);
            let checksum = match sum.checksum() {
                0 => 0xffff,
                checksum => checksum,
            };
            put(header, l4::UDP_LENGTH, len);
            put(header, l4::UDP_CHECKSUM, checksum);
        }
    }

    /// FIN and PSH belong to the last segment, CWR to the first.
    fn tcp_flags(&self, index: usize) -> u16 {
        let mut cleared = 0;
        if index + 1 < self.count {
            cleared |= tcp::flag::FIN | tcp::flag::PSH;
        }
        if index > 0 {
            cleared |= tcp::flag::CWR;
        }
        self.stamp.flags & !u16::from(cleared)
    }
}

impl Stamp {
    fn new(bytes: &[u8], headers: &Headers) -> Self {
        let ip = &bytes[headers.l3_at()..headers.l4_at()];
        let transport = &bytes[headers.l4_at()..headers.payload_start()];
        let (is_v4, id) = match &headers.net {
            Net::V4(_) => (true, word(ip, ipv4::field::ID)),
            Net::V6(_) | Net::Arp(_) | Net::Other => (false, 0),
        };
        let mut stamp = Self { is_v4, id, ..Self::default() };
        if is_v4 {
            stamp.ip_sum.add_bytes(&ip[..ipv4::field::TOTAL_LEN]);
            stamp.ip_sum.add_bytes(&ip[ipv4::field::FRAGMENT..ipv4::field::CHECKSUM]);
            stamp.ip_sum.add_bytes(&ip[ipv4::field::SRC..]);
        }
        stamp.l4_sum = pseudo(headers, 0).unwrap_or_default();
        if let L4::Tcp { .. } = headers.l4 {
            use tcp::field;
            stamp.is_tcp = true;
            stamp.sequence = u32::from(word(transport, field::SEQUENCE)) << 16
                | u32::from(word(transport, field::SEQUENCE + 2));
            stamp.flags = word(transport, field::DATA_OFFSET);
            stamp.l4_sum.add_bytes(&transport[..field::SEQUENCE]);
            stamp.l4_sum.add_bytes(&transport[field::ACKNOWLEDGEMENT..field::DATA_OFFSET]);
            stamp.l4_sum.add_bytes(&transport[field::WINDOW..field::CHECKSUM]);
            stamp.l4_sum.add_bytes(&transport[field::URGENT..]);
        } else {
            stamp.l4_sum.add_bytes(&transport[..l4::UDP_LENGTH]);
        }
        stamp
    }
}

/// Finds where a checksum is to be finished.
///
/// That need not be the transport header that the packet shows: in a tunnel packet of the kernel
/// it may be the inner one, and the outer is already right for what the inner will be.
fn unfinished_checksum(
    headers: &Headers,
    vnet: VnetHeader,
) -> Result<Option<(usize, usize)>, CutError> {
    if !vnet.needs_checksum() {
        return Ok(None);
    }
    let start = usize::from(vnet.csum_start);
    let field = start + usize::from(vnet.csum_offset);
    if start < headers.l4_at() || field + 2 > headers.end_at() {
        return Err(CutError::Malformed(DropReason::VnetHeader));
    }
    Ok(Some((start, field)))
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
