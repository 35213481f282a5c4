//! The cross-platform userspace protocol of WireGuard: what `wg` says to a userspace implementation
//! and what that answers (<https://www.wireguard.com/xplatform/#configuration-protocol>).
//!
//! Lines of `key=value`; a blank line ends a request and an answer. `get=1` asks for everything,
//! `set=1` begins a change. An answer ends with `errno=0`, or with the negative error number, as
//! wireguard-go gives it. This module is pure: it sees bytes only, and never touches an interface.
//!
//! Read [`Set`] and [`Snapshot`] first. `incoming.rs` finds requests in bytes, `parse.rs` reads a
//! change, `print.rs` writes answers.

mod incoming;
mod parse;
mod print;

pub use incoming::{Incoming, REQUEST_LEN_MAX, Request, Unframed};
pub use parse::{LINE_LEN_MAX, PEERS_MAX, Refusal, parse};
pub use print::{snapshot, status};

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::transport::wireguard::{PresharedKey, PrivateKey, PublicKey};

/// A change of an interface, which happens as a whole or not at all.
#[derive(Debug, Default)]
pub struct Set {
    /// The new private key, or none; nothing if it stays.
    pub private_key: Option<Option<PrivateKey>>,
    /// The UDP port, zero for any; nothing if it stays.
    pub listen_port: Option<u16>,
    /// The mark of our own datagrams, zero for none; nothing if it stays.
    pub fwmark: Option<u32>,
    /// Whether all peers are removed first.
    pub replace_peers: bool,
    /// Changes of peers, one after the other; a peer may be there more than once.
    pub peers: Vec<PeerSet>,
}

/// A change of one peer.
#[derive(Debug)]
pub struct PeerSet {
    /// Who it is. A change of a peer with the interface's own key is to be ignored.
    pub public_key: PublicKey,
    /// Whether it is removed; then nothing else is said.
    pub remove: bool,
    /// Whether the change is for a peer that is there already only; else it is made.
    pub update_only: bool,
    /// The new preshared key, or none; nothing if it stays.
    pub preshared_key: Option<Option<PresharedKey>>,
    /// Where it is; nothing if it stays.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives, zero for none; nothing if it stays.
    pub persistent_keepalive_interval: Option<u16>,
    /// Whether all allowed addresses are removed first.
    pub replace_allowed_ips: bool,
    /// Changes of allowed addresses, one after the other.
    pub allowed_ips: Vec<AllowedIp>,
}

impl PeerSet {
    /// Makes a change that says nothing yet.
    pub fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            remove: false,
            update_only: false,
            preshared_key: None,
            endpoint: None,
            persistent_keepalive_interval: None,
            replace_allowed_ips: false,
            allowed_ips: Vec::new(),
        }
    }
}

/// A change of a peer's allowed addresses. Bits behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedIp {
    /// The addresses belong to this peer, and to no other from now on.
    Add(IpNet),
    /// The addresses do not belong to this peer any more, if they did.
    Remove(IpNet),
}

/// All that can be asked of an interface.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The private key.
    pub private_key: Option<PrivateKey>,
    /// The UDP port in use, zero if there is none.
    pub listen_port: u16,
    /// The mark of our own datagrams, zero for none.
    pub fwmark: u32,
    /// The peers.
    pub peers: Vec<PeerSnapshot>,
}

/// All that can be asked of a peer.
#[derive(Debug)]
pub struct PeerSnapshot {
    /// Who it is.
    pub public_key: PublicKey,
    /// The preshared key.
    pub preshared_key: Option<PresharedKey>,
    /// Where it is.
    pub endpoint: Option<SocketAddr>,
    /// The time of the last handshake, since 1970.
    pub last_handshake: Option<Duration>,
    /// Bytes of datagrams sent to it.
    pub tx_bytes: u64,
    /// Bytes of datagrams received from it.
    pub rx_bytes: u64,
    /// Seconds between keepalives, zero for none.
    pub persistent_keepalive_interval: u16,
    /// The addresses that belong to it.
    pub allowed_ips: Vec<IpNet>,
}

#[cfg(test)]
mod tests;
