//! What nothing and nobody excuses arrives, at everyone it is for.

use super::{Checked, ensure};
use crate::sim::ledger::{Sent, Target};
use crate::sim::plan::NodeIndex;

/// At the end: `members` are the nodes of the network, `behind` those at which the host that the
/// packet is for has been since.
pub fn check(number: usize, sent: &Sent, members: &[NodeIndex], behind: &[NodeIndex]) -> Checked {
    if sent.to == Target::Nobody {
        ensure!(sent.delivered.is_empty(), "arrival: {number} must not be carried, and was");
        return Ok(());
    }
    if sent.excuse.is_some() {
        return Ok(());
    }
    let expected: Vec<_> = match sent.to {
        Target::Host(_) => match behind {
            // One that moves may be missed.
            [node] => vec![*node],
            _ => Vec::new(),
        },
        Target::Everyone => members.to_vec(),
        Target::Unknown | Target::Nobody => Vec::new(),
    };
    for node in expected.into_iter().filter(|node| *node != sent.origin) {
        let least = sent.delivered.get(&node).map_or(0, |seen| seen.least(seen.all()));
        ensure!(least > 0, "arrival: {number} never came to node {node}, and nothing was dropped");
    }
    Ok(())
}

/// A packet to a host whose place everybody knows is delivered there and nowhere else.
pub fn only_at(number: usize, sent: &Sent, place: NodeIndex) -> Checked {
    let elsewhere = sent.delivered.keys().find(|node| **node != place);
    ensure!(elsewhere.is_none(), "arrival: {number} for node {place} came to {elsewhere:?}");
    check(number, sent, &[], &[place])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::coverage::Coverage;
    use crate::sim::ledger::testing::frame_sent;

    fn deliver(sent: &mut Sent, node: NodeIndex) {
        let mut seen = Coverage::new(sent.content.len());
        seen.add(seen.all());
        sent.delivered.insert(node, seen);
    }

    #[test]
    fn a_broadcast_that_misses_a_member_is_found_unless_excused() {
        let mut sent = frame_sent();
        deliver(&mut sent, 1);
        assert!(check(0, &sent, &[0, 1, 2], &[]).is_err());
        deliver(&mut sent, 2);
        assert_eq!(check(0, &sent, &[0, 1, 2], &[]), Ok(()));
        sent.delivered.clear();
        sent.excuse = Some("lost".to_owned());
        assert_eq!(check(0, &sent, &[0, 1, 2], &[]), Ok(()));
    }

    #[test]
    fn a_packet_that_arrives_in_part_is_missed() {
        let mut sent = frame_sent();
        sent.to = Target::Host(5);
        let mut seen = Coverage::new(sent.content.len());
        seen.add(0..4);
        sent.delivered.insert(1, seen);
        assert!(check(0, &sent, &[0, 1, 2], &[1]).is_err());
        deliver(&mut sent, 1);
        assert_eq!(check(0, &sent, &[0, 1, 2], &[1]), Ok(()));
    }

    #[test]
    fn what_must_not_be_carried_is_found_anywhere() {
        let mut sent = frame_sent();
        sent.to = Target::Nobody;
        sent.excuse = Some("dropped".to_owned());
        assert_eq!(check(0, &sent, &[0, 1], &[]), Ok(()));
        deliver(&mut sent, 1);
        assert!(check(0, &sent, &[0, 1], &[]).is_err());
    }

    #[test]
    fn a_packet_for_a_known_host_is_nobody_elses() {
        let mut sent = frame_sent();
        sent.to = Target::Host(5);
        deliver(&mut sent, 1);
        assert_eq!(only_at(0, &sent, 1), Ok(()));
        deliver(&mut sent, 2);
        assert!(only_at(0, &sent, 1).is_err());
    }
}
