//! What arrives on the underlay: datagrams, runs of them, and a kernel peer's GSO packets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tunctl::frame::Layer;
use tunctl::peer::NetworkId;
use tunctl::transport::Carrier;

use super::packet::{Length, Plan};
use super::reference::{Checksum, TCP, UDP};
use super::source::Source;
use super::world::{self, LAYERS, OFFICE, PEERS, PLANT, TRAP, VAULT, VNIS};

/// The largest UDP payload over IPv4.
const DATAGRAM_MAX: usize = 65_507;
/// Datagrams that the kernel merges into one buffer (UDP_GRO_CNT_MAX, include/linux/udp.h).
const GRO_MAX: usize = 64;
const VXLAN_LEN: usize = 8;

/// What a buffer was made as, where nothing was done to it afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Datagrams of this size.
    Datagrams(usize),
    /// One GSO packet of a kernel peer: its segment size where the kernel says it.
    Super { is_tcp: bool, size: Option<u16> },
    /// One packet, whatever is made of it: the size that came with it is an inner one.
    Uncut,
}

/// What one receive call gives.
pub struct Arrival {
    pub bytes: Vec<u8>,
    pub stride: Option<u16>,
    pub carrier: Carrier,
    pub from: SocketAddr,
    pub local: Option<IpAddr>,
    pub tos: u8,
    pub truncated: bool,
    pub truth: Option<Truth>,
}

impl Arrival {
    fn is_single(&self) -> bool {
        self.stride.is_none_or(|stride| self.bytes.len() <= stride.into())
    }
}

/// Draws what arrives next: one buffer, or several of one flow.
pub fn draw(source: &mut Source) -> Vec<Arrival> {
    let peer = source.below(PEERS);
    let network = match source.below(8) {
        0..=3 => OFFICE,
        4..=6 => PLANT,
        _ => VAULT,
    };
    let sender = Sender { peer, network, layer: LAYERS[network.index()] };
    let mut arrivals = match source.below(10) {
        0..=2 => sender.single(source),
        3..=5 => sender.run(source),
        6 => sender.plain_run(source),
        7 => sender.tcp_super(source),
        8 => sender.udp_super(source),
        _ => sender.noise(source),
    };
    if source.one_in(4) {
        let index = source.below(arrivals.len());
        spoil(&mut arrivals[index], source);
    }
    arrivals
}

/// The VXLAN or VXLAN-GPE header of a network.
pub fn header(network: NetworkId, vni: u32, is_v6: bool) -> [u8; VXLAN_LEN] {
    let [_, a, b, c] = vni.to_be_bytes();
    match LAYERS[network.index()] {
        Layer::L2 => [0x08, 0, 0, 0, a, b, c, 0],
        Layer::L3 => [0x0c, 0, 0, 1 + u8::from(is_v6), a, b, c, 0],
    }
}

struct Sender {
    peer: usize,
    network: NetworkId,
    layer: Layer,
}

impl Sender {
    fn single(&self, source: &mut Source) -> Vec<Arrival> {
        let mut plan = Plan::draw_flow(source, self.layer, self.peer);
        plan.payload_len = source.pick(&[0, 1, 5, 100, 1000, 1400, 3000]);
        if source.one_in(2) {
            plan.draw_oddity(source);
        }
        vec![self.arrival(self.datagram(&plan), None, source)]
    }

    /// Runs that the kernel's UDP GRO made: equal datagrams, the last may be shorter.
    fn run(&self, source: &mut Source) -> Vec<Arrival> {
        let mut arrivals: Vec<Arrival> = Vec::new();
        for datagram in self.flow(source) {
            match arrivals.last_mut() {
                Some(last) if continues(last, &datagram) => last.bytes.extend(&datagram),
                _ => {
                    let stride = datagram.len() as u16;
                    let is_sound = Self::is_sound(&datagram);
                    let mut arrival = self.arrival(datagram, Some(stride), source);
                    arrival.truth = is_sound.then_some(Truth::Datagrams(stride.into()));
                    arrivals.push(arrival);
                }
            }
        }
        // The kernel gives no size with a single datagram.
        for single in arrivals.iter_mut().filter(|arrival| arrival.is_single()) {
            (single.stride, single.truth) = (None, None);
        }
        arrivals
    }

    /// The same datagrams, received one by one.
    fn plain_run(&self, source: &mut Source) -> Vec<Arrival> {
        let mut datagrams = self.flow(source);
        datagrams.truncate(12);
        datagrams.into_iter().map(|bytes| self.arrival(bytes, None, source)).collect()
    }

    /// Packets of one flow, with an odd one among them at times.
    fn flow(&self, source: &mut Source) -> Vec<Vec<u8>> {
        let mut plan = Plan::draw_flow(source, self.layer, self.peer);
        let size = source.pick(&[1, 8, 100, 536, 1200, 1400]);
        let count = source.between(2, count_max(size));
        let odd = source.below(count * 2);
        let last = source.between(1, size);
        (0..count)
            .map(|index| {
                plan.payload_len = if index + 1 == count { last } else { size };
                let mut own = plan.clone();
                if index == odd {
                    self.make_odd(&mut own, source);
                }
                plan.sequence = plan.sequence.wrapping_add(plan.payload_len as u32);
                plan.id = plan.id.wrapping_add(1);
                let mut datagram = self.datagram(&own);
                if index == odd && source.one_in(8) {
                    datagram[6] ^= 1;
                }
                datagram
            })
            .collect()
    }

    fn make_odd(&self, plan: &mut Plan, source: &mut Source) {
        match source.below(8) {
            0 => plan.flags |= source.byte(),
            1 => plan.checksum = source.pick(&[Checksum::Wrong, Checksum::Partial, Checksum::Zero]),
            2 => plan.sequence = plan.sequence.wrapping_add(1),
            3 => plan.src_mac = world::station(self.peer, 7),
            4 => plan.ports.0 ^= 1,
            5 => plan.tos ^= source.byte(),
            6 => plan.payload_len = source.below(plan.payload_len + 1),
            _ => plan.draw_oddity(source),
        }
    }

    /// A TSO packet of a kernel peer that nothing segmented: one datagram, no size.
    fn tcp_super(&self, source: &mut Source) -> Vec<Arrival> {
        let mut plan = Plan::draw_flow(source, self.layer, self.peer);
        plan.protocol = TCP;
        plan.checksum = Checksum::Partial;
        plan.flags = source.pick(&[0x10, 0x18, 0x19, 0x90]);
        plan.payload_len = source.pick(&[10_000, 20_000, 64_000]);
        let mut arrival = self.arrival(self.datagram(&plan), None, source);
        if Self::is_plain(&plan) {
            arrival.truth = Some(Truth::Super { is_tcp: true, size: None });
        }
        vec![arrival]
    }

    /// A UDP GSO packet of a kernel peer: the size that comes with it is the inner one. Where the
    /// receiver would cut by it, the payload holds a VXLAN header and a frame of its own.
    fn udp_super(&self, source: &mut Source) -> Vec<Arrival> {
        let mut plan = Plan::draw_flow(source, self.layer, self.peer);
        plan.protocol = UDP;
        plan.checksum = Checksum::Partial;
        let size = source.between(100, 1400);
        plan.payload_len = (size * source.between(2, 60)).min(64_000) - source.below(size);
        let mut bytes = self.datagram(&plan);
        self.set_trap(&mut bytes, size, source);
        let mut arrival = self.arrival(bytes, Some(size as u16), source);
        if Self::is_plain(&plan) {
            arrival.truth = Some(Truth::Super { is_tcp: false, size: Some(size as u16) });
        } else if Self::is_of_a_kernel(&plan) {
            arrival.truth = Some(Truth::Uncut);
        }
        vec![arrival]
    }

    fn set_trap(&self, bytes: &mut [u8], size: usize, source: &mut Source) {
        let target = source.pick(&[self.network, OFFICE, VAULT]);
        let mut plan = Plan::tcp(self.layer, self.peer, PEERS);
        plan.src_mac = TRAP;
        plan.payload_len = 10;
        let mut trap = header(target, VNIS[target.index()], false).to_vec();
        trap.extend(plan.build());
        let first = size.max(160);
        for at in (first.next_multiple_of(size)..bytes.len()).step_by(size) {
            let len = trap.len().min(bytes.len() - at).min(size);
            bytes[at..at + len].copy_from_slice(&trap[..len]);
        }
    }

    /// Bytes without structure behind a header that is right, or nearly so.
    fn noise(&self, source: &mut Source) -> Vec<Arrival> {
        let mut bytes = vec![0; source.between(0, 120)];
        source.fill(&mut bytes);
        let header = header(self.network, VNIS[self.network.index()], source.one_in(2));
        let keep = source.between(0, VXLAN_LEN + 2).min(bytes.len()).min(VXLAN_LEN);
        bytes[..keep].copy_from_slice(&header[..keep]);
        let stride = source.one_in(3).then(|| source.u16() & 0x3f);
        vec![self.arrival(bytes, stride, source)]
    }

    fn datagram(&self, plan: &Plan) -> Vec<u8> {
        let mut bytes = header(self.network, VNIS[self.network.index()], plan.is_v6).to_vec();
        bytes.extend(plan.build());
        bytes.truncate(DATAGRAM_MAX);
        bytes
    }

    fn arrival(&self, bytes: Vec<u8>, stride: Option<u16>, source: &mut Source) -> Arrival {
        let traits = source.byte();
        let peer = if traits & 0xf8 == 0xf8 { source.below(PEERS) } else { self.peer };
        let address = match traits & 0x3f {
            0x3f => Ipv4Addr::new(198, 51, 100, 7).into(),
            _ => world::underlay(peer),
        };
        Arrival {
            bytes,
            stride,
            carrier: Carrier::of(self.layer),
            from: SocketAddr::new(address, source.u16()),
            local: (traits & 1 == 0).then_some(world::OWN.into()),
            tos: if traits & 6 == 6 { source.byte() } else { 0 },
            truncated: traits == 0xfe,
            truth: None,
        }
    }

    /// Whether a run's first datagram says its own length rightly.
    fn is_sound(datagram: &[u8]) -> bool {
        let is_frame = datagram[0] == 0x08;
        super::reference::parse(&datagram[VXLAN_LEN..], is_frame, false).is_some()
    }

    /// Whether a GSO packet is one that must be known as such.
    fn is_plain(plan: &Plan) -> bool {
        Self::is_of_a_kernel(plan) && plan.extra_len == 0 && plan.odd_source.is_none()
    }

    /// Whether a GSO packet is one that a kernel hands over.
    fn is_of_a_kernel(plan: &Plan) -> bool {
        plan.length == Length::Right
            && plan.checksum == Checksum::Partial
            && plan.fragment & 0x3fff == 0
            && plan.ethertype.is_none()
            && !plan.is_arp
            && plan.padding == 0
            && plan.tags.iter().all(|(tpid, _)| matches!(tpid, 0x8100 | 0x88a8))
            && plan.tags.len() <= 8
    }
}

/// More packets than fit into one receive buffer, or into one write.
fn count_max(size: usize) -> usize {
    (120_000 / (size + 100)).clamp(2, 100)
}

/// Whether UDP GRO puts a datagram behind those of a buffer.
fn continues(arrival: &Arrival, datagram: &[u8]) -> bool {
    let stride = usize::from(arrival.stride.unwrap_or(0));
    let len = arrival.bytes.len();
    stride > 0
        && len.is_multiple_of(stride)
        && datagram.len() <= stride
        && len / stride < GRO_MAX
        && len + datagram.len() <= DATAGRAM_MAX
}

/// Changes bytes, length and stride without regard to what they mean.
fn spoil(arrival: &mut Arrival, source: &mut Source) {
    arrival.truth = None;
    for _ in 0..source.between(1, 3) {
        let len = arrival.bytes.len();
        match source.below(6) {
            0 | 1 if len > 0 => {
                let at = source.below(len.min(120));
                arrival.bytes[at] = source.byte();
            }
            2 if len > 0 => {
                let at = source.below(len);
                arrival.bytes[at] ^= 1 << source.below(8);
            }
            3 => arrival.bytes.truncate(source.below(len + 1)),
            4 => arrival.stride = source.one_in(2).then(|| source.u16()),
            _ => arrival.stride = Some(source.pick(&[0, 1, 7, 8, 9, 50, 1400, 0xffff])),
        }
    }
}
