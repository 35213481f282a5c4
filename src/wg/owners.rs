//! Whose the allowed addresses are: a prefix is never two peers'.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;

use crate::transport::wireguard::PublicKey;

/// The prefixes of all peers. Every change of one takes about the same time, however many there are.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_net: HashMap<IpNet, (PublicKey, u64)>,
    /// Of each peer, in the order in which they came.
    by_peer: HashMap<PublicKey, BTreeMap<u64, IpNet>>,
    /// How many came so far.
    count: u64,
}

impl Owners {
    /// Gives a prefix to a peer, and takes it from who had it.
    pub(super) fn add(&mut self, peer: PublicKey, net: IpNet) {
        if self.by_net.get(&net).is_some_and(|(owner, _)| *owner == peer) {
            return;
        }
        self.count += 1;
        if let Some((owner, number)) = self.by_net.insert(net, (peer, self.count))
            && let Some(nets) = self.by_peer.get_mut(&owner)
        {
            nets.remove(&number);
        }
        self.by_peer.entry(peer).or_default().insert(self.count, net);
    }

    /// Takes a prefix from a peer, if it has it.
    pub(super) fn remove(&mut self, peer: PublicKey, net: IpNet) {
        if let Some((owner, number)) = self.by_net.get(&net).copied()
            && owner == peer
        {
            self.by_net.remove(&net);
            if let Some(nets) = self.by_peer.get_mut(&peer) {
                nets.remove(&number);
            }
        }
    }

    /// Takes every prefix from a peer.
    pub(super) fn remove_all(&mut self, peer: &PublicKey) {
        for net in self.by_peer.remove(peer).into_iter().flat_map(BTreeMap::into_values) {
            self.by_net.remove(&net);
        }
    }

    /// Gives the prefixes of a peer, the oldest first.
    pub(super) fn of(&self, peer: &PublicKey) -> impl Iterator<Item = IpNet> + '_ {
        self.by_peer.get(peer).into_iter().flat_map(BTreeMap::values).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u32) -> PublicKey {
        let mut bytes = [1; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        PublicKey::from_bytes(bytes)
    }

    fn net(number: u32) -> IpNet {
        IpNet::new(std::net::Ipv4Addr::from(number).into(), 32).unwrap()
    }

    fn of(owners: &Owners, number: u32) -> Vec<IpNet> {
        owners.of(&peer(number)).collect()
    }

    #[test]
    fn prefix_belongs_to_who_had_it_added_last() {
        let mut owners = Owners::default();
        for it in [3, 1, 2] {
            owners.add(peer(0), net(it));
        }
        owners.add(peer(0), net(3));
        assert_eq!(of(&owners, 0), [net(3), net(1), net(2)]);
        owners.add(peer(1), net(1));
        assert_eq!((of(&owners, 0), of(&owners, 1)), (vec![net(3), net(2)], vec![net(1)]));
    }

    #[test]
    fn prefix_is_taken_from_its_owner_only() {
        let mut owners = Owners::default();
        owners.add(peer(0), net(1));
        owners.remove(peer(1), net(1));
        assert_eq!(of(&owners, 0), [net(1)]);
        owners.remove(peer(0), net(1));
        owners.remove(peer(0), net(1));
        assert_eq!(of(&owners, 0), []);
    }

    #[test]
    fn peer_without_prefixes_loses_nothing_of_others() {
        let mut owners = Owners::default();
        owners.add(peer(0), net(1));
        owners.add(peer(1), net(1));
        owners.remove_all(&peer(0));
        assert_eq!(of(&owners, 1), [net(1)]);
        owners.remove_all(&peer(1));
        owners.add(peer(0), net(1));
        assert_eq!((of(&owners, 0), of(&owners, 1)), (vec![net(1)], vec![]));
    }

    #[test]
    fn hundred_thousand_prefixes_move_at_once() {
        // With a look at every other prefix for each this would take minutes.
        let mut owners = Owners::default();
        for owner in 0..3 {
            (0..100_000).for_each(|it| owners.add(peer(owner), net(it)));
        }
        (0..100_000).for_each(|it| owners.add(peer(it), net(it)));
        assert_eq!((of(&owners, 2), of(&owners, 99_999)), (vec![net(2)], vec![net(99_999)]));
    }
}
