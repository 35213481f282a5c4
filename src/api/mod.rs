//! The daemon's Unix-socket API: questions, answers, server and client.
//!
//! The protocol is one JSON object a line, each way: a question such as `{"query":"status"}`, then
//! its answer, `{"ok":…}` or `{"error":"…"}`; the next question may follow on the same connection.
//! Questions are the variants of [`Query`]. What stands after `ok` is in [`report`]: a
//! [`report::Status`], a list of [`report::Peer`], a [`report::FdbPage`], a list of
//! [`report::Route`], or a [`report::Drops`]. Keys are added, never renamed or removed.
//!
//! This room never looks at packets or tables: the worker answers ([`query`]), between batches.
//! Read `report.rs` first, then `query.rs`.

pub mod client;
pub mod discover;
mod listen;
pub mod query;
pub mod report;
mod server;

pub use listen::{BindError, Bound};
pub use query::{Answer, Query};
pub use server::{Identity, Limits, accept, serve};

use serde::{Deserialize, Serialize};

/// The directory of the API sockets, one for each daemon: `NAME.sock`.
pub const DIRECTORY: &str = "/run/tunctl";

/// What follows the name of the daemon in the name of its socket.
pub const SUFFIX: &str = ".sock";

/// An answer as it stands on the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply<T> {
    /// What was asked for.
    Ok(T),
    /// Why there is no answer: one sentence.
    Error(String),
}
