//! What hosts say: packets of every kind, each with its number in the payload.

mod refused;
mod streams;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use tunctl::frame::Layer;
use tunctl::offload::VnetHeader;

use super::check::account::Input;
use super::check::vnet;
use super::checksum;
use super::coverage::Coverage;
use super::ledger::{Identity, Ledger, MAGIC, Sent, TAG_LEN, Target};
use super::packet::{self, IpHeader, LinkHeader};
use super::plan::{HostIndex, NodeIndex, Plan};
use super::random::Random;
use super::view::View;
use streams::Flow;

/// One read of a device.
#[derive(Clone, Debug)]
pub struct Injection {
    pub bytes: Vec<u8>,
    pub vnet: VnetHeader,
    pub host: HostIndex,
    pub inputs: Vec<Input>,
}

/// What a host needs to know of the world to speak.
pub struct Scene<'a> {
    pub plan: &'a Plan,
    /// Where each host is.
    pub places: &'a [NodeIndex],
    pub ledger: &'a mut Ledger,
    pub random: &'a mut Random,
}

/// The state of all hosts' conversations.
pub struct Talk {
    /// Payloads are parts of it.
    pool: Vec<u8>,
    flows: Vec<Flow>,
}

impl Scene<'_> {
    fn layer(&self, host: HostIndex) -> Layer {
        self.plan.networks[self.plan.hosts[host].net].layer
    }

    fn mtu(&self, host: HostIndex) -> usize {
        self.plan.networks[self.plan.hosts[host].net].mtu.into()
    }

    /// Another host that can be spoken to: of the same network and VLAN, mostly elsewhere.
    pub fn neighbour(&mut self, host: HostIndex) -> Option<HostIndex> {
        let own = &self.plan.hosts[host];
        let vlan = |tag: Option<u16>| tag.map_or(0, |tag| tag & 0xfff);
        let candidates: Vec<_> = (0..self.plan.hosts.len())
            .filter(|&other| {
                let there = &self.plan.hosts[other];
                let is_elsewhere = self.places[other] != self.places[host];
                other != host
                    && there.net == own.net
                    && vlan(there.tag) == vlan(own.tag)
                    && is_elsewhere
            })
            .collect();
        if candidates.is_empty() { None } else { Some(*self.random.pick(&candidates)) }
    }

    fn link(&mut self, host: HostIndex, to: Target, v6: bool) -> Option<LinkHeader> {
        let own = &self.plan.hosts[host];
        if self.layer(host) == Layer::L3 {
            return None;
        }
        let dst = match to {
            Target::Host(other) => self.plan.hosts[other].mac,
            Target::Everyone if self.random.chance(300) => [0xff; 6],
            Target::Everyone if v6 => [0x33, 0x33, 0, 0, 0, 0x77],
            Target::Everyone => [0x01, 0, 0x5e, 0, 0, 0x77],
            Target::Unknown | Target::Nobody => [2, 0xee, 0, 0, 0, self.random.below(200) as u8],
        };
        Some(LinkHeader { dst, src: own.mac, tag: own.tag })
    }

    fn ip(&mut self, host: HostIndex, to: Target, v6: bool, id: u32) -> IpHeader {
        let own = &self.plan.hosts[host];
        let is_l3 = self.layer(host) == Layer::L3;
        let group: (IpAddr, IpAddr) =
            ([224, 0, 0, 0x77].into(), [0xff02, 0, 0, 0, 0, 0, 0, 0x77].into());
        let shared: (IpAddr, IpAddr) =
            ([10, 64, 200, 250].into(), [0xfd64, 200, 0, 0, 0, 0, 0, 250].into());
        let nobody: (IpAddr, IpAddr) =
            ([203, 0, 113, 9].into(), [0x2001, 0xdb8, 9, 0, 0, 0, 0, 9].into());
        let (v4_dst, v6_dst) = match to {
            Target::Host(other) => {
                let other = &self.plan.hosts[other];
                (other.v4.into(), other.v6.into())
            }
            Target::Everyone => group,
            Target::Unknown if is_l3 && self.random.chance(500) => shared,
            Target::Unknown | Target::Nobody => nobody,
        };
        let ecn = *self.random.pick(&[0, 0, 1, 2, 2, 3]);
        IpHeader {
            src: if v6 { own.v6.into() } else { own.v4.into() },
            dst: if v6 { v6_dst } else { v4_dst },
            tos: *self.random.pick(&[0, 0, 46 << 2]) | ecn,
            hop_limit: *self.random.pick(&[64, 255, 17]),
            dont_fragment: self.random.chance(600),
            id,
            label: self.random.next() as u32 & 0xf_ffff,
            options: false,
        }
    }

    /// The places that a flood from the host's node would reach.
    fn ways(&self, host: HostIndex) -> u64 {
        let net = self.plan.hosts[host].net;
        self.plan.peers_in(self.places[host], net).count() as u64
    }

    /// The record of a packet, not yet in the ledger.
    fn sent(&self, host: HostIndex, to: Target, bytes: Vec<u8>, content: Range<usize>) -> Sent {
        let len = content.len();
        Sent {
            net: self.plan.hosts[host].net,
            from: host,
            origin: self.places[host],
            to,
            is_frame: self.layer(host) == Layer::L2,
            flow: 0,
            order: None,
            bytes,
            content,
            stream: None,
            is_gso: false,
            excuse: None,
            transmitted: Coverage::new(len),
            copies: Coverage::new(len),
            delivered: BTreeMap::new(),
        }
    }

    fn input(&self, number: usize, range: Range<usize>, packets: u64) -> Input {
        let sent = &self.ledger.sents[number];
        let least = if sent.to == Target::Nobody { 1 } else { packets };
        Input {
            identity: Identity::Content(vec![(number, range)]),
            packets: (least, packets),
            ways: self.ways(sent.from),
            is_group: sent.to == Target::Everyone,
        }
    }

    /// Records a whole packet and makes the read of it, with or without its checksum.
    fn single(&mut self, sent: Sent) -> Injection {
        let (layer, host) = (sent.layer(), sent.from);
        let mut bytes = sent.bytes.clone();
        let range = 0..sent.content.len();
        let number = self.ledger.add(sent, (0, 0));
        let mut vnet = VnetHeader::default();
        if self.random.chance(400) {
            vnet = vnet::make_partial(&mut bytes, layer).unwrap_or_default();
        } else if self.random.chance(100) {
            // DATA_VALID: the kernel has seen that the checksum is right.
            vnet.flags = 2;
        }
        let inputs = vec![self.input(number, range, 1)];
        Injection { bytes, vnet, host, inputs }
    }
}

impl Talk {
    pub fn new(random: &mut Random) -> Self {
        let mut pool = vec![0; 1 << 18];
        random.fill(&mut pool);
        Self { pool, flows: Vec::new() }
    }

    /// A random host says something. Nothing, if there is nobody to say it to.
    pub fn act(&mut self, scene: &mut Scene<'_>) -> Vec<Injection> {
        let host = scene.random.below(scene.plan.hosts.len());
        let is_frame = scene.layer(host) == Layer::L2;
        let to = match scene.random.below(20) {
            0..=2 => Target::Everyone,
            3 => Target::Unknown,
            _ => match scene.neighbour(host) {
                Some(other) => Target::Host(other),
                None => return Vec::new(),
            },
        };
        match scene.random.below(22) {
            0 | 1 if is_frame => vec![self.arp(scene, host, to)],
            2 if is_frame => vec![self.odd_frame(scene, host, to)],
            0..=2 => vec![self.echo(scene, host, to)],
            3 => vec![self.other_protocol(scene, host, to)],
            4 | 5 => self.fragments(scene, host, to),
            6 => vec![self.wrong_checksum(scene, host, to)],
            7 if is_frame => self.strangers(scene, host),
            7 | 8 => vec![self.refused(scene, host)],
            9..=14 => self.datagrams(scene, host, to),
            _ => match to {
                Target::Host(other) => self.segments(scene, host, other),
                Target::Everyone | Target::Unknown | Target::Nobody => {
                    self.datagrams(scene, host, to)
                }
            },
        }
    }

    /// A host lets everybody know where its addresses are.
    pub fn announce(&mut self, scene: &mut Scene<'_>, host: HostIndex) -> Vec<Injection> {
        match scene.layer(host) {
            Layer::L2 => vec![self.arp(scene, host, Target::Everyone)],
            Layer::L3 => {
                [false, true].map(|v6| self.datagram(scene, host, Target::Everyone, v6)).to_vec()
            }
        }
    }

    /// A small packet to another host.
    pub fn greet(&mut self, scene: &mut Scene<'_>, host: HostIndex, to: HostIndex) -> Injection {
        let v6 = scene.random.chance(500);
        self.datagram(scene, host, Target::Host(to), v6)
    }

    /// Payload of a packet: its number, then bytes that no other has there.
    fn payload(&self, number: usize, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len.max(TAG_LEN));
        bytes.extend_from_slice(&MAGIC.to_be_bytes());
        bytes.extend_from_slice(&(number as u32).to_be_bytes());
        bytes.extend_from_slice(self.part_of_pool(number, len.saturating_sub(TAG_LEN)));
        bytes
    }

    fn part_of_pool(&self, salt: usize, len: usize) -> &[u8] {
        let start = salt.wrapping_mul(7919) % (self.pool.len() - 65_536);
        &self.pool[start..start + len]
    }

    fn arp(&self, scene: &mut Scene<'_>, host: HostIndex, to: Target) -> Injection {
        let own = &scene.plan.hosts[host];
        let (sender, asks) = ((own.mac, own.v4.octets()), to == Target::Everyone);
        let target = match to {
            Target::Host(other) => {
                (scene.plan.hosts[other].mac, scene.plan.hosts[other].v4.octets())
            }
            _ => ([0; 6], own.v4.octets()),
        };
        let link = scene.link(host, to, false);
        let mut body = packet::arp(asks, sender, target);
        // Behind the packet is padding, which is where the number fits.
        body.extend_from_slice(&self.payload(scene.ledger.next(), 18));
        let bytes = packet::frame(link.as_ref(), packet::TYPE_ARP, &body);
        let all = 0..bytes.len();
        let sent = scene.sent(host, to, bytes, all);
        scene.single(sent)
    }

    /// An EtherType that nobody knows, or a length with LLC behind it.
    fn odd_frame(&self, scene: &mut Scene<'_>, host: HostIndex, to: Target) -> Injection {
        let len = scene.random.between(46, scene.mtu(host) + 30);
        let ethertype = *scene.random.pick(&[0x88b5, 0x88cc, 0x0100, 0x8847]);
        let link = scene.link(host, to, false);
        let body = self.payload(scene.ledger.next(), len);
        let bytes = packet::frame(link.as_ref(), ethertype, &body);
        let all = 0..bytes.len();
        let sent = scene.sent(host, to, bytes, all);
        scene.single(sent)
    }

    fn echo(&self, scene: &mut Scene<'_>, host: HostIndex, to: Target) -> Injection {
        let payload = self.payload(scene.ledger.next(), scene.random.between(6, 1500));
        let v6 = scene.random.chance(400);
        self.ip(scene, host, to, v6, |header| packet::echo(header, &payload))
    }

    fn other_protocol(&self, scene: &mut Scene<'_>, host: HostIndex, to: Target) -> Injection {
        let payload = self.payload(scene.ledger.next(), scene.random.between(6, 1400));
        let protocol = *scene.random.pick(&[47, 132, 253]);
        let v6 = scene.random.chance(400);
        self.ip(scene, host, to, v6, |_| (protocol, payload))
    }

    /// A UDP datagram that its own host spoiled: nobody makes it good.
    fn wrong_checksum(&self, scene: &mut Scene<'_>, host: HostIndex, to: Target) -> Injection {
        let payload = self.payload(scene.ledger.next(), scene.random.between(20, 400));
        let v6 = scene.random.chance(400);
        self.ip(scene, host, to, v6, |header| {
            let mut bytes = packet::udp(header, (9, 9), &payload);
            bytes[6] ^= 0x40;
            let pseudo = checksum::pseudo(header.src, header.dst, packet::UDP, bytes.len());
            if bytes[6..8] == pseudo.to_be_bytes() {
                // By chance it looks as if it were to be finished.
                bytes[6] ^= 0x20;
            }
            (packet::UDP, bytes)
        })
    }

    fn datagram(&self, scene: &mut Scene<'_>, host: HostIndex, to: Target, v6: bool) -> Injection {
        let payload = self.payload(scene.ledger.next(), 30);
        let without_sum = scene.random.chance(100);
        let ports = (3000 + host as u16, *scene.random.pick(&[53, 4789, 4790, 8000]));
        self.ip(scene, host, to, v6, |header| {
            let mut bytes = packet::udp(header, ports, &payload);
            if without_sum && header.src.is_ipv4() {
                bytes[6..8].fill(0);
            }
            (packet::UDP, bytes)
        })
    }

    /// A whole IP packet around what `body` makes: a protocol and its bytes.
    fn ip(
        &self,
        scene: &mut Scene<'_>,
        host: HostIndex,
        to: Target,
        v6: bool,
        body: impl FnOnce(&IpHeader) -> (u8, Vec<u8>),
    ) -> Injection {
        let number = scene.ledger.next();
        let id = scene.ledger.take_ip_ids(number, 1);
        let mut header = scene.ip(host, to, v6, id);
        header.options = scene.random.chance(100);
        let (protocol, payload) = body(&header);
        let packet = packet::ip(&header, protocol, None, &payload);
        let link = scene.link(host, to, v6);
        let mut bytes = packet::frame(link.as_ref(), packet::ethertype(header.src), &packet);
        let content = bytes.len() - payload.len()..bytes.len();
        if link.is_some() && bytes.len() < 60 {
            bytes.resize(60, 0);
        }
        let sent = scene.sent(host, to, bytes, content);
        scene.single(sent)
    }

    /// A datagram that its host sends in fragments.
    fn fragments(&self, scene: &mut Scene<'_>, host: HostIndex, to: Target) -> Vec<Injection> {
        let v6 = scene.random.chance(400);
        let number = scene.ledger.next();
        let id = scene.ledger.take_ip_ids(number, 1);
        let mut header = scene.ip(host, to, v6, id);
        header.dont_fragment = false;
        let len = if scene.random.chance(50) { 60_000 } else { scene.random.between(1500, 5000) };
        let payload = packet::udp(&header, (3000, 7000), &self.payload(number, len));
        let link = scene.link(host, to, v6);
        let ethertype = packet::ethertype(header.src);
        let whole = packet::ip(&header, packet::UDP, None, &payload);
        let bytes = packet::frame(link.as_ref(), ethertype, &whole);
        let content = bytes.len() - payload.len()..bytes.len();
        let sent = scene.sent(host, to, bytes, content);
        scene.ledger.add(sent, (0, 0));
        // Some hosts believe in a larger MTU than the network has.
        let size = (scene.mtu(host) - 48 + *scene.random.pick(&[0, 0, 100])) / 8 * 8;
        let mut injections = Vec::new();
        for start in (0..payload.len()).step_by(size) {
            let end = (start + size).min(payload.len());
            let part = Some((start, end < payload.len()));
            let fragment = packet::ip(&header, packet::UDP, part, &payload[start..end]);
            let bytes = packet::frame(link.as_ref(), ethertype, &fragment);
            let inputs = vec![scene.input(number, start..end, 1)];
            injections.push(Injection { bytes, vnet: VnetHeader::default(), host, inputs });
        }
        injections
    }

    /// Frames from source addresses that nobody has: a flood that fills the table's shares.
    fn strangers(&self, scene: &mut Scene<'_>, host: HostIndex) -> Vec<Injection> {
        let is_tight = scene.plan.networks[scene.plan.hosts[host].net].is_tight;
        let count = if is_tight { 40 } else { 3 };
        let one = |_| {
            let number = scene.ledger.next();
            let to = *scene.random.pick(&[Target::Everyone, Target::Unknown]);
            let mut link = scene.link(host, to, false)?;
            link.src = [2, 0xdd, 0, 0, 0, 0];
            scene.random.fill(&mut link.src[3..]);
            let bytes = packet::frame(Some(&link), 0x88b5, &self.payload(number, 46));
            let all = 0..bytes.len();
            let sent = scene.sent(host, to, bytes, all);
            Some(scene.single(sent))
        };
        (0..count).filter_map(one).collect()
    }
}

/// The end of a packet without padding, for what is made from a whole one.
fn unpadded(sent: &Sent) -> usize {
    View::new(&sent.bytes, sent.layer()).ip.map_or(sent.bytes.len(), |ip| ip.end)
}
