//! Where the wire keeps order, a flow's packets arrive in order.

use std::collections::HashMap;

use super::{Checked, ensure};
use crate::sim::plan::NodeIndex;

/// A position in a flow: the packet's place, and the first byte of it.
pub type Position = (u32, usize);

/// How far each flow has come at each device.
#[derive(Debug, Default)]
pub struct Order {
    last: HashMap<(u32, NodeIndex), Position>,
}

impl Order {
    /// A device took a part of a flow.
    pub fn check(&mut self, flow: u32, node: NodeIndex, at: Position) -> Checked {
        let last = self.last.insert((flow, node), at);
        ensure!(
            last.is_none_or(|last| last < at),
            "order: flow {flow} at node {node} has {at:?} after {last:?}"
        );
        Ok(())
    }
}

/// The source port by which each flow leaves: on two ways there is no order.
#[derive(Debug, Default)]
pub struct Lanes {
    of: HashMap<(u32, NodeIndex, NodeIndex), u16>,
}

impl Lanes {
    /// A node sent a part of a flow to another.
    pub fn check(&mut self, flow: u32, from: NodeIndex, to: NodeIndex, lane: u16) -> Checked {
        let known = *self.of.entry((flow, from, to)).or_insert(lane);
        ensure!(known == lane, "order: flow {flow} leaves node {from} by lanes {known} and {lane}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_overtaken_by_another_of_its_flow_is_found() {
        let mut order = Order::default();
        assert_eq!(order.check(1, 0, (0, 0)), Ok(()));
        assert_eq!(order.check(1, 0, (2, 0)), Ok(()));
        assert_eq!(order.check(2, 0, (1, 0)), Ok(()));
        assert_eq!(order.check(1, 1, (1, 0)), Ok(()));
        assert!(order.check(1, 0, (1, 0)).is_err());
    }

    #[test]
    fn a_flow_that_changes_its_lane_is_found() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.check(1, 0, 1, 7), Ok(()));
        assert_eq!(lanes.check(1, 1, 2, 3), Ok(()));
        assert_eq!(lanes.check(1, 0, 1, 7), Ok(()));
        assert!(lanes.check(1, 0, 1, 6).is_err());
    }

    #[test]
    fn segments_of_one_packet_have_an_order_too() {
        let mut order = Order::default();
        assert_eq!(order.check(1, 0, (5, 1400)), Ok(()));
        assert!(order.check(1, 0, (5, 0)).is_err());
    }
}
