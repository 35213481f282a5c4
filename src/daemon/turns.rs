//! Where peers go, and which of them is at two endpoints in turn: as a rule two hosts that were
//! given the same key, each of which takes the other's packets away.

use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::worker::{Fault, Worker};
use crate::peer::PeerId;

/// So many returns to the endpoint before are no roaming any more.
const RETURNS: u32 = 4;
/// Returns that are further apart do not belong together: hosts that say nothing but a keepalive
/// say that every 25 s as a rule.
const PERIOD: Duration = Duration::from_secs(60);
/// Peers that are looked at; one more takes the place of the one that has stayed longest.
const PEERS_MAX: usize = 64;

/// Where the peers that move have been.
#[derive(Default)]
pub(super) struct Turns(Vec<Turn>);

struct Turn {
    peer: PeerId,
    current: SocketAddr,
    former: Option<SocketAddr>,
    returns: u32,
    moved: Instant,
}

impl Turns {
    /// Notes where a peer is now; gives where else it keeps coming from.
    fn note(&mut self, now: Instant, peer: PeerId, to: SocketAddr) -> Option<SocketAddr> {
        let Some(turn) = self.0.iter_mut().find(|turn| turn.peer == peer) else {
            self.add(Turn { peer, current: to, former: None, returns: 0, moved: now });
            return None;
        };
        if turn.current == to {
            return None;
        }
        let is_return = turn.former == Some(to);
        let is_soon = now.saturating_duration_since(turn.moved) < PERIOD;
        turn.returns = if is_return && is_soon { turn.returns + 1 } else { 0 };
        turn.former = Some(mem::replace(&mut turn.current, to));
        turn.moved = now;
        turn.former.filter(|_| turn.returns >= RETURNS)
    }

    fn add(&mut self, turn: Turn) {
        if self.0.len() < PEERS_MAX {
            self.0.push(turn);
        } else if let Some(oldest) = self.0.iter_mut().min_by_key(|turn| turn.moved) {
            *oldest = turn;
        }
    }
}

impl Worker {
    /// A peer is elsewhere, as its authentic packets say.
    pub(super) fn follow_peer(
        &mut self,
        now: Instant,
        peer: PeerId,
        to: SocketAddr,
        local: Option<IpAddr>,
    ) {
        let mut core = self.shared.core();
        core.node.handle_moved(peer, to, local);
        let other = core.turns.note(now, peer, to);
        let name = core.node.peer(peer).map_or("", |peer| &peer.name);
        debug!(peer = name, %to, "peer is at another endpoint");
        if let Some(other) = other
            && let Some(repeats) = self.log.allow(Fault::Turns(peer), now)
        {
            warn!(
                peer = name, %to, %other, repeats,
                "peer is at two endpoints in turn: do two hosts have its key?"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId::new(7, 0);
    const SECOND: Duration = Duration::from_secs(1);

    fn host(n: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], n))
    }

    /// Moves a peer from one to the other of these hosts; gives what was found with each move.
    fn moves(turns: &mut Turns, pause: Duration, hosts: &[u16]) -> Vec<Option<SocketAddr>> {
        let start = Instant::now();
        let at = |number: usize| start + pause * number as u32;
        let each = hosts.iter().enumerate();
        each.map(|(number, n)| turns.note(at(number), PEER, host(*n))).collect()
    }

    #[test]
    fn two_hosts_that_take_turns_are_found_and_told_of_each_other() {
        let found = moves(&mut Turns::default(), SECOND, &[1, 2, 1, 2, 1, 2, 1]);
        assert_eq!(found, [None, None, None, None, None, Some(host(1)), Some(host(2))]);
    }

    #[test]
    fn who_is_said_to_be_where_it_is_has_not_moved() {
        let found = moves(&mut Turns::default(), SECOND, &[1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2]);
        assert_eq!(found[9..], [Some(host(1)), None]);
    }

    #[test]
    fn who_roams_is_not_one_of_two() {
        let far: Vec<u16> = (1..100).collect();
        let and_back = [1, 2, 1, 2, 3, 2, 3, 2, 1, 1, 1, 2];
        for hosts in [&far[..], &and_back] {
            let found = moves(&mut Turns::default(), SECOND, hosts);
            assert!(found.iter().all(Option::is_none), "{found:?}");
        }
        let slowly = moves(&mut Turns::default(), PERIOD, &[1, 2, 1, 2, 1, 2, 1, 2, 1]);
        assert!(slowly.iter().all(Option::is_none), "{slowly:?}");
    }

    #[test]
    fn many_that_move_leave_no_more_behind_than_is_looked_at() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        for n in 0..1000 {
            let peer = PeerId::new(n, 0);
            assert_eq!(turns.note(now + SECOND * n as u32, peer, host(1)), None);
        }
        assert_eq!(turns.0.len(), PEERS_MAX);
        assert!(turns.0.iter().all(|turn| turn.peer.slot() >= 1000 - PEERS_MAX));
    }
}
