//! What the kernel takes in front of a packet (`__virtio_net_hdr_to_skb`,
//! include/linux/virtio_net.h), and what it makes of it.

use tunctl::frame::Layer;
use tunctl::offload::VnetHeader;

use super::{Violation, ensure};
use crate::sim::checksum;
use crate::sim::packet::{TCP, UDP};
use crate::sim::view::{Sum, View};

const NEEDS_CSUM: u8 = 1;
const TCPV4: u8 = 1;
const TCPV6: u8 = 4;
const UDP_L4: u8 = 5;

/// A packet as the host behind a device gets it.
#[derive(Debug, PartialEq, Eq)]
pub struct Got {
    /// Complete; a TCP GSO packet is one long segment.
    pub bytes: Vec<u8>,
    pub is_gso: bool,
}

/// Takes a write as the kernel would: finishes the checksum, cuts UDP GSO into datagrams.
pub fn take(bytes: &[u8], vnet: VnetHeader, layer: Layer) -> Result<Vec<Got>, Violation> {
    let view = View::new(bytes, layer);
    ensure!(vnet.flags & !NEEDS_CSUM == 0, "vnet: flags {:#x}", vnet.flags);
    if vnet.flags & NEEDS_CSUM == 0 {
        ensure!(vnet.gso_type == 0, "vnet: GSO without a partial checksum");
        return Ok(vec![Got { bytes: bytes.to_vec(), is_gso: false }]);
    }
    let Some(ip) = view.ip else {
        return Err(Violation("vnet: checksum of what is not IP".into()));
    };
    let offset = match ip.protocol {
        TCP => 16,
        UDP => 6,
        other => return Err(Violation(format!("vnet: checksum of protocol {other}"))),
    };
    ensure!(
        usize::from(vnet.csum_start) == ip.start && usize::from(vnet.csum_offset) == offset,
        "vnet: checksum at {} + {}, the header is at {}",
        vnet.csum_start,
        vnet.csum_offset,
        ip.start
    );
    ensure!(view.is_partial(), "vnet: {vnet:?} on a checksum that is not partial: {ip:?}");
    let mut bytes = bytes.to_vec();
    finish(&mut bytes, ip.start, ip.end, offset);
    let kind = match (ip.protocol, ip.src.is_ipv4()) {
        (TCP, true) => TCPV4,
        (TCP, false) => TCPV6,
        _ => UDP_L4,
    };
    match vnet.gso_type {
        0 => return Ok(vec![Got { bytes, is_gso: false }]),
        other => ensure!(other == kind, "vnet: GSO type {other}, the packet is {kind}"),
    }
    ensure!(vnet.gso_size > 0, "vnet: GSO of size 0");
    ensure!(
        ip.end == bytes.len(),
        "vnet: a GSO packet with {} bytes of padding",
        bytes.len() - ip.end
    );
    ensure!(ip.is_header_valid, "vnet: a GSO packet with a wrong IPv4 header checksum");
    let view = View::new(&bytes, layer);
    let start = match ip.protocol {
        TCP => view.tcp().map_or(0, |tcp| tcp.start),
        _ => ip.start + 8,
    };
    ensure!(usize::from(vnet.hdr_len) == start, "vnet: headers of {}, not {start}", vnet.hdr_len);
    if kind != UDP_L4 {
        return Ok(vec![Got { bytes, is_gso: true }]);
    }
    let size = usize::from(vnet.gso_size);
    ensure!(bytes.len() - start <= size * 128, "vnet: more than 128 datagrams");
    Ok(datagrams(&bytes, &view, start, size))
}

fn datagrams(bytes: &[u8], view: &View<'_>, start: usize, size: usize) -> Vec<Got> {
    let Some(ip) = view.ip else { return Vec::new() };
    let cut = |payload: &[u8]| {
        let mut datagram = bytes[..start].to_vec();
        datagram.extend_from_slice(payload);
        let len = (datagram.len() - ip.start) as u16;
        datagram[ip.start + 4..ip.start + 6].copy_from_slice(&len.to_be_bytes());
        set_ip_len(&mut datagram, view.link_len, ip.src.is_ipv4(), ip.start);
        let pseudo = checksum::pseudo(ip.src, ip.dst, UDP, len.into());
        datagram[ip.start + 6..ip.start + 8].copy_from_slice(&pseudo.to_be_bytes());
        let end = datagram.len();
        finish(&mut datagram, ip.start, end, 6);
        Got { bytes: datagram, is_gso: true }
    };
    bytes[start..].chunks(size).map(cut).collect()
}

/// Writes the IP length that a packet has, and the IPv4 header checksum.
pub fn set_ip_len(packet: &mut [u8], l3: usize, is_v4: bool, l4: usize) {
    if is_v4 {
        let len = (packet.len() - l3) as u16;
        packet[l3 + 2..l3 + 4].copy_from_slice(&len.to_be_bytes());
        packet[l3 + 10..l3 + 12].fill(0);
        let check = !checksum::sum(&packet[l3..l4]);
        packet[l3 + 10..l3 + 12].copy_from_slice(&check.to_be_bytes());
    } else {
        let len = (packet.len() - l3 - 40) as u16;
        packet[l3 + 4..l3 + 6].copy_from_slice(&len.to_be_bytes());
    }
}

fn finish(packet: &mut [u8], start: usize, end: usize, offset: usize) {
    let check = match !checksum::sum(&packet[start..end]) {
        0 => 0xffff,
        check => check,
    };
    packet[start + offset..start + offset + 2].copy_from_slice(&check.to_be_bytes());
}

/// Turns a complete packet into one with a partial checksum, and gives its header.
pub fn make_partial(packet: &mut [u8], layer: Layer) -> Option<VnetHeader> {
    let view = View::new(packet, layer);
    let (ip, at) = (view.ip?, view.checksum_at()?);
    if !matches!(ip.protocol, TCP | UDP) || view.sum() != Sum::Valid {
        return None;
    }
    let start = match view.tcp() {
        Some(tcp) => tcp.start,
        None => ip.start + 8,
    };
    let pseudo = checksum::pseudo(ip.src, ip.dst, ip.protocol, ip.end - ip.start);
    packet[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
    Some(VnetHeader {
        flags: NEEDS_CSUM,
        gso_type: 0,
        hdr_len: start as u16,
        gso_size: 0,
        csum_start: ip.start as u16,
        csum_offset: (at - ip.start) as u16,
    })
}

/// The GSO type of a TCP or UDP packet.
pub fn gso_type(is_tcp: bool, is_v4: bool) -> u8 {
    match (is_tcp, is_v4) {
        (true, true) => TCPV4,
        (true, false) => TCPV6,
        (false, _) => UDP_L4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::ledger::testing::{datagram, segment};

    fn partial(mut bytes: Vec<u8>) -> (Vec<u8>, VnetHeader) {
        let vnet = make_partial(&mut bytes, Layer::L3).expect("TCP or UDP");
        (bytes, vnet)
    }

    #[test]
    fn a_partial_checksum_is_finished() {
        for whole in [segment(7, &[3; 100]), datagram(&[3; 100])] {
            let (bytes, vnet) = partial(whole.clone());
            assert_ne!(bytes, whole);
            let got = Got { bytes: whole, is_gso: false };
            assert_eq!(take(&bytes, vnet, Layer::L3), Ok(vec![got]));
        }
    }

    #[test]
    fn a_gso_packet_is_cut_into_its_datagrams() {
        let (bytes, vnet) = partial(datagram(&[[1; 100], [2; 100]].concat()));
        let vnet = VnetHeader { gso_type: UDP_L4, gso_size: 100, ..vnet };
        let got = take(&bytes, vnet, Layer::L3).expect("valid");
        assert_eq!(got.len(), 2);
        for (got, byte) in got.iter().zip([1, 2]) {
            let view = View::new(&got.bytes, Layer::L3);
            assert_eq!((view.sum(), view.payload()[8..].to_vec()), (Sum::Valid, vec![byte; 100]));
        }
    }

    #[test]
    fn what_the_kernel_refuses_or_would_spoil_is_found() {
        let (bytes, vnet) = partial(segment(7, &[3; 100]));
        let gso = VnetHeader { gso_type: TCPV4, gso_size: 50, ..vnet };
        assert!(take(&bytes, gso, Layer::L3).is_ok());
        let wrong = [
            VnetHeader { flags: 0, ..gso },
            VnetHeader { gso_size: 0, ..gso },
            VnetHeader { gso_type: TCPV6, ..gso },
            VnetHeader { gso_type: UDP_L4, ..gso },
            VnetHeader { csum_start: gso.csum_start + 2, ..gso },
            VnetHeader { csum_offset: 6, ..gso },
            VnetHeader { hdr_len: 0, ..gso },
            VnetHeader { flags: 3, ..gso },
        ];
        for wrong in wrong {
            assert!(take(&bytes, wrong, Layer::L3).is_err(), "{wrong:?}");
        }
        let mut spoiled = bytes.clone();
        spoiled[36] ^= 1;
        assert!(take(&spoiled, vnet, Layer::L3).is_err());
        let mut padded = bytes;
        padded.push(0);
        assert!(take(&padded, gso, Layer::L3).is_err());
    }
}
