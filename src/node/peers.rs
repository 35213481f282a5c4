//! The peers: by id, and by the address that a datagram came from.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use ipnet::IpNet;

use super::unfinished::Checksums;
use super::{Crossing, NodeSettings, PeerSettings, Traffic};
use crate::drops::DropCounters;
use crate::forward::SourceFilter;
use crate::frame::{Headers, L4, Layer, Net, ndp};
use crate::peer::{NetworkId, PeerId};
use crate::transport::Carrier;
use crate::transport::outer::TunnelIps;
use crate::transport::overhead::{self, Wrap};

/// What is taken for the path MTU while nothing is known of it.
const ETHERNET_MTU: u16 = 1500;

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
    pub(super) checksums: Checksums,
    filter: SourceFilter,
    allowed_ips: Vec<IpNet>,
    crossing: Crossing,
}

impl Peer {
    /// Gives the endpoint that takes this layer's format; none if it is not known where the peer
    /// is.
    pub fn endpoint(&self, layer: Layer) -> Option<SocketAddr> {
        match (self.crossing, layer) {
            (Crossing::Vxlan { vxlan, .. }, Layer::L2) => Some(vxlan),
            (Crossing::Vxlan { vxlan_gpe, .. }, Layer::L3) => Some(vxlan_gpe),
            (Crossing::WireGuard { endpoint, .. } | Crossing::Quic { endpoint }, _) => endpoint,
        }
    }

    /// Gives all endpoints that are known.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let both = match self.crossing {
            Crossing::Vxlan { vxlan, vxlan_gpe } => [Some(vxlan), Some(vxlan_gpe)],
            Crossing::WireGuard { endpoint, .. } | Crossing::Quic { endpoint } => [endpoint, None],
        };
        both.into_iter().flatten()
    }

    pub(super) fn set_endpoint(&mut self, to: SocketAddr) {
        match &mut self.crossing {
            Crossing::Vxlan { .. } => {}
            Crossing::WireGuard { endpoint, .. } | Crossing::Quic { endpoint } => {
                *endpoint = Some(to);
            }
        }
    }

    /// Between which addresses frames cross as VXLAN inside WireGuard.
    pub(super) fn tunnel(&self) -> Option<TunnelIps> {
        match self.crossing {
            Crossing::Vxlan { .. } | Crossing::Quic { .. } => None,
            Crossing::WireGuard { tunnel, .. } => tunnel,
        }
    }

    /// What carries a layer's packets to it.
    pub(super) fn carrier(&self, layer: Layer) -> Carrier {
        match self.crossing {
            Crossing::Vxlan { .. } => Carrier::of(layer),
            Crossing::WireGuard { .. } => Carrier::WireGuard,
            Crossing::Quic { .. } => Carrier::Quic,
        }
    }

    /// What is put around a layer's packets.
    fn wrap(&self, layer: Layer) -> Wrap {
        match (self.crossing, layer) {
            (Crossing::WireGuard { tunnel: Some(ips), .. }, Layer::L2) => {
                Wrap::VxlanInWireGuard(ips)
            }
            (Crossing::WireGuard { .. }, _) => Wrap::WireGuard,
            (Crossing::Vxlan { .. }, _) => Wrap::Vxlan,
            (Crossing::Quic { .. }, _) => Wrap::Quic,
        }
    }

    /// Gives the peer's address; one of the larger family, while it is not known.
    fn ip(&self) -> IpAddr {
        self.endpoint(Layer::L2).map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |to| to.ip())
    }

    /// The largest inner frame or packet that the path takes; what a datagram holds, if nothing is
    /// known of the path.
    pub(super) fn inner_max(&self, layer: Layer) -> usize {
        let path_mtu = self.path_mtu.unwrap_or(u16::MAX);
        overhead::inner_max(self.wrap(layer), self.ip(), path_mtu).into()
    }

    /// The most bytes that WireGuard may seal for it in one message.
    pub(super) fn sealed_max(&self) -> u16 {
        let path_mtu = self.path_mtu.unwrap_or(ETHERNET_MTU);
        overhead::inner_max(Wrap::WireGuard, self.ip(), path_mtu)
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

    /// What comes of ICMP may be forged, and is believed no further than standards go; what QUIC
    /// has found out, the peer itself has answered.
    pub(super) fn learn_path_mtu(&mut self, path_mtu: u16) {
        let smallest = match self.crossing {
            Crossing::Vxlan { .. } | Crossing::WireGuard { .. } => {
                overhead::smallest_path_mtu(self.ip())
            }
            Crossing::Quic { .. } => 0,
        };
        self.path_mtu = Some(path_mtu.max(smallest));
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
            checksums: Checksums::default(),
            filter: SourceFilter::new(macs.as_deref(), settings.allowed_ips.as_deref()),
            allowed_ips: settings.allowed_ips.clone().unwrap_or_default(),
            crossing: settings.crossing,
        };
        if let Some(mtu) = settings.path_mtu {
            peer.learn_path_mtu(mtu);
        }
        peer
    }
}

/// The most generations of a slot; the tables hold what was learned from a former peer for less
/// time than it takes to use them up.
const GENERATIONS: u16 = 1 << (32 - PeerId::SLOT_BITS);

/// A place for a peer; the next one in it has another generation.
struct Slot {
    generation: u16,
    peer: Option<Peer>,
}

/// All peers of a node.
pub(super) struct Peers {
    slots: Vec<Slot>,
    /// Places without a peer.
    free: Vec<usize>,
    by_address: HashMap<IpAddr, PeerId, RandomState>,
    /// The last answer of `by_address`: bulk traffic comes from one peer.
    last: Option<(IpAddr, PeerId)>,
}

impl Peers {
    pub(super) fn new(settings: &NodeSettings) -> Self {
        let mut peers = Self {
            // Grown step by step, ten thousand of them would leave some MB behind.
            slots: Vec::with_capacity(settings.peers.len()),
            free: Vec::new(),
            by_address: HashMap::default(),
            last: None,
        };
        for peer in &settings.peers {
            peers.add(peer);
        }
        peers
    }

    /// Adds a peer; none if there are as many as ids.
    pub(super) fn add(&mut self, settings: &PeerSettings) -> Option<PeerId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() >> PeerId::SLOT_BITS > 0 => return None,
            None => {
                self.slots.push(Slot { generation: 0, peer: None });
                self.slots.len() - 1
            }
        };
        let place = &mut self.slots[slot];
        place.peer = Some(Peer::new(settings));
        let id = PeerId::new(slot, place.generation);
        if let Crossing::Vxlan { vxlan, .. } = settings.crossing {
            self.by_address.insert(vxlan.ip().to_canonical(), id);
        }
        Some(id)
    }

    /// Takes a peer away.
    pub(super) fn remove(&mut self, id: PeerId) -> Option<Peer> {
        let slot =
            self.slots.get_mut(id.slot()).filter(|slot| slot.generation == id.generation())?;
        let peer = slot.peer.take()?;
        slot.generation = (slot.generation + 1) % GENERATIONS;
        self.free.push(id.slot());
        self.by_address.retain(|_, other| *other != id);
        self.last = None;
        Some(peer)
    }

    /// Finds the clear peer that sends from an address; the port is entropy and says nothing.
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
        let slot = self.slots.get(id.slot())?;
        slot.peer.as_ref().filter(|_| slot.generation == id.generation())
    }

    pub(super) fn live_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        let slot = self.slots.get_mut(id.slot())?;
        slot.peer.as_mut().filter(|_| slot.generation == id.generation())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| {
            slot.peer.as_ref().map(|peer| (PeerId::new(at, slot.generation), peer))
        })
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
