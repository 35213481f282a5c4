//! The packets of one flow, built from nothing.

use super::line::TUNNEL_IPS;
use super::{Arrival, MTU, Read};
use crate::frame::checksum;
use crate::frame::vxlan::{self, Next};
use crate::frame::{Headers, Layer, ParseError, protocol};
use crate::offload::{Gso, VnetHeader};
use crate::peer::Vni;
use crate::transport::outer::{Outer, TunnelIps};

/// Payload of a full TCP segment in the network: its MTU without IPv4 and TCP headers, of which
/// the latter has a timestamp, as Linux sends it.
pub const MSS: usize = MTU as usize - IPV4_LEN - TCP_LEN;

const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const TCP_LEN: usize = 32;
const UDP_LEN: usize = 8;

/// No operation twice, then the timestamp option (RFC 7323 section 3.2).
const TIMESTAMP: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];

/// What a flow is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP data in the middle of a stream.
    Tcp,
    /// UDP.
    Udp,
}

/// A flow between a host behind our device and one behind a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    layer: Layer,
    protocol: Protocol,
    number: u16,
    is_inward: bool,
    is_flooded: bool,
}

impl Flow {
    /// Makes a flow from the host behind our device to the one behind peer 0.
    pub const fn new(layer: Layer, protocol: Protocol) -> Self {
        Self { layer, protocol, number: 0, is_inward: false, is_flooded: false }
    }

    /// Turns it round: from the host behind peer 0 to the one behind our device.
    pub const fn inward(self) -> Self {
        Self { is_inward: true, ..self }
    }

    /// Tells it from other flows of the same hosts, by its source port.
    pub const fn numbered(self, number: u16) -> Self {
        Self { number, ..self }
    }

    /// Sends it to a host that nobody has heard of, so that every peer gets it.
    pub const fn flooded(self) -> Self {
        Self { is_flooded: true, ..self }
    }

    pub(super) const fn layer(self) -> Layer {
        self.layer
    }

    /// Gives the length of all headers of a packet, the link header's included.
    pub const fn header_len(self) -> usize {
        let link = match self.layer {
            Layer::L2 => ETHERNET_LEN,
            Layer::L3 => 0,
        };
        link + IPV4_LEN + self.transport_len()
    }

    /// Gives the finished packet with `len` bytes of payload that comes `index` such packets after
    /// the flow's first.
    pub fn packet(self, index: usize, len: usize) -> Vec<u8> {
        let mut bytes = self.bytes(index, len);
        // What is built here is well-formed; a packet without checksum would be seen at once.
        if let Ok(headers) = self.parse(&bytes)
            && let Some((_, field)) = headers.l4.checksum_place()
        {
            let sum = checksum::transport_checksum(&bytes, &headers);
            put(&mut bytes, headers.l4_at() + field, sum);
        }
        bytes
    }

    /// Gives a packet of `len` bytes of payload as the kernel hands it to a device: with a partial
    /// checksum, and uncut if it is longer than `size`.
    pub fn read(self, len: usize, size: u16) -> Read {
        let bytes = self.unfinished(len);
        let gso = match self.protocol {
            _ if len <= usize::from(size) => Gso::None,
            Protocol::Tcp => Gso::Tcp { size },
            Protocol::Udp => Gso::Udp { size },
        };
        let headers = self.parse(&bytes);
        let vnet = headers.map_or_else(|_| VnetHeader::default(), |h| VnetHeader::of(&h, gso));
        Read { bytes, vnet }
    }

    /// Gives the datagram with the packet that comes `index` such packets after the flow's first.
    pub fn datagram(self, vni: Vni, index: usize, len: usize) -> Vec<u8> {
        [&self.vxlan_header(vni)[..], &self.packet(index, len)].concat()
    }

    /// Gives `count` datagrams with `len` bytes of payload each, as UDP GRO merges them.
    pub fn run(self, vni: Vni, count: usize, len: usize) -> Arrival {
        let bytes = (0..count).flat_map(|index| self.datagram(vni, index, len)).collect();
        let stride = vxlan::HEADER_LEN + self.header_len() + len;
        Arrival { bytes, stride: Some(stride as u16), from: 0 }
    }

    /// Gives a datagram by itself.
    pub fn arrival(self, vni: Vni, index: usize, len: usize) -> Arrival {
        Arrival { bytes: self.datagram(vni, index, len), stride: None, from: 0 }
    }

    /// Gives a TCP GSO packet as a kernel peer on this machine sends it: uncut, in one datagram.
    pub fn uncut(self, vni: Vni, len: usize) -> Arrival {
        let bytes = [&self.vxlan_header(vni)[..], &self.unfinished(len)].concat();
        Arrival { bytes, stride: None, from: 0 }
    }

    /// Gives `count` packets with `len` bytes of payload each as they are inside WireGuard: frames as
    /// VXLAN between the tunnel's addresses.
    pub fn run_inside(self, vni: Vni, count: usize, len: usize) -> Arrival {
        let wrap = |packet: Vec<u8>| match self.layer {
            Layer::L2 => [&self.tunnel_header(vni, &packet), &packet[..]].concat(),
            Layer::L3 => packet,
        };
        let packets: Vec<_> = (0..count).map(|index| wrap(self.packet(index, len))).collect();
        let stride = packets.first().map(|packet| packet.len() as u16);
        Arrival { bytes: packets.concat(), stride, from: 0 }
    }

    /// The headers of VXLAN from the peer to us, in front of a frame.
    fn tunnel_header(self, vni: Vni, frame: &[u8]) -> Vec<u8> {
        let [ours, theirs] = TUNNEL_IPS;
        let (ips, vxlan) = (TunnelIps::V4(theirs, ours), self.vxlan_header(vni));
        let outer = Outer::Tunnel { ips, vxlan, source_port: 50_000, tos: 0 };
        let mut header = vec![0; outer.len()];
        outer.write(&mut header, frame);
        header
    }

    const fn transport_len(self) -> usize {
        match self.protocol {
            Protocol::Tcp => TCP_LEN,
            Protocol::Udp => UDP_LEN,
        }
    }

    fn vxlan_header(self, vni: Vni) -> [u8; vxlan::HEADER_LEN] {
        match self.layer {
            Layer::L2 => vxlan::encode(vni),
            Layer::L3 => vxlan::encode_gpe(vni, Next::Ipv4),
        }
    }

    fn parse(self, bytes: &[u8]) -> Result<Headers, ParseError> {
        Headers::parse(bytes, self.layer)
    }

    /// A packet whose checksum field holds the sum of the pseudo-header only.
    fn unfinished(self, len: usize) -> Vec<u8> {
        let mut bytes = self.bytes(0, len);
        if let Ok(headers) = self.parse(&bytes)
            && let Some((_, field)) = headers.l4.checksum_place()
        {
            let len = (self.transport_len() + len) as u16;
            let sum = checksum::pseudo(&headers, len).unwrap_or_default();
            put(&mut bytes, headers.l4_at() + field, sum.fold());
        }
        bytes
    }

    /// A packet whose transport checksum is zero.
    fn bytes(self, index: usize, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.header_len() + len);
        if self.layer == Layer::L2 {
            let (source, destination) = self.macs();
            bytes.extend_from_slice(&destination);
            bytes.extend_from_slice(&source);
            bytes.extend_from_slice(&[0x08, 0x00]);
        }
        self.put_ipv4(index, len, &mut bytes);
        self.put_transport(index, len, &mut bytes);
        bytes.extend((0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8)) as u8));
        bytes
    }

    fn put_ipv4(self, index: usize, len: usize, bytes: &mut Vec<u8>) {
        let (source, destination) = self.addresses();
        let start = bytes.len();
        let number = match self.protocol {
            Protocol::Tcp => protocol::TCP,
            Protocol::Udp => protocol::UDP,
        };
        bytes.extend_from_slice(&[0x45, 0]);
        bytes.extend_from_slice(&((IPV4_LEN + self.transport_len() + len) as u16).to_be_bytes());
        bytes.extend_from_slice(&(index as u16).to_be_bytes());
        bytes.extend_from_slice(&[0x40, 0, 64, number, 0, 0]);
        bytes.extend_from_slice(&source);
        bytes.extend_from_slice(&destination);
        let sum = checksum::ipv4_header(&bytes[start..]);
        put(bytes, start + 10, sum);
    }

    fn put_transport(self, index: usize, len: usize, bytes: &mut Vec<u8>) {
        const ACK: u8 = 0x10;
        bytes.extend_from_slice(&(40_000 + self.number).to_be_bytes());
        bytes.extend_from_slice(&5201_u16.to_be_bytes());
        match self.protocol {
            Protocol::Tcp => {
                bytes.extend_from_slice(&((index * len) as u32).to_be_bytes());
                bytes.extend_from_slice(&[0, 0, 0, 1, (TCP_LEN as u8 / 4) << 4, ACK]);
                bytes.extend_from_slice(&[1, 0xf4, 0, 0, 0, 0]);
                bytes.extend_from_slice(&TIMESTAMP);
            }
            Protocol::Udp => {
                bytes.extend_from_slice(&((UDP_LEN + len) as u16).to_be_bytes());
                bytes.extend_from_slice(&[0, 0]);
            }
        }
    }

    fn macs(self) -> ([u8; 6], [u8; 6]) {
        const HERE: [u8; 6] = [2, 0, 0, 0, 0, 1];
        const THERE: [u8; 6] = [2, 0, 0, 0, 1, 1];
        const NOWHERE: [u8; 6] = [2, 0, 0, 0, 9, 9];
        let (source, destination) = if self.is_inward { (THERE, HERE) } else { (HERE, THERE) };
        (source, if self.is_flooded { NOWHERE } else { destination })
    }

    fn addresses(self) -> ([u8; 4], [u8; 4]) {
        const HERE: [u8; 4] = [10, 9, 0, 1];
        const THERE: [u8; 4] = [10, 9, 1, 0];
        /// In the prefix that the peers of a [`super::Rig`] share.
        const NOWHERE: [u8; 4] = [10, 99, 0, 9];
        let (source, destination) = if self.is_inward { (THERE, HERE) } else { (HERE, THERE) };
        (source, if self.is_flooded { NOWHERE } else { destination })
    }
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::checksum::Check;

    #[test]
    fn packets_are_whole_and_have_right_checksums() {
        for layer in [Layer::L2, Layer::L3] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let flow = Flow::new(layer, protocol);
                let bytes = flow.packet(3, 101);
                let headers = Headers::parse(&bytes, layer).unwrap();
                assert_eq!(headers.payload_start(), flow.header_len());
                assert_eq!(headers.end_at(), bytes.len());
                assert_eq!(checksum::verify_transport(&bytes, &headers), Check::Valid);
                let read = flow.read(5000, 1000);
                let headers = Headers::parse(&read.bytes, layer).unwrap();
                assert_eq!(checksum::verify_transport(&read.bytes, &headers), Check::Partial);
                assert!(read.vnet.gso_of(&headers).is_ok_and(|gso| gso.packets(&headers) == 5));
            }
        }
    }
}
