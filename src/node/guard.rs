//! Keeps the tunnel out of itself: a packet to one of the tunnel's own endpoints would be
//! encapsulated and sent to that endpoint again, and again.

use std::net::{IpAddr, SocketAddr};

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::{NodeSettings, Peer};
use crate::frame::{Headers, L4};

/// Words of 64 bits that all ports take.
const PORT_WORDS: usize = (1 << 16) / 64;

/// The endpoints of this node and of its peers, of which each has two at most.
pub(super) struct OwnEndpoints {
    /// With how many are there: several peers may be behind one address.
    exact: HashMap<SocketAddr, u32, RandomState>,
    /// A bit for each port that was ever in `exact` or on a wildcard, so that most packets need no
    /// look-up.
    ports: Box<[u64]>,
    wildcard_ports: Vec<u16>,
}

impl OwnEndpoints {
    pub(super) fn new(settings: &NodeSettings) -> Self {
        let mut own = Self {
            exact: HashMap::default(),
            ports: vec![0; PORT_WORDS].into(),
            wildcard_ports: Vec::new(),
        };
        for endpoint in &settings.own_endpoints {
            own.add(*endpoint);
            if endpoint.ip().is_unspecified() {
                own.wildcard_ports.push(endpoint.port());
            }
        }
        own
    }

    /// Adds those of a peer.
    pub(super) fn add_of(&mut self, peer: &Peer) {
        peer.endpoints().for_each(|endpoint| self.add(endpoint));
    }

    /// Removes those of a peer, which were added.
    pub(super) fn remove_of(&mut self, peer: &Peer) {
        for endpoint in peer.endpoints().map(canonical) {
            let Entry::Occupied(mut there) = self.exact.entry(endpoint) else { continue };
            *there.get_mut() -= 1;
            if *there.get() == 0 {
                there.remove();
            }
        }
    }

    fn add(&mut self, endpoint: SocketAddr) {
        *self.exact.entry(canonical(endpoint)).or_default() += 1;
        let (word, bit) = place_of(endpoint.port());
        self.ports[word] |= bit;
    }

    /// Whether a packet is addressed to the tunnel itself. `local` is an address known to be ours.
    pub(super) fn is_destination(&self, headers: &Headers, local: Option<IpAddr>) -> bool {
        let L4::Udp { dst_port, .. } = headers.l4 else { return false };
        let (word, bit) = place_of(dst_port);
        if self.ports[word] & bit == 0 {
            return false;
        }
        let Some(address) = headers.destination_ip() else { return false };
        self.exact.contains_key(&SocketAddr::new(address, dst_port))
            || (local == Some(address) && self.wildcard_ports.contains(&dst_port))
    }
}

/// Without scope and flow label, and IPv4 as IPv4: as inner packets have it.
fn canonical(endpoint: SocketAddr) -> SocketAddr {
    SocketAddr::new(endpoint.ip().to_canonical(), endpoint.port())
}

/// Where a port's bit is: the word, and the bit in it.
fn place_of(port: u16) -> (usize, u64) {
    (usize::from(port / 64), 1 << (port % 64))
}
