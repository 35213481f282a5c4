//! Packets that become one: when a packet extends a chain, and what the chain's headers say then.

use super::{Gso, NONE, PIECES_MAX, VnetHeader};
use crate::buffer::{Memory, Piece};
use crate::frame::checksum::{self, Sum};
use crate::frame::{Headers, L4, Net, ipv4, ipv6, l4, tcp};

/// The largest IP packet.
const IP_LEN_MAX: usize = 65_535;

/// The largest that the length field is left out for: the eight pages of 32 KiB that the kernel
/// copies it to are few enough also where it finds only pages of half the size (MAX_SKB_FRAGS is
/// 17).
const BIG_LEN_MAX: usize = 256 * 1024;

/// Datagrams in one write: what every kernel takes (UDP_GRO_CNT_MAX, include/linux/udp.h).
const DATAGRAMS_MAX: u32 = 64;

/// Whether these flags are those of data in the middle of a stream.
pub(super) fn is_plain_ack(flags: u8) -> bool {
    flags & !(tcp::flag::PSH | tcp::flag::ECE) == tcp::flag::ACK
}

/// A packet that may merge, for all that can be said of it alone.
pub(super) struct Candidate {
    l3: u16,
    l4: u16,
    payload_start: u16,
    payload_len: u16,
    is_v4: bool,
    dont_fragment: bool,
    is_tcp: bool,
    /// IPv4 identification.
    id: u16,
    sequence: u32,
    window: u16,
    is_pushed: bool,
}

impl Candidate {
    /// Takes a packet if it is of a kind that merges: without IP options, extension headers and
    /// padding, no fragment, with payload; TCP with no flag but ACK, PSH and ECE.
    #[inline]
    pub(super) fn new(bytes: &[u8], headers: &Headers) -> Option<Self> {
        let (l3, l4) = (headers.l3_at(), headers.l4_at());
        let (is_v4, ip_len, dont_fragment) = match &headers.net {
            Net::V4(info) => (true, ipv4::HEADER_LEN, info.dont_fragment),
            Net::V6(_) => (false, ipv6::HEADER_LEN, true),
            Net::Arp(_) | Net::Other => return None,
        };
        let payload_len = headers.end_at() - headers.payload_start();
        let is_whole = headers.end_at() == bytes.len() && !headers.is_fragment();
        if l4 - l3 != ip_len || !is_whole || payload_len == 0 {
            return None;
        }
        // The merged packet gets a fresh sum, which would make a wrong one right.
        let ip = &bytes[l3..l4];
        if is_v4 && checksum::ipv4_header(ip) != word(ip, ipv4::field::CHECKSUM) {
            return None;
        }
        let mut candidate = Self {
            l3: headers.l3_start,
            l4: headers.l4_start,
            payload_start: headers.payload_start() as u16,
            payload_len: payload_len as u16,
            is_v4,
            dont_fragment,
            is_tcp: false,
            id: if is_v4 { word(bytes, l3 + ipv4::field::ID) } else { 0 },
            sequence: 0,
            window: 0,
            is_pushed: false,
        };
        match headers.l4 {
            L4::Tcp { flags, .. } if is_plain_ack(flags) => {
                candidate.is_tcp = true;
                candidate.sequence = long(bytes, l4 + tcp::field::SEQUENCE);
                candidate.window = word(bytes, l4 + tcp::field::WINDOW);
                candidate.is_pushed = flags & tcp::flag::PSH != 0;
                Some(candidate)
            }
            L4::Udp { .. } => {
                let len = usize::from(word(bytes, l4 + l4::UDP_LENGTH));
                (len == headers.end_at() - l4).then_some(candidate)
            }
            L4::Tcp { .. } | L4::Icmp4 { .. } | L4::Icmp6 { .. } | L4::Other(_) | L4::None => None,
        }
    }

    /// Whether it may become a packet without a length field: IPv6 would need an extension header.
    pub(super) fn may_be_big(&self) -> bool {
        self.is_tcp && self.is_v4
    }

    /// Gives what a chain takes from it.
    #[inline]
    pub(super) fn next(&self) -> Next {
        Next {
            payload_len: self.payload_len,
            id: self.id,
            window: self.window,
            is_pushed: self.is_pushed,
        }
    }
}

/// What a chain takes from a packet that continues it.
pub(super) struct Next {
    payload_len: u16,
    /// IPv4 identification.
    id: u16,
    window: u16,
    is_pushed: bool,
}

/// A packet, and the payloads of those that were merged with it.
pub(super) struct Chain {
    /// The first packet, whole.
    pub(super) seed: Piece,
    /// Length of the seed and all members.
    pub(super) len: u32,
    pub(super) packets: u32,
    pub(super) first_member: u32,
    pub(super) last_member: u32,
    /// What goes in front of a packet that was not merged.
    vnet: VnetHeader,
    l3: u16,
    l4: u16,
    payload_start: u16,
    /// Payload of the seed.
    size: u16,
    is_v4: bool,
    is_tcp: bool,
    dont_fragment: bool,
    /// May be larger than IP has a length for. Then a push ends it neither: Linux pushes what every
    /// GSO packet ends with, and the packet is for a socket of this host, which reads no push.
    is_big: bool,
    /// A packet ended the chain: it was pushed, or shorter.
    is_ended: bool,
    is_pushed: bool,
    next_sequence: u32,
    /// IPv4 identification that the next packet has, if it may be fragmented.
    next_id: u16,
    window: u16,
}

impl Chain {
    /// Makes a chain that takes no more.
    pub(super) fn single(seed: Piece, vnet: VnetHeader, packets: u32) -> Self {
        Self {
            seed,
            len: seed.len,
            packets,
            first_member: NONE,
            last_member: NONE,
            vnet,
            l3: 0,
            l4: 0,
            payload_start: 0,
            size: 0,
            is_v4: false,
            is_tcp: false,
            dont_fragment: false,
            is_big: false,
            is_ended: true,
            is_pushed: false,
            next_sequence: 0,
            next_id: 0,
            window: 0,
        }
    }

    /// Makes a chain of its first packet.
    pub(super) fn seed(piece: Piece, headers: &Headers, packet: &Candidate, is_big: bool) -> Self {
        let gso = match packet.is_tcp {
            true => Gso::Tcp { size: packet.payload_len },
            false => Gso::Udp { size: packet.payload_len },
        };
        Self {
            l3: packet.l3,
            l4: packet.l4,
            payload_start: packet.payload_start,
            size: packet.payload_len,
            is_v4: packet.is_v4,
            is_tcp: packet.is_tcp,
            dont_fragment: packet.dont_fragment,
            is_big,
            is_ended: packet.is_pushed && !is_big,
            is_pushed: packet.is_pushed,
            next_sequence: packet.sequence.wrapping_add(u32::from(packet.payload_len)),
            next_id: packet.id.wrapping_add(1),
            window: packet.window,
            ..Self::single(piece, VnetHeader::of(headers, gso), 1)
        }
    }

    /// Whether nothing can extend it any more.
    pub(super) fn is_full(&self) -> bool {
        self.is_ended
            || self.packets as usize >= PIECES_MAX
            || (!self.is_tcp && self.packets >= DATAGRAMS_MAX)
    }

    /// Whether a packet continues the chain: its headers agree in all that the merged packet can
    /// say only once.
    #[inline]
    pub(super) fn accepts(&self, memory: &Memory, piece: Piece, packet: &Candidate) -> bool {
        let fits = self.l3 == packet.l3
            && self.l4 == packet.l4
            && self.payload_start == packet.payload_start
            && self.is_v4 == packet.is_v4
            && self.is_tcp == packet.is_tcp
            && packet.payload_len <= self.size
            && self.has_room(packet.payload_len.into())
            && (self.dont_fragment || packet.id == self.next_id || !self.is_v4)
            && (!self.is_tcp || packet.sequence == self.next_sequence);
        if !fits {
            return false;
        }
        let headers = usize::from(self.payload_start);
        let (ours, theirs) = (memory.bytes(self.seed), memory.bytes(piece));
        self.headers_agree(&ours[..headers], &theirs[..headers])
    }

    #[inline]
    fn headers_agree(&self, ours: &[u8], theirs: &[u8]) -> bool {
        let (l3, l4) = (usize::from(self.l3), usize::from(self.l4));
        let ip_agrees = if self.is_v4 {
            // All but total length, identification and checksum.
            same::<2>(ours, theirs, l3)
                && same::<4>(ours, theirs, l3 + ipv4::field::FRAGMENT)
                && same::<8>(ours, theirs, l3 + ipv4::field::SRC)
        } else {
            // All but the payload length.
            same::<4>(ours, theirs, l3)
                && same::<2>(ours, theirs, l3 + ipv6::field::PAYLOAD_LEN + 2)
                && same::<32>(ours, theirs, l3 + ipv6::field::SRC)
        };
        // Destination and source port stand first in both.
        ip_agrees
            && same::<4>(ours, theirs, l4)
            && (!self.is_tcp || tcp_agrees(ours, theirs, l4))
            && ours[..l3] == theirs[..l3]
    }

    /// Reads a packet whose headers are not parsed, if it continues the chain and its checksum is
    /// right: every byte of its headers is compared with those of the chain, or means what it
    /// would have to mean.
    #[inline]
    pub(super) fn next(&self, memory: &Memory, piece: Piece) -> Option<Next> {
        let headers = self.payload_start();
        let (l3, l4) = (usize::from(self.l3), usize::from(self.l4));
        let bytes = memory.bytes(piece);
        let payload_len = bytes.len().checked_sub(headers).filter(|len| *len > 0)?;
        let fits = payload_len <= usize::from(self.size) && self.has_room(payload_len);
        if !fits || !self.headers_agree(&memory.bytes(self.seed)[..headers], &bytes[..headers]) {
            return None;
        }
        let (ip, segment) = (&bytes[l3..l4], &bytes[l4..]);
        let ip_is_right = match self.is_v4 {
            true => {
                usize::from(word(ip, ipv4::field::TOTAL_LEN)) == bytes.len() - l3
                    && (self.dont_fragment || word(ip, ipv4::field::ID) == self.next_id)
                    && checksum::ipv4_header(ip) == word(ip, ipv4::field::CHECKSUM)
            }
            false => usize::from(word(ip, ipv6::field::PAYLOAD_LEN)) == segment.len(),
        };
        let segment_is_next = match self.is_tcp {
            true => long(segment, tcp::field::SEQUENCE) == self.next_sequence,
            // A sum of zero would be none.
            false => {
                usize::from(word(segment, l4::UDP_LENGTH)) == segment.len()
                    && word(segment, l4::UDP_CHECKSUM) != 0
            }
        };
        if !ip_is_right || !segment_is_next || !self.sum_is_right(ip, segment) {
            return None;
        }
        Some(Next {
            payload_len: payload_len as u16,
            id: if self.is_v4 { word(ip, ipv4::field::ID) } else { 0 },
            window: if self.is_tcp { word(segment, tcp::field::WINDOW) } else { 0 },
            is_pushed: self.is_tcp && segment[tcp::field::FLAGS] & tcp::flag::PSH != 0,
        })
    }

    #[inline]
    fn sum_is_right(&self, ip: &[u8], segment: &[u8]) -> bool {
        let addresses = if self.is_v4 { ipv4::field::SRC } else { ipv6::field::SRC };
        let mut sum = Sum::new();
        sum.add_u16(if self.is_tcp { 6 } else { 17 });
        sum.add_u16(segment.len() as u16);
        sum.add_bytes(&ip[addresses..]);
        sum.add_bytes(segment);
        sum.fold() == 0xffff
    }

    /// Gives where the payload of its packets starts.
    pub(super) fn payload_start(&self) -> usize {
        usize::from(self.payload_start)
    }

    /// Takes a packet that it accepts.
    #[inline]
    pub(super) fn extend(&mut self, packet: &Next) {
        self.len += u32::from(packet.payload_len);
        self.packets += 1;
        self.is_ended = packet.is_pushed && !self.is_big || packet.payload_len < self.size;
        self.is_pushed |= packet.is_pushed;
        self.next_sequence = self.next_sequence.wrapping_add(packet.payload_len.into());
        self.next_id = packet.id.wrapping_add(1);
        self.window = packet.window;
    }

    /// Writes what the headers of the merged packet say, and gives the header in front of it. A
    /// packet that was not merged stays as it is.
    pub(super) fn seal(&self, seed: &mut [u8]) -> VnetHeader {
        if self.first_member == NONE {
            return self.unmerged();
        }
        let (l3, l4) = (usize::from(self.l3), usize::from(self.l4));
        // BIG TCP says zero where the length does not fit.
        let ip_len = u16::try_from(self.ip_len()).unwrap_or(0);
        let l4_len = self.len - l4 as u32;
        let mut pseudo = Sum::new();
        let protocol = if self.is_tcp { 6 } else { 17 };
        pseudo.add_u16(protocol);
        pseudo.add_u32(l4_len);
        if self.is_v4 {
            let ip = &mut seed[l3..l4];
            put(ip, ipv4::field::TOTAL_LEN, ip_len);
            let sum = checksum::ipv4_header(ip);
            put(ip, ipv4::field::CHECKSUM, sum);
            pseudo.add_bytes(&ip[ipv4::field::SRC..ipv4::HEADER_LEN]);
        } else {
            let ip = &mut seed[l3..l4];
            put(ip, ipv6::field::PAYLOAD_LEN, l4_len as u16);
            pseudo.add_bytes(&ip[ipv6::field::SRC..ipv6::HEADER_LEN]);
        }
        let header = &mut seed[l4..];
        if self.is_tcp {
            if self.is_pushed {
                header[tcp::field::FLAGS] |= tcp::flag::PSH;
            }
            put(header, tcp::field::WINDOW, self.window);
            put(header, tcp::field::CHECKSUM, pseudo.fold());
        } else {
            put(header, l4::UDP_LENGTH, l4_len as u16);
            put(header, l4::UDP_CHECKSUM, pseudo.fold());
        }
        self.vnet
    }

    fn unmerged(&self) -> VnetHeader {
        // A seed that nothing joined has a finished checksum; its GSO header was for company.
        if self.size > 0 { VnetHeader::default() } else { self.vnet }
    }

    #[inline]
    fn has_room(&self, payload_len: usize) -> bool {
        let max = if self.is_big { BIG_LEN_MAX } else { IP_LEN_MAX };
        self.ip_len() + payload_len <= max
    }

    fn ip_len(&self) -> usize {
        self.len as usize - usize::from(self.l3)
    }
}

/// Whether two TCP headers agree in acknowledgement, data offset, flags but PSH, and options. The
/// window may differ: the merged packet carries the last one.
#[inline]
fn tcp_agrees(ours: &[u8], theirs: &[u8], l4: usize) -> bool {
    use tcp::field;
    let flags = l4 + field::FLAGS;
    let urgent = l4 + field::URGENT;
    same::<4>(ours, theirs, l4 + field::ACKNOWLEDGEMENT)
        && same::<1>(ours, theirs, l4 + field::DATA_OFFSET)
        && (ours[flags] ^ theirs[flags]) & !tcp::flag::PSH == 0
        && ours[urgent..] == theirs[urgent..]
}

/// Whether `N` bytes are the same; the length is known, so that no call compares them.
#[inline(always)]
fn same<const N: usize>(ours: &[u8], theirs: &[u8], at: usize) -> bool {
    ours[at..at + N] == theirs[at..at + N]
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at)) << 16 | u32::from(word(bytes, at + 2))
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
