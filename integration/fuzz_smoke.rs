//! The fuzz target of `integration/fuzz`, on inputs that are only seeds: a plain test.
//!
//! `TUNCTL_FUZZ_INPUTS=N` runs N inputs instead of the default, `TUNCTL_FUZZ_INPUT=N` only that one.

#[path = "fuzz/src/exercise/mod.rs"]
mod exercise;

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::{env, fs};

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

/// A patch that no longer fits plants nothing.
#[test]
fn planted_bugs_fit_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut patches = 0;
    for entry in fs::read_dir(root.join("integration/fuzz/planted")).unwrap() {
        let patch = fs::read_to_string(entry.unwrap().path()).unwrap();
        let file = patch.lines().find_map(|line| line.strip_prefix("--- a/")).unwrap();
        let code = fs::read_to_string(root.join(file)).unwrap();
        let mut old = patch.lines().filter(|line| !line.starts_with("---"));
        let replaced = old.find_map(|line| line.strip_prefix('-')).unwrap();
        assert!(code.lines().any(|line| line == replaced), "{file} has no line {replaced:?}");
        patches += 1;
    }
    assert!(patches > 0);
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
