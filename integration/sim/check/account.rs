//! Every packet that a node takes is sent, delivered, or counted as dropped.

use std::collections::BTreeMap;
use std::ops::Range;

use tunctl::drops::{DropCounters, DropReason};
use tunctl::node::Node;

use super::{Checked, Violation, ensure};
use crate::sim::coverage::Coverage;
use crate::sim::ledger::{Identity, Ledger};
use crate::sim::plan::NodeIndex;

/// Reasons that are known before the network is.
const OUTSIDE: [DropReason; 7] = [
    DropReason::DatagramTruncated,
    DropReason::UnknownPeer,
    DropReason::VxlanTooShort,
    DropReason::VxlanFlags,
    DropReason::VxlanNextProtocol,
    DropReason::UnknownVni,
    DropReason::PeerNotInNetwork,
];

/// The drop counters of a node at one moment.
#[derive(Clone, Debug, Default)]
pub struct Books {
    total: DropCounters,
    networks: Vec<DropCounters>,
    peers: Vec<DropCounters>,
}

impl Books {
    pub fn of(node: &Node) -> Self {
        Self {
            total: node.drops().clone(),
            networks: node.networks().map(|network| network.drops.clone()).collect(),
            peers: node.peers().map(|(_, peer)| peer.drops.clone()).collect(),
        }
    }

    /// What was dropped since `before`, after a look at whether the counters agree.
    pub fn since(&self, before: &Self) -> Result<Drops, Violation> {
        let mut drops = Drops::default();
        for &reason in DropReason::ALL {
            let total = grown(reason, &self.total, &before.total)?;
            let networks = all_grown(reason, &self.networks, &before.networks)?;
            let peers = all_grown(reason, &self.peers, &before.peers)?;
            let fits =
                if OUTSIDE.contains(&reason) { networks <= total } else { networks == total };
            ensure!(fits, "drops: {} {total}, of the networks {networks}", reason.name());
            ensure!(peers <= total, "drops: {} {total}, of the peers {peers}", reason.name());
            if total > 0 {
                drops.0.push((reason, total));
            }
        }
        Ok(drops)
    }
}

/// What was dropped, by reason.
#[derive(Clone, Debug, Default)]
pub struct Drops(pub Vec<(DropReason, u64)>);

impl Drops {
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    pub fn of(&self, reason: DropReason) -> u64 {
        self.0.iter().filter(|drop| drop.0 == reason).map(|(_, count)| count).sum()
    }
}

fn grown(reason: DropReason, now: &DropCounters, before: &DropCounters) -> Result<u64, Violation> {
    let (now, before) = (now.of(reason), before.of(reason));
    ensure!(now >= before, "drops: {} went from {before} to {now}", reason.name());
    Ok(now - before)
}

fn all_grown(
    reason: DropReason,
    now: &[DropCounters],
    before: &[DropCounters],
) -> Result<u64, Violation> {
    now.iter().zip(before).map(|(now, before)| grown(reason, now, before)).sum()
}

/// Where a packet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Device,
    Peer(NodeIndex),
}

/// What a packet is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Content(usize),
    TcpFragment(usize),
    Answer(usize),
}

/// One packet that a node took.
#[derive(Clone, Debug)]
pub struct Input {
    pub identity: Identity,
    /// Wire packets that it counts as when it is dropped: at least, at most.
    pub packets: (u64, u64),
    /// Places that a flood of it would reach.
    pub ways: u64,
    /// It is a broadcast or multicast: it goes every way.
    pub is_group: bool,
}

/// What came out of a node.
#[derive(Debug, Default)]
pub struct Outcomes {
    seen: BTreeMap<(Key, Place), Coverage>,
}

impl Outcomes {
    pub fn add(&mut self, ledger: &Ledger, identity: &Identity, place: Place) {
        let mut add = |key, len, range| {
            self.seen.entry((key, place)).or_insert_with(|| Coverage::new(len)).add(range);
        };
        match identity {
            Identity::Content(parts) => {
                for (number, range) in parts {
                    let len = ledger.sents[*number].content.len();
                    add(Key::Content(*number), len, range.clone());
                }
            }
            Identity::TcpFragment(number) => add(Key::TcpFragment(*number), 1, 0..1),
            Identity::Answer(number) => add(Key::Answer(*number), 1, 0..1),
            Identity::Unknown => {}
        }
    }

    /// Takes away what became of one input, and gives the number of places that it reached.
    fn take(&mut self, identity: &Identity) -> u64 {
        match identity {
            Identity::Content(parts) => {
                let each = parts.iter().map(|(number, range)| self.take_part(*number, range));
                each.min().unwrap_or(0)
            }
            Identity::TcpFragment(number) => self.take_key(Key::TcpFragment(*number), &(0..1)),
            Identity::Answer(number) => self.take_key(Key::Answer(*number), &(0..1)),
            Identity::Unknown => 0,
        }
    }

    fn take_part(&mut self, number: usize, range: &Range<usize>) -> u64 {
        let whole = self.take_key(Key::Content(number), range);
        let is_fragment = |((key, _), seen): &(&(Key, Place), &Coverage)| {
            *key == Key::TcpFragment(number) && seen.most(seen.all()) > 0
        };
        match whole {
            0 => self.seen.iter().filter(is_fragment).count() as u64,
            whole => whole,
        }
    }

    fn take_key(&mut self, key: Key, range: &Range<usize>) -> u64 {
        let of_key = self.seen.iter_mut().filter(|((own, _), _)| *own == key);
        of_key.filter_map(|(_, seen)| seen.take(range.clone()).then_some(())).count() as u64
    }

    /// What nobody put in: only nodes' own answers, and fragments of TCP segments.
    fn check_rest(&self) -> Checked {
        for ((key, place), seen) in &self.seen {
            let is_own = matches!(key, Key::Answer(_) | Key::TcpFragment(_));
            ensure!(
                is_own || seen.most(seen.all()) == 0,
                "account: {key:?} came out at {place:?} and did not go in"
            );
        }
        Ok(())
    }
}

/// Balances what a node took, in one call or batch, with what came out and what it dropped.
pub fn settle(inputs: &[Input], outcomes: &mut Outcomes, drops: u64) -> Checked {
    let (mut least, mut most) = (0, 0);
    // Of two copies one may have gone one way and one another; the first was given both.
    let mut surplus = BTreeMap::new();
    // Fragments of TCP segments first: what is left of them was whole when it came.
    let is_fragment = |input: &&Input| matches!(input.identity, Identity::TcpFragment(_));
    let (fragments, mut others): (Vec<_>, Vec<_>) = inputs.iter().partition(is_fragment);
    // Of copies that overlap the longest first: what a short one needs, a long one may have brought.
    others.sort_by_key(|input| std::cmp::Reverse(input.identity.len()));
    for input in fragments.into_iter().chain(others) {
        let reached = outcomes.take(&input.identity);
        ensure!(
            reached <= input.ways,
            "account: {:?} reached {reached} places of {}",
            input.identity,
            input.ways
        );
        let missing = input.ways - reached;
        let spare: &mut u64 = surplus.entry(input.identity.number()).or_default();
        *spare += if input.is_group { 0 } else { reached.saturating_sub(1) };
        let (low, high) = match reached {
            0 if *spare > 0 => {
                *spare -= 1;
                (0, input.ways.max(1))
            }
            0 => (1, input.ways.max(1)),
            _ if input.is_group => (missing, missing),
            _ => (0, missing),
        };
        least += low * input.packets.0;
        most += high * input.packets.1;
    }
    ensure!(
        least <= drops && drops <= most,
        "account: {drops} drops, {least} to {most} packets are missing of {:?}",
        inputs.iter().map(|input| &input.identity).collect::<Vec<_>>()
    );
    Ok(())
}

/// After all inputs of a batch: nothing came from nowhere.
pub fn close(outcomes: &mut Outcomes) -> Checked {
    outcomes.check_rest()?;
    outcomes.seen.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::ledger::testing::ledger_of;

    const PEERS: [Place; 3] = [Place::Device, Place::Peer(1), Place::Peer(2)];

    fn counters(reason: DropReason, count: u64) -> DropCounters {
        let mut counters = DropCounters::default();
        counters.count(reason, count);
        counters
    }

    fn books(reason: DropReason, total: u64, network: u64, peer: u64) -> Books {
        Books {
            total: counters(reason, total),
            networks: vec![counters(reason, network)],
            peers: vec![counters(reason, peer)],
        }
    }

    #[test]
    fn counters_that_disagree_are_found() {
        let reason = DropReason::TooBig;
        let since = |books: Books| books.since(&self::books(reason, 0, 0, 0)).map(|d| d.total());
        assert_eq!(since(books(reason, 3, 3, 1)), Ok(3));
        assert!(since(books(reason, 3, 2, 0)).is_err());
        assert!(since(books(reason, 3, 4, 0)).is_err());
        assert!(since(books(reason, 3, 3, 4)).is_err());
        assert!(books(reason, 1, 1, 0).since(&books(reason, 2, 2, 0)).is_err());
        let outside = books(DropReason::UnknownPeer, 3, 0, 0);
        assert!(outside.since(&books(DropReason::UnknownPeer, 0, 0, 0)).is_ok());
    }

    fn input(range: Range<usize>, ways: u64, is_group: bool) -> Input {
        let identity = Identity::Content(vec![(0, range)]);
        Input { identity, packets: (1, 1), ways, is_group }
    }

    fn settle_with(inputs: &[Input], reached: &[Place], drops: u64) -> Checked {
        let (ledger, _) = ledger_of(&[5; 60]);
        let whole = Identity::Content(vec![(0, 0..ledger.sents[0].content.len())]);
        let mut outcomes = Outcomes::default();
        reached.iter().for_each(|place| outcomes.add(&ledger, &whole, *place));
        settle(inputs, &mut outcomes, drops)?;
        close(&mut outcomes)
    }

    #[test]
    fn a_packet_that_vanishes_is_found_and_so_is_a_drop_of_nothing() {
        let whole = input(0..68, 3, false);
        let inputs = std::slice::from_ref(&whole);
        assert_eq!(settle_with(inputs, &PEERS[..1], 0), Ok(()));
        assert_eq!(settle_with(inputs, &[], 1), Ok(()));
        assert!(settle_with(inputs, &[], 0).is_err());
        assert!(settle_with(inputs, &PEERS, 1).is_err());
    }

    #[test]
    fn a_broadcast_that_misses_a_place_uncounted_is_found() {
        let inputs = [input(0..68, 3, true)];
        assert_eq!(settle_with(&inputs, &PEERS, 0), Ok(()));
        assert_eq!(settle_with(&inputs, &PEERS[..2], 1), Ok(()));
        assert!(settle_with(&inputs, &PEERS[..2], 0).is_err());
    }

    #[test]
    fn a_packet_from_nowhere_is_found() {
        assert!(settle_with(&[], &PEERS[..1], 0).is_err());
        let whole = [input(0..68, 3, false)];
        assert!(settle_with(&whole, &[PEERS[0], PEERS[0]], 0).is_err());
        assert!(settle_with(&[input(0..68, 1, false)], &PEERS[..2], 0).is_err());
    }

    #[test]
    fn a_packet_of_which_a_part_is_missing_is_found() {
        let halves = [input(0..32, 1, false), input(32..68, 1, false)];
        assert_eq!(settle_with(&halves, &PEERS[..1], 0), Ok(()));
        assert!(settle_with(&halves[..1], &PEERS[..1], 0).is_err());
    }
}
