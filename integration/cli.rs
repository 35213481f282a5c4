//! The program as its users meet it: its usage, the daemon's life, the API, what the verbs print.
//!
//! The API is served by the library with a worker of our own ([`fake`]) where what it answers has
//! to be known; the daemon's life is that of the real one, in a network namespace of its own.

// Clippy's exception for tests does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/fake.rs"]
mod fake;
#[path = "cli/gencert.rs"]
mod gencert;
#[path = "cli/import.rs"]
mod import;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/life.rs"]
mod life;
#[path = "cli/limits.rs"]
mod limits;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/show.rs"]
mod show;
#[path = "cli/usage.rs"]
mod usage;
