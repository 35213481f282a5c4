//! A node with what its worker has: memory, queues of its devices and sockets.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tunctl::buffer::Memory;
use tunctl::node::{Node, Output};
use tunctl::peer::{NetworkId, PeerId};
use tunctl::transport::Carrier;

use super::check::account::{Books, Outcomes};
use super::plan::{NetIndex, NodeIndex, Plan};
use super::settings;
use super::talk::Injection;
use super::wire::{Datagram, Wire};

/// Reads of a device, or receive calls, in a batch; and one slot for what is cut again.
pub const BATCH: usize = 32;

pub struct Station {
    pub index: NodeIndex,
    pub node: Node,
    pub memory: Memory,
    pub out: Output,
    /// The networks by [`NetworkId`], the peers by slot.
    pub nets: Vec<NetIndex>,
    pub peers: Vec<NodeIndex>,
    pub devices: Vec<VecDeque<Injection>>,
    pub sockets: [VecDeque<Datagram>; 2],
    pub books: Books,
    pub outcomes: Outcomes,
    /// When it told its hosts that something is too large.
    pub answered: VecDeque<Duration>,
    /// ICMP errors in the batch in hand that other nodes made, by what they are about.
    pub passing: Vec<usize>,
    /// Datagrams handed to the kernel, by peer; packets written, by network, but for answers.
    pub sent: Vec<u64>,
    pub written: Vec<u64>,
    /// Networks whose device has refused a merged packet before this batch.
    pub refused: Vec<bool>,
}

impl Station {
    pub fn new(plan: &Plan, wire: &Wire, index: NodeIndex, now: Instant) -> Self {
        let path_mtu = |peer| plan.knows_paths.then(|| wire.mtu(index, peer));
        let node = Node::new(settings::settings(plan, index, path_mtu), now);
        let nets = plan.nodes[index].networks.clone();
        Self {
            index,
            books: Books::of(&node),
            node,
            memory: Memory::new(BATCH + 1),
            out: Output::default(),
            devices: nets.iter().map(|_| VecDeque::new()).collect(),
            nets,
            peers: settings::peers(plan, index),
            sockets: [VecDeque::new(), VecDeque::new()],
            outcomes: Outcomes::default(),
            answered: VecDeque::new(),
            passing: Vec::new(),
            sent: vec![0; plan.nodes.len()],
            written: vec![0; plan.networks.len()],
            refused: vec![false; plan.networks.len()],
        }
    }

    pub fn network_id(&self, net: NetIndex) -> NetworkId {
        let at = self.nets.iter().position(|own| *own == net);
        NetworkId(at.expect("a node has the networks that it is in") as u16)
    }

    pub fn peer_id(&self, peer: NodeIndex) -> Option<PeerId> {
        self.peers.iter().position(|own| *own == peer).map(|slot| PeerId::new(slot, 0))
    }

    /// Whether it may tell its hosts more: errors are limited (100 at once, 1000 a second).
    pub fn may_answer(&mut self, now: Duration) -> bool {
        while self.answered.front().is_some_and(|at| now - *at > Duration::from_millis(100)) {
            self.answered.pop_front();
        }
        self.answered.len() < 50
    }

    pub fn socket(&mut self, carrier: Carrier) -> &mut VecDeque<Datagram> {
        match carrier {
            Carrier::Vxlan => &mut self.sockets[0],
            Carrier::VxlanGpe => &mut self.sockets[1],
            Carrier::WireGuard | Carrier::Quic => {
                unreachable!("the simulation speaks in the clear")
            }
        }
    }
}
