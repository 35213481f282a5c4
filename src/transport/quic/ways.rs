//! What the kernel lets go to the addresses where peers are thought to be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

/// The addresses of peers; there are never more than peers.
#[derive(Default)]
pub(super) struct Ways {
    ways: RwLock<HashMap<IpAddr, Way>>,
}

struct Way {
    /// The largest packet, bytes.
    mtu: u16,
    /// How many peers are there: those behind one NAT have one address.
    peers: usize,
}

impl Ways {
    /// Takes note that a peer, which was at `former`, is at `to`, and of the largest packet there.
    pub(super) fn set(&self, former: Option<IpAddr>, to: IpAddr, mtu: u16) {
        let (former, to) = (former.map(|ip| ip.to_canonical()), to.to_canonical());
        let mut ways = self.ways.write().unwrap_or_else(PoisonError::into_inner);
        let way = ways.entry(to).or_insert(Way { mtu, peers: 0 });
        way.mtu = mtu;
        if former == Some(to) {
            return;
        }
        way.peers += 1;
        let Some(former) = former else { return };
        if let Some(way) = ways.get_mut(&former) {
            way.peers -= 1;
            if way.peers == 0 {
                ways.remove(&former);
            }
        }
    }

    /// Gives the largest packet that may go to an address where a peer is.
    pub(super) fn mtu(&self, to: IpAddr) -> Option<u16> {
        let ways = self.ways.read().unwrap_or_else(PoisonError::into_inner);
        ways.get(&to.to_canonical()).map(|way| way.mtu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn an_address_is_known_as_long_as_a_peer_is_there() {
        let ways = Ways::default();
        ways.set(None, A, 1500);
        ways.set(None, A, 1400);
        assert_eq!(ways.mtu(A), Some(1400));
        ways.set(Some(A), B, 1500);
        assert_eq!((ways.mtu(A), ways.mtu(B)), (Some(1400), Some(1500)));
        ways.set(Some(A), B, 1500);
        assert_eq!((ways.mtu(A), ways.mtu(B)), (None, Some(1500)));
    }

    #[test]
    fn a_peer_that_stays_keeps_its_address_known() {
        let ways = Ways::default();
        for mtu in [1500, 1280, 1280] {
            ways.set((mtu < 1500).then_some(A), A, mtu);
            assert_eq!(ways.mtu(A), Some(mtu));
        }
        ways.set(Some(A), B, 1500);
        assert_eq!(ways.mtu(A), None);
    }

    #[test]
    fn an_ipv4_address_is_one_in_either_form() {
        let ways = Ways::default();
        ways.set(None, "::ffff:192.0.2.1".parse().unwrap(), 1500);
        assert_eq!(ways.mtu(A), Some(1500));
    }
}
