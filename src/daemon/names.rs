//! Peers that are known by a name: it is asked for at the start, and again while the peer is
//! silent, whose address may be another by then.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::lookup_host;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::LogLimit;
use super::shared::Shared;
use crate::config::{Config, HostPort};
use crate::peer::PeerId;
use crate::transport::wireguard::Post;

/// How often it is looked whether a peer is silent.
const PERIOD: Duration = Duration::from_secs(10);

/// A peer that is heard within this time is where it is thought to be: a session is renewed, and
/// what was received is answered, within less.
const SILENCE: Duration = Duration::from_secs(15);

/// A peer with a name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    id: PeerId,
    name: String,
    port: u16,
}

/// Gives the peers whose endpoint has a name, in the order of the configuration.
pub(super) fn named(config: &Config) -> Vec<Named> {
    let endpoints = config.peers.iter().enumerate().filter_map(|(slot, peer)| {
        let HostPort::Name(name, port) = peer.host_port()?.clone() else { return None };
        Some(Named { id: PeerId::new(slot, 0), name, port })
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
        for peer in &named {
            if !is_silent(&shared, peer.id) {
                continue;
            }
            match lookup_host((peer.name.as_str(), peer.port)).await {
                Ok(mut found) => {
                    // The first is what the system's order of addresses prefers.
                    if let Some(address) = found.next() {
                        take(&shared, peer, address);
                    }
                }
                Err(error) => {
                    if let Some(repeats) = log.allow(peer.id, Instant::now()) {
                        warn!(name = peer.name, %error, repeats, "a peer's name has no address");
                    }
                }
            }
        }
    }
}

fn is_silent(shared: &Shared, id: PeerId) -> bool {
    if let Some(status) = shared.quic.as_ref().and_then(|engine| engine.status(id)) {
        return status.connection.is_none_or(|connection| connection.is_silent);
    }
    let status = shared.wireguard.as_ref().and_then(|engine| engine.status(id));
    let heard = status.and_then(|status| status.last_received);
    heard.is_none_or(|at| at.elapsed() >= SILENCE)
}

/// Notes where a peer is, and asks it for a session there.
fn take(shared: &Shared, peer: &Named, address: SocketAddr) {
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    if let Some(engine) = shared.quic.as_ref().filter(|engine| engine.has(peer.id)) {
        if engine.set_endpoint(peer.id, address, Instant::now()) {
            info!(name = peer.name, %address, "a peer's name has an address");
        }
        return;
    }
    let Some(engine) = &shared.wireguard else { return };
    let known = engine.status(peer.id).and_then(|status| status.endpoint);
    if known == Some(address) {
        return;
    }
    info!(name = peer.name, %address, "a peer's name has an address");
    engine.set_endpoint(peer.id, address);
    shared.core().node.handle_moved(peer.id, address, None);
    let mut post = Post::default();
    engine.initiate(peer.id, Instant::now(), &mut post);
    shared.post(post);
}
