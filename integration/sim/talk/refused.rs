//! What no node may carry: broken headers, sources that are none, the tunnel itself.

use tunctl::frame::Layer;
use tunctl::offload::VnetHeader;

use super::{Injection, Scene, Talk};
use crate::sim::check::vnet;
use crate::sim::ledger::Target;
use crate::sim::packet::{self, LinkHeader};
use crate::sim::plan::HostIndex;
use crate::sim::settings::VXLAN;

impl Talk {
    pub(super) fn refused(&self, scene: &mut Scene<'_>, host: HostIndex) -> Injection {
        let (mut bytes, l3) = self.plain(scene, host);
        let mut vnet = VnetHeader::default();
        match (scene.random.below(8), scene.layer(host)) {
            (0, Layer::L2) => bytes.truncate(scene.random.below(14)),
            (0, Layer::L3) => bytes.truncate(scene.random.below(20)),
            (1, _) => bytes.truncate(l3 + scene.random.between(20, 27)),
            (2, Layer::L2) => bytes[6] |= 1,
            (2, Layer::L3) => bytes[12..16].copy_from_slice(&[224, 0, 0, 1]),
            (3, _) => bytes[l3] = 0x43,
            (4, _) => bytes[l3 + 2] = 0xff,
            (5, layer) => {
                vnet = vnet::make_partial(&mut bytes, layer).unwrap_or_default();
                vnet.gso_type = 5;
            }
            (6, layer) => {
                vnet = vnet::make_partial(&mut bytes, layer).unwrap_or_default();
                (vnet.gso_type, vnet.gso_size) = (1, 100);
            }
            _ => bytes = self.own_endpoint(scene, host),
        }
        let all = 0..bytes.len().max(1);
        let sent = scene.sent(host, Target::Nobody, bytes.clone(), all.clone());
        let number = scene.ledger.add(sent, (0, 0));
        let inputs = vec![scene.input(number, all, 1000)];
        Injection { bytes, vnet, host, inputs }
    }

    /// A UDP packet to nobody, and where its IP header begins.
    fn plain(&self, scene: &mut Scene<'_>, host: HostIndex) -> (Vec<u8>, usize) {
        let number = scene.ledger.next();
        let header = scene.ip(host, Target::Nobody, false, 0);
        let payload = packet::udp(&header, (1, 2), &self.payload(number, 200));
        let whole = packet::ip(&header, packet::UDP, None, &payload);
        let link = scene.link(host, Target::Nobody, false);
        let bytes = packet::frame(link.as_ref(), packet::TYPE_IPV4, &whole);
        let l3 = bytes.len() - whole.len();
        (bytes, l3)
    }

    /// A datagram of the tunnel, sent into the tunnel.
    fn own_endpoint(&self, scene: &mut Scene<'_>, host: HostIndex) -> Vec<u8> {
        let number = scene.ledger.next();
        let node = scene.places[host];
        let mut header = scene.ip(host, Target::Nobody, false, 0);
        let peer = scene.plan.peers_in(node, scene.plan.hosts[host].net).next().unwrap_or(node);
        header.dst = match scene.random.chance(500) {
            true => scene.plan.nodes[node].v4.into(),
            false => scene.plan.address(peer, node),
        };
        if header.dst.is_ipv6() {
            header.src = scene.plan.hosts[host].v6.into();
        }
        let payload = packet::udp(&header, (5555, VXLAN), &self.payload(number, 100));
        let whole = packet::ip(&header, packet::UDP, None, &payload);
        let link: Option<LinkHeader> = scene.link(host, Target::Nobody, false);
        packet::frame(link.as_ref(), packet::ethertype(header.src), &whole)
    }
}
