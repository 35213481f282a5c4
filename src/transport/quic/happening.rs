//! What becomes of connections, and what follows for their peers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use quinn_proto::{ConnectionError, TransportErrorCode};
use rustls::pki_types::UnixTime;

use super::Quic;
use super::connection::{Closing, Happening, Link, Stage};
use super::local::{Event, Local};
use super::peer::Peer;
use super::refusal::{CRYPTO_ERROR, Refused};
use crate::drops::DropReason;
use crate::peer::PeerId;
use crate::transport::opened::Loss;

/// Peers that are dialled in a turn: each takes some hundred microseconds, in which the worker moves
/// no packets.
const DIALS_MAX: u32 = 64;

impl Quic {
    /// Dials peers that there is no connection with, and ends connections with those that are not
    /// accepted any more; to be called every 100 ms or so.
    /// [`Quic::poll_transmit`] is to be called afterwards.
    pub fn tick(&self, now: Instant, local: &mut Local) {
        self.judge_again(now, local);
        let peers: Vec<_> = self.peers().iter().flatten().cloned().collect();
        let first = self.next_dial.load(Ordering::Relaxed);
        let mut dialled = 0;
        for index in (0..peers.len()).map(|index| (first + index) % peers.len()) {
            if dialled == DIALS_MAX {
                self.next_dial.store(index, Ordering::Relaxed);
                break;
            }
            dialled += u32::from(self.dial(now, &peers[index], local));
        }
    }

    /// Dials a peer if it is time for that; tells whether it was.
    fn dial(&self, now: Instant, peer: &Peer, local: &mut Local) -> bool {
        let mut state = peer.lock();
        for packet in state.waiting.take_while(|packet| packet.is_old(now)) {
            let (network, peer) = (Some(packet.network), Some(peer.id));
            let reason = DropReason::QuicNoConnection;
            local.post.losses.push(Loss { network, peer, reason, packets: 1 });
        }
        let Some(to) = state.endpoint else { return false };
        let current = state.current.clone().filter(|_| !state.is_silent);
        if current.is_some() || !state.dial.begin(now) {
            return false;
        }
        drop(state);
        let tls = self.tls();
        let payload_max = self.payload_max(to.ip());
        let link = self.front().connect(now, &tls, peer.id, to, payload_max);
        match link {
            Ok(link) => local.activate(&link, &mut link.lock()),
            Err(error) => {
                peer.lock().dial.fail(now);
                let (peer, why) = (Some(peer.id), error.to_string());
                local.post.events.push(Event::Refused { peer, at: to, why });
            }
        }
        true
    }

    /// Does what follows from what became of a connection.
    pub(super) fn take_note(
        &self,
        now: Instant,
        link: &Arc<Link>,
        happening: Happening,
        local: &mut Local,
    ) {
        match happening {
            Happening::Shown => self.judge(now, link, local),
            Happening::Up => self.attach(now, link, local),
            Happening::PathMtu(mtu) => {
                let Some(peer) = link.lock().peer.and_then(|id| self.peer(id)) else { return };
                if peer.lock().is_current(link) {
                    local.post.events.push(Event::PathMtu { peer: peer.id, mtu });
                }
            }
            Happening::Silent => {
                let Some(peer) = link.lock().peer.and_then(|id| self.peer(id)) else { return };
                let mut state = peer.lock();
                if state.is_current(link) {
                    state.is_silent = true;
                    state.dial.hurry(now);
                }
            }
            Happening::Heard => {
                let Some(peer) = link.lock().peer.and_then(|id| self.peer(id)) else { return };
                let mut state = peer.lock();
                state.is_silent &= !state.is_current(link);
            }
            Happening::Ended(reason) => self.detach(now, link, &End::of(&reason), local),
            Happening::Closed(why) => {
                let is_refused = why == Closing::Refused;
                // Who refuses tells why at once.
                let end = End { is_refused, is_told: is_refused, why: why.text().to_owned() };
                self.detach(now, link, &end, local);
            }
        }
    }

    /// Finds out who has dialled us.
    fn judge(&self, now: Instant, link: &Arc<Link>, local: &mut Local) {
        let mut state = link.lock();
        if state.peer.is_none() {
            match self.tls().trust().judge(&state.chain, UnixTime::now()) {
                Ok(peer) => state.peer = Some(peer),
                Err(refusal) => {
                    let (at, why) = (state.remote, refusal.to_string());
                    local.post.events.push(Event::Refused { peer: None, at, why });
                    state.close(now, Closing::Refused);
                }
            }
        }
        local.activate(link, &mut state);
    }

    /// A connection is up: its peer has it from now on.
    fn attach(&self, now: Instant, link: &Arc<Link>, local: &mut Local) {
        if !link.is_dialled {
            self.handshakes.fetch_sub(1, Ordering::Relaxed);
        }
        let (id, chain) = {
            let state = link.lock();
            (state.peer, state.chain.clone())
        };
        let Some(peer) = id.and_then(|id| self.peer(id)) else { return };
        let prefers_dialled = self.prefers_dialled(&chain);
        let former = peer.lock().current.clone();
        let began_together = former.is_some_and(|former| former.lock().is_new(now));
        let mut state = peer.lock();
        let is_first = state.current.is_none();
        let attached = state.attach(link, prefers_dialled, began_together);
        state.is_silent = false;
        state.dial.succeed(now);
        let waiting: Vec<_> = match attached.is_current {
            true => state.waiting.take().collect(),
            false => Vec::new(),
        };
        let endpoint = state.endpoint;
        drop(state);
        if is_first {
            local.post.events.push(Event::Established { peer: peer.id });
        }
        if attached.is_current {
            let mut state = link.lock();
            for packet in waiting {
                let len = packet.bytes.len();
                state.queue(now, &packet.bytes, len, packet.network);
            }
            let (to, own) = (state.remote, state.local);
            if endpoint != Some(to) || own.is_some() {
                local.post.events.push(Event::Moved { peer: peer.id, to, local: own });
            }
            state.retell_path();
            local.activate(link, &mut state);
        }
        for other in attached.retired {
            let mut state = other.lock();
            state.retire(now);
            local.activate(&other, &mut state);
        }
        // Another worker may have ended it meanwhile, when there was nothing to take it from.
        if link.lock().stage == Stage::Ended {
            let end = End { is_refused: false, is_told: false, why: "ended at once".to_owned() };
            self.detach(now, link, &end, local);
        }
    }

    /// Of two connections both ends keep the one dialled by the end with the lower fingerprint.
    fn prefers_dialled(&self, chain: &[rustls::pki_types::CertificateDer<'_>]) -> bool {
        let own = self.tls().credentials().fingerprint();
        let theirs = chain.first().map(|der| super::certificate::Fingerprint::of(der));
        theirs.is_none_or(|theirs| own < theirs)
    }

    /// A connection has ended.
    fn detach(&self, now: Instant, link: &Arc<Link>, end: &End, local: &mut Local) {
        let (id, at, was_up) = {
            let state = link.lock();
            (state.peer, state.remote, state.established.is_some())
        };
        if !was_up {
            self.note_failed(now, link, id, at, end, local);
            return;
        }
        let Some(peer) = id.and_then(|id| self.peer(id)) else { return };
        let mut state = peer.lock();
        let is_last = state.detach(link);
        let heir = state.current.clone();
        if is_last {
            state.dial.hurry(now);
        }
        drop(state);
        if is_last {
            let (peer, why) = (peer.id, end.why.clone());
            local.post.events.push(Event::Lost { peer, why });
        }
        if let Some(heir) = heir {
            let mut state = heir.lock();
            state.keep();
            state.retell_path();
            local.activate(&heir, &mut state);
        }
    }

    /// A handshake came to nothing.
    fn note_failed(
        &self,
        now: Instant,
        link: &Arc<Link>,
        id: Option<PeerId>,
        at: std::net::SocketAddr,
        end: &End,
        local: &mut Local,
    ) {
        if link.is_dialled {
            if let Some(peer) = id.and_then(|id| self.peer(id)) {
                peer.lock().dial.fail(now);
            }
        } else {
            self.handshakes.fetch_sub(1, Ordering::Relaxed);
        }
        if end.is_refused {
            local.post.losses.push(Loss::of(id, DropReason::QuicRefused, 1));
        }
        if end.is_refused && !end.is_told {
            let why = end.why.clone();
            local.post.events.push(Event::Refused { peer: id, at, why });
        }
    }
}

/// How a connection ended.
struct End {
    /// One end did not accept the other.
    is_refused: bool,
    /// Others know of that.
    is_told: bool,
    why: String,
}

impl End {
    fn of(reason: &ConnectionError) -> Self {
        use ConnectionError as E;
        let is_refused = match reason {
            E::TransportError(error) => is_alert(error.code),
            E::ConnectionClosed(close) => is_alert(close.error_code),
            E::VersionMismatch => true,
            E::ApplicationClosed(close) => Closing::Refused.is_code(close.error_code),
            _ => false,
        };
        let why = match Refused::of(reason) {
            Some(Refused::Peer(refusal)) => refusal.to_string(),
            Some(Refused::Us(refusal)) => format!("it refuses us: {refusal}"),
            None => reason.to_string(),
        };
        Self { is_refused, is_told: false, why }
    }
}

/// Whether TLS has ended the handshake. What else ends one may go well the next time: "too late",
/// or "stopped", for which there is no code of its own before the handshake is over.
fn is_alert(code: TransportErrorCode) -> bool {
    (CRYPTO_ERROR..=CRYPTO_ERROR + u64::from(u8::MAX)).contains(&u64::from(code))
}

#[cfg(test)]
mod tests {
    use quinn_proto::{ConnectionClose, FrameType, TransportError};

    use super::*;

    #[test]
    fn only_what_tls_ends_is_a_refusal() {
        let closed = |error_code| {
            ConnectionError::ConnectionClosed(ConnectionClose {
                error_code,
                frame_type: None::<FrameType>,
                reason: bytes::Bytes::new(),
            })
        };
        let alert = TransportErrorCode::crypto(42);
        for (code, is_refused) in [
            (alert, true),
            (TransportErrorCode::APPLICATION_ERROR, false),
            (TransportErrorCode::TRANSPORT_PARAMETER_ERROR, false),
        ] {
            assert_eq!(End::of(&closed(code)).is_refused, is_refused, "{code}");
            let error = TransportError { code, frame: None, reason: String::new() };
            assert_eq!(End::of(&error.into()).is_refused, is_refused, "{code}");
        }
    }
}
