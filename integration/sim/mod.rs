//! The simulator: see `world.rs` for what runs, `check` for what must hold.

mod check;
mod checksum;
mod coverage;
mod ledger;
mod packet;
mod plan;
mod random;
mod settings;
mod station;
mod talk;
mod veth;
mod view;
mod wire;
mod world;

pub use plan::Plan;
pub use world::{Stats, World};
