//! What a kernel VXLAN device on the same machine makes of a run: over a veth nothing segments and
//! nothing finishes checksums, so GSO packets arrive whole, in one datagram.

use tunctl::frame::Layer;

use super::check::vnet::{make_partial, set_ip_len};
use super::ledger::{Identity, Ledger};
use super::packet::UDP;
use super::view::{Sum, View};
use super::wire::Datagram;

const IP_MAX: usize = 65_535;
const FLAGS: usize = 13;

/// Turns the datagrams of one send into what such a peer would have sent instead.
pub fn merge(ledger: &Ledger, layer: Layer, datagrams: Vec<Datagram>) -> Vec<Datagram> {
    let mut merged: Vec<(Datagram, usize)> = Vec::new();
    for datagram in datagrams {
        match merged.last_mut() {
            Some((run, last_len)) if joins(ledger, layer, run, *last_len, &datagram) => {
                *last_len = join(layer, run, &datagram);
            }
            _ => {
                let len = payload_len(layer, &datagram);
                merged.push((datagram, len));
            }
        }
    }
    merged.into_iter().map(|(run, _)| leave_checksum(layer, run)).collect()
}

fn inner(datagram: &Datagram, layer: Layer) -> View<'_> {
    View::new(&datagram.bytes[8..], layer)
}

fn payload_start(view: &View<'_>) -> Option<usize> {
    view.tcp().map(|tcp| tcp.start).or_else(|| view.udp().map(|(_, start)| start))
}

fn payload_len(layer: Layer, datagram: &Datagram) -> usize {
    let view = inner(datagram, layer);
    payload_start(&view).zip(view.ip).map_or(0, |(start, ip)| ip.end - start)
}

/// Whether a datagram comes from the same GSO packet as the run, or could.
fn joins(ledger: &Ledger, layer: Layer, run: &Datagram, last_len: usize, next: &Datagram) -> bool {
    let (one, other) = (inner(run, layer), inner(next, layer));
    let size = run.stride.map_or(last_len, usize::from);
    let (Some(ip), Some(next_ip)) = (one.ip, other.ip) else { return false };
    let [.., (number, range)] = run.identity.parts() else { return false };
    let [(next_number, next_range)] = next.identity.parts() else { return false };
    let len = payload_len(layer, next);
    let are_whole = [&one, &other].iter().all(|view| view.sum() == Sum::Valid);
    let fits = ip.end - one.link_len + len <= IP_MAX
        && last_len == size
        && len <= size
        && len > 0
        && are_whole
        && one.bytes.len() == ip.end
        && other.bytes.len() == next_ip.end;
    let same_flow = ledger.sents[*number].flow == ledger.sents[*next_number].flow;
    match (one.tcp(), other.tcp(), one.udp(), other.udp()) {
        (Some(_), Some(_), ..) => fits && number == next_number && range.end == next_range.start,
        (.., Some(_), Some(_)) => {
            fits && same_flow
                && ledger.sents[*number].is_gso
                && ledger.sents[*number].order < ledger.sents[*next_number].order
                && ip.tos == next_ip.tos
                && run.packets < 64
        }
        _ => false,
    }
}

/// Appends the payload; gives its length.
fn join(layer: Layer, run: &mut Datagram, next: &Datagram) -> usize {
    let view = inner(next, layer);
    let (Some(start), Some(ip)) = (payload_start(&view), view.ip) else { return 0 };
    let flags = view.tcp().map(|tcp| tcp.flags);
    let size = payload_len(layer, run);
    run.bytes.extend_from_slice(&view.bytes[start..ip.end]);
    let (l3, l4) = (view.link_len, ip.start);
    let packet = &mut run.bytes[8..];
    set_ip_len(packet, l3, ip.src.is_ipv4(), l4);
    match flags {
        Some(flags) => packet[l4 + FLAGS] |= flags,
        None => {
            let len = (packet.len() - l4) as u16;
            packet[l4 + 4..l4 + 6].copy_from_slice(&len.to_be_bytes());
        }
    }
    put_checksum(packet, layer, l4);
    if ip.protocol == UDP && run.stride.is_none() {
        run.stride = Some(size as u16);
    }
    run.packets += 1;
    extend(&mut run.identity, &next.identity);
    payload_len(layer, next)
}

/// Makes the checksum right, so that it can be taken away again.
fn put_checksum(packet: &mut [u8], layer: Layer, l4: usize) {
    let view = View::new(packet, layer);
    let (Some(ip), Some(at)) = (view.ip, view.checksum_at()) else { return };
    packet[at..at + 2].fill(0);
    let pseudo = super::checksum::pseudo(ip.src, ip.dst, ip.protocol, ip.end - ip.start);
    let sum = super::checksum::add(pseudo, super::checksum::sum(&packet[l4..ip.end]));
    let check = if sum == 0xffff { 0xffff } else { !sum };
    packet[at..at + 2].copy_from_slice(&check.to_be_bytes());
}

fn extend(run: &mut Identity, next: &Identity) {
    let Identity::Content(parts) = run else { return };
    for (number, range) in next.parts() {
        match parts.last_mut() {
            Some((last, covered)) if last == number && covered.end == range.start => {
                covered.end = range.end;
            }
            _ => parts.push((*number, range.clone())),
        }
    }
}

fn leave_checksum(layer: Layer, mut datagram: Datagram) -> Datagram {
    make_partial(&mut datagram.bytes[8..], layer);
    datagram.is_alone = true;
    datagram
}
