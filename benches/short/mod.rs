//! Benchmarks that are measured for half a second each.

use std::time::Duration;

use criterion::Criterion;

/// Takes so many samples of each benchmark, unless the command line says otherwise.
pub fn criterion(samples: usize) -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .sample_size(samples)
        .configure_from_args()
}
