//! The peers of a network, with what each source may still flood.

use std::time::Instant;

use super::flood::{FloodLimit, FloodRate};
use super::slots::SlotMap;
use super::{Ingress, Verdict};
use crate::drops::DropReason;
use crate::peer::PeerId;

/// The peers of a network, and one bucket for each source of floods.
#[derive(Debug)]
pub(super) struct Members {
    rate: FloodRate,
    device: FloodLimit,
    peers: Vec<PeerId>,
    /// In the order of `peers`.
    limits: Vec<FloodLimit>,
    positions: SlotMap<u32>,
}

impl Members {
    pub(super) fn new(rate: FloodRate) -> Self {
        Self {
            rate,
            device: FloodLimit::new(rate),
            peers: Vec::new(),
            limits: Vec::new(),
            positions: SlotMap::new(),
        }
    }

    pub(super) fn peers(&self) -> &[PeerId] {
        &self.peers
    }

    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.position(peer).is_some()
    }

    /// Adds a peer; one that has another generation of its slot is gone.
    pub(super) fn add(&mut self, peer: PeerId) {
        if let Some(position) = self.positions.value(peer) {
            if self.peers[position as usize] == peer {
                return;
            }
            self.remove_at(position as usize);
        }
        self.positions.insert(peer, self.peers.len() as u32);
        self.peers.push(peer);
        self.limits.push(FloodLimit::new(self.rate));
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        if let Some(position) = self.position(peer) {
            self.remove_at(position);
        }
    }

    /// Floods what came from `ingress` as far as its bucket allows.
    pub(super) fn flood(
        &mut self,
        ingress: Ingress,
        relay: bool,
        packets: u64,
        now: Instant,
    ) -> Verdict {
        if ingress == Ingress::Device && self.peers.is_empty() {
            return Verdict::Drop(DropReason::NoPeers);
        }
        if !self.may_flood(ingress, packets, now) {
            return Verdict::Drop(DropReason::FloodLimited);
        }
        match ingress {
            Ingress::Device => Verdict::Flood { device: false },
            Ingress::Peer(_) if relay => Verdict::Flood { device: true },
            Ingress::Peer(_) => Verdict::Device,
        }
    }

    /// Takes from the bucket of a source; what is no member has none.
    pub(super) fn may_flood(&mut self, ingress: Ingress, packets: u64, now: Instant) -> bool {
        let limit = match ingress {
            Ingress::Device => Some(&mut self.device),
            Ingress::Peer(peer) => self.position(peer).map(|position| &mut self.limits[position]),
        };
        limit.is_some_and(|limit| limit.take(packets, now))
    }

    fn position(&self, peer: PeerId) -> Option<usize> {
        let position = self.positions.value(peer)? as usize;
        (self.peers[position] == peer).then_some(position)
    }

    fn remove_at(&mut self, position: usize) {
        self.positions.remove(self.peers[position]);
        self.peers.swap_remove(position);
        self.limits.swap_remove(position);
        if let Some(&moved) = self.peers.get(position) {
            self.positions.insert(moved, position as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerId = PeerId::new(1, 0);
    const B: PeerId = PeerId::new(2, 0);
    const C: PeerId = PeerId::new(3, 0);

    fn members() -> Members {
        let mut members = Members::new(FloodRate { rate_pps: 1, burst: 1 });
        for peer in [A, B, C] {
            members.add(peer);
        }
        members
    }

    #[test]
    fn a_peer_is_a_member_once() {
        let mut members = members();
        members.add(B);
        assert_eq!(members.peers(), [A, B, C]);
    }

    #[test]
    fn a_new_generation_of_a_slot_replaces_the_former_one() {
        let mut members = members();
        let next = PeerId::new(A.slot(), 1);
        members.add(next);
        assert_eq!(members.peers(), [C, B, next]);
        assert!(!members.contains(A));
        members.remove(A);
        assert!(members.contains(next));
    }

    #[test]
    fn what_is_no_member_may_not_flood() {
        let now = Instant::now();
        let mut members = members();
        assert!(!members.may_flood(Ingress::Peer(PeerId::new(B.slot(), 1)), 1, now));
        assert!(!members.may_flood(Ingress::Peer(PeerId::new(9, 0)), 1, now));
        assert!(members.may_flood(Ingress::Peer(B), 1, now));
    }

    #[test]
    fn a_limit_stays_with_its_peer_when_others_go() {
        let now = Instant::now();
        let mut members = members();
        assert!(members.may_flood(Ingress::Peer(C), 1, now));
        members.remove(A);
        assert!(!members.may_flood(Ingress::Peer(C), 1, now));
        assert!(members.may_flood(Ingress::Peer(B), 1, now));
        members.add(A);
        assert!(members.may_flood(Ingress::Peer(A), 1, now));
    }
}
