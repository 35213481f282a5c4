//! Forwarding ends, and nothing is delivered twice, except as often as the wire made copies.

use super::{Checked, ensure};
use crate::sim::ledger::Sent;
use crate::sim::plan::NodeIndex;

/// Datagrams carried a packet so often: once along each way to a member, for each copy.
pub fn transmitted(sent: &Sent, ways: usize) -> Checked {
    let copies = usize::from(sent.copies.most(sent.copies.all()));
    let seen = usize::from(sent.transmitted.most(sent.transmitted.all()));
    ensure!(
        seen <= ways * (1 + copies),
        "loop: {seen} datagrams carried a packet that has {ways} ways to go, copied {copies} times"
    );
    Ok(())
}

/// A device took a packet.
pub fn delivered(sent: &Sent, node: NodeIndex) -> Checked {
    let copies = sent.copies.most(sent.copies.all());
    let seen = sent.delivered.get(&node).map_or(0, |seen| seen.most(seen.all()));
    ensure!(
        seen <= 1 + copies,
        "twice: node {node} delivered a packet {seen} times, copied {copies} times"
    );
    ensure!(node != sent.origin, "echo: node {node} delivered what came from its own device");
    Ok(())
}

/// Split horizon: what a node took in, it sends on only if it relays, and never back.
pub fn relayed(relays: bool, from: NodeIndex, to: NodeIndex) -> Checked {
    ensure!(relays, "split horizon: sent on to node {to} without relaying");
    ensure!(from != to, "split horizon: sent back to node {to}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::coverage::Coverage;
    use crate::sim::ledger::testing::frame_sent;

    #[test]
    fn more_datagrams_than_ways_are_a_loop() {
        let mut sent = frame_sent();
        let all = sent.transmitted.all();
        for _ in 0..3 {
            sent.transmitted.add(all.clone());
        }
        assert_eq!(transmitted(&sent, 3), Ok(()));
        assert!(transmitted(&sent, 2).is_err());
        sent.copies.add(all);
        assert_eq!(transmitted(&sent, 2), Ok(()));
    }

    #[test]
    fn a_part_delivered_twice_is_found_unless_the_wire_copied_it() {
        let mut sent = frame_sent();
        let mut seen = Coverage::new(sent.content.len());
        seen.add(0..8);
        seen.add(4..8);
        sent.delivered.insert(1, seen);
        assert!(delivered(&sent, 1).is_err());
        sent.copies.add(4..8);
        assert_eq!(delivered(&sent, 1), Ok(()));
    }

    #[test]
    fn what_comes_back_to_its_origin_is_an_echo() {
        let sent = frame_sent();
        assert_eq!(delivered(&sent, sent.origin + 1), Ok(()));
        assert!(delivered(&sent, sent.origin).is_err());
    }

    #[test]
    fn without_relay_nothing_goes_on_and_with_it_nothing_goes_back() {
        assert!(relayed(false, 1, 2).is_err());
        assert_eq!(relayed(true, 1, 2), Ok(()));
        assert!(relayed(true, 1, 1).is_err());
    }
}
