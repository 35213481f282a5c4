//! Real devices in network namespaces: our daemons against one another and against the kernel.
//!
//! Each case makes hosts of its own; nothing outlives the process. `harness.rs` runs the cases,
//! `place.rs` makes the hosts, `daemon.rs` runs a daemon in one, `cases/` has the rules.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod cases;
mod certificates;
mod config;
mod daemon;
mod flooding;
mod flow;
mod frames;
mod harness;
mod kernel;
mod load;
mod mesh;
mod moving;
mod need;
mod pair;
mod place;
mod program;
mod quic_crowd;
mod quic_flood;
mod quic_pair;
#[path = "../relay.rs"]
mod relay;
mod stranger;
mod stream;
mod surroundings;
mod tcp;
mod udp;
mod wait;
mod wan;
mod wg_crowd;
mod wg_end;
mod wg_fake;
mod wg_flood;
mod wireguard;

fn main() -> std::process::ExitCode {
    // `lab` starts its daemons as this very program.
    if std::env::args_os().next().is_some_and(|name| name == "tunctl") {
        return tunctl::cli::main(std::env::args_os());
    }
    // `wg-quick` and the cases about it start theirs so.
    let called: Vec<_> = std::env::args_os().collect();
    let words = tunctl::wg::with_verb(called.clone());
    if words.len() > called.len() {
        return wg_fake::main(called);
    }
    harness::run(cases::all())
}
