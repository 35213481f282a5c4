//! Learned tables stay within their limits, and say where hosts are.

use std::net::IpAddr;
use std::time::Instant;

use tunctl::forward::{Limits, MacKey, Place};
use tunctl::node::{Forwarding, Network};
use tunctl::peer::PeerId;

use super::{Checked, ensure};

/// The lengths of a table: as a whole, and the share of each place.
pub fn bounds(limits: Limits, all: usize, local: usize, peers: &[usize]) -> Checked {
    ensure!(all <= limits.network as usize, "table: {all} entries of {}", limits.network);
    ensure!(local <= limits.local as usize, "table: {local} local entries of {}", limits.local);
    for share in peers {
        ensure!(
            *share <= limits.per_peer as usize,
            "table: {share} entries of {}",
            limits.per_peer
        );
    }
    let sum = local + peers.iter().sum::<usize>();
    ensure!(sum == all, "table: {all} entries, the places have {sum}");
    Ok(())
}

/// The same, of a network of a node.
pub fn check(network: &Network, peers: &[PeerId], limits: Limits) -> Checked {
    let forwarding = &network.forwarding;
    let shares: Vec<_> =
        peers.iter().map(|peer| forwarding.entries_of(Place::Peer(*peer))).collect();
    bounds(limits, forwarding.entries_len(), forwarding.entries_of(Place::Local), &shares)
}

/// Where the table of a network has a host.
pub fn place(
    network: &Network,
    vlan: u16,
    mac: [u8; 6],
    ip: IpAddr,
    now: Instant,
) -> Option<Place> {
    match &network.forwarding {
        Forwarding::L2(l2) => l2.table().lookup(&MacKey::new(vlan, mac), now),
        Forwarding::L3(l3) => l3.place_of(ip, now),
    }
}

/// A host that everybody has just heard of.
pub fn known(place: Option<Place>, expected: Place) -> Checked {
    ensure!(place == Some(expected), "table: a host at {expected:?} is thought at {place:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { network: 10, per_peer: 4, local: 3 };

    #[test]
    fn a_table_beyond_any_of_its_limits_is_found() {
        assert_eq!(bounds(LIMITS, 10, 3, &[4, 3]), Ok(()));
        assert!(bounds(LIMITS, 11, 3, &[4, 4]).is_err());
        assert!(bounds(LIMITS, 9, 4, &[4, 1]).is_err());
        assert!(bounds(LIMITS, 9, 3, &[5, 1]).is_err());
    }

    #[test]
    fn entries_that_belong_to_nobody_are_found() {
        assert!(bounds(LIMITS, 9, 3, &[4]).is_err());
    }

    #[test]
    fn a_host_that_is_forgotten_or_elsewhere_is_found() {
        let peer = Place::Peer(PeerId::new(1, 0));
        assert_eq!(known(Some(peer), peer), Ok(()));
        assert!(known(Some(Place::Local), peer).is_err());
        assert!(known(None, peer).is_err());
    }
}
