//! Which peer a prefix belongs to: longest prefix match, where several peers may share a prefix.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::lpm::Lpm;
use crate::peer::PeerId;

/// The routes of an L3 network. A snapshot: a change of routes is a new one, made off the worker.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// The values are positions in `entries`.
    lpm: Lpm<u32>,
    /// Sorted by prefix.
    entries: Vec<Entry>,
    /// Those of each entry together, sorted.
    peers: Vec<PeerId>,
}

#[derive(Clone, Debug)]
struct Entry {
    net: IpNet,
    peers: Range<usize>,
}

/// A prefix that several peers share, by its position in the [`Routes`] that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

/// What the longest prefix around an address says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteMatch {
    /// No prefix covers the address.
    None,
    /// The prefix belongs to one peer.
    One(PeerId),
    /// Several peers share the prefix: hosts inside it are learned.
    Shared(Share),
}

impl Routes {
    /// Builds the routes; bits behind a prefix are ignored, and so are repetitions.
    pub fn new(prefixes: &[(IpNet, PeerId)]) -> Self {
        let mut pairs: Vec<_> = prefixes.iter().map(|(net, peer)| (net.trunc(), *peer)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut entries = Vec::new();
        let mut end = 0;
        for of_net in pairs.chunk_by(|(a, _), (b, _)| a == b) {
            let start = end;
            end += of_net.len();
            entries.push(Entry { net: of_net[0].0, peers: start..end });
        }
        let lpm = Lpm::new(entries.iter().zip(0..).map(|(entry, at)| (entry.net, at)));
        Self { lpm, entries, peers: pairs.into_iter().map(|(_, peer)| peer).collect() }
    }

    /// Finds the longest prefix that covers `address`.
    pub fn lookup(&self, address: IpAddr) -> RouteMatch {
        let Some(at) = self.lpm.lookup(address) else { return RouteMatch::None };
        match *self.sharing(Share(at)) {
            [peer] => RouteMatch::One(peer),
            _ => RouteMatch::Shared(Share(at)),
        }
    }

    /// Gives the peers that share a prefix, sorted; none if `share` is of other routes.
    pub fn sharing(&self, share: Share) -> &[PeerId] {
        let entry = self.entries.get(share.0 as usize);
        entry.map_or(&[], |entry| &self.peers[entry.peers.clone()])
    }

    /// Whether the longest prefix that covers `source` belongs to `peer`, alone or with others.
    pub fn allows(&self, peer: PeerId, source: IpAddr) -> bool {
        self.belongs_to(self.lookup(source), peer)
    }

    /// Gives every prefix with its peers, sorted by prefix.
    pub fn entries(&self) -> impl Iterator<Item = (IpNet, &[PeerId])> {
        self.entries.iter().map(|entry| (entry.net, &self.peers[entry.peers.clone()]))
    }

    /// Whether what was found for an address belongs to `peer`.
    pub(super) fn belongs_to(&self, found: RouteMatch, peer: PeerId) -> bool {
        match found {
            RouteMatch::None => false,
            RouteMatch::One(one) => one == peer,
            RouteMatch::Shared(share) => self.sharing(share).binary_search(&peer).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerId = PeerId::new(1, 0);
    const B: PeerId = PeerId::new(2, 0);

    fn routes(prefixes: &[(&str, PeerId)]) -> Routes {
        let prefixes: Vec<_> =
            prefixes.iter().map(|(net, peer)| (net.parse().unwrap(), *peer)).collect();
        Routes::new(&prefixes)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_prefix_names_the_peer() {
        let routes = routes(&[("10.0.0.0/8", A), ("10.1.0.0/16", B), ("fd00::/8", B)]);
        assert_eq!(routes.lookup(ip("10.0.0.1")), RouteMatch::One(A));
        assert_eq!(routes.lookup(ip("10.1.0.1")), RouteMatch::One(B));
        assert_eq!(routes.lookup(ip("10.2.0.1")), RouteMatch::One(A));
        assert_eq!(routes.lookup(ip("fd12::1")), RouteMatch::One(B));
        assert_eq!(routes.lookup(ip("11.0.0.1")), RouteMatch::None);
        assert_eq!(routes.lookup(ip("fe80::1")), RouteMatch::None);
    }

    #[test]
    fn peers_with_one_prefix_share_it() {
        let routes = routes(&[("10.1.0.0/16", B), ("10.1.7.7/16", A), ("10.1.0.0/16", B)]);
        let RouteMatch::Shared(share) = routes.lookup(ip("10.1.2.3")) else {
            panic!("shared");
        };
        assert_eq!(routes.sharing(share), [A, B]);
        assert_eq!(routes.entries().count(), 1);
    }

    #[test]
    fn a_peer_may_not_send_from_a_longer_prefix_of_another() {
        let routes = routes(&[("10.0.0.0/8", A), ("10.1.0.0/16", B)]);
        assert!(routes.allows(A, ip("10.9.0.1")));
        assert!(!routes.allows(A, ip("10.1.0.1")));
        assert!(routes.allows(B, ip("10.1.0.1")));
        assert!(!routes.allows(B, ip("10.9.0.1")));
        assert!(!routes.allows(A, ip("::ffff:10.9.0.1")));
    }

    #[test]
    fn another_generation_of_a_peer_is_another_peer() {
        let routes = routes(&[("10.0.0.0/8", A)]);
        assert!(!routes.allows(PeerId::new(A.slot(), 1), ip("10.0.0.1")));
    }

    #[test]
    fn a_share_of_other_routes_names_nobody() {
        let first = routes(&[("10.0.0.0/8", A), ("10.0.0.0/8", B)]);
        let RouteMatch::Shared(share) = first.lookup(ip("10.0.0.1")) else {
            panic!("shared");
        };
        assert!(Routes::default().sharing(share).is_empty());
    }
}
