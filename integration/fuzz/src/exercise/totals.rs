//! The node's counters, and how they changed.

use tunctl::node::Node;

use super::world::LAYERS;

/// Sums over the node's counters.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub drops: u64,
    /// Packets that came from peers, went to peers, came from devices, went to devices.
    pub received: u64,
    pub sent: u64,
    pub from_device: u64,
    pub to_device: u64,
    networks: [u64; LAYERS.len()],
}

impl Totals {
    pub fn of(node: &Node) -> Self {
        let mut totals = Self { drops: node.drops().total(), ..Self::default() };
        for (_, peer) in node.peers() {
            totals.received += peer.received.packets;
            totals.sent += peer.sent.packets;
        }
        for network in node.networks() {
            totals.from_device += network.from_device.packets;
            totals.to_device += network.to_device.packets;
            totals.networks[network.id.index()] = network.drops.total()
                + network.from_device.packets
                + network.to_device.packets
                + network.forwarding.entries_len() as u64;
        }
        totals
    }

    /// The change; what was sent may have been taken back, then it wraps around.
    pub fn since(&self, before: &Self) -> Self {
        let mut change = Self {
            drops: self.drops - before.drops,
            received: self.received - before.received,
            sent: self.sent.wrapping_sub(before.sent),
            from_device: self.from_device - before.from_device,
            to_device: self.to_device - before.to_device,
            networks: self.networks,
        };
        for (now, before) in change.networks.iter_mut().zip(before.networks) {
            *now = now.abs_diff(before);
        }
        change
    }

    /// How much a network noticed: drops, packets and learned entries.
    pub fn of_network(&self, index: usize) -> u64 {
        self.networks[index]
    }
}
