//! Datagrams that no node sent, or not like this: each must be dropped, for the right reason.

use std::time::Duration;

use tunctl::drops::DropReason;
use tunctl::frame::Layer;
use tunctl::transport::Carrier;

use super::{Event, World};
use crate::sim::ledger::Identity;
use crate::sim::packet::{self, IpHeader, LinkHeader};
use crate::sim::plan::NodeIndex;
use crate::sim::settings::{self, VXLAN, VXLAN_GPE};
use crate::sim::wire::Datagram;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug)]
enum Spoof {
    None,
    /// A source that its sender has no business with.
    Foreign,
    /// A group as source.
    Group,
    /// Addressed to the tunnel itself.
    Endpoint,
}

impl World {
    pub(super) fn send_junk(&mut self) {
        let node = self.random.below(self.plan.nodes.len());
        let net = *self.random.pick(&self.stations[node].nets);
        let Some(peer) = self.plan.peers_in(node, net).next() else { return };
        let count = if self.random.chance(300) { self.random.between(2, 20) } else { 1 };
        let (bytes, reason) = self.junk(node, net, peer);
        let layer = self.plan.networks[net].layer;
        let (address, port) = match reason {
            DropReason::UnknownPeer => ([203, 0, 113, 7].into(), 4789),
            _ => (self.plan.address(peer, node), 49_152 + self.random.below(100) as u16),
        };
        let datagram = Datagram {
            bytes,
            from: (address, port).into(),
            to: match layer {
                Layer::L2 => (self.plan.address(node, peer), VXLAN).into(),
                Layer::L3 => (self.plan.address(node, peer), VXLAN_GPE).into(),
            },
            tos: 0,
            carrier: Carrier::of(layer),
            identity: Identity::Unknown,
            refused: Some(reason),
            // Merged only with its like: a real datagram behind it would be refused with it. What
            // is shorter than its headers is read together with what follows.
            is_alone: count == 1
                || !matches!(reason, DropReason::UnknownPeer | DropReason::VxlanFlags),
            is_corrupt: false,
            packets: 1,
            stride: None,
        };
        let count = if datagram.is_alone { 1 } else { count };
        let at = self.now + Duration::from_micros(self.random.below(500) as u64);
        for _ in 0..count {
            self.schedule(at, Event::Arrive { node, datagram: Box::new(datagram.clone()) });
        }
    }

    fn junk(&mut self, node: NodeIndex, net: usize, peer: NodeIndex) -> (Vec<u8>, DropReason) {
        let network = &self.plan.networks[net];
        let (layer, [_, a, b, c]) = (network.layer, network.vni.to_be_bytes());
        let flags = if layer == Layer::L2 { [8, 0, 0, 0] } else { [12, 0, 0, 1] };
        let mut outer = [flags, [a, b, c, 0]].concat();
        let mut noise = vec![0; self.random.between(1, 100)];
        self.random.fill(&mut noise);
        let foreign = self.foreign(node, peer, layer);
        let (inner, reason) = match self.random.below(13) {
            0 => return (noise, DropReason::UnknownPeer),
            1 => {
                outer.truncate(self.random.between(1, 7));
                return (outer, DropReason::VxlanTooShort);
            }
            2 => {
                outer[0] ^= 8;
                (noise, DropReason::VxlanFlags)
            }
            3 => {
                outer[4] = 0x7f;
                (noise, DropReason::UnknownVni)
            }
            4 => (Vec::new(), DropReason::Malformed),
            5 => {
                noise[0] = 0x45;
                noise.truncate(13);
                (noise, DropReason::Malformed)
            }
            6 if let Some(vni) = foreign => {
                outer[4..7].copy_from_slice(&vni.to_be_bytes()[1..]);
                (noise, DropReason::PeerNotInNetwork)
            }
            7 if layer == Layer::L3 => {
                outer[3] = 2;
                (self.spoofed(node, net, Spoof::None), DropReason::VxlanNextProtocol)
            }
            8 | 9 if layer == Layer::L3 || settings::filters_ips(&self.plan, node, peer) => {
                (self.spoofed(node, net, Spoof::Foreign), DropReason::SourceNotAllowed)
            }
            10 if layer == Layer::L3 || !self.plan.filters_macs => {
                (self.spoofed(node, net, Spoof::Group), DropReason::SourceInvalid)
            }
            11 => (self.spoofed(node, net, Spoof::Endpoint), DropReason::OwnEndpoint),
            _ => (noise, DropReason::DatagramTruncated),
        };
        outer.extend_from_slice(&inner);
        (outer, reason)
    }

    /// A UDP packet over IPv4 that looks right, but for what is spoofed.
    fn spoofed(&self, node: NodeIndex, net: usize, spoof: Spoof) -> Vec<u8> {
        let is_frame = self.plan.networks[net].layer == Layer::L2;
        let src = match spoof {
            Spoof::Foreign => [203, 0, 113, 77],
            Spoof::Group if !is_frame => [224, 0, 0, 1],
            _ => [10, 9, 0, 1],
        };
        let dst = match spoof {
            Spoof::Endpoint => self.plan.nodes[node].v4.octets(),
            _ => [10, 9, 0, 2],
        };
        let header = IpHeader {
            src: src.into(),
            dst: dst.into(),
            tos: 0,
            hop_limit: 64,
            dont_fragment: true,
            id: 0,
            label: 0,
            options: false,
        };
        let body = packet::udp(&header, (1, VXLAN), &[0; 40]);
        let whole = packet::ip(&header, packet::UDP, None, &body);
        let own_mac = self.plan.hosts.first().map_or([2, 0, 0, 0, 0, 1], |host| host.mac);
        let src = if matches!(spoof, Spoof::Group) { [3, 0, 0, 0, 0, 1] } else { own_mac };
        let link = is_frame.then_some(LinkHeader { dst: [0xff; 6], src, tag: None });
        packet::frame(link.as_ref(), packet::TYPE_IPV4, &whole)
    }

    /// The VNI of a network that the node is in and the peer is not.
    fn foreign(&self, node: NodeIndex, peer: NodeIndex, layer: Layer) -> Option<u32> {
        let networks = self.stations[node].nets.iter().map(|net| &self.plan.networks[*net]);
        let mut foreign =
            networks.filter(|network| network.layer == layer && !network.members.contains(&peer));
        foreign.next().map(|network| network.vni)
    }
}
