//! Conversations: UDP flows and TCP streams, one by one or as GSO packets.

use tunctl::frame::Layer;
use tunctl::offload::VnetHeader;

use super::{Injection, Scene, Talk, unpadded};
use crate::sim::check::vnet;
use crate::sim::ledger::{TAG_LEN, Target};
use crate::sim::packet::{self, IpHeader, TcpHeader};
use crate::sim::plan::HostIndex;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const CWR: u8 = 0x80;

/// The largest IP packet.
const IP_MAX: usize = 65_535;
const STREAM_MAX: u32 = 200_000;

/// A TCP connection, one way.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    id: u32,
    from: HostIndex,
    to: HostIndex,
    v6: bool,
    ports: (u16, u16),
    base: u32,
    /// Bytes said so far.
    at: u32,
    /// Packets said so far.
    order: u32,
    header: IpHeader,
    ack: u32,
    options: Vec<u8>,
}

impl Talk {
    /// Some datagrams of one flow: equal ones, as a GSO packet or one by one.
    pub(super) fn datagrams(
        &mut self,
        scene: &mut Scene<'_>,
        host: HostIndex,
        to: Target,
    ) -> Vec<Injection> {
        let v6 = scene.random.chance(400);
        let mtu = scene.mtu(host);
        let size = match scene.random.below(5) {
            0 => scene.random.between(TAG_LEN, 60),
            1 => scene.random.between(mtu - 100, mtu + 60),
            2 => mtu - 48,
            _ => scene.random.between(100, 1300),
        };
        let count = *scene.random.pick(&[1, 1, 2, 3, 5, 8, 20]);
        let last =
            if scene.random.chance(500) { size } else { scene.random.between(TAG_LEN, size) };
        let sizes: Vec<_> = (1..count).map(|_| size).chain([last]).collect();
        let flow = self.flows.len() as u32;
        let ports = (10_000 + (flow % 50_000) as u16, 7000);
        if count > 1 && size * count < 60_000 && scene.random.chance(500) {
            vec![self.udp_gso(scene, host, to, v6, ports, &sizes)]
        } else {
            self.udp_train(scene, host, to, v6, ports, &sizes)
        }
    }

    fn udp_train(
        &mut self,
        scene: &mut Scene<'_>,
        host: HostIndex,
        to: Target,
        v6: bool,
        ports: (u16, u16),
        sizes: &[usize],
    ) -> Vec<Injection> {
        let mut header = scene.ip(host, to, v6, 0);
        let link = scene.link(host, to, v6);
        let flow = self.new_flow_id();
        let mut injections = Vec::new();
        for (order, size) in sizes.iter().enumerate() {
            let number = scene.ledger.next();
            header.id = scene.ledger.take_ip_ids(number, 1);
            let payload = packet::udp(&header, ports, &self.payload(number, *size));
            let whole = packet::ip(&header, packet::UDP, None, &payload);
            let bytes = packet::frame(link.as_ref(), packet::ethertype(header.src), &whole);
            let content = bytes.len() - payload.len()..bytes.len();
            let mut sent = scene.sent(host, to, bytes, content);
            (sent.flow, sent.order) = (flow, Some(order as u32));
            injections.push(scene.single(sent));
        }
        injections
    }

    fn udp_gso(
        &mut self,
        scene: &mut Scene<'_>,
        host: HostIndex,
        to: Target,
        v6: bool,
        ports: (u16, u16),
        sizes: &[usize],
    ) -> Injection {
        let mut header = scene.ip(host, to, v6, 0);
        let link = scene.link(host, to, v6);
        let ethertype = packet::ethertype(header.src);
        let flow = self.new_flow_id();
        let (mut inputs, mut all, mut first_id) = (Vec::new(), Vec::new(), None);
        let is_trap = scene.random.chance(300);
        let tagged = scene.plan.hosts[host].tag.is_some();
        for (order, size) in sizes.iter().enumerate() {
            let number = scene.ledger.next();
            header.id = scene.ledger.take_ip_ids(number, 1);
            first_id.get_or_insert(header.id);
            let mut payload = self.payload(number, *size);
            if is_trap {
                let own_len = link.as_ref().map_or(0, |_| if tagged { 18 } else { 14 });
                let headers = own_len + if v6 { 48 } else { 28 };
                set_trap(scene, host, headers, sizes[0], &mut payload);
            }
            all.extend_from_slice(&payload);
            let payload = packet::udp(&header, ports, &payload);
            let whole = packet::ip(&header, packet::UDP, None, &payload);
            let bytes = packet::frame(link.as_ref(), ethertype, &whole);
            let content = bytes.len() - payload.len()..bytes.len();
            let mut sent = scene.sent(host, to, bytes, content.clone());
            (sent.flow, sent.order, sent.is_gso) = (flow, Some(order as u32), true);
            scene.ledger.add(sent, (0, 0));
            inputs.push(scene.input(number, 0..content.len(), 1));
        }
        header.id = first_id.unwrap_or(0);
        let payload = packet::udp(&header, ports, &all);
        let whole = packet::ip(&header, packet::UDP, None, &payload);
        let mut bytes = packet::frame(link.as_ref(), ethertype, &whole);
        let vnet = gso_header(&mut bytes, scene.layer(host), false, v6, sizes[0]);
        Injection { bytes, vnet: hint(scene, vnet), host, inputs }
    }

    /// A TCP connection goes on: some of its data, or one of its other segments.
    pub(super) fn segments(
        &mut self,
        scene: &mut Scene<'_>,
        from: HostIndex,
        to: HostIndex,
    ) -> Vec<Injection> {
        let index = self.connection(scene, from, to);
        if scene.random.chance(300) {
            return vec![self.control(scene, index)];
        }
        // The stack changes its options and acknowledges now and then.
        if scene.random.chance(300) {
            let flow = &mut self.flows[index];
            flow.ack = flow.ack.wrapping_add(1000);
            flow.options = options(scene.random.next() as u32);
        }
        let count = scene.random.between(1, 4);
        (0..count).filter_map(|_| self.data(scene, index)).collect()
    }

    /// The open connection between two hosts, or a new one.
    fn connection(&mut self, scene: &mut Scene<'_>, from: HostIndex, to: HostIndex) -> usize {
        let is_open = |flow: &Flow| {
            (flow.from, flow.to) == (from, to) && flow.at < STREAM_MAX && flow.id != 0
        };
        if let Some(index) = self.flows.iter().position(is_open)
            && scene.random.chance(800)
        {
            return index;
        }
        let v6 = scene.random.chance(400);
        let id = self.new_flow_id();
        let ports = (1024 + (id % 8) as u16, 20_000 + id as u16);
        let mut header = scene.ip(from, Target::Host(to), v6, 0);
        header.dont_fragment |= scene.random.chance(700);
        let base = match scene.random.chance(300) {
            true => u32::MAX - scene.random.below(20_000) as u32,
            false => scene.random.next() as u32,
        };
        let options = if scene.random.chance(700) { options(1) } else { Vec::new() };
        scene.ledger.open_stream(ports, base);
        let flow = Flow { id, from, to, v6, ports, base, at: 0, order: 0, header, ack: 1, options };
        self.flows[id as usize - 1] = flow;
        id as usize - 1
    }

    fn data(&mut self, scene: &mut Scene<'_>, index: usize) -> Option<Injection> {
        let flow = self.flows[index].clone();
        let mtu = scene.mtu(flow.from);
        let headers = if flow.v6 { 60 } else { 40 } + flow.options.len();
        let size = match scene.random.below(8) {
            0 => scene.random.between(1, 200),
            1 => mtu - headers + scene.random.below(200),
            2 => scene.random.between(200, 1000),
            _ => mtu - headers,
        };
        let segments = match scene.random.below(20) {
            0 => 44,
            1..=9 => 1,
            _ => scene.random.between(2, 10),
        };
        let tail = scene.random.below(size);
        let len = (size * segments - tail).min(IP_MAX - headers);
        let is_gso = len > size;
        let number = scene.ledger.next();
        // What is cut smaller has more segments, each with an identification of its own.
        let ids = len.div_ceil(size.min(500)) + 2;
        let id = scene.ledger.take_ip_ids(number, ids);
        let flags = match scene.random.below(10) {
            0 => ACK | FIN,
            1..=4 => ACK | PSH,
            5 if !is_gso => ACK | CWR,
            _ => ACK,
        };
        let start = flow.id as usize * 31 + flow.at as usize;
        let payload = self.part_of_pool(start, len).to_vec();
        let mut injection =
            self.segment(scene, index, number, id, flow.at, flags, flow.ack, &payload, is_gso)?;
        self.flows[index].at += len as u32;
        if is_gso {
            let layer = scene.layer(flow.from);
            let vnet = gso_header(&mut injection.bytes, layer, true, flow.v6, size);
            injection.vnet = hint(scene, vnet);
            injection.inputs = vec![scene.input(number, 0..len, len.div_ceil(size) as u64)];
        }
        Some(injection)
    }

    /// A segment without data: its acknowledgement is its number.
    fn control(&mut self, scene: &mut Scene<'_>, index: usize) -> Injection {
        let number = scene.ledger.next();
        let id = scene.ledger.take_ip_ids(number, 1);
        let flags = *scene.random.pick(&[ACK, ACK, ACK, SYN, SYN | ACK, FIN | ACK, RST]);
        let at = self.flows[index].at;
        let ack = number as u32;
        if flags & SYN != 0 {
            let mss = *scene.random.pick(&[536_u16, 1200, 1460, 8960]);
            let [high, low] = mss.to_be_bytes();
            let saved = std::mem::replace(
                &mut self.flows[index].options,
                vec![2, 4, high, low, 1, 3, 3, 7],
            );
            let injection = self.segment(scene, index, number, id, at, flags, ack, &[], false);
            self.flows[index].options = saved;
            return injection.expect("a segment without data is small");
        }
        self.segment(scene, index, number, id, at, flags, ack, &[], false)
            .expect("a segment without data is small")
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a segment")]
    fn segment(
        &mut self,
        scene: &mut Scene<'_>,
        index: usize,
        number: usize,
        id: u32,
        at: u32,
        flags: u8,
        ack: u32,
        payload: &[u8],
        is_gso: bool,
    ) -> Option<Injection> {
        let flow = self.flows[index].clone();
        let to = Target::Host(flow.to);
        let header = IpHeader { id, ..flow.header };
        let tcp = TcpHeader {
            ports: flow.ports,
            seq: flow.base.wrapping_add(at),
            ack,
            flags,
            window: 500 + number as u16 % 3,
            options: flow.options,
        };
        let body = packet::tcp(&header, &tcp, payload);
        let whole = packet::ip(&header, packet::TCP, None, &body);
        let link = scene.link(flow.from, to, flow.v6);
        let bytes = packet::frame(link.as_ref(), packet::ethertype(header.src), &whole);
        let covered = if payload.is_empty() { body.len() } else { payload.len() };
        let content = bytes.len() - covered..bytes.len();
        let mut sent = scene.sent(flow.from, to, bytes, content);
        sent.flow = flow.id;
        sent.is_gso = is_gso;
        sent.stream = (!payload.is_empty()).then_some(at);
        // An acknowledgement without data may be overtaken.
        if !payload.is_empty() || flags & (SYN | FIN | RST) != 0 {
            sent.order = Some(flow.order);
            self.flows[index].order += 1;
        }
        let end = unpadded(&sent);
        debug_assert_eq!(end, sent.bytes.len());
        if is_gso {
            let (bytes, host) = (sent.bytes.clone(), sent.from);
            scene.ledger.add(sent, flow.ports);
            return Some(Injection {
                bytes,
                vnet: VnetHeader::default(),
                host,
                inputs: Vec::new(),
            });
        }
        let range = 0..sent.content.len();
        let (mut bytes, layer, host) = (sent.bytes.clone(), sent.layer(), sent.from);
        scene.ledger.add(sent, flow.ports);
        let is_left_to_us = scene.random.chance(500);
        let vnet = match is_left_to_us {
            true => vnet::make_partial(&mut bytes, layer).unwrap_or_default(),
            false => VnetHeader::default(),
        };
        Some(Injection { bytes, vnet, host, inputs: vec![scene.input(number, range, 1)] })
    }

    /// A flow's number, from 1; its place in the list is one less.
    fn new_flow_id(&mut self) -> u32 {
        self.flows.push(Flow {
            id: 0,
            from: 0,
            to: 0,
            v6: false,
            ports: (0, 0),
            base: 0,
            at: u32::MAX,
            order: 0,
            header: IpHeader {
                src: [0; 4].into(),
                dst: [0; 4].into(),
                tos: 0,
                hop_limit: 0,
                dont_fragment: true,
                id: 0,
                label: 0,
                options: false,
            },
            ack: 0,
            options: Vec::new(),
        });
        self.flows.len() as u32
    }
}

/// NOP, NOP, timestamps.
fn options(time: u32) -> Vec<u8> {
    let mut options = vec![1, 1, 8, 10];
    options.extend_from_slice(&time.to_be_bytes());
    options.extend_from_slice(&[0; 4]);
    options
}

fn gso_header(bytes: &mut [u8], layer: Layer, is_tcp: bool, v6: bool, size: usize) -> VnetHeader {
    let vnet = vnet::make_partial(bytes, layer).expect("a valid TCP or UDP packet");
    VnetHeader { gso_type: vnet::gso_type(is_tcp, !v6), gso_size: size as u16, ..vnet }
}

/// The header length that the kernel gives is only a hint.
fn hint(scene: &mut Scene<'_>, vnet: VnetHeader) -> VnetHeader {
    if scene.random.chance(300) { VnetHeader { hdr_len: vnet.hdr_len + 200, ..vnet } } else { vnet }
}

/// Puts a VXLAN header of another network where a receiver would look that cuts a GSO packet by
/// the size of its inner datagrams: there it must stay payload.
fn set_trap(scene: &Scene<'_>, host: HostIndex, headers: usize, size: usize, payload: &mut [u8]) {
    let layer = scene.layer(host);
    let others = scene.plan.networks.iter().filter(|network| network.layer == layer);
    let Some(vni) = others.map(|network| network.vni).next_back() else { return };
    let at = (size - (8 + headers) % size) % size;
    let [_, a, b, c] = vni.to_be_bytes();
    let mut bytes = match layer {
        Layer::L2 => vec![8, 0, 0, 0, a, b, c, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        Layer::L3 => vec![12, 0, 0, 1, a, b, c, 0, 0x45],
    };
    bytes.extend_from_slice(&[0x66, 0, 0, 0, 1, 0x88, 0xb5]);
    if at >= TAG_LEN
        && let Some(place) = payload.get_mut(at..at + bytes.len())
    {
        place.copy_from_slice(&bytes);
    }
}
