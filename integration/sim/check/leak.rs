//! No packet leaves its network, and no frame its VLAN.

use super::{Checked, ensure};
use crate::sim::ledger::Sent;
use crate::sim::plan::NetIndex;

/// A packet was seen in a network: on the wire by its VNI, or on a device.
pub fn check(sent: &Sent, net: NetIndex, vlan: u16) -> Checked {
    ensure!(sent.net == net, "leak: a packet of network {} in network {net}", sent.net);
    let own = vlan_of(&sent.bytes, sent.is_frame);
    ensure!(own == vlan, "leak: a frame of VLAN {own} in VLAN {vlan}");
    Ok(())
}

/// The VLAN of a frame: 0 without a tag and for priority tags.
pub fn vlan_of(frame: &[u8], is_frame: bool) -> u16 {
    match frame.get(12..16) {
        Some(&[0x81 | 0x88, 0x00 | 0xa8, high, low]) if is_frame => {
            u16::from_be_bytes([high, low]) & 0xfff
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::ledger::testing::frame_sent;

    #[test]
    fn a_packet_in_another_network_is_a_leak() {
        let sent = frame_sent();
        assert_eq!(check(&sent, sent.net, 0), Ok(()));
        assert!(check(&sent, sent.net + 1, 0).is_err());
    }

    #[test]
    fn a_frame_in_another_vlan_is_a_leak() {
        let sent = frame_sent();
        assert!(check(&sent, sent.net, 10).is_err());
        let mut tagged = sent;
        tagged.bytes.splice(12..12, [0x81, 0x00, 0x60, 0x0a]);
        assert_eq!(check(&tagged, tagged.net, 10), Ok(()));
        assert!(check(&tagged, tagged.net, 0).is_err());
    }
}
