//! The end of a run: nothing is missing, and everybody knows where everybody is.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tunctl::forward::Place;
use tunctl::frame::Layer;

use super::World;
use crate::sim::check::{Checked, arrival, tables, traffic};
use crate::sim::ledger::Target;
use crate::sim::plan::{Faults, HostIndex};
use crate::sim::settings;
use crate::sim::talk::Scene;

impl World {
    /// What was not lost, dropped or spoiled has arrived.
    pub(super) fn check_arrivals(&self, first: usize) -> Checked {
        for (number, sent) in self.ledger.sents.iter().enumerate().skip(first) {
            let behind: Vec<_> = match sent.to {
                Target::Host(host) => self.been[host].iter().copied().collect(),
                Target::Everyone | Target::Unknown | Target::Nobody => Vec::new(),
            };
            arrival::check(number, sent, &self.plan.networks[sent.net].members, &behind)?;
        }
        Ok(())
    }

    /// The wire gets well, tables forget; then all hosts speak, and are found.
    pub(super) fn settle_down(&mut self) -> Checked {
        self.faults = Faults { merge: self.faults.merge, ..Faults::default() };
        let learning = settings::learning(&self.plan, 0);
        let quiet = learning.age + learning.hold_down + learning.move_window;
        self.tick_until(self.now + quiet + Duration::from_secs(1));
        self.drain()?;
        if !self.ledger.has_room() {
            return Ok(());
        }
        self.been = self.places.iter().map(|place| BTreeSet::from([*place])).collect();
        let first = self.ledger.next();
        self.announce_all();
        self.drain()?;
        for sent in &self.ledger.sents[first..] {
            if let Some(excuse) = &sent.excuse {
                return Err(crate::sim::check::Violation(format!(
                    "quiet: an announcement on a perfect wire is {excuse}"
                )));
            }
        }
        self.check_places()?;
        let first = self.ledger.next();
        self.greet_all();
        self.drain()?;
        for (number, sent) in self.ledger.sents.iter().enumerate().skip(first) {
            if let Target::Host(host) = sent.to {
                arrival::only_at(number, sent, self.places[host])?;
            }
        }
        self.check_arrivals(first)?;
        self.check_traffic()
    }

    /// The counters that users see.
    fn check_traffic(&self) -> Checked {
        for station in &self.stations {
            for (id, peer) in station.node.peers() {
                let what = format!("node {} to {}", station.index, peer.name);
                traffic::check(&what, peer.sent.packets, station.sent[id.slot()])?;
            }
            for (network, written) in station.node.networks().zip(&station.written) {
                let what = format!("node {}, {}", station.index, network.name);
                traffic::check(&what, network.to_device.packets, *written)?;
            }
        }
        Ok(())
    }

    fn check_places(&self) -> Checked {
        for (host, plan) in self.plan.hosts.iter().enumerate() {
            for &node in &self.plan.networks[plan.net].members {
                self.check_place(host, node)?;
            }
        }
        Ok(())
    }

    fn check_place(&self, host: HostIndex, node: usize) -> Checked {
        let plan = &self.plan.hosts[host];
        let station = &self.stations[node];
        let Some(network) = station.node.network(station.network_id(plan.net)) else {
            return Ok(());
        };
        let there = self.places[host];
        let vlan = plan.tag.map_or(0, |tag| tag & 0xfff);
        let place = |ip| tables::place(network, vlan, plan.mac, ip, self.instant());
        let found = [place(plan.v4.into()), place(plan.v6.into())];
        if there == node {
            // Behind our own TUN is what no route leads to; the table has nothing to say.
            return match self.plan.networks[plan.net].layer {
                Layer::L2 => tables::known(found[0], Place::Local),
                Layer::L3 => Ok(()),
            };
        }
        let Some(via) = station.peer_id(self.plan.next_hop(node, there)) else { return Ok(()) };
        found.into_iter().try_for_each(|found| tables::known(found, Place::Peer(via)))
    }

    /// Whether a node knows the peer that a host is behind.
    pub(super) fn is_found(&self, host: HostIndex, node: usize, address: Option<IpAddr>) -> bool {
        let (plan, station) = (&self.plan.hosts[host], &self.stations[node]);
        let network = station.node.network(station.network_id(plan.net));
        let Some((network, address)) = network.zip(address) else { return false };
        let vlan = plan.tag.map_or(0, |tag| tag & 0xfff);
        let place = tables::place(network, vlan, plan.mac, address, self.instant());
        matches!(place, Some(Place::Peer(_)))
    }

    /// Every host speaks to another.
    fn greet_all(&mut self) {
        for host in 0..self.plan.hosts.len() {
            let mut scene = Scene {
                plan: &self.plan,
                places: &self.places,
                ledger: &mut self.ledger,
                random: &mut self.random,
            };
            let Some(to) = scene.neighbour(host) else { continue };
            let injection = self.talk.greet(&mut scene, host, to);
            self.inject(injection);
        }
    }
}
