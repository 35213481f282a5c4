//! When a worker has to look at the connections that it touched last.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::connection::Link;

/// A deadline for each connection at most.
#[derive(Default)]
pub(super) struct Deadlines {
    order: BTreeSet<(Instant, u64)>,
    links: HashMap<u64, (Instant, Arc<Link>), foldhash::fast::RandomState>,
}

impl Deadlines {
    /// Sets the deadline of a connection, in place of the one that it has.
    pub(super) fn set(&mut self, link: &Arc<Link>, at: Instant) {
        if let Some((former, _)) = self.links.insert(link.id, (at, Arc::clone(link))) {
            self.order.remove(&(former, link.id));
        }
        self.order.insert((at, link.id));
    }

    /// Forgets a connection.
    pub(super) fn remove(&mut self, link: &Link) {
        if let Some((former, _)) = self.links.remove(&link.id) {
            self.order.remove(&(former, link.id));
        }
    }

    /// Takes a connection whose deadline is over.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Arc<Link>> {
        let &(at, id) = self.order.first().filter(|(at, _)| *at <= now)?;
        self.order.remove(&(at, id));
        self.links.remove(&id).map(|(_, link)| link)
    }

    /// Gives the earliest deadline.
    pub(super) fn first(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }
}
