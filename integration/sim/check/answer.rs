//! A node's own ICMP errors go back to where the packet came from, and only a node that knows
//! where its destination is may speak for it: whoever gets the error learns that it is there.

use super::{Checked, ensure};
use crate::sim::ledger::Sent;
use crate::sim::plan::NodeIndex;

/// A node answers a packet. `to`: the node that the answer goes to, itself for its own device;
/// `home`: the next one on the way back.
pub fn check(sent: &Sent, to: NodeIndex, home: NodeIndex, knows_destination: bool) -> Checked {
    ensure!(to == home, "answer: about a packet from node {}, sent to node {to}", sent.origin);
    ensure!(knows_destination, "answer: for a host that may be anywhere");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::ledger::testing::frame_sent;

    #[test]
    fn an_answer_that_goes_elsewhere_is_found() {
        assert_eq!(check(&frame_sent(), 1, 1, true), Ok(()));
        assert!(check(&frame_sent(), 2, 1, true).is_err());
    }

    #[test]
    fn an_answer_for_a_host_nobody_knows_is_found() {
        assert!(check(&frame_sent(), 1, 1, false).is_err());
    }
}
