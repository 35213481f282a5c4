//! The face of wireguard-go.
mod key;
pub mod uapi;
