//! What a network forwards by, for both layers, asked with a packet's headers.

use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::NetworkSettings;
use crate::drops::DropReason;
use crate::forward::{Ingress, L2Network, L3Network, MacKey, Place, Routes, Share, Verdict};
use crate::frame::{Headers, Layer, Link};
use crate::peer::PeerId;

/// The forwarding of one network.
pub enum Forwarding {
    /// Frames, by MAC.
    L2(L2Network),
    /// Packets, by prefix.
    L3(L3Network),
}

impl Forwarding {
    /// Makes it with its peers, routes and static entries.
    pub(super) fn new(
        settings: &NetworkSettings,
        members: &[PeerId],
        routes: &[(IpNet, PeerId)],
        seed: u64,
        now: Instant,
    ) -> Self {
        match settings.layer {
            Layer::L2 => {
                let mut l2 = L2Network::new(&settings.rules, now, seed);
                members.iter().for_each(|peer| l2.add_peer(*peer));
                if let Some(mac) = settings.own_mac {
                    l2.set_own(mac.0);
                }
                for &(vlan, mac, place) in &settings.static_entries {
                    // A group address or one that is there already is refused by the configuration.
                    let _ = l2.table_mut().insert_static(MacKey::new(vlan, mac.0), place, now);
                }
                Self::L2(l2)
            }
            Layer::L3 => {
                let mut l3 = L3Network::new(&settings.rules, &settings.addresses, now, seed);
                members.iter().for_each(|peer| l3.add_peer(*peer));
                l3.set_routes(Routes::new(routes));
                Self::L3(l3)
            }
        }
    }

    /// Adds a peer.
    pub(super) fn add_peer(&mut self, peer: PeerId) {
        match self {
            Self::L2(l2) => l2.add_peer(peer),
            Self::L3(l3) => l3.add_peer(peer),
        }
    }

    /// Removes a peer, and what it taught.
    pub(super) fn forget_peer(&mut self, peer: PeerId) {
        match self {
            Self::L2(l2) => l2.forget_peer(peer),
            Self::L3(l3) => l3.forget_peer(peer),
        }
    }

    /// Replaces the routes of a network of packets; gives the former ones.
    pub(super) fn set_routes(&mut self, routes: Routes) -> Option<Routes> {
        match self {
            Self::L2(_) => None,
            Self::L3(l3) => Some(l3.set_routes(routes)),
        }
    }

    /// Learns where a packet's source is.
    pub(super) fn learn(
        &mut self,
        headers: &Headers,
        ingress: Ingress,
        now: Instant,
    ) -> Result<(), DropReason> {
        match self {
            Self::L2(l2) => {
                let link = link(headers)?;
                l2.learn(link.vlan, link.src.0, ingress, now)
            }
            Self::L3(l3) => l3.learn(address(headers.source_ip())?, ingress, now),
        }
    }

    /// Says where a packet goes.
    pub(super) fn verdict(
        &mut self,
        headers: &Headers,
        ingress: Ingress,
        packets: u64,
        now: Instant,
    ) -> Verdict {
        let verdict = match self {
            Self::L2(l2) => {
                link(headers).map(|link| l2.verdict(link.vlan, link.dst.0, ingress, packets, now))
            }
            Self::L3(l3) => address(headers.destination_ip())
                .map(|address| l3.verdict(address, ingress, packets, now)),
        };
        verdict.unwrap_or_else(Verdict::Drop)
    }

    /// Whether a packet's destination is known to be behind a peer.
    pub(super) fn is_at(&self, headers: &Headers, peer: PeerId, now: Instant) -> bool {
        let place = match self {
            Self::L2(l2) => headers
                .link
                .and_then(|link| l2.table().lookup(&MacKey::new(link.vlan, link.dst.0), now)),
            Self::L3(l3) => headers.destination_ip().and_then(|to| l3.place_of(to, now)),
        };
        place == Some(Place::Peer(peer))
    }

    /// Gives the peers that a flood goes to.
    pub fn peers(&self) -> &[PeerId] {
        match self {
            Self::L2(l2) => l2.peers(),
            Self::L3(l3) => l3.peers(),
        }
    }

    /// Gives the peers that share a prefix.
    pub(super) fn sharing(&self, share: Share) -> &[PeerId] {
        match self {
            Self::L2(_) => &[],
            Self::L3(l3) => l3.sharing(share),
        }
    }

    /// Ages the table, looking at no more than `budget` entries.
    pub(super) fn sweep(&mut self, now: Instant, budget: usize) {
        match self {
            Self::L2(l2) => l2.table_mut().sweep(now, budget),
            Self::L3(l3) => l3.hosts_mut().sweep(now, budget),
        };
    }

    /// Gives the number of entries in the table.
    pub fn entries_len(&self) -> usize {
        match self {
            Self::L2(l2) => l2.table().len(),
            Self::L3(l3) => l3.hosts().len(),
        }
    }

    /// Gives the number of entries that point to a place.
    pub fn entries_of(&self, place: Place) -> usize {
        match self {
            Self::L2(l2) => l2.table().len_of(place),
            Self::L3(l3) => l3.hosts().len_of(place),
        }
    }
}

fn link(headers: &Headers) -> Result<Link, DropReason> {
    headers.link.ok_or(DropReason::Malformed)
}

fn address(address: Option<IpAddr>) -> Result<IpAddr, DropReason> {
    address.ok_or(DropReason::Malformed)
}
