//! WireGuard: its keys.

mod key;

pub use key::{KeyError, PresharedKey, PrivateKey, PublicKey};
