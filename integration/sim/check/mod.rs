//! The rules, each a function of what was seen. Each has a test that breaks it.

pub mod account;
pub mod answer;
pub mod arrival;
pub mod bytes;
pub mod copies;
pub mod datagram;
pub mod leak;
pub mod order;
pub mod tables;
pub mod traffic;
pub mod vnet;

use std::fmt;

/// A rule that was broken, and by what.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub type Checked = Result<(), Violation>;

/// Returns a violation unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::sim::check::Violation(format!($($text)+)));
        }
    };
}
pub(crate) use ensure;
