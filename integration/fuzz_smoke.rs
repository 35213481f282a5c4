//! The fuzz target of `integration/fuzz`, on inputs that are only seeds: a plain test.
//!
//! `TUNCTL_FUZZ_INPUTS=N` runs N inputs instead of the default, `TUNCTL_FUZZ_INPUT=N` only that one.

#[path = "fuzz/src/exercise/mod.rs"]
mod exercise;

use std::env;
use std::panic::{self, AssertUnwindSafe};

use exercise::Stage;

/// Inputs of a plain run; they take seconds.
const INPUTS: u64 = 5000;

#[test]
fn nothing_that_arrives_breaks_a_rule() {
    let mut stage = Stage::default();
    if let Some(input) = number("TUNCTL_FUZZ_INPUT") {
        stage.run(&input.to_le_bytes());
        return;
    }
    for input in 0..number("TUNCTL_FUZZ_INPUTS").unwrap_or(INPUTS) {
        let run = AssertUnwindSafe(|| stage.run(&input.to_le_bytes()));
        assert!(panic::catch_unwind(run).is_ok(), "TUNCTL_FUZZ_INPUT={input} breaks a rule");
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
