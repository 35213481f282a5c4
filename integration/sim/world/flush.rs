//! What a batch leaves behind, written and sent as the worker does (`src/daemon/flush.rs`).

use std::mem;
use std::net::IpAddr;

use tunctl::buffer::Piece;
use tunctl::drops::DropReason;
use tunctl::frame::Layer;
use tunctl::node::Output;
use tunctl::offload::DeviceWrite;
use tunctl::transport::overhead::datagram_header_len;
use tunctl::transport::{Carrier, Transmit};

use super::{Event, World};
use crate::sim::check::account::{self, Input, Place};
use crate::sim::check::bytes::{self, Way};
use crate::sim::check::leak;
use crate::sim::check::{Checked, Violation, answer, copies, datagram, ensure, vnet};
use crate::sim::ledger::{Identity, Target};
use crate::sim::plan::{NetIndex, NodeIndex, Shape};
use crate::sim::settings;
use crate::sim::station::BATCH;
use crate::sim::veth;
use crate::sim::view::View;
use crate::sim::wire::Datagram;

impl World {
    /// Writes and sends everything. `from`: whose datagrams the batch is made of, if any.
    pub(super) fn flush(&mut self, node: NodeIndex, from: Option<IpAddr>) -> Checked {
        let mut out = mem::take(&mut self.stations[node].out);
        out.finish();
        for write in &out.writes {
            self.write(node, write, &out.pieces, from.is_some())?;
        }
        for transmit in &out.transmits {
            self.send(node, transmit, &out.pieces, from.is_some())?;
        }
        let station = &mut self.stations[node];
        station.out = out;
        station.out.clear();
        station.memory.reset_headers();
        Ok(())
    }

    fn gather(&self, node: NodeIndex, pieces: &[Piece]) -> Vec<u8> {
        let memory = &self.stations[node].memory;
        pieces.iter().flat_map(|piece| memory.bytes(*piece)).copied().collect()
    }

    /// `is_received`: it came from a peer; everything else is the node's own answer.
    fn write(
        &mut self,
        node: NodeIndex,
        write: &DeviceWrite,
        pieces: &[Piece],
        is_received: bool,
    ) -> Checked {
        let net = self.stations[node].nets[write.network.index()];
        let layer = self.plan.networks[net].layer;
        let own = &pieces[write.pieces.start as usize..write.pieces.end as usize];
        ensure!(own.len() < 1024, "write: {} pieces", own.len());
        let packet = self.gather(node, own);
        ensure!(
            packet.len() == write.len as usize,
            "write: {} bytes, {} said",
            packet.len(),
            write.len
        );
        let mut packets = 0;
        let mut is_answer = false;
        let merges = !self.stations[node].refused[write.network.index()];
        for got in vnet::take(&packet, write.vnet, layer)? {
            let is_allowed =
                merges || !got.is_gso || self.plan.nodes.iter().any(|node| node.is_local);
            ensure!(is_allowed, "write: merged, after the device refused that");
            let view = View::new(&got.bytes, layer);
            let identity = self.ledger.identify(&view);
            self.trace(|| {
                let (len, gso) = (got.bytes.len(), got.is_gso);
                format!("node {node} net {net} writes {identity:?} {len} bytes, GSO {gso}")
            });
            if let Identity::Answer(number) = identity {
                is_answer = true;
                self.check_answer(node, node, number)?;
            }
            packets += if got.is_gso && view.tcp().is_some() {
                self.stats.merged += 1;
                write.packets.max(2)
            } else {
                1
            };
            self.deliver(node, net, &view, &identity, got.is_gso)?;
        }
        ensure!(packets == write.packets, "write: {packets} packets, {} said", write.packets);
        self.stats.answers += usize::from(is_answer);
        let station = &mut self.stations[node];
        station.written[write.network.index()] +=
            if is_received { u64::from(write.packets) } else { 0 };
        ensure!(is_received || is_answer, "write: nothing came, and it is no answer");
        if write.vnet.gso_size != 0 && self.random.chance(self.faults.refuse_merged) {
            // The kernel says EINVAL, as some did.
            let (network, count) = (Some(write.network), write.packets.into());
            station.node.count_drop(network, None, DropReason::DeviceWriteFailed, count);
            station.node.stop_coalescing(write.network);
            self.dropped(node)?;
        }
        Ok(())
    }

    /// The host behind a device gets a packet.
    fn deliver(
        &mut self,
        node: NodeIndex,
        net: NetIndex,
        view: &View<'_>,
        identity: &Identity,
        is_gso: bool,
    ) -> Checked {
        bytes::check(&self.ledger, view, is_gso, self.way(net))?;
        self.check_leaks(net, view, identity)?;
        self.stations[node].outcomes.add(&self.ledger, identity, Place::Device);
        // A corrupted packet may have become one of another flow.
        let is_ordered = self.is_ordered && self.ledger.corrupted(view).is_none();
        for (number, range) in identity.parts() {
            let sent = &mut self.ledger.sents[*number];
            let len = sent.content.len();
            let seen = sent
                .delivered
                .entry(node)
                .or_insert_with(|| crate::sim::coverage::Coverage::new(len));
            seen.add(range.clone());
            copies::delivered(sent, node)?;
            let is_whole = view.ip.is_none_or(|ip| ip.part.is_none());
            let has_copies = sent.copies.most(sent.copies.all()) > 0;
            if let (Some(order), true, false, true) = (sent.order, is_whole, has_copies, is_ordered)
            {
                self.order.check(sent.flow, node, (order, range.start))?;
            }
        }
        if let Identity::TcpFragment(number) = identity {
            self.ledger.excuse(&Identity::TcpFragment(*number), "fragmented");
        }
        self.stats.delivered += 1;
        Ok(())
    }

    fn check_leaks(&self, net: NetIndex, view: &View<'_>, identity: &Identity) -> Checked {
        let is_frame = view.link_len > 0;
        let vlan = leak::vlan_of(view.bytes, is_frame);
        let numbers = match identity {
            Identity::Content(parts) => parts.iter().map(|part| part.0).collect(),
            Identity::TcpFragment(number) | Identity::Answer(number) => vec![*number],
            Identity::Unknown => Vec::new(),
        };
        numbers
            .into_iter()
            .try_for_each(|number| leak::check(&self.ledger.sents[number], net, vlan))
    }

    fn way(&self, net: NetIndex) -> Way {
        let network = &self.plan.networks[net];
        let relays = match self.plan.shape {
            Shape::Mesh => 0,
            Shape::Hub => 1,
            Shape::Tree => 2,
        };
        Way {
            hops: if network.layer == Layer::L3 { relays } else { 0 },
            marks: self.plan.faults.mark_congestion > 0,
            mtu: network.mtu,
            clamps: network.mss_clamp,
        }
    }

    /// Hands a transmit to the wire, or cuts it again where the path is smaller.
    fn send(
        &mut self,
        node: NodeIndex,
        transmit: &Transmit,
        pieces: &[Piece],
        is_relayed: bool,
    ) -> Checked {
        let own = &pieces[transmit.pieces.start as usize..transmit.pieces.end as usize];
        let peer = self.check_transmit(node, transmit, own)?;
        let datagrams = self.datagrams(node, peer, transmit, own)?;
        self.check_lanes(node, peer, transmit, &datagrams)?;
        for datagram in &datagrams {
            let outcomes = &mut self.stations[node].outcomes;
            outcomes.add(&self.ledger, &datagram.identity, Place::Peer(peer));
            if let Identity::Answer(number) = datagram.identity {
                self.check_answer(node, peer, number)?;
                self.stations[node].answered.push_back(self.now);
            } else if is_relayed {
                self.check_relay(node, peer, &datagram.identity)?;
            }
        }
        let mtu = self.wire.mtu(node, peer);
        if outer(transmit) <= mtu {
            self.stations[node].sent[transmit.peer.slot()] += u64::from(transmit.count);
            return self.put_on_wire(node, peer, datagrams);
        }
        self.resend(node, peer, transmit, own, mtu)
    }

    /// The path takes less than was known: learns how much, cuts what is unsent again.
    fn resend(
        &mut self,
        node: NodeIndex,
        peer: NodeIndex,
        transmit: &Transmit,
        own: &[Piece],
        mtu: u16,
    ) -> Checked {
        self.stats.resent += 1;
        let before = mem::take(&mut self.stations[node].outcomes);
        self.stations[node].node.handle_path_mtu(transmit.peer, mtu);
        for index in 0..usize::from(transmit.count) {
            let now = self.instant();
            let station = &mut self.stations[node];
            let slot = station.memory.slot(BATCH);
            let len = usize::from(transmit.datagram_len);
            let datagram = station.memory.gather(own, index * len, len, slot);
            let layer = self.plan.networks[station.nets[transmit.network.index()]].layer;
            let inner = station.memory.bytes(datagram.skip(8)).to_vec();
            let identity = self.ledger.identify(&View::new(&inner, layer));
            let mut again = Output::default();
            let memory = &mut station.memory;
            station.node.handle_unsent(now, transmit, datagram, memory, &mut again);
            let drops = self.dropped(node)?;
            let input = Input { identity, packets: (1, 1), ways: 1, is_group: false };
            self.excuse_drops(std::slice::from_ref(&input), &drops);
            self.send_again(node, peer, &again)?;
            let outcomes = &mut self.stations[node].outcomes;
            account::settle(std::slice::from_ref(&input), outcomes, drops.total())?;
            account::close(outcomes)?;
        }
        self.stations[node].outcomes = before;
        Ok(())
    }

    /// Sends what was cut again; a second refusal is final.
    fn send_again(&mut self, node: NodeIndex, peer: NodeIndex, again: &Output) -> Checked {
        for write in &again.writes {
            self.write(node, write, &again.pieces, false)?;
        }
        for transmit in &again.transmits {
            let own = &again.pieces[transmit.pieces.start as usize..transmit.pieces.end as usize];
            let to = self.check_transmit(node, transmit, own)?;
            self.stations[node].sent[transmit.peer.slot()] += u64::from(transmit.count);
            let datagrams = self.datagrams(node, to, transmit, own)?;
            for datagram in &datagrams {
                if let Identity::Answer(number) = datagram.identity {
                    self.check_answer(node, to, number)?;
                }
                let outcomes = &mut self.stations[node].outcomes;
                outcomes.add(&self.ledger, &datagram.identity, Place::Peer(to));
            }
            let mtu = self.wire.mtu(node, to);
            if outer(transmit) > mtu {
                // Only an answer may not fit: it goes elsewhere, and is as long as errors may be.
                let is_answer =
                    |datagram: &Datagram| matches!(datagram.identity, Identity::Answer(_));
                ensure!(
                    to != peer || datagrams.iter().all(is_answer),
                    "size: {} bytes, cut again for a path of {mtu}: {:?}",
                    transmit.datagram_len,
                    datagrams.iter().map(|datagram| &datagram.identity).collect::<Vec<_>>()
                );
                for datagram in &datagrams {
                    self.ledger.excuse(&datagram.identity, "too big again");
                }
                let count = transmit.count.into();
                let station = &mut self.stations[node];
                let (network, peer) = (Some(transmit.network), Some(transmit.peer));
                station.node.count_drop(network, peer, DropReason::TooBig, count);
                self.dropped(node)?;
                continue;
            }
            self.put_on_wire(node, to, datagrams)?;
        }
        Ok(())
    }

    fn put_on_wire(&mut self, node: NodeIndex, peer: NodeIndex, mut all: Vec<Datagram>) -> Checked {
        if self.plan.nodes[node].is_local
            && let Some(first) = all.first()
        {
            all = veth::merge(&self.ledger, first.carrier.layer(), all);
        }
        for datagram in all {
            self.stats.whole += usize::from(datagram.packets > 1);
            self.stats.datagrams += 1;
            for (number, range) in datagram.identity.parts() {
                let sent = &mut self.ledger.sents[*number];
                sent.transmitted.add(range.clone());
                copies::transmitted(sent, self.plan.transmissions_max(sent.net))?;
            }
            let (now, faults) = (self.now, self.faults.clone());
            let ledger = &mut self.ledger;
            for (at, datagram) in self.wire.carry(now, (node, peer), datagram, &faults, ledger) {
                self.stats.corrupted += usize::from(datagram.is_corrupt);
                self.schedule(at, Event::Arrive { node: peer, datagram: Box::new(datagram) });
            }
        }
        Ok(())
    }

    /// The addresses and the form of a transmit; gives the node it is for.
    fn check_transmit(
        &self,
        node: NodeIndex,
        transmit: &Transmit,
        own: &[Piece],
    ) -> Result<NodeIndex, Violation> {
        let station = &self.stations[node];
        let peer = station.peers[transmit.peer.slot()];
        let len = own.iter().map(|piece| piece.len as usize).sum();
        datagram::run(transmit, len, self.plan.nodes[node].lanes)?;
        let layer = self.plan.networks[station.nets[transmit.network.index()]].layer;
        let port = match layer {
            Layer::L2 => settings::VXLAN,
            Layer::L3 => settings::VXLAN_GPE,
        };
        let (there, here) = (self.plan.address(peer, node), self.plan.address(node, peer));
        ensure!(transmit.to == (there, port).into(), "transmit: to {}, not {there}", transmit.to);
        ensure!(
            transmit.from.is_none_or(|from| from == here),
            "transmit: from {:?}",
            transmit.from
        );
        Ok(peer)
    }

    /// The datagrams of a transmit, each looked at.
    fn datagrams(
        &self,
        node: NodeIndex,
        peer: NodeIndex,
        transmit: &Transmit,
        own: &[Piece],
    ) -> Result<Vec<Datagram>, Violation> {
        let net = self.stations[node].nets[transmit.network.index()];
        let network = &self.plan.networks[net];
        let all = self.gather(node, own);
        let mut datagrams = Vec::new();
        for bytes in all.chunks(transmit.datagram_len.max(1).into()) {
            let vni = datagram::vni(bytes, network.layer)?;
            ensure!(vni == network.vni, "leak: VNI {vni} in network {net}");
            let view = View::new(&bytes[8..], network.layer);
            let identity = self.ledger.identify(&view);
            self.trace(|| {
                let len = bytes.len();
                format!("node {node} net {net} sends {identity:?} {len} bytes to {peer}")
            });
            let is_segment = identity.parts().iter().any(|part| self.ledger.sents[part.0].is_gso);
            let is_cut = match identity.parts() {
                [(number, range)] => *range != (0..self.ledger.sents[*number].content.len()),
                _ => true,
            };
            let is_corrupt = self.ledger.corrupted(&view).is_some();
            bytes::check(
                &self.ledger,
                &view,
                !is_corrupt && (is_segment || is_cut),
                self.way(net),
            )?;
            self.check_leaks(net, &view, &identity)?;
            if !matches!(identity, Identity::Answer(_)) {
                datagram::marks(transmit.tos, &view, self.plan.nodes[node].copy_dscp)?;
            }
            datagrams.push(Datagram {
                bytes: bytes.to_vec(),
                from: (self.plan.address(node, peer), 49_152 + transmit.entropy).into(),
                to: transmit.to,
                tos: transmit.tos,
                carrier: Carrier::of(network.layer),
                identity,
                refused: None,
                is_alone: false,
                is_corrupt,
                packets: 1,
                stride: None,
            });
        }
        Ok(datagrams)
    }

    /// An ICMP error, unless it only passes.
    fn check_answer(&self, node: NodeIndex, to: NodeIndex, number: usize) -> Checked {
        let station = &self.stations[node];
        if station.passing.contains(&number) || self.plan.faults.corrupt > 0 {
            return Ok(());
        }
        let sent = &self.ledger.sents[number];
        let home = if sent.origin == node { node } else { self.plan.next_hop(node, sent.origin) };
        let address = View::new(&sent.bytes, sent.layer()).ip.map(|ip| ip.dst);
        let knows = match sent.to {
            Target::Host(host) => self.is_found(host, node, address),
            // Another network's prefix may cover an address that nobody has.
            Target::Unknown => true,
            Target::Everyone | Target::Nobody => false,
        };
        answer::check(sent, to, home, knows)
    }

    /// A flow leaves by one port. What was corrupted may look like another, and fragments have
    /// none of their own.
    fn check_lanes(
        &mut self,
        node: NodeIndex,
        peer: NodeIndex,
        transmit: &Transmit,
        datagrams: &[Datagram],
    ) -> Checked {
        for datagram in datagrams.iter().filter(|datagram| !datagram.is_corrupt) {
            let view = View::new(&datagram.bytes[8..], datagram.carrier.layer());
            let [(number, _), ..] = datagram.identity.parts() else { continue };
            let sent = &self.ledger.sents[*number];
            if sent.order.is_some() && view.ip.is_some_and(|ip| ip.part.is_none()) {
                self.lanes.check(sent.flow, node, peer, transmit.entropy)?;
            }
        }
        Ok(())
    }

    /// Split horizon. Several peers' datagrams may be in a batch: a packet's own way counts.
    fn check_relay(&self, node: NodeIndex, to: NodeIndex, identity: &Identity) -> Checked {
        for (number, _) in identity.parts() {
            let sent = &self.ledger.sents[*number];
            let from = self.plan.next_hop(node, sent.origin);
            if sent.to != Target::Nobody {
                copies::relayed(self.plan.relays(node), from, to)?;
            }
        }
        Ok(())
    }
}

/// The length of a transmit's datagrams as outer IP packets.
fn outer(transmit: &Transmit) -> u16 {
    datagram_header_len(transmit.to.ip()) + transmit.datagram_len
}
