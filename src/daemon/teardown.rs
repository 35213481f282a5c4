//! What a start has done, as the list of steps that undo it.

use std::error::Error;
use std::fmt;

use thiserror::Error;

/// Steps that undo what was set up, run in reverse: by [`Teardown::run`], or when it is dropped,
/// as it is when a start fails halfway.
#[derive(Default)]
pub struct Teardown {
    steps: Vec<Step>,
}

type Undo = Box<dyn FnOnce() -> Result<(), Box<dyn Error + Send + Sync>> + Send>;

struct Step {
    what: String,
    undo: Undo,
}

/// A step that could not be undone.
#[derive(Debug, Error)]
#[error("{what}: {source}")]
pub struct TeardownError {
    /// What was to be undone, such as `remove route 10.9.0.0/24`.
    pub what: String,
    /// Why it was not.
    pub source: Box<dyn Error + Send + Sync>,
}

impl Teardown {
    /// Adds the step that undoes what was just done.
    pub fn push<E>(
        &mut self,
        what: impl Into<String>,
        undo: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let undo: Undo = Box::new(|| undo().map_err(Into::into));
        self.steps.push(Step { what: what.into(), undo });
    }

    /// Adds the steps of another list, as done after ours.
    pub fn append(&mut self, mut later: Teardown) {
        self.steps.append(&mut later.steps);
    }

    /// Undoes everything, the last step first. Every step is tried; the faults are returned.
    pub fn run(mut self) -> Vec<TeardownError> {
        self.undo_all()
    }

    fn undo_all(&mut self) -> Vec<TeardownError> {
        let mut errors = Vec::new();
        while let Some(Step { what, undo }) = self.steps.pop() {
            if let Err(source) = undo() {
                errors.push(TeardownError { what, source });
            }
        }
        errors
    }
}

impl Drop for Teardown {
    fn drop(&mut self) {
        for error in self.undo_all() {
            tracing::error!(%error, "cannot undo");
        }
    }
}

impl fmt::Debug for Teardown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|step| &step.what)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn steps_are_undone_in_reverse_and_a_fault_stops_none() {
        let (mut teardown, undone) = recording(&["device", "address"]);
        teardown.push("route", || Err("no such route"));
        let more = recording_into(&undone, &["socket"]);
        teardown.append(more);

        let errors = teardown.run();

        assert_eq!(*undone.lock().unwrap(), ["socket", "address", "device"]);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].to_string(), "route: no such route");
    }

    #[test]
    fn dropped_list_is_undone_too() {
        let (teardown, undone) = recording(&["device", "address"]);

        drop(teardown);

        assert_eq!(*undone.lock().unwrap(), ["address", "device"]);
    }

    type Record = Arc<Mutex<Vec<&'static str>>>;

    fn recording(steps: &[&'static str]) -> (Teardown, Record) {
        let record = Record::default();
        (recording_into(&record, steps), record)
    }

    fn recording_into(record: &Record, steps: &[&'static str]) -> Teardown {
        let mut teardown = Teardown::default();
        for &step in steps {
            let record = Arc::clone(record);
            teardown.push(step, move || {
                record.lock().unwrap().push(step);
                Ok::<_, String>(())
            });
        }
        teardown
    }
}
