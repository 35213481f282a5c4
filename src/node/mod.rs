//! A whole node as a state machine: device to underlay and underlay to device. Pure.
//!
//! Bytes and `now` go in by `handle_*`; what to send and to write comes out as an [`Output`]. The
//! node opens nothing, reads no clock and keeps no packet: its owner flushes the output before the
//! memory is used again. So whole networks of nodes run in one test, in virtual time.
//!
//! Read `outbound.rs` and `inbound.rs`: one file per direction, each from top to bottom.

mod answer;
mod carry;
mod deliver;
mod forwarding;
mod guard;
mod inbound;
mod network;
mod opened;
mod outbound;
mod output;
mod peers;
mod resend;
mod settings;
mod unfinished;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::buffer::{Memory, Piece};
use crate::drops::{DropCounters, DropReason};
use crate::forward::{Place, Routes};
use crate::offload::BigTcp;
use crate::peer::{NetworkId, PeerId};

pub use forwarding::Forwarding;
use guard::OwnEndpoints;
pub use network::Network;
use network::Networks;
pub use output::Output;
pub use peers::Peer;
use peers::Peers;
pub use settings::{Crossing, NetworkSettings, NodeSettings, PeerSettings};

/// Slots of the tables that one tick looks at, so that ageing never holds up a packet.
const SWEEP_ENTRIES: usize = 16_384;

/// One node of the overlay.
pub struct Node {
    networks: Networks,
    peers: Peers,
    own_endpoints: OwnEndpoints,
    copy_dscp: bool,
    drops: DropCounters,
    /// The segments of the packet in hand: header and payload.
    segments: Vec<(Piece, Piece)>,
}

/// Packets and their bytes, as the inner side counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets; a GSO packet counts as its segments.
    pub packets: u64,
    /// Bytes of frames or packets; a GSO packet counts its headers once.
    pub bytes: u64,
}

impl Traffic {
    fn take_back(&mut self, bytes: usize) {
        self.packets = self.packets.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }

    fn count(&mut self, packets: u64, bytes: usize) {
        self.packets += packets;
        self.bytes += bytes as u64;
    }
}

impl Node {
    /// How often [`Node::handle_tick`] wants to be called.
    pub const TICK: Duration = Duration::from_millis(100);

    /// Makes a node of settings that are already checked.
    pub fn new(settings: NodeSettings, now: Instant) -> Self {
        let peers = Peers::new(&settings);
        let mut own_endpoints = OwnEndpoints::new(&settings);
        peers.iter().for_each(|(_, peer)| own_endpoints.add_of(peer));
        Self {
            own_endpoints,
            copy_dscp: settings.copy_dscp,
            networks: Networks::new(settings, &peers, now),
            peers,
            drops: DropCounters::default(),
            segments: Vec::new(),
        }
    }

    /// Ages the tables, a part at each call.
    pub fn handle_tick(&mut self, now: Instant) {
        let budget = SWEEP_ENTRIES / self.networks.len().max(1);
        for network in self.networks.iter_mut() {
            network.forwarding.sweep(now, budget.max(1));
        }
    }

    /// Ends a batch: what was being merged becomes writes, and the transmits are complete.
    pub fn finish_batch(&mut self, memory: &mut Memory, out: &mut Output) {
        for network in self.networks.iter_mut() {
            network.finish(memory, out);
        }
        out.finish();
    }

    /// Takes note of a peer's path MTU, bytes of the outer IP packet.
    pub fn handle_path_mtu(&mut self, peer: PeerId, path_mtu: u16) {
        if let Some(peer) = self.peers.live_mut(peer) {
            peer.learn_path_mtu(path_mtu);
        }
    }

    /// Adds a peer while the node is at work; none if there are as many as ids. Routes to it are
    /// set by [`Node::set_routes`].
    pub fn add_peer(&mut self, settings: &PeerSettings) -> Option<PeerId> {
        let id = self.peers.add(settings)?;
        if let Some(peer) = self.peers.live(id) {
            self.own_endpoints.add_of(peer);
        }
        for network in &settings.networks {
            if let Some(network) = self.networks.at_mut(*network) {
                network.forwarding.add_peer(id);
            }
        }
        Some(id)
    }

    /// Removes a peer and what it taught; its id means nobody from then on. What was dropped on
    /// the way to it stays in the counters of all.
    pub fn remove_peer(&mut self, id: PeerId) {
        let Some(peer) = self.peers.remove(id) else { return };
        self.own_endpoints.remove_of(&peer);
        for network in &peer.networks {
            if let Some(network) = self.networks.at_mut(*network) {
                network.forwarding.forget_peer(id);
            }
        }
    }

    /// Replaces the routes of a network of packets; gives the former ones, to be dropped without
    /// the node in hand.
    pub fn set_routes(&mut self, network: NetworkId, routes: Routes) -> Option<Routes> {
        self.networks.at_mut(network)?.forwarding.set_routes(routes)
    }

    /// Takes note of where a peer is now, and of the address of ours that it sends to.
    pub fn handle_moved(&mut self, peer: PeerId, to: SocketAddr, local: Option<IpAddr>) {
        if let Some(peer) = self.peers.live_mut(peer) {
            self.own_endpoints.remove_of(peer);
            peer.set_endpoint(to);
            peer.local = local;
            self.own_endpoints.add_of(peer);
        }
    }

    /// Writes what arrives one by one from now on: the kernel refused a merged packet.
    pub fn stop_coalescing(&mut self, network: NetworkId) {
        if let Some(network) = self.networks.at_mut(network) {
            network.stop_coalescing();
        }
    }

    /// Changes which TCP is merged beyond 64 KiB, from the next batch on.
    pub fn set_big_tcp(&mut self, network: NetworkId, big_tcp: BigTcp) {
        if let Some(network) = self.networks.at_mut(network) {
            network.set_big_tcp(big_tcp);
        }
    }

    /// Counts packets that the owner could not send or write.
    pub fn count_drop(
        &mut self,
        network: Option<NetworkId>,
        peer: Option<PeerId>,
        reason: DropReason,
        packets: u64,
    ) {
        self.drops.count(reason, packets);
        if let Some(network) = network.and_then(|id| self.networks.at_mut(id)) {
            network.drops.count(reason, packets);
        }
        if let Some(peer) = peer.and_then(|id| self.peers.live_mut(id)) {
            peer.drops.count(reason, packets);
        }
    }

    /// Gives all drops: also those that belong to no network and no peer.
    pub fn drops(&self) -> &DropCounters {
        &self.drops
    }

    /// Gives the networks, in the order of their ids.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.iter()
    }

    /// Gives one network.
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.networks.at(id)
    }

    /// Gives the peers with their ids.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter()
    }

    /// Gives one peer, unless it was removed.
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.live(id)
    }

    /// Names a place as users see it.
    pub fn place_name(&self, place: Place) -> &str {
        match place {
            Place::Local => "local",
            Place::Peer(id) => self.peers.live(id).map_or("removed", |peer| &peer.name),
        }
    }
}

#[cfg(test)]
mod tests;
