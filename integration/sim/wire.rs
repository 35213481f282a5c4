//! The underlay: paths between nodes that lose, delay, copy, mark and corrupt datagrams.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use tunctl::drops::DropReason;
use tunctl::frame::Layer;
use tunctl::transport::Carrier;

use super::ledger::{Identity, Ledger, fingerprint};
use super::plan::{Faults, NodeIndex, Plan};
use super::random::Random;
use super::view::View;

/// Datagrams in a GRO run (UDP_GRO_CNT_MAX, net/ipv4/udp_offload.c), and its bytes.
const MERGED_MAX: usize = 64;
const MERGED_BYTES_MAX: usize = 65_000;

/// One datagram on its way.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// From the VXLAN header on.
    pub bytes: Vec<u8>,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub tos: u8,
    pub carrier: Carrier,
    pub identity: Identity,
    /// Why it must be dropped, if its sender is no node or the wire broke its outer header.
    pub refused: Option<DropReason>,
    /// GRO would not touch it: without a valid outer checksum.
    pub is_alone: bool,
    pub is_corrupt: bool,
    /// It holds a GSO packet: of how many, and for UDP the mark that the receiver gets with it.
    pub packets: u64,
    pub stride: Option<u16>,
}

/// The way from one node to another.
#[derive(Clone, Debug)]
pub struct Path {
    /// The largest outer IP packet.
    pub mtu: u16,
    latency: Duration,
    /// When the last datagram arrives: the next comes after it.
    last: Duration,
}

pub struct Wire {
    paths: HashMap<(NodeIndex, NodeIndex), Path>,
    random: Random,
}

impl Wire {
    pub fn new(plan: &Plan) -> Self {
        let mut random = Random::new(plan.seed ^ 0x31_17e5);
        let mut paths = HashMap::new();
        for from in 0..plan.nodes.len() {
            for to in (0..plan.nodes.len()).filter(|&to| plan.are_peers(from, to)) {
                let latency = Duration::from_micros(random.between(20, 3000) as u64);
                let mtu = *random.pick(&plan.path_mtus);
                paths.insert((from, to), Path { mtu, latency, last: Duration::ZERO });
            }
        }
        Self { paths, random }
    }

    pub fn mtu(&self, from: NodeIndex, to: NodeIndex) -> u16 {
        self.paths[&(from, to)].mtu
    }

    /// A path has another MTU from now on.
    pub fn change_path(&mut self, plan: &Plan) {
        let mut keys: Vec<_> = self.paths.keys().copied().collect();
        keys.sort_unstable();
        let key = *self.random.pick(&keys);
        let mtu = *self.random.pick(&plan.path_mtus);
        self.paths.get_mut(&key).expect("it is one of them").mtu = mtu;
    }

    /// Carries a datagram: gives when what arrives of it.
    pub fn carry(
        &mut self,
        now: Duration,
        ends: (NodeIndex, NodeIndex),
        mut datagram: Datagram,
        faults: &Faults,
        ledger: &mut Ledger,
    ) -> Vec<(Duration, Datagram)> {
        if self.random.chance(faults.lose) {
            ledger.excuse(&datagram.identity, "lost");
            return Vec::new();
        }
        let mut arrivals = Vec::new();
        if self.random.chance(faults.duplicate) {
            for (number, range) in datagram.identity.parts() {
                ledger.sents[*number].copies.add(range.clone());
            }
            if let Identity::Answer(number) | Identity::TcpFragment(number) = datagram.identity {
                let all = ledger.sents[number].copies.all();
                ledger.sents[number].copies.add(all);
            }
            arrivals.push((self.arrival(now, ends, faults), datagram.clone()));
        }
        // There is no wire to a kernel on the same machine; and two faults may undo each other.
        if !datagram.is_alone && !datagram.is_corrupt && self.random.chance(faults.corrupt) {
            self.corrupt(&mut datagram, ledger);
        } else if self.random.chance(faults.mark_congestion) {
            datagram.tos |= 3;
        }
        arrivals.push((self.arrival(now, ends, faults), datagram));
        arrivals
    }

    fn arrival(
        &mut self,
        now: Duration,
        ends: (NodeIndex, NodeIndex),
        faults: &Faults,
    ) -> Duration {
        let path = self.paths.get_mut(&ends).expect("nodes send to their peers");
        if self.random.chance(faults.reorder) {
            // Late, and nobody waits for it.
            return now + path.latency + Duration::from_micros(self.random.below(5000) as u64);
        }
        path.last = path.last.max(now + path.latency) + Duration::from_nanos(100);
        path.last
    }

    /// Flips bits, as the wire does when the outer checksum is off (or happens to fit).
    fn corrupt(&mut self, datagram: &mut Datagram, ledger: &mut Ledger) {
        let Identity::Content(parts) = &datagram.identity else { return };
        let sent = &ledger.sents[parts[0].0];
        let was = datagram.bytes.clone();
        datagram.is_alone = true;
        if self.random.chance(200) {
            // Flags and reserved bits: no receiver takes it.
            let at = *self.random.pick(&[0, 1, 2, 7]);
            datagram.bytes[at] ^= 1 << self.random.below(8);
            datagram.refused = Some(DropReason::VxlanFlags);
            ledger.excuse(&datagram.identity, "outer header corrupted");
            return;
        }
        let layer = sent.layer();
        let fixed = fixed(&View::new(&was[8..], layer), layer);
        let bits = self.random.between(1, 3);
        // Headers are short, and there is more to go wrong in them.
        let inner = was.len() - 8;
        let span = if self.random.chance(400) { inner.min(80) } else { inner };
        for nth in 0..bits {
            let at = 8 + self.random.below(span);
            if !fixed.iter().any(|range| range.contains(&(at - 8))) {
                // Bits of different weight: the sum of what they change is never zero.
                datagram.bytes[at] ^= 1 << (nth * 2 + self.random.below(2));
            }
        }
        // What changed only where a good way changes something cannot be told from the original.
        let view = View::new(&datagram.bytes[8..], layer);
        if fingerprint(&view) == fingerprint(&View::new(&was[8..], layer)) {
            datagram.bytes = was;
            return;
        }
        datagram.is_corrupt = true;
        ledger.excuse(&datagram.identity, "corrupted");
        ledger.add_corrupted(&view, datagram.identity.clone());
    }
}

/// What the wire leaves alone: source addresses, because no checksum is looked at before they are
/// learned, so a wrong one would be a host that moves; and what changes on a good way as well.
fn fixed(view: &View<'_>, layer: Layer) -> Vec<Range<usize>> {
    let l3 = view.link_len;
    // A relay may cut an IP packet again, and no checksum covers its link header.
    let first = if view.ip.is_some() { 0 } else { 6 };
    let mut fixed: Vec<_> = std::iter::once(first..l3.max(6)).collect();
    match view.ip {
        Some(ip) if ip.src.is_ipv4() => {
            // The identification is nobody's business where fragmenting is forbidden.
            fixed.extend([l3 + 1..l3 + 2, l3 + 4..l3 + 6, l3 + 8..l3 + 9, l3 + 10..l3 + 12]);
        }
        Some(_) => fixed.extend([l3 + 1..l3 + 2, l3 + 7..l3 + 8]),
        None => {}
    }
    match (layer, view.ip) {
        (Layer::L3, Some(ip)) if ip.src.is_ipv6() => fixed.push(8..24),
        (Layer::L3, _) => fixed.push(12..16),
        (Layer::L2, _) => {}
    }
    fixed
}

/// Takes from a socket's queue what one receive call gives: a datagram, or with GRO those that
/// follow it in its flow.
pub fn receive(queue: &mut VecDeque<Datagram>, merges: bool) -> Vec<Datagram> {
    let Some(first) = queue.pop_front() else { return Vec::new() };
    let mut run = vec![first];
    if !merges || run[0].is_alone {
        return run;
    }
    let (len, mut total) = (run[0].bytes.len(), run[0].bytes.len());
    let mut at = 0;
    while let Some(next) = queue.get(at) {
        let of_flow = (next.from, next.to) == (run[0].from, run[0].to);
        if !of_flow {
            at += 1;
            continue;
        }
        let fits = !next.is_alone
            && next.tos == run[0].tos
            && next.bytes.len() <= len
            && run.len() < MERGED_MAX
            && total + next.bytes.len() <= MERGED_BYTES_MAX;
        if !fits {
            break;
        }
        total += next.bytes.len();
        let is_last = next.bytes.len() < len;
        run.extend(queue.remove(at));
        if is_last {
            break;
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(port: u16, len: usize) -> Datagram {
        Datagram {
            bytes: vec![0; len],
            from: ([192, 0, 2, 1], port).into(),
            to: ([192, 0, 2, 2], 4789).into(),
            tos: 0,
            carrier: Carrier::Vxlan,
            identity: Identity::Unknown,
            refused: None,
            is_alone: false,
            is_corrupt: false,
            packets: 1,
            stride: None,
        }
    }

    fn lens(queue: &mut VecDeque<Datagram>) -> Vec<usize> {
        receive(queue, true).iter().map(|datagram| datagram.bytes.len()).collect()
    }

    #[test]
    fn equal_datagrams_of_a_flow_merge_and_a_shorter_one_ends_the_run() {
        let sizes = [(1, 100), (2, 50), (1, 100), (1, 60), (1, 60), (2, 70)];
        let mut queue = sizes.iter().map(|&(port, len)| datagram(port, len)).collect();
        assert_eq!(lens(&mut queue), [100, 100, 60]);
        assert_eq!(lens(&mut queue), [50]);
        assert_eq!(lens(&mut queue), [60]);
        assert_eq!(lens(&mut queue), [70]);
        assert_eq!(lens(&mut queue), [0; 0]);
    }
}
