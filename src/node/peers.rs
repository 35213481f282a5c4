//! The peers: by id, and by the address that a datagram came from.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use ipnet::IpNet;

use super::{NodeSettings, PeerSettings, Traffic};
use crate::drops::DropCounters;
use crate::forward::SourceFilter;
use crate::frame::{Headers, L4, Layer, Net, ndp};
use crate::peer::{NetworkId, PeerId};
use crate::transport::overhead;

/// Another node, and what is known of the way to it.
pub struct Peer {
    /// The name that users see.
    pub name: String,
    /// The largest outer IP packet on the way to it, bytes, as far as known.
    pub path_mtu: Option<u16>,
    /// The address of ours that it sends to, where we have several.
    pub local: Option<IpAddr>,
    /// When something valid came from it.
    pub last_received: Option<Instant>,
    /// What went to it.
    pub sent: Traffic,
    /// What came from it.
    pub received: Traffic,
    /// What was dropped on the way from or to it.
    pub drops: DropCounters,
    /// The networks that it is in.
    pub networks: Vec<NetworkId>,
    filter: SourceFilter,
    allowed_ips: Vec<IpNet>,
    vxlan: SocketAddr,
    vxlan_gpe: SocketAddr,
}

impl Peer {
    /// Gives the endpoint that takes this layer's format.
    pub fn endpoint(&self, layer: Layer) -> SocketAddr {
        match layer {
            Layer::L2 => self.vxlan,
            Layer::L3 => self.vxlan_gpe,
        }
    }

    /// The largest inner frame or packet that the path takes; what a datagram holds, if nothing is
    /// known of the path.
    pub(super) fn inner_max(&self) -> usize {
        overhead::inner_max(self.vxlan.ip(), self.path_mtu.unwrap_or(u16::MAX)).into()
    }

    /// Whether it may send a frame from these addresses, and make the claims that are in it (in a
    /// network of frames).
    pub(super) fn allows(&self, bytes: &[u8], headers: &Headers) -> bool {
        if !headers.link.is_none_or(|link| self.filter.allows_mac(link.src.0)) {
            return false;
        }
        match &headers.net {
            Net::V4(info) => self.allows_ip(info.src.into(), headers),
            Net::V6(info) => {
                let claim = ndp::claim(bytes, headers);
                self.allows_ip(info.src.into(), headers)
                    && claim.address.is_none_or(|claimed| self.allows_ip(claimed.into(), headers))
                    && claim.mac.is_none_or(|mac| self.filter.allows_mac(mac.0))
            }
            Net::Arp(info) => {
                self.allows_ip(info.sender.into(), headers)
                    && self.filter.allows_mac(info.sender_mac.0)
            }
            Net::Other => true,
        }
    }

    /// Who asks whether an address is free, or for one, claims none. Link-local addresses are not
    /// listed by anybody, and IPv6 needs them to find neighbours: for ICMPv6 they go with any
    /// IPv6 prefix that is allowed.
    fn allows_ip(&self, address: IpAddr, headers: &Headers) -> bool {
        let is_neighbour = matches!(headers.l4, L4::Icmp6 { .. })
            && matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
            && self.allowed_ips.iter().any(|net| net.addr().is_ipv6());
        address.is_unspecified() || is_neighbour || self.filter.allows_ip(address)
    }

    pub(super) fn learn_path_mtu(&mut self, path_mtu: u16) {
        self.path_mtu = Some(path_mtu.max(overhead::smallest_path_mtu(self.vxlan.ip())));
    }

    fn new(settings: &PeerSettings) -> Self {
        let macs = settings.allowed_macs.as_ref();
        let macs = macs.map(|macs| macs.iter().map(|mac| mac.0).collect::<Vec<_>>());
        let mut peer = Self {
            name: settings.name.clone(),
            path_mtu: None,
            local: None,
            last_received: None,
            sent: Traffic::default(),
            received: Traffic::default(),
            drops: DropCounters::default(),
            networks: settings.networks.clone(),
            filter: SourceFilter::new(macs.as_deref(), settings.allowed_ips.as_deref()),
            allowed_ips: settings.allowed_ips.clone().unwrap_or_default(),
            vxlan: settings.vxlan,
            vxlan_gpe: settings.vxlan_gpe,
        };
        if let Some(mtu) = settings.path_mtu {
            peer.learn_path_mtu(mtu);
        }
        peer
    }
}

/// All peers of a node.
pub(super) struct Peers {
    slots: Vec<Peer>,
    by_address: HashMap<IpAddr, PeerId, RandomState>,
    /// The last answer of `by_address`: bulk traffic comes from one peer.
    last: Option<(IpAddr, PeerId)>,
}

impl Peers {
    pub(super) fn new(settings: &NodeSettings) -> Self {
        let slots: Vec<_> = settings.peers.iter().map(Peer::new).collect();
        let by_address = slots
            .iter()
            .enumerate()
            .map(|(slot, peer)| (peer.vxlan.ip().to_canonical(), PeerId::new(slot, 0)))
            .collect();
        Self { slots, by_address, last: None }
    }

    /// Finds the peer that sends from an address; the port is entropy and says nothing.
    pub(super) fn by_address(&mut self, address: IpAddr) -> Option<PeerId> {
        if let Some((last, peer)) = self.last
            && last == address
        {
            return Some(peer);
        }
        let peer = *self.by_address.get(&address.to_canonical())?;
        self.last = Some((address, peer));
        Some(peer)
    }

    pub(super) fn live(&self, id: PeerId) -> Option<&Peer> {
        self.slots.get(id.slot())
    }

    pub(super) fn live_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.slots.get_mut(id.slot())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.slots.iter().enumerate().map(|(slot, peer)| (PeerId::new(slot, 0), peer))
    }

    /// The prefixes of a network's members.
    pub(super) fn routes(&self, network: NetworkId) -> Vec<(IpNet, PeerId)> {
        let members = self.iter().filter(|(_, peer)| peer.networks.contains(&network));
        members.flat_map(|(id, peer)| peer.allowed_ips.iter().map(move |net| (*net, id))).collect()
    }

    /// The members of a network, in the order of the configuration.
    pub(super) fn members(&self, network: NetworkId) -> Vec<PeerId> {
        self.iter().filter(|(_, peer)| peer.networks.contains(&network)).map(|(id, _)| id).collect()
    }
}
