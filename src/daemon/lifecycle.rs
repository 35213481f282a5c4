//! The daemon's life.
//!
//! 1. Load the configuration, set up the log. Nothing has been touched yet.
//! 2. Fork the process that cleans up devices which stay, where there are such; catch signals, so
//!    that none ends the daemon between two steps.
//! 3. Claim the API socket: a second daemon of the same name ends here.
//! 4. Build: open the underlay sockets and the devices, set up addresses and routes.
//! 5. Drop the capabilities that are not needed any more; threads started later never have them.
//! 6. Start the worker. Serve the API, tell the service manager that we are ready.
//! 7. Wait for a signal, or the end of the worker.
//! 8. Stop: tell the service manager, stop the worker, undo 4, remove 3.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use thiserror::Error;
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::build::{self, Build, StartError};
use super::certificates;
use super::cleaner::Cleaner;
use super::log::{self, LogError};
use super::names;
use super::worker::{Worker, WorkerError, WorkerHandle};
use crate::api::query::{self, QuerySender};
use crate::api::{self, BindError, Bound, Identity, Limits};
use crate::config::{self, Config, ConfigErrors};
use crate::sys::capability::{self, Capability};

/// How long the worker may take to stop. Together with the undoing, the daemon ends in a second.
const WORKER_STOP_TIME: Duration = Duration::from_millis(600);

/// What the running daemon needs: sockets with a mark, to look up paths, and where it is bound to
/// an interface, to follow that when it is made anew.
fn capabilities(config: &Config) -> Vec<Capability> {
    let follows = config.underlay.bind_device.is_some();
    [Some(Capability::NetAdmin), follows.then_some(Capability::NetRaw)]
        .into_iter()
        .flatten()
        .collect()
}

/// Why the daemon did not start, or did not end by a signal.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration is wrong: a line for each fault.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The log filter is wrong.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The API socket is not ours.
    #[error(transparent)]
    Api(#[from] BindError),
    /// The kernel refused a step before the devices.
    #[error("cannot {step}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The devices, the sockets or their set-up.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The worker died.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The worker ended without being told to.
    #[error("the worker ended by itself")]
    WorkerEnded,
    /// The worker did not stop when told to.
    #[error("the worker did not stop within {} ms", WORKER_STOP_TIME.as_millis())]
    WorkerStuck,
    /// A part of the set-up is still there.
    #[error("{0} steps of the set-up could not be undone (see the log)")]
    Undo(usize),
}

impl RunError {
    /// Tells whether what the user wrote is at fault, and nothing was tried.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Config(_) | Self::Log(_))
    }
}

/// Gives the API socket of the daemon with this name.
pub fn socket_path(name: &str) -> PathBuf {
    Path::new(api::DIRECTORY).join(format!("{name}{}", api::SUFFIX))
}

/// Runs the daemon until SIGTERM or SIGINT, on this thread and one for the worker. The API listens
/// on `socket`, by default at [`socket_path`].
///
/// # Errors
///
/// See [`RunError`]. What was set up has been undone, whether it is an error or not.
pub fn run(config_file: &Path, socket: Option<&Path>) -> Result<(), RunError> {
    // The keys are judged here and forgotten: what is forked next would have them for ever.
    let (config, _) = config::load_with_keys(config_file)?;
    log::init()?;
    let cleaner = at("start the clean-up process", Cleaner::start(&config))?;
    let runtime = at("start the runtime", Builder::new_current_thread().enable_all().build())?;
    let signals = {
        let _context = runtime.enter();
        at("catch signals", Signals::new())?
    };
    let path = socket.map_or_else(|| socket_path(&config.name), Path::to_owned);
    let bound = Bound::claim(&path)?;
    let result = run_claimed(&runtime, &config, cleaner, &bound, signals);
    if let Err(error) = bound.remove() {
        warn!(%error, socket = %path.display(), "cannot remove the API socket");
    }
    // A name that is being asked for is not waited for.
    runtime.shutdown_background();
    result
}

fn run_claimed(
    runtime: &Runtime,
    config: &Config,
    cleaner: Cleaner,
    bound: &Bound,
    signals: Signals,
) -> Result<(), RunError> {
    let mut build = build::build(config, cleaner)?;
    let teardown = build.take_teardown();
    let result = run_built(runtime, config, build, bound, signals);
    let errors = teardown.run();
    for error in &errors {
        error!(%error, "cannot undo");
    }
    let undone = if errors.is_empty() { Ok(()) } else { Err(RunError::Undo(errors.len())) };
    result.and(undone)
}

fn run_built(
    runtime: &Runtime,
    config: &Config,
    build: Build,
    bound: &Bound,
    signals: Signals,
) -> Result<(), RunError> {
    at("drop capabilities", capability::keep_only(&capabilities(config)))?;
    let (questions, queries) = query::channel(build.waker());
    let worker = Worker::spawn(build, queries)?;
    let names = names::follow(names::named(config), Arc::clone(worker.shared()));
    // What SIGHUP asks for.
    let asked = config.quic.is_some().then(Arc::<Notify>::default);
    let shared = Arc::clone(worker.shared());
    let certificates =
        certificates::follow(config.clone(), shared, asked.clone().unwrap_or_default());
    let identity = Identity { name: config.name.clone(), since: Instant::now() };
    runtime.block_on(async {
        let names = tokio::spawn(names);
        let certificates = tokio::spawn(certificates);
        let stop_signal = signals.until_stop(asked);
        let served = serve(identity, bound, &questions, stop_signal).await;
        names.abort();
        certificates.abort();
        notify(NotifyState::Stopping);
        let stopped = stop(worker, &questions).await;
        // Why the worker died says more than that it did.
        stopped.and(served)
    })
}

/// Serves the API until `stop` gives the name of a signal, or the worker ends.
async fn serve(
    identity: Identity,
    bound: &Bound,
    questions: &QuerySender,
    stop: impl Future<Output = &'static str>,
) -> Result<(), RunError> {
    let name = identity.name.clone();
    let listener = at("listen", bound.listener().and_then(UnixListener::from_std))?;
    let api = api::serve(listener, identity, questions.clone(), Limits::default());
    info!(name, "ready");
    notify(NotifyState::Ready);
    tokio::select! {
        signal = stop => {
            info!(signal, "stopping");
            Ok(())
        }
        () = questions.closed() => Err(RunError::WorkerEnded),
        never = api => match never {},
    }
}

/// Stops the worker, or finds out how it died.
async fn stop(worker: WorkerHandle, questions: &QuerySender) -> Result<(), RunError> {
    worker.stop();
    match timeout(WORKER_STOP_TIME, questions.closed()).await {
        Ok(()) => Ok(worker.join()?),
        Err(_) => Err(RunError::WorkerStuck),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that stops the daemon and gives its name. SIGHUP asks for the
    /// certificates to be taken again, if there are any.
    async fn until_stop(mut self, asked: Option<Arc<Notify>>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => match &asked {
                    Some(asked) => {
                        warn!("SIGHUP: certificates only: restart it for the configuration");
                        asked.notify_one();
                    }
                    None => {
                        warn!("SIGHUP: this build cannot reload its configuration: restart it instead");
                    }
                },
            }
        }
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "cannot tell the service manager");
    }
}

fn at<T>(step: &'static str, result: io::Result<T>) -> Result<T, RunError> {
    result.map_err(|source| RunError::Io { step, source })
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn signal_ends_serving_without_fault() {
        let (directory, identity) = (tempfile::tempdir().unwrap(), identity());
        let bound = Bound::claim(&directory.path().join("a.sock")).unwrap();
        let (questions, _worker) = query::channel(Arc::new(|| ()));

        let served = serve(identity, &bound, &questions, ready("SIGTERM")).await;

        assert!(served.is_ok(), "{served:?}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn end_of_the_worker_ends_serving_with_a_fault() {
        let (directory, identity) = (tempfile::tempdir().unwrap(), identity());
        let bound = Bound::claim(&directory.path().join("a.sock")).unwrap();
        let (questions, worker) = query::channel(Arc::new(|| ()));
        drop(worker);

        let served = serve(identity, &bound, &questions, pending()).await;

        assert!(matches!(served, Err(RunError::WorkerEnded)), "{served:?}");
    }

    fn identity() -> Identity {
        Identity { name: "a".into(), since: Instant::now() }
    }
}
