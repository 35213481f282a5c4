//! Writes answers.

use std::fmt::Write;

use nix::errno::Errno;
use zeroize::Zeroizing;

use super::{PeerSnapshot, Snapshot};

/// So much room for a peer without its allowed addresses is enough, bytes.
const PEER_LEN: usize = 640;

/// So much room for an allowed address is enough, bytes.
const ALLOWED_IP_LEN: usize = 64;

/// Writes all that an interface is, without the line with the error number.
pub fn snapshot(snapshot: &Snapshot) -> Zeroizing<String> {
    // A text that grew would leave its beginning, with the private key, in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(room(snapshot)));
    if let Some(key) = &snapshot.private_key {
        line(&mut text, "private_key", key.to_hex().as_str());
    }
    if snapshot.listen_port != 0 {
        line(&mut text, "listen_port", snapshot.listen_port);
    }
    if snapshot.fwmark != 0 {
        line(&mut text, "fwmark", snapshot.fwmark);
    }
    for peer in &snapshot.peers {
        write_peer(&mut text, peer);
    }
    text
}

/// Gives at least the length of the text.
pub(super) fn room(snapshot: &Snapshot) -> usize {
    let peer = |peer: &PeerSnapshot| PEER_LEN + ALLOWED_IP_LEN * peer.allowed_ips.len();
    PEER_LEN + snapshot.peers.iter().map(peer).sum::<usize>()
}

/// Writes the end of an answer: the error number, zero for none, and the blank line.
pub fn status(errno: Option<Errno>) -> String {
    format!("errno={}\n\n", -errno.map_or(0, |errno| errno as i32))
}

fn write_peer(text: &mut String, peer: &PeerSnapshot) {
    line(text, "public_key", peer.public_key.to_hex());
    match &peer.preshared_key {
        Some(key) => line(text, "preshared_key", key.to_hex().as_str()),
        None => line(text, "preshared_key", "0".repeat(64)),
    }
    line(text, "protocol_version", 1);
    if let Some(endpoint) = peer.endpoint {
        line(text, "endpoint", endpoint);
    }
    let last = peer.last_handshake.unwrap_or_default();
    line(text, "last_handshake_time_sec", last.as_secs());
    line(text, "last_handshake_time_nsec", last.subsec_nanos());
    line(text, "tx_bytes", peer.tx_bytes);
    line(text, "rx_bytes", peer.rx_bytes);
    line(text, "persistent_keepalive_interval", peer.persistent_keepalive_interval);
    for net in &peer.allowed_ips {
        line(text, "allowed_ip", net);
    }
}

pub(super) fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    writeln!(text, "{key}={value}").expect("a string takes everything");
}
