//! Peers that are known by a name: it is asked for at the start, and again while the peer does not
//! answer, whose address may be another by then.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::LogLimit;
use super::shared::Shared;
use crate::config::{self, Config, HostPort};
use crate::peer::PeerId;
use crate::transport::wireguard::{Post, WireGuard};

/// How often it is looked whether a peer is silent.
const PERIOD: Duration = Duration::from_secs(10);

/// A peer that leaves something unanswered for so long is not where it is thought to be: what it
/// receives it answers within 10 s, and a handshake at once.
const SILENCE: Duration = Duration::from_secs(15);

/// Names that are asked for at once, and how long one may take.
const LOOK_UPS_MAX: usize = 16;
const LOOK_UP_TIME: Duration = Duration::from_secs(5);

/// A peer with a name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    id: PeerId,
    name: String,
    port: u16,
    /// Where its transport listens, and so what it can send to.
    listen: IpAddr,
}

/// Why a name leads nowhere.
#[derive(Debug, Error)]
enum NameFault {
    #[error(transparent)]
    LookUp(#[from] io::Error),
    #[error("no answer within {} s", LOOK_UP_TIME.as_secs())]
    Late,
    #[error("none of its addresses can be reached from {0}, where we listen")]
    Family(IpAddr),
}

/// What is logged, once a minute each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Found,
    NotFound,
}

/// Gives the peers whose endpoint has a name, in the order of the configuration.
pub(super) fn named(config: &Config) -> Vec<Named> {
    let sealed = config.wireguard.as_ref().map(|wireguard| wireguard.listen.ip());
    let quic = config.quic.as_ref().map(|quic| quic.listen.ip());
    let endpoints = config.peers.iter().enumerate().filter_map(|(slot, peer)| {
        let HostPort::Name(name, port) = peer.host_port()?.clone() else { return None };
        let listen = if peer.wireguard().is_some() { sealed } else { quic };
        Some(Named { id: PeerId::new(slot, 0), name, port, listen: listen? })
    });
    endpoints.collect()
}

/// Follows the names for as long as it is polled.
pub(super) async fn follow(named: Vec<Named>, shared: Arc<Shared>) -> Infallible {
    let mut rounds = interval(PERIOD);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut log = LogLimit::default();
    loop {
        rounds.tick().await;
        let mut asked = JoinSet::new();
        for peer in named.iter().filter(|peer| is_silent(&shared, peer.id)) {
            if asked.len() >= LOOK_UPS_MAX {
                take_next(&mut asked, &shared, &mut log).await;
            }
            asked.spawn(look_up(peer.clone()));
        }
        while !asked.is_empty() {
            take_next(&mut asked, &shared, &mut log).await;
        }
    }
}

/// A look-up, and whose it was.
type Answer = (Named, Result<SocketAddr, NameFault>);

async fn look_up(peer: Named) -> Answer {
    let named = (peer.name.as_str(), peer.port);
    let address = match timeout(LOOK_UP_TIME, lookup_host(named)).await {
        Ok(Ok(found)) => choose(found, peer.listen),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(NameFault::Late),
    };
    (peer, address)
}

/// Gives the first address that we can send to: they come as the system's order of addresses
/// prefers them.
fn choose(
    mut found: impl Iterator<Item = SocketAddr>,
    listen: IpAddr,
) -> Result<SocketAddr, NameFault> {
    let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    let reached = found.find(|at| config::can_reach(listen, canonical(*at).ip()));
    reached.map(canonical).ok_or(NameFault::Family(listen))
}

async fn take_next(asked: &mut JoinSet<Answer>, shared: &Shared, log: &mut LogLimit<Line>) {
    let Some(Ok((peer, found))) = asked.join_next().await else { return };
    let (name, now) = (&peer.name, Instant::now());
    match found {
        Ok(address) => {
            if take(shared, &peer, address, now)
                && let Some(repeats) = log.allow(Line::Found, now)
            {
                info!(name, %address, repeats, "a peer's name has an address");
            }
        }
        Err(error) => {
            if let Some(repeats) = log.allow(Line::NotFound, now) {
                warn!(name, %error, repeats, "a peer's name has no address");
            }
        }
    }
}

fn is_silent(shared: &Shared, id: PeerId) -> bool {
    if let Some(status) = shared.quic.as_ref().and_then(|engine| engine.status(id)) {
        return status.connection.is_none_or(|connection| connection.is_silent);
    }
    shared.wireguard.as_ref().is_some_and(|engine| is_unanswered(engine, id))
}

/// Whether it is not known where a WireGuard peer is, or it does not answer there. One that nothing
/// was said to may be elsewhere than its name says: it is left where it was heard.
fn is_unanswered(engine: &WireGuard, id: PeerId) -> bool {
    engine.status(id).is_some_and(|status| {
        status.endpoint.is_none()
            || status.unanswered_since.is_some_and(|at| at.elapsed() >= SILENCE)
    })
}

/// Notes where a peer is, and asks it for a session there; gives whether that is elsewhere than
/// before.
fn take(shared: &Shared, peer: &Named, address: SocketAddr, now: Instant) -> bool {
    if let Some(engine) = shared.quic.as_ref().filter(|engine| engine.has(peer.id)) {
        return engine.set_endpoint(peer.id, address, now);
    }
    let Some(engine) = &shared.wireguard else { return false };
    // It may have been heard while the name was asked for.
    let known = engine.status(peer.id).and_then(|status| status.endpoint);
    if known == Some(address) || !is_unanswered(engine, peer.id) {
        return false;
    }
    engine.set_endpoint(peer.id, address);
    shared.core().node.handle_moved(peer.id, address, None);
    let mut post = Post::default();
    engine.initiate(peer.id, now, &mut post);
    shared.post(post);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_address_that_can_be_sent_to_is_taken() {
        let found =
            || ["[2001:db8::1]:7", "192.0.2.1:7", "192.0.2.2:7"].map(|at| at.parse().unwrap());
        let chosen = |listen: &str| {
            choose(found().into_iter(), listen.parse().unwrap()).map(|at| at.to_string())
        };
        assert_eq!(chosen("::").unwrap(), "[2001:db8::1]:7");
        assert_eq!(chosen("2001:db8::2").unwrap(), "[2001:db8::1]:7");
        assert_eq!(chosen("0.0.0.0").unwrap(), "192.0.2.1:7");
        let only_v4 = choose(found().into_iter().skip(1), "2001:db8::2".parse().unwrap());
        assert!(matches!(only_v4, Err(NameFault::Family(_))), "{only_v4:?}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn name_of_an_address_is_looked_up() {
        let listen = "0.0.0.0".parse().unwrap();
        let named = Named { id: PeerId::new(0, 0), name: "127.0.0.1".into(), port: 7, listen };
        let (_, found) = look_up(named).await;
        assert_eq!(found.unwrap(), "127.0.0.1:7".parse().unwrap());
    }
}
