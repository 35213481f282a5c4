//! The peers, by what they are found by.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Peer, PublicKey};
use crate::peer::PeerId;

/// All peers. It may be locked by who has a peer's lock, so nobody waits for a peer who has this
/// one.
#[derive(Default)]
pub(super) struct Directory {
    slots: Vec<Option<(PeerId, Arc<Peer>)>>,
    by_key: HashMap<PublicKey, PeerId>,
    /// Peers with a keepalive: their timers run without a session too.
    kept_alive: HashSet<PeerId>,
    /// Where peers are, with how many are there.
    endpoints: HashMap<SocketAddr, u32>,
}

impl Directory {
    /// Adds a peer, in the place of one with this id.
    pub(super) fn add(&mut self, id: PeerId, peer: &Arc<Peer>, is_kept_alive: bool) {
        if self.slots.len() <= id.slot() {
            self.slots.resize_with(id.slot() + 1, || None);
        }
        self.slots[id.slot()] = Some((id, Arc::clone(peer)));
        self.by_key.insert(peer.key, id);
        self.keep_alive(id, is_kept_alive);
    }

    /// Takes a peer away; where it is stays until [`Directory::replace_endpoint`].
    pub(super) fn remove(&mut self, id: PeerId) -> Option<Arc<Peer>> {
        let slot = self.slots.get_mut(id.slot())?;
        let (_, peer) = slot.take_if(|(own, _)| *own == id)?;
        self.kept_alive.remove(&id);
        if self.by_key.get(&peer.key) == Some(&id) {
            self.by_key.remove(&peer.key);
        }
        Some(peer)
    }

    pub(super) fn peer(&self, id: PeerId) -> Option<Arc<Peer>> {
        let (own, peer) = self.slots.get(id.slot())?.as_ref()?;
        (*own == id).then(|| Arc::clone(peer))
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.slots.iter().flatten().map(|(_, peer)| peer)
    }

    pub(super) fn find(&self, key: &PublicKey) -> Option<PeerId> {
        self.by_key.get(key).copied()
    }

    pub(super) fn kept_alive(&self) -> impl Iterator<Item = PeerId> {
        self.kept_alive.iter().copied()
    }

    /// Notes whether the way to a peer is kept open.
    pub(super) fn keep_alive(&mut self, id: PeerId, is_kept: bool) {
        if is_kept {
            self.kept_alive.insert(id);
        } else {
            self.kept_alive.remove(&id);
        }
    }

    pub(super) fn is_endpoint(&self, address: SocketAddr) -> bool {
        self.endpoints.contains_key(&address)
    }

    /// Notes that a peer has left one endpoint for another.
    pub(super) fn replace_endpoint(&mut self, from: Option<SocketAddr>, to: Option<SocketAddr>) {
        if let Some(from) = from
            && let Some(count) = self.endpoints.get_mut(&from)
        {
            *count -= 1;
            if *count == 0 {
                self.endpoints.remove(&from);
            }
        }
        if let Some(to) = to {
            *self.endpoints.entry(to).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_is_known_as_long_as_a_peer_is_there() {
        let mut directory = Directory::default();
        let [a, b] = [1, 2].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        directory.replace_endpoint(None, Some(a));
        directory.replace_endpoint(None, Some(a));
        directory.replace_endpoint(Some(a), Some(b));
        assert_eq!([a, b].map(|at| directory.is_endpoint(at)), [true, true]);
        directory.replace_endpoint(Some(a), None);
        assert_eq!([a, b].map(|at| directory.is_endpoint(at)), [false, true]);
        directory.replace_endpoint(Some(b), None);
        assert!(directory.endpoints.is_empty());
    }
}
