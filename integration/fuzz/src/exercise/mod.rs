//! A story for a node, told by the fuzzer's bytes: what arrives, what its devices give, time that
//! passes, paths that shrink. After every step everything that the node gave is checked.
//!
//! Read [`run`], then `check.rs`: what must hold of every write, every datagram and the counters.

mod arrival;
mod check;
mod device;
mod held;
mod packet;
mod reference;
mod source;
mod totals;
mod world;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tunctl::buffer::{HEADER_AREA, Memory, Piece};
use tunctl::frame::Layer;
use tunctl::node::{Node, Output};
use tunctl::offload::{Buffer, Gso, classify};
use tunctl::peer::{NetworkId, PeerId, Vni};
use tunctl::transport::{Carrier, Received};

use arrival::{Arrival, Truth};
use held::Held;
use source::Source;
use totals::Totals;
use world::{LAYERS, OFFICE, PEERS, PLANT, VNIS};

/// As the worker has them, and one for what is sent again.
const SLOTS: usize = 33;
const SCRATCH: usize = SLOTS - 1;
/// As in the worker: a batch is flushed early when the header area has less than this left.
const HEADER_RESERVE: usize = HEADER_AREA / 2;

/// What is made once and used for every input.
pub struct Stage {
    memory: Memory,
    out: Output,
    epoch: Instant,
}

impl Default for Stage {
    fn default() -> Self {
        Self { memory: Memory::new(SLOTS), out: Output::default(), epoch: Instant::now() }
    }
}

impl Stage {
    /// Tells one story.
    ///
    /// # Panics
    ///
    /// Panics if anything does not hold: that is the finding.
    pub fn run(&mut self, input: &[u8]) {
        let mut source = Source::new(input);
        let settings = world::settings(&mut source);
        let relays = settings.networks.iter().map(|network| network.rules.relay).collect();
        self.out.clear();
        self.memory.reset_headers();
        let mut play = Play {
            node: Node::new(settings, self.epoch),
            now: self.epoch,
            relays,
            held: vec![],
            memory: &mut self.memory,
            out: &mut self.out,
        };
        for _ in 0..source.between(1, 6) {
            match source.below(8) {
                0..=4 => play.receive(&mut source),
                5 | 6 => play.read_devices(&mut source),
                _ => play.pass_time(&mut source),
            }
        }
    }
}

struct Play<'a> {
    node: Node,
    now: Instant,
    relays: Vec<bool>,
    held: Vec<Held>,
    memory: &'a mut Memory,
    out: &'a mut Output,
}

impl Play<'_> {
    /// A batch from the underlay.
    fn receive(&mut self, source: &mut Source) {
        let mut arrivals = Vec::new();
        for _ in 0..source.between(1, 3) {
            arrivals.extend(arrival::draw(source));
        }
        arrivals.truncate(SCRATCH);
        let before = Totals::of(&self.node);
        let mut seen = check::Seen::default();
        for arrival in &arrivals {
            self.receive_one(arrival);
            if self.memory.header_room() < HEADER_RESERVE {
                self.flush(&mut seen, source);
            }
        }
        self.node.finish_batch(self.memory, self.out);
        self.flush(&mut seen, source);
        seen.check_complete(&self.held);
        let senders: HashSet<_> = arrivals.iter().map(|arrival| arrival.from.ip()).collect();
        seen.check_doubted(senders.len());
        check::check_counters(&Totals::of(&self.node).since(&before), &seen);
        self.held.clear();
    }

    fn receive_one(&mut self, arrival: &Arrival) {
        let piece = self.put(&arrival.bytes);
        let network = self.named_network(arrival);
        let mtu = network.and_then(|id| self.node.network(id)).map(|network| network.mtu);
        self.check_truth(arrival, network.zip(mtu));
        let held = Held::received(piece, &arrival.bytes, arrival.stride, network.zip(mtu));
        self.held.push(held);
        let received = Received {
            piece,
            stride: arrival.stride,
            from: arrival.from,
            local: arrival.local,
            tos: arrival.tos,
            truncated: arrival.truncated,
            carrier: arrival.carrier,
        };
        let before = Totals::of(&self.node);
        let (writes, transmits) = (self.out.writes.len(), self.out.transmits.len());
        self.node.handle_received(self.now, &received, self.memory, self.out);
        let change = Totals::of(&self.node).since(&before);
        let held = self.held.last().expect("just pushed");
        let is_relay = network.is_some_and(|id| self.relays[id.index()]);
        check::check_received(&change, held, is_relay);
        // Whatever the payload holds, it speaks in the network of the first header only.
        let network = network.map(NetworkId::index);
        for index in (0..LAYERS.len()).filter(|index| Some(*index) != network) {
            assert_eq!(change.of_network(index), 0, "network {index} was reached from {network:?}");
        }
        let out = &self.out;
        let written = out.writes[writes..].iter().map(|write| write.network.index());
        let sent = out.transmits[transmits..].iter().map(|transmit| transmit.network.index());
        assert!(written.chain(sent).all(|index| Some(index) == network), "output elsewhere");
    }

    /// The network that the first header names, read without the code under test.
    fn named_network(&self, arrival: &Arrival) -> Option<NetworkId> {
        let header = arrival.bytes.first_chunk::<8>()?;
        let vni = u32::from_be_bytes([0, header[4], header[5], header[6]]);
        let layer = match (arrival.carrier, header) {
            (Carrier::Vxlan, [0x08, 0, 0, 0, _, _, _, 0]) => Layer::L2,
            (Carrier::VxlanGpe, [0x0c, 0, 0, 1 | 2, _, _, _, 0]) => Layer::L3,
            _ => return None,
        };
        let index = (0..VNIS.len()).find(|index| VNIS[*index] == vni && LAYERS[*index] == layer)?;
        assert!(Vni::new(vni).is_some());
        Some(NetworkId(index as u16))
    }

    /// What was made by a kernel's rules must be taken for what it is.
    fn check_truth(&self, arrival: &Arrival, network: Option<(NetworkId, u16)>) {
        let (Some(truth), Some((id, mtu))) = (arrival.truth, network) else { return };
        let layer = LAYERS[id.index()];
        let found = classify(&arrival.bytes, arrival.stride, layer, mtu);
        match (truth, found) {
            (Truth::Datagrams(expected), Buffer::Datagrams { stride }) => {
                assert_eq!(expected, stride, "size of the datagrams in a run");
            }
            (Truth::Uncut, Buffer::Datagrams { stride }) => {
                assert_eq!(stride, arrival.bytes.len(), "payload is read as a header");
            }
            (Truth::Uncut, Buffer::Super { .. } | Buffer::Unclear) => {}
            (Truth::Super { is_tcp: true, .. }, Buffer::Super { gso: Gso::Tcp { .. } }) => {}
            (Truth::Super { size, .. }, Buffer::Super { gso: Gso::Udp { size: found } }) => {
                assert_eq!(size, Some(found), "segment size of a UDP GSO packet");
            }
            _ => panic!("{truth:?} was taken for {found:?}"),
        }
    }

    /// A batch from a device.
    fn read_devices(&mut self, source: &mut Source) {
        let before = Totals::of(&self.node);
        let mut seen = check::Seen::default();
        let network = source.pick(&[OFFICE, PLANT]);
        for _ in 0..source.between(1, 4) {
            let (bytes, vnet) = device::draw(source, LAYERS[network.index()]);
            let piece = self.put(&bytes);
            let fields = reference::Vnet::from_bytes(vnet.to_bytes());
            self.held.push(Held::from_device(piece, &bytes, network, fields));
            let before = Totals::of(&self.node);
            self.node.handle_device(self.now, network, piece, vnet, self.memory, self.out);
            check::check_device(&Totals::of(&self.node).since(&before));
            if self.memory.header_room() < HEADER_RESERVE {
                self.flush(&mut seen, source);
            }
        }
        self.flush(&mut seen, source);
        seen.check_complete(&self.held);
        check::check_counters(&Totals::of(&self.node).since(&before), &seen);
        self.held.clear();
    }

    fn pass_time(&mut self, source: &mut Source) {
        let passed = source.pick(&[0, 1, 99, 100, 5_000, 31_000, 301_000]);
        self.now += Duration::from_millis(passed);
        self.node.handle_tick(self.now);
        let peer = PeerId::new(source.below(PEERS + 1), 0);
        match source.below(4) {
            0 => self.node.handle_path_mtu(peer, source.u16()),
            1 => self.node.stop_coalescing(NetworkId(source.below(4) as u16)),
            _ => {}
        }
    }

    /// Puts bytes into the next slot.
    fn put(&mut self, bytes: &[u8]) -> Piece {
        let piece = self.memory.slot(self.held.len()).part(0, bytes.len());
        self.memory.bytes_mut(piece).copy_from_slice(bytes);
        piece
    }

    /// Does what the worker does at the end of a batch, with checks instead of writes and sends.
    fn flush(&mut self, seen: &mut check::Seen, source: &mut Source) {
        self.out.finish();
        let view = check::View { node: &self.node, memory: self.memory, held: &self.held };
        for write in &self.out.writes {
            view.check_write(write, &self.out.pieces, seen);
        }
        for transmit in &self.out.transmits {
            view.check_transmit(transmit, &self.out.pieces, seen);
        }
        if !self.out.transmits.is_empty() && source.one_in(8) {
            self.send_again(seen, source);
        }
        self.out.clear();
        self.memory.reset_headers();
    }

    /// A path is smaller than was known: what did not get through is handed back.
    fn send_again(&mut self, seen: &mut check::Seen, source: &mut Source) {
        let transmit = self.out.transmits[source.below(self.out.transmits.len())].clone();
        self.node.handle_path_mtu(transmit.peer, source.pick(&[0, 576, 600, 1280, 1400, 1500]));
        let range = transmit.pieces.start as usize..transmit.pieces.end as usize;
        let index = source.below(transmit.count.into());
        let offset = index * usize::from(transmit.datagram_len);
        let slot = self.memory.slot(SCRATCH);
        let len = usize::from(transmit.datagram_len);
        let datagram = self.memory.gather(&self.out.pieces[range], offset, len, slot);
        let mut again = Output::default();
        let before = Totals::of(&self.node);
        self.node.handle_unsent(self.now, &transmit, datagram, self.memory, &mut again);
        let change = Totals::of(&self.node).since(&before);
        let is_sent = !again.transmits.is_empty();
        assert!(is_sent || change.drops > 0, "a datagram that was handed back vanished");
        seen.add_sent(change.sent);
        let view = check::View { node: &self.node, memory: self.memory, held: &self.held };
        for again_transmit in &again.transmits {
            view.check_shape(again_transmit, &again.pieces);
        }
    }
}
