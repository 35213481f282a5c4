//! Packets that wait for a connection, or for its path to be known.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::peer::NetworkId;

/// How long they wait at most: nobody means them any more then.
const AGE_MAX: Duration = Duration::from_secs(5);

pub(super) type Waiting = crate::transport::waiting::Waiting<Packet>;

/// A packet that waits, behind its VXLAN header.
pub(super) struct Packet {
    pub(super) since: Instant,
    pub(super) bytes: Bytes,
    pub(super) network: NetworkId,
}

impl Packet {
    pub(super) fn is_old(&self, now: Instant) -> bool {
        self.since + AGE_MAX <= now
    }
}
