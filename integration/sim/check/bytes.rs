//! What arrives is what was sent, bit for bit, or is visibly broken.
//!
//! A packet that the wire corrupted arrives as the wire made it, with its wrong checksum, or not
//! at all. Whatever has a right checksum says what its sender said, except for what a way changes:
//! the hop limit where packets are relayed, congestion marks, and the MSS of a SYN.

use std::net::IpAddr;

use tunctl::frame::Layer;

use super::{Checked, Violation, ensure};
use crate::sim::ledger::{Identity, Ledger, Part, Sent};
use crate::sim::view::{Sum, View, be16, be32};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// What may have changed on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way {
    /// Relays that lower the hop limit.
    pub hops: u8,
    /// Routers that mark congestion.
    pub marks: bool,
    /// The MTU of the network.
    pub mtu: u16,
    /// The MSS of a SYN is lowered to what the MTU leaves.
    pub clamps: bool,
}

/// Compares a packet with what was sent. `is_gso`: it was merged, or is a segment.
pub fn check(ledger: &Ledger, view: &View<'_>, is_gso: bool, way: Way) -> Checked {
    if let Some((bytes, _)) = ledger.corrupted(view) {
        let was = View::new(bytes, if view.link_len > 0 { Layer::L2 } else { Layer::L3 });
        let is_valid = |view: &View<'_>| {
            (view.sum() == Sum::Valid, view.ip.is_some_and(|ip| ip.is_header_valid))
        };
        ensure!(!is_gso, "laundered: a corrupted packet was merged");
        ensure!(is_valid(view) == is_valid(&was), "laundered: a wrong checksum was made right");
        return Ok(());
    }
    match ledger.identify(view) {
        Identity::Content(parts) => {
            ensure!(!parts.is_empty(), "bytes: an empty part of a stream");
            let is_fragment = view.ip.is_some_and(|ip| ip.part.is_some());
            if is_fragment && ledger.is_corrupted_piece(view, &parts[0]) {
                let sent = &ledger.sents[parts[0].0];
                return compare_ip(parts[0].0, &View::new(&sent.bytes, sent.layer()), view, way);
            }
            for part in &parts {
                compare(&ledger.sents[part.0], part, view, is_gso, way)?;
            }
            check_flags(ledger, &parts, view)?;
            check_stream(ledger, &parts, view)
        }
        Identity::TcpFragment(_) => Ok(()),
        Identity::Answer(number) => check_answer(&ledger.sents[number], view, way),
        Identity::Unknown => {
            ensure!(
                false,
                "bytes: nobody sent this ({} bytes, checksum {:?})",
                view.bytes.len(),
                view.sum()
            );
            Ok(())
        }
    }
}

fn compare(sent: &Sent, part: &Part, view: &View<'_>, is_gso: bool, way: Way) -> Checked {
    let number = part.0;
    let was = View::new(&sent.bytes, sent.layer());
    ensure!(was.link() == view.link(), "bytes: link header of {number} changed");
    compare_ip(number, &was, view, way)?;
    let is_whole = part.1 == (0..sent.content.len());
    let is_syn = view.tcp().is_some_and(|tcp| tcp.flags & SYN != 0);
    if is_syn {
        return compare_syn(number, &was, view, way);
    }
    let is_fragment = view.ip.is_some_and(|ip| ip.part.is_some());
    if is_whole && !is_gso && !sent.is_gso && !is_fragment {
        return compare_whole(number, &was, view);
    }
    if let (Some(was), Some(is)) = (was.tcp(), view.tcp()) {
        ensure!(
            (was.ports, was.ack, was.options) == (is.ports, is.ack, is.options),
            "bytes: TCP header of {number} changed"
        );
    } else {
        let content = sent.bytes.get(sent.content.clone()).and_then(|all| all.get(part.1.clone()));
        let payload = view.payload();
        // A UDP datagram that was cut or merged has a checksum of its own.
        let skip = if view.udp().is_some() { 8 } else { 0 };
        ensure!(
            content.map(|bytes| &bytes[skip..]) == Some(&payload[skip..]),
            "bytes: content of {number} changed in {:?}",
            part.1
        );
        ensure!(
            skip == 0 || content.is_some_and(|bytes| bytes[..6] == payload[..6]),
            "bytes: UDP header of {number} changed"
        );
    }
    if let Some((_, more)) = view.ip.and_then(|ip| ip.part) {
        let is_last = part.1.end == sent.content.len();
        ensure!(more != is_last, "bytes: fragment {:?} of {number} says more {more}", part.1);
        return Ok(());
    }
    ensure!(view.sum() == Sum::Valid, "bytes: checksum of {number} is {:?}", view.sum());
    Ok(())
}

fn compare_ip(number: usize, was: &View<'_>, is: &View<'_>, way: Way) -> Checked {
    let (Some(old), Some(new)) = (was.ip, is.ip) else {
        ensure!(was.ip.is_none() && is.ip.is_none(), "bytes: {number} is IP on one side only");
        return Ok(());
    };
    ensure!(
        (old.src, old.dst, old.protocol, old.label) == (new.src, new.dst, new.protocol, new.label),
        "bytes: addresses of {number} changed, from {old:?} to {new:?}"
    );
    let hops = old.hop_limit.wrapping_sub(new.hop_limit);
    ensure!(
        hops <= way.hops,
        "bytes: hop limit of {number} went from {} to {}",
        old.hop_limit,
        new.hop_limit
    );
    let is_marked = way.marks && matches!(old.tos & 3, 1 | 2) && new.tos == old.tos | 3;
    ensure!(
        old.tos == new.tos || is_marked,
        "bytes: traffic class of {number} went from {:#x} to {:#x}",
        old.tos,
        new.tos
    );
    ensure!(new.is_header_valid == old.is_header_valid, "bytes: IPv4 header checksum of {number}");
    Ok(())
}

/// A packet that was neither cut nor merged: every byte, but for what `compare_ip` has seen.
fn compare_whole(number: usize, was: &View<'_>, is: &View<'_>) -> Checked {
    let (mut old, mut new) = (was.bytes.to_vec(), is.bytes.to_vec());
    for (view, bytes) in [(was, &mut old), (is, &mut new)] {
        mask(view, bytes);
    }
    if let Some(at) = old.iter().zip(&new).position(|(old, new)| old != new) {
        let end = |bytes: &[u8]| (at + 4).min(bytes.len());
        let (old, new) = (&old[at..end(&old)], &new[at..end(&new)]);
        ensure!(
            false,
            "bytes: {number} changed at {at}, from {old:x?} to {new:x?}, checksum {:?} to {:?}",
            was.sum(),
            is.sum()
        );
    }
    ensure!(old.len() == new.len(), "bytes: {number} was {} bytes, is {}", old.len(), new.len());
    Ok(())
}

fn mask(view: &View<'_>, bytes: &mut [u8]) {
    let l3 = view.link_len;
    match view.ip {
        Some(ip) if ip.src.is_ipv4() => {
            bytes[l3 + 1] = 0;
            bytes[l3 + 8] = 0;
            bytes[l3 + 10..l3 + 12].fill(0);
        }
        Some(_) => {
            bytes[l3] = 0;
            bytes[l3 + 1] &= 0x0f;
            bytes[l3 + 7] = 0;
        }
        None => {}
    }
    // Both zeros are the same, but for UDP; the kernel fills in the one, some hosts the other.
    if let (Some(_), Some(at)) = (view.tcp(), view.checksum_at())
        && bytes[at..at + 2] == [0, 0]
    {
        bytes[at..at + 2].fill(0xff);
    }
}

fn compare_syn(number: usize, was: &View<'_>, is: &View<'_>, way: Way) -> Checked {
    let (Some(old), Some(new)) = (was.tcp(), is.tcp()) else { return Ok(()) };
    let mss = |options: &[u8]| {
        options.get(..4).filter(|option| option[..2] == [2, 4]).map(|option| be16(option, 2))
    };
    ensure!(old.options.get(4..) == new.options.get(4..), "bytes: options of {number} changed");
    let Some(mss_was) = mss(old.options) else { return compare_whole(number, was, is) };
    let Some(mss_is) = mss(new.options) else {
        ensure!(false, "bytes: the MSS option of {number} is gone");
        return Ok(());
    };
    let is_v6 = was.ip.is_some_and(|ip| ip.src.is_ipv6());
    let mss_max = if way.clamps { way.mtu - if is_v6 { 60 } else { 40 } } else { u16::MAX };
    ensure!(
        mss_is <= mss_was && mss_is <= mss_max,
        "bytes: MSS of {number} was {mss_was}, is {mss_is}, at most {mss_max}"
    );
    ensure!(was.sum() == is.sum(), "bytes: checksum of SYN {number} is {:?}", is.sum());
    ensure!(
        (old.ports, old.seq, old.ack, old.flags) == (new.ports, new.seq, new.ack, new.flags),
        "bytes: SYN {number} changed"
    );
    Ok(())
}

/// The payload of TCP, across all packets that it is from.
fn check_stream(ledger: &Ledger, parts: &[Part], view: &View<'_>) -> Checked {
    let (Some(ip), Some(tcp)) = (view.ip, view.tcp()) else { return Ok(()) };
    let mut payload = &view.bytes[tcp.start..ip.end];
    if payload.is_empty() {
        return Ok(());
    }
    for (number, range) in parts {
        let sent = &ledger.sents[*number];
        let (now, rest) = payload.split_at(range.len().min(payload.len()));
        ensure!(
            sent.bytes[sent.content.clone()].get(range.clone()) == Some(now),
            "bytes: stream of {number} changed in {range:?}"
        );
        payload = rest;
    }
    ensure!(payload.is_empty(), "bytes: {} bytes more than the stream has", payload.len());
    Ok(())
}

/// An ICMP error that a node made: to whom it concerns, and about what was really too large.
fn check_answer(sent: &Sent, view: &View<'_>, way: Way) -> Checked {
    let payload = view.payload();
    let quote = View::quoted(payload.get(8..).unwrap_or(&[]));
    let (Some(ip), Some(about)) = (view.ip, quote.ip) else {
        return Err(Violation("answer: it quotes no packet".to_owned()));
    };
    ensure!(view.sum() == Sum::Valid && ip.is_header_valid, "answer: a wrong checksum");
    ensure!(
        (ip.src, ip.dst) == (about.dst, about.src),
        "answer: from {} to {}, about a packet from {} to {}",
        ip.src,
        ip.dst,
        about.src,
        about.dst
    );
    let was = View::new(&sent.bytes, sent.layer());
    let ends =
        |view: &View<'_>| view.link().get(..12).map(|link| [&link[..6], &link[6..]].concat());
    let turned =
        |view: &View<'_>| view.link().get(..12).map(|link| [&link[6..], &link[..6]].concat());
    ensure!(ends(view) == turned(&was), "answer: link header {:x?}", view.link());
    let (mtu, len) = match ip.src {
        IpAddr::V4(_) => (u32::from(be16(payload, 6)), be16(quote.bytes, 2)),
        IpAddr::V6(_) => (be32(payload, 4), be16(quote.bytes, 4) + 40),
    };
    // IPv6 has no smaller one to offer.
    let is_smallest = ip.src.is_ipv6() && mtu == 1280;
    ensure!(
        (mtu < u32::from(len) || is_smallest) && mtu <= u32::from(way.mtu),
        "answer: an MTU of {mtu} to a packet of {len}, in a network of {}",
        way.mtu
    );
    Ok(())
}

/// FIN and PSH stay with the last byte, CWR with the first.
fn check_flags(ledger: &Ledger, parts: &[Part], view: &View<'_>) -> Checked {
    let Some(tcp) = view.tcp() else { return Ok(()) };
    let mut allowed = 0;
    for (index, (number, range)) in parts.iter().enumerate() {
        let sent = &ledger.sents[*number];
        let Some(was) = View::new(&sent.bytes, sent.layer()).tcp() else { continue };
        let ends = range.end == sent.content.len();
        let own = was.flags
            & !(if ends { 0 } else { FIN | PSH })
            & !(if range.start == 0 { 0 } else { CWR });
        ensure!(
            ends && index + 1 == parts.len() || own & FIN == 0,
            "bytes: FIN of {number} is not at the end"
        );
        ensure!(
            tcp.flags & !(FIN | PSH | CWR) == was.flags & !(FIN | PSH | CWR),
            "bytes: flags of {number}"
        );
        allowed |= own;
    }
    ensure!(tcp.flags & !allowed == 0, "bytes: flags {:#x}, sent {allowed:#x}", tcp.flags);
    ensure!(allowed & (FIN | CWR) & !tcp.flags == 0, "bytes: FIN or CWR is lost");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::ledger::testing::{self, ledger_of, ledger_of_stream, segment};

    fn check_bytes(ledger: &Ledger, bytes: &[u8], is_gso: bool, way: Way) -> Checked {
        check(ledger, &View::new(bytes, Layer::L3), is_gso, way)
    }

    #[test]
    fn what_was_sent_passes() {
        let (ledger, bytes) = ledger_of(&[5; 60]);
        assert_eq!(check_bytes(&ledger, &bytes, false, Way::default()), Ok(()));
    }

    #[test]
    fn any_changed_byte_is_found() {
        let (ledger, bytes) = ledger_of(&[5; 60]);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            assert!(check_bytes(&ledger, &changed, false, Way::default()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_corrupted_packet_passes_as_it_is_and_not_with_a_checksum_made_good() {
        let (mut ledger, mut bytes) = ledger_of(&[5; 60]);
        let was = ledger.identify(&View::new(&bytes, Layer::L3));
        bytes[50] ^= 0x10;
        ledger.add_corrupted(&View::new(&bytes, Layer::L3), was);
        assert_eq!(check_bytes(&ledger, &bytes, false, Way::default()), Ok(()));
        assert!(check_bytes(&ledger, &bytes, true, Way::default()).is_err());
        testing::fix_checksum(&mut bytes);
        assert!(check_bytes(&ledger, &bytes, false, Way::default()).is_err());
    }

    #[test]
    fn the_hop_limit_falls_only_at_relays() {
        let (ledger, bytes) = ledger_of(&[5; 60]);
        let mut relayed = bytes;
        testing::set_hop_limit(&mut relayed, 63);
        assert!(check_bytes(&ledger, &relayed, false, Way::default()).is_err());
        let way = Way { hops: 1, ..Way::default() };
        assert_eq!(check_bytes(&ledger, &relayed, false, way), Ok(()));
    }

    #[test]
    fn congestion_is_marked_only_by_a_wire_that_does() {
        let (ledger, bytes) = ledger_of(&[5; 60]);
        let mut marked = bytes;
        testing::set_tos(&mut marked, 3);
        assert!(check_bytes(&ledger, &marked, false, Way::default()).is_err());
        let way = Way { marks: true, ..Way::default() };
        assert_eq!(check_bytes(&ledger, &marked, false, way), Ok(()));
        testing::set_tos(&mut marked, 7);
        assert!(check_bytes(&ledger, &marked, false, way).is_err());
    }

    #[test]
    fn an_answer_to_another_or_about_what_fits_is_found() {
        let (ledger, bytes) = ledger_of(&[5; 60]);
        let way = |mtu| Way { mtu, ..Way::default() };
        let answer = testing::too_big(&bytes, 80);
        assert_eq!(check_bytes(&ledger, &answer, false, way(80)), Ok(()));
        assert!(check_bytes(&ledger, &answer, false, way(79)).is_err());
        let fits = testing::too_big(&bytes, bytes.len() as u16);
        assert!(check_bytes(&ledger, &fits, false, way(1500)).is_err());
        let mut spoiled = answer.clone();
        spoiled[30] ^= 1;
        assert!(check_bytes(&ledger, &spoiled, false, way(80)).is_err());
        let mut diverted = answer;
        diverted[19] ^= 1;
        testing::fix_ip(&mut diverted);
        assert!(check_bytes(&ledger, &diverted, false, way(80)).is_err());
    }

    #[test]
    fn a_stream_is_compared_across_packets() {
        let (ledger, first, second) = ledger_of_stream();
        let merged = segment(testing::BASE, &[first.as_slice(), &second].concat());
        assert_eq!(check_bytes(&ledger, &merged, true, Way::default()), Ok(()));
        let cut = segment(testing::BASE + 10, &first[10..50]);
        assert_eq!(check_bytes(&ledger, &cut, true, Way::default()), Ok(()));
        let shifted = segment(testing::BASE + 11, &first[10..50]);
        assert!(check_bytes(&ledger, &shifted, true, Way::default()).is_err());
        let mut swapped = [first.as_slice(), &second].concat();
        swapped.swap(99, 101);
        let swapped = segment(testing::BASE, &swapped);
        assert!(check_bytes(&ledger, &swapped, true, Way::default()).is_err());
    }
}
