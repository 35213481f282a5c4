//! Measurements: real daemons in hosts of their own, traffic through them, and what it cost.
//!
//! It measures on hosts made by `lab` and never touches the machine's own namespaces. It prints no
//! number that it did not measure. Read [`case`] first, then [`scene`] and [`traffic`].

use std::io;

use crate::lab::LabError;

pub mod case;
pub mod meter;
pub mod roofline;
pub mod scene;
pub mod traffic;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The hosts could not be made.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A step failed.
    #[error("cannot {action}: {source}")]
    Step {
        /// The step.
        action: String,
        /// The system's answer.
        source: io::Error,
    },
}
