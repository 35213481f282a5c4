//! What goes to the wire: well-formed runs, to the right address, with the right outer marks.

use tunctl::frame::Layer;
use tunctl::transport::{Carrier, Transmit};

use super::{Checked, Violation, ensure};
use crate::sim::view::View;

/// Datagrams in one UDP_SEGMENT send (UDP_MAX_SEGMENTS before 6.9).
const RUN_MAX: u16 = 64;
/// UDP payload in one send over IPv4.
const RUN_BYTES_MAX: u32 = 65_507;

/// A transmit is what one send call takes.
pub fn run(transmit: &Transmit, bytes: usize, lanes: u16) -> Checked {
    let Transmit { datagram_len, count, len, entropy, .. } = *transmit;
    ensure!(count > 0 && count <= RUN_MAX, "run: {count} datagrams");
    ensure!(len <= RUN_BYTES_MAX, "run: {len} bytes");
    ensure!(bytes == len as usize, "run: {len} bytes said, {bytes} in its pieces");
    let most = u32::from(datagram_len) * u32::from(count);
    ensure!(
        len <= most && len + u32::from(datagram_len) > most,
        "run: {len} bytes in {count} datagrams of {datagram_len}"
    );
    ensure!(entropy < lanes, "run: lane {entropy} of {lanes}");
    Ok(())
}

/// The VNI of a datagram whose header is exactly what the format says.
pub fn vni(datagram: &[u8], layer: Layer) -> Result<u32, Violation> {
    let Some((header, inner)) = datagram.split_first_chunk::<8>() else {
        return Err(Violation(format!("datagram: {} bytes", datagram.len())));
    };
    let expected = match layer {
        Layer::L2 => [8, 0, 0, 0],
        Layer::L3 if inner.first().is_some_and(|byte| byte >> 4 == 6) => [0x0c, 0, 0, 2],
        Layer::L3 => [0x0c, 0, 0, 1],
    };
    ensure!(header[..4] == expected && header[7] == 0, "datagram: VXLAN header {header:x?}");
    Ok(u32::from_be_bytes([0, header[4], header[5], header[6]]))
}

/// The outer traffic class: ECN of the inner packet, DSCP only where it is copied (RFC 6040).
pub fn marks(outer: u8, inner: &View<'_>, copies_dscp: bool) -> Checked {
    let tos = inner.ip.map_or(0, |ip| ip.tos);
    let expected = tos & 3 | if copies_dscp { tos & 0xfc } else { 0 };
    ensure!(outer == expected, "datagram: outer traffic class {outer:#x} around {tos:#x}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use tunctl::peer::{NetworkId, PeerId};

    use super::*;
    use crate::sim::ledger::testing::{datagram, set_tos};

    fn transmit(datagram_len: u16, count: u16, len: u32) -> Transmit {
        Transmit {
            carrier: Carrier::Vxlan,
            to: ([192, 0, 2, 1], 4789).into(),
            from: None,
            entropy: 3,
            tos: 0,
            room: u16::MAX,
            datagram_len,
            count,
            len,
            pieces: 0..1,
            peer: PeerId::new(0, 0),
            network: NetworkId(0),
            relayed_from: None,
        }
    }

    #[test]
    fn a_run_that_no_send_takes_is_found() {
        assert_eq!(run(&transmit(100, 3, 250), 250, 4), Ok(()));
        assert!(run(&transmit(100, 3, 250), 240, 4).is_err());
        assert!(run(&transmit(100, 3, 200), 200, 4).is_err());
        assert!(run(&transmit(100, 3, 301), 301, 4).is_err());
        assert!(run(&transmit(100, 0, 0), 0, 4).is_err());
        assert!(run(&transmit(10, 65, 650), 650, 4).is_err());
        assert!(run(&transmit(1500, 44, 66_000), 66_000, 4).is_err());
        assert!(run(&transmit(100, 3, 250), 250, 3).is_err());
    }

    #[test]
    fn a_header_that_another_would_refuse_is_found() {
        assert_eq!(vni(&[8, 0, 0, 0, 0, 1, 2, 0, 0], Layer::L2), Ok(258));
        assert_eq!(vni(&[12, 0, 0, 2, 0, 1, 2, 0, 0x60], Layer::L3), Ok(258));
        assert!(vni(&[12, 0, 0, 1, 0, 1, 2, 0, 0x60], Layer::L3).is_err());
        assert!(vni(&[8, 0, 0, 0, 0, 1, 2, 0, 0x45], Layer::L3).is_err());
        for at in [0, 1, 2, 3, 7] {
            let mut bytes = [8, 0, 0, 0, 0, 1, 2, 0, 0];
            bytes[at] ^= 1;
            assert!(vni(&bytes, Layer::L2).is_err());
        }
        assert!(vni(&[8, 0, 0], Layer::L2).is_err());
    }

    #[test]
    fn outer_marks_that_are_not_the_inner_ones_are_found() {
        let mut bytes = datagram(&[0; 20]);
        set_tos(&mut bytes, 0xb9);
        let view = View::new(&bytes, Layer::L3);
        assert_eq!(marks(0x01, &view, false), Ok(()));
        assert_eq!(marks(0xb9, &view, true), Ok(()));
        assert!(marks(0x00, &view, false).is_err());
        assert!(marks(0x01, &view, true).is_err());
    }
}
