//! Start and stop order, the worker loop, signals.
//!
//! [`run`] is the daemon from its configuration file to its end: what it makes is undone in
//! reverse, whether the start fails, a signal stops it, or a worker dies. The workers are threads
//! that own the devices, the sockets and the tables; this thread has the signals and the API.
//! Read `lifecycle.rs` first.

mod answer;
mod big_tcp;
mod build;
mod certificates;
mod cleaner;
mod crossing;
mod flush;
mod lifecycle;
mod log;
mod log_limit;
mod names;
mod quic;
mod sealing;
mod shared;
mod teardown;
mod tunnel;
mod turns;
mod waiting;
mod worker;

pub use build::StartError;
pub use lifecycle::{RunError, run, socket_path};
pub use log_limit::LogLimit;
pub use teardown::{Teardown, TeardownError};
pub use tunnel::Tunnel;
