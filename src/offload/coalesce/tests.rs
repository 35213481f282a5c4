mod alone;
mod big;
mod checksum;
mod extend;
mod headers;
mod merge;
mod order;
mod props;

use super::*;
use crate::buffer::SLOT_SIZE;
use crate::frame::build::Packet;
use crate::frame::tcp::flag;

const BOTH: Coalesce = Coalesce { tcp: true, udp: true, big_tcp: BigTcp::Never };
const NETWORK: NetworkId = NetworkId(3);

/// A coalescer with memory, as a worker has them.
struct Bench {
    memory: Memory,
    coalescer: Coalescer,
    slot: usize,
    used: usize,
}

/// A write with its bytes gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    vnet: VnetHeader,
    bytes: Vec<u8>,
    packets: u32,
}

impl Bench {
    fn new(enabled: Coalesce) -> Self {
        let coalescer = Coalescer::new(enabled, NETWORK);
        Self { memory: Memory::new(64), coalescer, slot: 0, used: 0 }
    }

    /// Puts bytes behind the last ones, eight bytes between, as in a receive buffer.
    fn store(&mut self, bytes: &[u8]) -> Piece {
        if self.used + 8 + bytes.len() > SLOT_SIZE {
            self.slot += 1;
            self.used = 0;
        }
        let piece = self.memory.slot(self.slot).part(self.used + 8, bytes.len());
        self.memory.bytes_mut(piece).copy_from_slice(bytes);
        self.used += 8 + bytes.len();
        piece
    }

    fn push_bytes(&mut self, bytes: &[u8], layer: Layer) -> Check {
        let piece = self.store(bytes);
        let headers = Headers::parse(bytes, layer).unwrap();
        let check = self.coalescer.check(bytes, &headers);
        self.coalescer.push(&mut self.memory, piece, &headers, layer, check);
        check
    }

    fn extend(&mut self, bytes: &[u8]) -> bool {
        let piece = self.store(bytes);
        self.coalescer.extend(&self.memory, piece)
    }

    fn push(&mut self, packet: &Packet) -> Check {
        self.push_bytes(&packet.bytes(), packet.layer())
    }

    fn finish(&mut self) -> Vec<Written> {
        let (mut writes, mut pieces) = (vec![], vec![]);
        self.coalescer.finish(&mut self.memory, &mut writes, &mut pieces);
        (self.slot, self.used) = (0, 0);
        let gather = |write: DeviceWrite| {
            assert_eq!(write.network, NETWORK);
            let pieces = &pieces[write.pieces.start as usize..write.pieces.end as usize];
            assert!(!pieces.is_empty() && pieces.len() < 1000);
            let bytes: Vec<u8> =
                pieces.iter().flat_map(|piece| self.memory.bytes(*piece)).copied().collect();
            assert_eq!(bytes.len(), write.len as usize);
            Written { vnet: write.vnet, bytes, packets: write.packets }
        };
        writes.into_iter().map(gather).collect()
    }
}

fn coalesce(packets: &[Packet]) -> Vec<Written> {
    let mut bench = Bench::new(BOTH);
    packets.iter().for_each(|packet| {
        bench.push(packet);
    });
    bench.finish()
}

fn as_it_came(packet: &Packet) -> Written {
    Written { vnet: VnetHeader::default(), bytes: packet.bytes(), packets: 1 }
}

/// `count` segments of `size` bytes, in order.
fn stream(packet: &Packet, count: usize, size: usize) -> Vec<Packet> {
    (0..count)
        .map(|i| {
            let seq = 0x1000_0000 + (i * size) as u32;
            packet.clone().seq(seq).id(i as u16).payload(size)
        })
        .collect()
}

fn counts(writes: &[Written]) -> Vec<u32> {
    writes.iter().map(|write| write.packets).collect()
}

/// The two packets stay apart, each as it came.
fn assert_apart(first: Packet, second: Packet) {
    assert_eq!(
        coalesce(&[first.clone(), second.clone()]),
        [as_it_came(&first), as_it_came(&second)]
    );
}

fn kinds() -> Vec<Packet> {
    let bare = [Packet::tcp4(), Packet::tcp6(), Packet::udp4(), Packet::udp6()];
    bare.into_iter()
        .flat_map(|packet| [packet.clone(), packet.clone().tagged(&[]), packet.tagged(&[7])])
        .collect()
}
