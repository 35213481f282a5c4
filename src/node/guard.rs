//! Keeps the tunnel out of itself: a packet to one of the tunnel's own endpoints would be
//! encapsulated and sent to that endpoint again, and again.

use std::net::{IpAddr, SocketAddr};

use foldhash::quality::RandomState;
use hashbrown::HashSet;

use super::{Crossing, NodeSettings};
use crate::frame::{Headers, L4};

/// The most endpoints that are kept.
const ENDPOINTS_MAX: usize = 1 << 17;

/// Words of 64 bits that all ports take.
const PORT_WORDS: usize = (1 << 16) / 64;

/// The endpoints of this node and of its peers.
pub(super) struct OwnEndpoints {
    exact: HashSet<SocketAddr, RandomState>,
    /// A bit for each port in `exact` or on a wildcard, so that most packets need no look-up.
    ports: Box<[u64]>,
    wildcard_ports: Vec<u16>,
}

impl OwnEndpoints {
    pub(super) fn new(settings: &NodeSettings) -> Self {
        let peers = settings.peers.iter().flat_map(|peer| match peer.crossing {
            Crossing::Vxlan { vxlan, vxlan_gpe } => [Some(vxlan), Some(vxlan_gpe)],
            Crossing::WireGuard { endpoint, .. } | Crossing::Quic { endpoint } => [endpoint, None],
        });
        let all = settings.own_endpoints.iter().copied().chain(peers.flatten());
        let mut own = Self {
            exact: HashSet::default(),
            ports: vec![0; PORT_WORDS].into(),
            wildcard_ports: Vec::new(),
        };
        all.for_each(|endpoint| own.add(endpoint));
        own
    }

    /// Adds an endpoint; one of a peer that moved stays. Peers that make up ports are not
    /// followed for ever.
    pub(super) fn add(&mut self, endpoint: SocketAddr) {
        let endpoint = canonical(endpoint);
        if endpoint.ip().is_unspecified() {
            self.wildcard_ports.push(endpoint.port());
        } else if self.exact.len() < ENDPOINTS_MAX {
            self.exact.insert(endpoint);
        }
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
        self.exact.contains(&SocketAddr::new(address, dst_port))
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
