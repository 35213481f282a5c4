//! Keeps the tunnel out of itself: a packet to one of the tunnel's own endpoints would be
//! encapsulated and sent to that endpoint again, and again.

use std::net::{IpAddr, SocketAddr};

use foldhash::quality::RandomState;
use hashbrown::HashSet;

use super::NodeSettings;
use crate::frame::{Headers, L4};

/// The endpoints of this node and of its peers.
pub(super) struct OwnEndpoints {
    exact: HashSet<SocketAddr, RandomState>,
    /// All ports in `exact` or on a wildcard; few, so most packets need no look-up.
    ports: Vec<u16>,
    wildcard_ports: Vec<u16>,
}

impl OwnEndpoints {
    pub(super) fn new(settings: &NodeSettings) -> Self {
        let peers = settings.peers.iter().flat_map(|peer| [peer.vxlan, peer.vxlan_gpe]);
        let all = settings.own_endpoints.iter().copied().chain(peers).map(canonical);
        let mut own =
            Self { exact: HashSet::default(), ports: Vec::new(), wildcard_ports: Vec::new() };
        for endpoint in all {
            if endpoint.ip().is_unspecified() {
                own.wildcard_ports.push(endpoint.port());
            } else {
                own.exact.insert(endpoint);
            }
            if !own.ports.contains(&endpoint.port()) {
                own.ports.push(endpoint.port());
            }
        }
        own
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
