//! The libFuzzer target. `run`, beside `src`, builds and runs it.

#![no_main]

mod exercise;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;

use exercise::Stage;

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::default();
}

fuzz_target!(|input: &[u8]| STAGE.with_borrow_mut(|stage| stage.run(input)));
