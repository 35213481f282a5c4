//! WireGuard: its keys.

mod key;

pub use key::{KeyError, NoRandomness, PresharedKey, PrivateKey, PublicKey};
