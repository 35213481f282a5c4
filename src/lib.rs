//! tunctl: a userspace tunnel for Linux that speaks the VXLAN wire format.
//!
//! The rooms, in the order in which data meets them; imports go one way, from the bottom of this
//! list to its top (`integration/tidy.rs` checks it). `ARCHITECTURE.md` is the map.
//!
//! - [`peer`], [`drops`], [`buffer`]: the vocabulary.
//! - [`frame`]: what a packet is. [`offload`]: GSO packet and segments. [`forward`]: where it goes.
//!   [`transport`]: how it crosses. [`node`]: both directions of a packet's way. All of them pure:
//!   they take `now` and bytes, and return what to do.
//! - [`device`], [`socket`], [`config`], [`api`]: the outside world; [`sys`] has all `unsafe`.
//! - [`daemon`] runs it, [`lab`] makes hosts to try it on, [`mod@bench`] measures it there, [`wg`] is the
//!   face of wireguard-go, [`cli`] is what users meet.

pub mod api;
pub mod bench;
pub mod buffer;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod device;
pub mod drops;
pub mod forward;
pub mod frame;
pub mod lab;
pub mod node;
pub mod offload;
pub mod peer;
pub mod socket;
#[allow(unsafe_code)]
pub mod sys;
pub mod transport;
pub mod wg;
