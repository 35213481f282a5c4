//! A peer: where it is, its connections, and what waits for one.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::connection::Link;
use super::dial::Dial;
use super::waiting::Waiting;
use crate::peer::PeerId;

/// Connections to one peer that are up at most: what it dials while others end.
const LINKS_MAX: usize = 4;

/// A peer behind its lock, which is held for moments only.
pub(super) struct Peer {
    pub(super) id: PeerId,
    state: Mutex<State>,
}

/// What is known of a peer.
pub(super) struct State {
    /// Where to dial it.
    pub(super) endpoint: Option<SocketAddr>,
    /// Where it is thought to be, and the largest packet that the kernel lets go there.
    pub(super) way: Option<(IpAddr, u16)>,
    pub(super) dial: Dial,
    /// The connection that is sent on.
    pub(super) current: Option<Arc<Link>>,
    /// Nothing comes on that one: it may have to be dialled again.
    pub(super) is_silent: bool,
    /// Others that are up, and will end.
    others: Vec<Arc<Link>>,
    pub(super) waiting: Waiting,
}

/// What is to be done where a peer has another connection.
pub(super) struct Attached {
    /// The connections that are not needed any more.
    pub(super) retired: Vec<Arc<Link>>,
    /// It is the one that is sent on now.
    pub(super) is_current: bool,
}

impl Peer {
    pub(super) fn new(id: PeerId, endpoint: Option<SocketAddr>, now: Instant) -> Self {
        let state = State {
            endpoint,
            way: None,
            dial: Dial::new(now),
            current: None,
            is_silent: false,
            others: Vec::new(),
            waiting: Waiting::default(),
        };
        Self { id, state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a connection that is up. Of two that began together, both ends keep the one that the
    /// same end has dialled: ours if `prefers_dialled`. Otherwise they keep the newer one: who has
    /// a connection dials only if that does not serve any more.
    pub(super) fn attach(
        &mut self,
        link: &Arc<Link>,
        prefers_dialled: bool,
        began_together: bool,
    ) -> Attached {
        let Some(current) = &self.current else {
            self.current = Some(Arc::clone(link));
            return Attached { retired: Vec::new(), is_current: true };
        };
        let is_same_way = current.is_dialled == link.is_dialled;
        let is_newer = is_same_way || self.is_silent || !began_together;
        let is_current = is_newer || link.is_dialled == prefers_dialled;
        let loser = match is_current {
            true => self.current.replace(Arc::clone(link)),
            false => Some(Arc::clone(link)),
        };
        self.others.extend(loser.clone());
        let mut retired: Vec<_> = loser.into_iter().collect();
        if self.others.len() > LINKS_MAX {
            retired.push(self.others.remove(0));
        }
        Attached { retired, is_current }
    }

    /// Forgets a connection that has ended; gives whether it was the one that is sent on, and none
    /// takes its place.
    pub(super) fn detach(&mut self, link: &Arc<Link>) -> bool {
        self.others.retain(|other| other.id != link.id);
        if self.current.as_ref().is_none_or(|current| current.id != link.id) {
            return false;
        }
        self.current = self.others.pop();
        self.current.is_none()
    }

    /// Whether a connection is the one that is sent on.
    pub(super) fn is_current(&self, link: &Arc<Link>) -> bool {
        self.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, link))
    }
}
