//! GSO packet to segments and back, and what a vnet_hdr means. Pure.
//!
//! Outbound, [`Cut`] makes wire packets of what a device gave in one read: it writes headers, and
//! says where each payload is or moves it behind them. Inbound, [`Coalescer`] merges the packets
//! of one batch that are segments of one flow, so that one write gives the device up to 64 KiB, or 256 KiB of TCP ([`BigTcp`]);
//! [`classify()`] says before that what a received buffer is. This room reads no device and no
//! socket, and keeps nothing beyond a batch.
//!
//! Read `vnet.rs` first: it has the kernel's rules.

#[cfg(test)]
mod captures;
mod classify;
mod coalesce;
mod cut;
mod vnet;

pub use classify::{Buffer, classify};
pub use coalesce::{BigTcp, Coalesce, Coalescer, DeviceWrite};
pub use cut::{Cut, CutError};
pub use vnet::{Gso, VnetHeader};
