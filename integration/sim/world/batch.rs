//! Batches into a node, as its worker hands them over, and the balance of each.

use std::time::Duration;

use tunctl::buffer::HEADER_AREA;
use tunctl::drops::DropReason;
use tunctl::transport::{Carrier, Received};

use super::{Event, World};
use crate::sim::check::account::{self, Books, Input, Outcomes};
use crate::sim::check::{Checked, Violation, ensure};
use crate::sim::ledger::{Identity, Target};
use crate::sim::plan::NodeIndex;
use crate::sim::station::BATCH;
use crate::sim::view::View;
use crate::sim::wire::{self, Datagram};

/// A batch is flushed early when the header area has less than this left.
const HEADER_RESERVE: usize = HEADER_AREA / 2;

impl World {
    /// A batch from a device to the underlay.
    pub(super) fn read_device(&mut self, node: NodeIndex, device: usize) -> Checked {
        let mut calls = Vec::new();
        self.stations[node].passing.clear();
        for slot in 0..BATCH {
            let Some(injection) = self.stations[node].devices[device].pop_front() else { break };
            let now = self.instant();
            let station = &mut self.stations[node];
            let slot = station.memory.slot(slot).part(0, injection.bytes.len());
            station.memory.bytes_mut(slot).copy_from_slice(&injection.bytes);
            let id = tunctl::peer::NetworkId(device as u16);
            let writes = station.out.writes.len();
            let (memory, out) = (&mut station.memory, &mut station.out);
            station.node.handle_device(now, id, slot, injection.vnet, memory, out);
            let answers = station.out.writes.len() - writes;
            let drops = self.dropped(node)?;
            let now = self.now;
            let is_told = answers > 0 || !self.stations[node].may_answer(now);
            self.stations[node].answered.extend(std::iter::repeat_n(now, answers));
            if drops.of(DropReason::TooBig) > 0 && !is_told {
                self.check_unanswered(node, &injection.inputs)?;
            }
            self.excuse_drops(&injection.inputs, &drops);
            calls.push((injection.inputs, drops.total()));
            if self.stations[node].memory.header_room() < HEADER_RESERVE {
                self.flush(node, None)?;
            }
        }
        self.flush(node, None)?;
        let outcomes = &mut self.stations[node].outcomes;
        for (inputs, drops) in calls {
            account::settle(&inputs, outcomes, drops)?;
        }
        account::close(outcomes)?;
        if !self.stations[node].devices[device].is_empty() {
            self.schedule(self.now, Event::Read { node, device });
        }
        Ok(())
    }

    /// A batch from a socket to the devices.
    pub(super) fn read_socket(&mut self, node: NodeIndex, carrier: Carrier) -> Checked {
        let station = &mut self.stations[node];
        station.passing.clear();
        for (refused, network) in station.refused.iter_mut().zip(station.node.networks()) {
            *refused = !network.is_coalescing;
        }
        let mut inputs = Vec::new();
        let (mut drops, mut refused) = (0, 0);
        let first = self.stations[node].socket(carrier).front().map(|datagram| datagram.from.ip());
        for slot in 0..BATCH {
            let merges = self.random.chance(self.faults.merge);
            let run = wire::receive(self.stations[node].socket(carrier), merges);
            if run.is_empty() {
                break;
            }
            let run_inputs = self.inputs_of(node, &run);
            self.trace(|| {
                let what: Vec<_> = run.iter().map(|datagram| &datagram.identity).collect();
                format!("node {node} receives from {} tos {} {what:?}", run[0].from, run[0].tos)
            });
            let received = self.fill(node, slot, &run);
            let now = self.instant();
            let station = &mut self.stations[node];
            let (memory, out) = (&mut station.memory, &mut station.out);
            station.node.handle_received(now, &received, memory, out);
            let dropped = self.dropped(node)?;
            if let Some(reason) = run[0].refused {
                let count = run.len() as u64;
                ensure!(
                    dropped.of(reason) == count && dropped.total() == count,
                    "junk: {count} datagrams to be dropped as {}: {:?}",
                    reason.name(),
                    dropped.0
                );
                refused += count;
            } else {
                self.excuse_drops(&run_inputs, &dropped);
                let answers = run_inputs.iter().filter_map(|input| match input.identity {
                    Identity::Answer(number) => Some(number),
                    Identity::Content(_) | Identity::TcpFragment(_) | Identity::Unknown => None,
                });
                self.stations[node].passing.extend(answers);
                inputs.extend(run_inputs);
            }
            drops += dropped.total();
            if self.stations[node].memory.header_room() < HEADER_RESERVE {
                self.flush(node, first)?;
            }
        }
        let station = &mut self.stations[node];
        station.node.finish_batch(&mut station.memory, &mut station.out);
        self.flush(node, first)?;
        let outcomes = &mut self.stations[node].outcomes;
        account::settle(&inputs, outcomes, drops - refused)?;
        // Which of several GSO packets that overlap was dropped cannot be told.
        if drops == refused || inputs.iter().all(|input| input.packets.1 == 1) {
            account::close(outcomes)?;
        }
        *outcomes = Outcomes::default();
        if !self.stations[node].socket(carrier).is_empty() {
            self.schedule(self.now + Duration::from_micros(5), Event::Receive { node, carrier });
        }
        Ok(())
    }

    /// Puts what one receive call gives into a slot.
    fn fill(&mut self, node: NodeIndex, slot: usize, run: &[Datagram]) -> Received {
        let memory = &mut self.stations[node].memory;
        let bytes: Vec<u8> = run.iter().flat_map(|datagram| &datagram.bytes).copied().collect();
        let piece = memory.slot(slot).part(0, bytes.len());
        memory.bytes_mut(piece).copy_from_slice(&bytes);
        Received {
            piece,
            stride: match run.len() {
                1 => run[0].stride,
                _ => Some(run[0].bytes.len() as u16),
            },
            from: run[0].from,
            local: Some(run[0].to.ip()),
            tos: run[0].tos,
            truncated: run[0].refused == Some(DropReason::DatagramTruncated),
            carrier: run[0].carrier,
        }
    }

    fn inputs_of(&self, node: NodeIndex, run: &[Datagram]) -> Vec<Input> {
        let input = |datagram: &Datagram| {
            let sent = datagram.identity.number().map(|number| &self.ledger.sents[number]);
            let ways = match sent {
                Some(sent) if self.plan.relays(node) => self.plan.peers_in(node, sent.net).count(),
                _ => 1,
            };
            let is_answer = matches!(datagram.identity, Identity::Answer(_));
            Input {
                identity: datagram.identity.clone(),
                // How a GSO packet would have been cut is a guess.
                packets: (1, if datagram.packets > 1 { 10_000 } else { 1 }),
                // Our own device and all peers but the one it came from.
                ways: ways as u64,
                is_group: sent.is_some_and(|sent| sent.to == Target::Everyone)
                    && !datagram.is_corrupt
                    && !is_answer,
            }
        };
        run.iter().map(input).collect()
    }

    /// What a node dropped since it was asked last.
    pub(super) fn dropped(&mut self, node: NodeIndex) -> Result<account::Drops, Violation> {
        let station = &mut self.stations[node];
        let books = Books::of(&station.node);
        let drops = books.since(&station.books)?;
        station.books = books;
        Ok(drops)
    }

    pub(super) fn excuse_drops(&mut self, inputs: &[Input], drops: &account::Drops) {
        self.trace(|| {
            let what: Vec<_> = inputs.iter().map(|input| &input.identity).collect();
            if drops.0.is_empty() {
                String::new()
            } else {
                format!("drops {:?} of {what:?}", drops.0)
            }
        });
        let Some((reason, _)) = drops.0.first() else { return };
        for input in inputs {
            self.ledger.excuse(&input.identity, reason.name());
        }
    }

    /// Too large, dropped, and no ICMP error went back: right only where none may be sent.
    fn check_unanswered(&self, node: NodeIndex, inputs: &[Input]) -> Checked {
        for input in inputs {
            for (number, range) in input.identity.parts() {
                let sent = &self.ledger.sents[*number];
                let view = View::new(&sent.bytes, sent.layer());
                let Target::Host(host) = sent.to else { continue };
                // Of a datagram's fragments only the first is answered. Nobody can speak for a
                // host that is nobody knows where.
                let may_answer = self.is_found(host, node, view.ip.map(|ip| ip.dst))
                    && view.ip.is_some_and(|ip| ip.dont_fragment)
                    && range.start == 0;
                ensure!(
                    !may_answer,
                    "answer: {number} ({:?}) is too large, and its sender is not told",
                    view.ip
                );
            }
        }
        Ok(())
    }
}
