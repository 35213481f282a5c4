//! The verdict on packets: an L3 network routes by prefix, and learns hosts where peers share one.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use ipnet::IpNet;

use super::key::HostKey;
use super::members::Members;
use super::routes::{RouteMatch, Routes, Share};
use super::table::Table;
use super::{Ingress, Place, Rules, Verdict};
use crate::drops::DropReason;
use crate::peer::PeerId;

#[cfg(test)]
mod tests;

/// The forwarding of one L3 network (TUN).
#[derive(Debug)]
pub struct L3Network {
    routes: Routes,
    hosts: Table<HostKey>,
    members: Members,
    relay: bool,
    routes_groups: bool,
    own: Vec<IpAddr>,
    /// Of our own subnets, which 255.255.255.255 is not one of.
    broadcasts: Vec<Ipv4Addr>,
}

impl L3Network {
    /// Makes a network without peers and routes. `own`: the addresses of our device, with their
    /// prefixes. `hash_seed`: see [`Table::new`].
    pub fn new(rules: &Rules, own: &[IpNet], epoch: Instant, hash_seed: u64) -> Self {
        Self {
            routes: Routes::default(),
            hosts: Table::new(rules.learning, epoch, hash_seed),
            members: Members::new(rules.flood),
            relay: rules.relay,
            routes_groups: rules.routes_groups,
            own: own.iter().map(IpNet::addr).collect(),
            broadcasts: own.iter().filter_map(subnet_broadcast).collect(),
        }
    }

    /// Adds a peer of the network.
    pub fn add_peer(&mut self, peer: PeerId) {
        self.members.add(peer);
    }

    /// Removes a peer, and what it taught. Routes to it are none until [`L3Network::set_routes`]
    /// takes them away.
    pub fn forget_peer(&mut self, peer: PeerId) {
        self.members.remove(peer);
        self.hosts.forget_peer(peer);
    }

    /// Gives the peers of the network: those that a flood goes to.
    pub fn peers(&self) -> &[PeerId] {
        self.members.peers()
    }

    /// Gives the peers that share a prefix; removed ones may be among them.
    pub fn sharing(&self, share: Share) -> &[PeerId] {
        self.routes.sharing(share)
    }

    /// Replaces the routes; gives the former ones. Hosts learned from peers that no longer share
    /// their prefix are not believed any more.
    pub fn set_routes(&mut self, routes: Routes) -> Routes {
        std::mem::replace(&mut self.routes, routes)
    }

    /// Gives the routes.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Checks a packet's source, and learns it where peers share its prefix.
    ///
    /// # Errors
    ///
    /// Refuses with `SourceInvalid` a group; with `SourceNotAllowed` what the routes do not give to
    /// the peer, and our own addresses from a peer; and as [`Table::learn`] does.
    #[inline]
    pub fn learn(
        &mut self,
        source: IpAddr,
        ingress: Ingress,
        now: Instant,
    ) -> Result<(), DropReason> {
        if self.is_group(source) {
            return Err(DropReason::SourceInvalid);
        }
        let found = self.routes.lookup(source);
        let is_own = self.own.contains(&source);
        if let Ingress::Peer(peer) = ingress
            && (is_own || !self.routes.belongs_to(found, peer))
        {
            return Err(DropReason::SourceNotAllowed);
        }
        match found {
            RouteMatch::Shared(_) if !is_own && !source.is_unspecified() => {
                self.hosts.learn(source.into(), ingress.into(), now).map(drop)
            }
            RouteMatch::None | RouteMatch::One(_) | RouteMatch::Shared(_) => Ok(()),
        }
    }

    /// Says where a packet goes. A GSO packet counts as `packets` if it is flooded.
    ///
    /// What goes from a peer to peers is relayed: the caller decrements its hop limit.
    #[inline]
    pub fn verdict(
        &mut self,
        destination: IpAddr,
        ingress: Ingress,
        packets: u64,
        now: Instant,
    ) -> Verdict {
        if !self.routes_groups && self.is_group(destination) {
            return self.members.flood(ingress, self.relay, packets, now);
        }
        let is_own = self.own.contains(&destination);
        match ingress {
            Ingress::Device if is_own => Verdict::Drop(DropReason::SameSide),
            Ingress::Device => self.outbound(destination, packets, now),
            Ingress::Peer(_) if is_own || !self.relay => Verdict::Device,
            Ingress::Peer(peer) => self.relayed(destination, peer, packets, now),
        }
    }

    /// Says where an address is: our own, routed to a peer, learned, or none of these (then behind
    /// our device).
    pub fn place_of(&self, address: IpAddr, now: Instant) -> Option<Place> {
        if self.own.contains(&address) {
            return Some(Place::Local);
        }
        match self.routes.lookup(address) {
            RouteMatch::None => None,
            RouteMatch::One(peer) => Some(Place::Peer(peer)),
            RouteMatch::Shared(share) => self.holder(address, share, now),
        }
    }

    /// Gives the hosts learned in shared prefixes.
    pub fn hosts(&self) -> &Table<HostKey> {
        &self.hosts
    }

    /// Gives the hosts learned in shared prefixes, for static entries and sweeps.
    pub fn hosts_mut(&mut self) -> &mut Table<HostKey> {
        &mut self.hosts
    }

    fn outbound(&mut self, destination: IpAddr, packets: u64, now: Instant) -> Verdict {
        match self.routes.lookup(destination) {
            RouteMatch::One(peer) if self.members.contains(peer) => Verdict::Peer(peer),
            RouteMatch::None | RouteMatch::One(_) => Verdict::Drop(DropReason::NoRoute),
            RouteMatch::Shared(share) => match self.holder(destination, share, now) {
                Some(Place::Peer(peer)) => Verdict::Peer(peer),
                Some(Place::Local) => Verdict::Drop(DropReason::SameSide),
                None => self.flood_shared(share, Ingress::Device, packets, now),
            },
        }
    }

    /// What no other peer has is for us: the host's own routes decide.
    fn relayed(
        &mut self,
        destination: IpAddr,
        from: PeerId,
        packets: u64,
        now: Instant,
    ) -> Verdict {
        match self.routes.lookup(destination) {
            RouteMatch::One(peer) if peer != from && self.members.contains(peer) => {
                Verdict::Peer(peer)
            }
            RouteMatch::None | RouteMatch::One(_) => Verdict::Device,
            RouteMatch::Shared(share) => match self.holder(destination, share, now) {
                Some(Place::Peer(peer)) if peer != from => Verdict::Peer(peer),
                Some(Place::Peer(_) | Place::Local) => Verdict::Device,
                None => self.flood_shared(share, Ingress::Peer(from), packets, now),
            },
        }
    }

    /// Where a host of a shared prefix is, if that place still has a share.
    fn holder(&self, host: IpAddr, share: Share, now: Instant) -> Option<Place> {
        let place = self.hosts.lookup(&host.into(), now)?;
        let may_hold = match place {
            Place::Local => true,
            Place::Peer(peer) => self.routes.belongs_to(RouteMatch::Shared(share), peer),
        };
        may_hold.then_some(place)
    }

    fn flood_shared(
        &mut self,
        share: Share,
        ingress: Ingress,
        packets: u64,
        now: Instant,
    ) -> Verdict {
        if self.members.may_flood(ingress, packets, now) {
            Verdict::FloodShared(share)
        } else {
            Verdict::Drop(DropReason::FloodLimited)
        }
    }

    /// Whether an address names a group: multicast, or a broadcast.
    fn is_group(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => {
                v4.is_multicast() || v4.is_broadcast() || self.broadcasts.contains(&v4)
            }
            IpAddr::V6(v6) => v6.is_multicast(),
        }
    }
}

/// The broadcast address of a subnet; those of one or two addresses have none (RFC 3021).
fn subnet_broadcast(net: &IpNet) -> Option<Ipv4Addr> {
    match net {
        IpNet::V4(net) => (net.prefix_len() < 31).then(|| net.broadcast()),
        IpNet::V6(_) => None,
    }
}
