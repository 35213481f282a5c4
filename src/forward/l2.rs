//! The verdict on frames: an L2 network learns MACs, and floods what it does not know.

use std::time::Instant;

use super::key::MacKey;
use super::members::Members;
use super::table::Table;
use super::{Ingress, Place, Rules, Verdict};
use crate::drops::DropReason;
use crate::peer::PeerId;

/// The forwarding of one L2 network (TAP).
#[derive(Debug)]
pub struct L2Network {
    table: Table<MacKey>,
    members: Members,
    relay: bool,
    /// Our device's own MAC, in every VLAN.
    own: Option<[u8; 6]>,
}

impl L2Network {
    /// Makes a network without peers. `hash_seed`: see [`Table::new`].
    pub fn new(rules: &Rules, epoch: Instant, hash_seed: u64) -> Self {
        Self {
            table: Table::new(rules.learning, epoch, hash_seed),
            members: Members::new(rules.flood),
            relay: rules.relay,
            own: None,
        }
    }

    /// Takes note of our own device's MAC: as in a bridge, no peer can take it.
    pub fn set_own(&mut self, mac: [u8; 6]) {
        self.own = Some(mac);
    }

    /// Adds a peer of the network.
    pub fn add_peer(&mut self, peer: PeerId) {
        self.members.add(peer);
    }

    /// Removes a peer, and what it taught.
    pub fn forget_peer(&mut self, peer: PeerId) {
        self.members.remove(peer);
        self.table.forget_peer(peer);
    }

    /// Gives the peers of the network: those that a flood goes to.
    pub fn peers(&self) -> &[PeerId] {
        self.members.peers()
    }

    /// Learns a frame's source, after the checks of what its sender may send from.
    ///
    /// # Errors
    ///
    /// Refuses with `SourceInvalid` a group or zero; with `StaticSource` our own device's MAC from
    /// a peer; and as [`Table::learn`] does.
    #[inline]
    pub fn learn(
        &mut self,
        vlan: u16,
        source: [u8; 6],
        ingress: Ingress,
        now: Instant,
    ) -> Result<(), DropReason> {
        let key = MacKey::new(vlan, source);
        if !key.is_source() {
            return Err(DropReason::SourceInvalid);
        }
        if self.own == Some(source) && ingress != Ingress::Device {
            return Err(DropReason::StaticSource);
        }
        self.table.learn(key, ingress.into(), now).map(drop)
    }

    /// Says where a frame goes. A GSO packet counts as `packets` if it is flooded.
    #[inline]
    pub fn verdict(
        &mut self,
        vlan: u16,
        destination: [u8; 6],
        ingress: Ingress,
        packets: u64,
        now: Instant,
    ) -> Verdict {
        let key = MacKey::new(vlan, destination);
        let place = if key.is_group() { None } else { self.table.lookup(&key, now) };
        match (place, ingress) {
            // One copy, to our own device: nothing is multiplied by it.
            (None, Ingress::Peer(_)) if !self.relay && !key.is_group() => Verdict::Device,
            (None, _) => self.members.flood(ingress, self.relay, packets, now),
            (Some(Place::Peer(peer)), Ingress::Device) => Verdict::Peer(peer),
            (Some(Place::Local), Ingress::Device) => Verdict::Drop(DropReason::SameSide),
            (Some(Place::Local), Ingress::Peer(_)) => Verdict::Device,
            (Some(Place::Peer(peer)), Ingress::Peer(from)) if peer == from => {
                Verdict::Drop(DropReason::SameSide)
            }
            (Some(Place::Peer(peer)), Ingress::Peer(_)) if self.relay => Verdict::Peer(peer),
            (Some(Place::Peer(_)), Ingress::Peer(_)) => Verdict::Drop(DropReason::SplitHorizon),
        }
    }

    /// Gives the learned MACs.
    pub fn table(&self) -> &Table<MacKey> {
        &self.table
    }

    /// Gives the learned MACs, for static entries and sweeps.
    pub fn table_mut(&mut self) -> &mut Table<MacKey> {
        &mut self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::FloodRate;

    const US: Ingress = Ingress::Device;
    const A: PeerId = PeerId::new(1, 0);
    const B: PeerId = PeerId::new(2, 0);
    const FROM_A: Ingress = Ingress::Peer(A);
    const FROM_B: Ingress = Ingress::Peer(B);

    const LOCAL_HOST: [u8; 6] = [2, 0, 0, 0, 0, 0];
    const HOST_A: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const HOST_B: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const UNKNOWN: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const BROADCAST: [u8; 6] = [0xff; 6];
    const MULTICAST: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

    struct Net {
        l2: L2Network,
        now: Instant,
    }

    impl Net {
        /// Two peers; a host behind each, and one behind us.
        fn new(relay: bool) -> Self {
            let now = Instant::now();
            let flood = FloodRate { rate_pps: 10, burst: 10 };
            let rules = Rules { relay, flood, ..Rules::default() };
            let mut l2 = L2Network::new(&rules, now, 7);
            l2.add_peer(A);
            l2.add_peer(B);
            for (host, ingress) in [(LOCAL_HOST, US), (HOST_A, FROM_A), (HOST_B, FROM_B)] {
                l2.learn(0, host, ingress, now).unwrap();
            }
            Self { l2, now }
        }

        fn verdict(&mut self, destination: [u8; 6], ingress: Ingress) -> Verdict {
            self.l2.verdict(0, destination, ingress, 1, self.now)
        }
    }

    #[test]
    fn from_the_device_a_known_host_is_at_its_peer() {
        let mut net = Net::new(false);
        assert_eq!(net.verdict(HOST_A, US), Verdict::Peer(A));
        assert_eq!(net.verdict(HOST_B, US), Verdict::Peer(B));
        assert_eq!(net.verdict(LOCAL_HOST, US), Verdict::Drop(DropReason::SameSide));
    }

    #[test]
    fn from_the_device_what_is_unknown_or_a_group_is_flooded() {
        let mut net = Net::new(true);
        for destination in [UNKNOWN, BROADCAST, MULTICAST] {
            assert_eq!(net.verdict(destination, US), Verdict::Flood { device: false });
        }
    }

    #[test]
    fn without_peers_nothing_is_flooded() {
        let mut net = Net::new(false);
        net.l2.forget_peer(A);
        net.l2.forget_peer(B);
        assert_eq!(net.verdict(BROADCAST, US), Verdict::Drop(DropReason::NoPeers));
        assert!(net.l2.peers().is_empty());
    }

    #[test]
    fn from_a_peer_everything_that_is_not_at_a_peer_is_for_our_device() {
        let mut net = Net::new(false);
        for destination in [LOCAL_HOST, UNKNOWN, BROADCAST, MULTICAST] {
            assert_eq!(net.verdict(destination, FROM_A), Verdict::Device);
        }
    }

    #[test]
    fn from_a_peer_to_another_only_a_relay_passes_on() {
        assert_eq!(
            Net::new(false).verdict(HOST_B, FROM_A),
            Verdict::Drop(DropReason::SplitHorizon)
        );
        assert_eq!(Net::new(true).verdict(HOST_B, FROM_A), Verdict::Peer(B));
    }

    #[test]
    fn a_relay_floods_from_a_peer_to_the_others_and_to_itself() {
        let mut net = Net::new(true);
        for destination in [UNKNOWN, BROADCAST, MULTICAST] {
            assert_eq!(net.verdict(destination, FROM_A), Verdict::Flood { device: true });
        }
        assert_eq!(net.verdict(LOCAL_HOST, FROM_A), Verdict::Device);
    }

    #[test]
    fn nothing_goes_back_to_the_peer_that_it_came_from() {
        for relay in [false, true] {
            let verdict = Net::new(relay).verdict(HOST_A, FROM_A);
            assert_eq!(verdict, Verdict::Drop(DropReason::SameSide));
        }
    }

    #[test]
    fn a_source_that_floods_too_fast_is_limited_and_no_other() {
        let mut net = Net::new(false);
        for ingress in [US, FROM_A] {
            let allowed =
                if ingress == US { Verdict::Flood { device: false } } else { Verdict::Device };
            assert!((0..10).all(|_| net.verdict(BROADCAST, ingress) == allowed));
            assert_eq!(net.verdict(MULTICAST, ingress), Verdict::Drop(DropReason::FloodLimited));
        }
        assert_eq!(net.verdict(UNKNOWN, US), Verdict::Drop(DropReason::FloodLimited));
        assert_eq!(net.verdict(HOST_A, US), Verdict::Peer(A));
        assert_eq!(net.verdict(LOCAL_HOST, FROM_A), Verdict::Device);
        assert_eq!(net.verdict(BROADCAST, FROM_B), Verdict::Device);
    }

    #[test]
    fn unknown_unicast_that_only_our_device_gets_is_not_limited() {
        let mut net = Net::new(false);
        assert!((0..100).all(|_| net.verdict(UNKNOWN, FROM_A) == Verdict::Device));
        let mut hub = Net::new(true);
        let last = (0..11).map(|_| hub.verdict(UNKNOWN, FROM_A)).last();
        assert_eq!(last, Some(Verdict::Drop(DropReason::FloodLimited)));
    }

    #[test]
    fn a_gso_packet_counts_with_all_its_packets() {
        let mut net = Net::new(false);
        let (l2, now) = (&mut net.l2, net.now);
        assert_eq!(l2.verdict(0, UNKNOWN, US, 8, now), Verdict::Flood { device: false });
        assert_eq!(l2.verdict(0, UNKNOWN, US, 3, now), Verdict::Drop(DropReason::FloodLimited));
    }

    #[test]
    fn a_vlan_is_a_space_of_its_own() {
        let mut net = Net::new(false);
        net.l2.learn(5, HOST_A, FROM_B, net.now).unwrap();
        assert_eq!(net.l2.verdict(5, HOST_A, US, 1, net.now), Verdict::Peer(B));
        assert_eq!(net.verdict(HOST_A, US), Verdict::Peer(A));
        let elsewhere = net.l2.verdict(6, HOST_A, US, 1, net.now);
        assert_eq!(elsewhere, Verdict::Flood { device: false });
    }

    #[test]
    fn our_own_mac_is_ours_in_every_vlan() {
        let mut net = Net::new(false);
        net.l2.set_own(LOCAL_HOST);
        for vlan in [0, 5] {
            let refused = net.l2.learn(vlan, LOCAL_HOST, FROM_A, net.now);
            assert_eq!(refused, Err(DropReason::StaticSource));
            assert_eq!(net.l2.learn(vlan, LOCAL_HOST, US, net.now), Ok(()));
        }
        assert_eq!(net.verdict(LOCAL_HOST, FROM_A), Verdict::Device);
    }

    #[test]
    fn groups_and_zero_teach_nothing() {
        let mut net = Net::new(false);
        for source in [BROADCAST, MULTICAST, [0; 6]] {
            let refused = net.l2.learn(0, source, FROM_A, net.now);
            assert_eq!(refused, Err(DropReason::SourceInvalid));
        }
        assert_eq!(net.l2.table().len(), 3);
    }

    #[test]
    fn a_removed_peer_is_neither_flooded_to_nor_believed() {
        let mut net = Net::new(false);
        net.l2.forget_peer(A);
        assert_eq!(net.l2.peers(), [B]);
        assert_eq!(net.verdict(HOST_A, US), Verdict::Flood { device: false });
        let next = PeerId::new(A.slot(), 1);
        net.l2.add_peer(next);
        assert_eq!(net.verdict(HOST_A, US), Verdict::Flood { device: false });
        assert_eq!(net.l2.peers(), [B, next]);
    }

    #[test]
    fn a_flood_of_sources_fills_only_the_share_of_who_sends_it() {
        let now = Instant::now();
        let mut l2 = L2Network::new(&Rules::default(), now, 7);
        l2.add_peer(A);
        l2.add_peer(B);
        l2.learn(0, HOST_B, FROM_B, now).unwrap();
        for (ingress, reason) in
            [(FROM_A, DropReason::PeerTableFull), (US, DropReason::LocalTableFull)]
        {
            let first: u8 = if ingress == US { 0x02 } else { 0x06 };
            let refused = (0..20_000_u32)
                .map(|n| {
                    [first, 0xee, n.to_be_bytes()[0], 0, n.to_be_bytes()[2], n.to_be_bytes()[3]]
                })
                .filter(|source| l2.learn(0, *source, ingress, now) == Err(reason))
                .count();
            assert_eq!(refused, 20_000 - 16_384);
        }
        assert_eq!(l2.verdict(0, HOST_B, US, 1, now), Verdict::Peer(B));
        assert_eq!(l2.learn(0, UNKNOWN, FROM_B, now), Ok(()));
    }
}
