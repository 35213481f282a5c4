//! Keeps the tunnel out of itself: a packet to one of the tunnel's own endpoints would be
//! encapsulated and sent to that endpoint again, and again.

use std::net::{IpAddr, SocketAddr};

use foldhash::quality::RandomState;
use hashbrown::HashSet;

use super::{Crossing, NodeSettings};
use crate::frame::{Headers, L4};

/// The most endpoints and ports that are kept; peers behind NAT have one of each.
const ENDPOINTS_MAX: usize = 1 << 17;
const PORTS_MAX: usize = 1 << 16;

/// The endpoints of this node and of its peers.
pub(super) struct OwnEndpoints {
    exact: HashSet<SocketAddr, RandomState>,
    /// All ports in `exact` or on a wildcard; few, so most packets need no look-up.
    ports: Vec<u16>,
    wildcard_ports: Vec<u16>,
}

impl OwnEndpoints {
    pub(super) fn new(settings: &NodeSettings) -> Self {
        let peers = settings.peers.iter().flat_map(|peer| match peer.crossing {
            Crossing::Vxlan { vxlan, vxlan_gpe } => [Some(vxlan), Some(vxlan_gpe)],
            Crossing::WireGuard { endpoint, .. } => [endpoint, None],
        });
        let all = settings.own_endpoints.iter().copied().chain(peers.flatten());
        let mut own =
            Self { exact: HashSet::default(), ports: Vec::new(), wildcard_ports: Vec::new() };
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
        if !self.ports.contains(&endpoint.port()) && self.ports.len() < PORTS_MAX {
            self.ports.push(endpoint.port());
        }
    }

    /// Whether a packet is addressed to the tunnel itself. `local` is an address known to be ours.
    pub(super) fn is_destination(&self, headers: &Headers, local: Option<IpAddr>) -> bool {
        let L4::Udp { dst_port, .. } = headers.l4 else { return false };
        if !self.ports.contains(&dst_port) {
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
