//! The program's life.
//!
//! 1. Read the variables. Unless in the foreground already, start the process that stays, wait
//!    until it is ready, and end. What follows happens in that process.
//! 2. Have the interface made, by whoever moves the packets.
//! 3. Catch signals, claim the socket, which has the name that the interface has got.
//! 4. Tell the caller that all is ready, and answer `wg`.
//! 5. Wait for SIGTERM or SIGINT, the removal of the socket, or that of the interface; or for the
//!    end of what moves the packets, which is a fault.
//! 6. Remove the socket, stop answering, let go of the interface.

use std::env;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{debug, warn};

use super::background::{self, BackgroundError, Caller};
use super::{
    Arguments, Environment, EnvironmentError, Interface, InterfaceName, Limits, NameError, Socket,
    serve, wait_for_removal,
};
use crate::api::BindError;
use crate::sys::{inherited, tun};

/// How long an answer that is being made may take when the program ends.
const ANSWER_STOP_TIME: Duration = Duration::from_millis(300);

/// Why the program did not start, or did not end as it should.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A variable has a wrong value.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The process that stays did not start.
    #[error(transparent)]
    Background(#[from] BackgroundError),
    /// The interface was not made.
    #[error("{0}")]
    Interface(Box<dyn Error + Send + Sync>),
    /// The interface has got a name that no socket can have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The socket is not ours.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// What moves the packets ended without being told to.
    #[error("the workers ended by themselves")]
    WorkersEnded,
    /// The kernel refused a step.
    #[error("cannot {step}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What the interface is made of.
#[derive(Debug)]
pub struct Start<'a> {
    /// The name that it should have.
    pub name: &'a InterfaceName,
    /// The device that there is already (`WG_TUN_FD`); its name counts then.
    pub device: Option<OwnedFd>,
}

/// An interface that was made.
pub struct Started {
    /// What answers; when the last is dropped the interface may end.
    pub interface: Arc<dyn Interface>,
    /// A duplicate of the device's descriptor, to notice its removal.
    pub device: OwnedFd,
    /// Comes when nobody moves packets any more.
    pub ended: Pin<Box<dyn Future<Output = ()>>>,
}

/// Runs the program; `start` makes the interface, while the process has one thread still. Returns
/// when the process in the background is ready; in the foreground when the program is to end.
///
/// # Errors
///
/// See [`RunError`]. Nothing is left behind but the directory of the sockets.
pub fn run<E>(
    arguments: &Arguments,
    start: impl FnOnce(Start<'_>) -> Result<Started, E>,
) -> Result<(), RunError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let environment = Environment::read(|name| env::var_os(name))?;
    if !arguments.foreground && !environment.foreground {
        return Ok(background::start(&environment)?);
    }
    environment.log_level.init();
    let mut caller = at("leave the caller", Caller::of(&environment))?;
    let result = stay(&arguments.interface, &environment, &mut caller, start);
    result.inspect_err(|error| caller.fault(error))
}

fn stay<E>(
    name: &InterfaceName,
    environment: &Environment,
    caller: &mut Caller,
    start: impl FnOnce(Start<'_>) -> Result<Started, E>,
) -> Result<(), RunError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let device = at("take WG_TUN_FD", environment.tun_fd.map(inherited::take).transpose())?;
    let uapi = at("take WG_UAPI_FD", environment.uapi_fd.map(inherited::take).transpose())?;
    let mut started =
        start(Start { name, device }).map_err(|fault| RunError::Interface(fault.into()))?;
    let attached = at("ask the device for its name", tun::attached(started.device.as_fd()))?;
    let path = Socket::path_of(&attached.name.parse()?);
    let runtime = at("start the runtime", Builder::new_current_thread().enable_all().build())?;
    let signals = {
        let _context = runtime.enter();
        at("catch signals", Signals::new())?
    };
    let socket = match uapi {
        Some(uapi) => Socket::adopt(uapi, &path)?,
        None => Socket::claim(&path)?,
    };
    let result = answer(&runtime, &mut started, &socket, signals, caller);
    if let Err(error) = socket.remove() {
        warn!(%error, socket = %path.display(), "cannot remove the socket");
    }
    runtime.shutdown_timeout(ANSWER_STOP_TIME);
    result
}

/// Answers until something ends the program.
fn answer(
    runtime: &Runtime,
    started: &mut Started,
    socket: &Socket,
    mut signals: Signals,
    caller: &mut Caller,
) -> Result<(), RunError> {
    runtime.block_on(async {
        let listener = at("listen", socket.listener())?;
        at("tell the caller that all is ready", caller.ready())?;
        debug!("ready");
        let interface = Arc::clone(&started.interface);
        tokio::select! {
            never = serve(listener, interface, Limits::default()) => match never {},
            () = signals.wait() => debug!("a signal ends the program"),
            () = socket.wait_for_removal() => debug!("the socket was removed"),
            end = wait_for_removal(started.device.as_fd()) => {
                at("watch the interface", end)?;
                debug!("the interface was removed");
            }
            () = &mut started.ended => workers_ended(started.device.as_fd())?,
        }
        Ok(())
    })
}

/// The removal of the interface ends the workers too, and they may be the first to notice.
fn workers_ended(device: BorrowedFd<'_>) -> Result<(), RunError> {
    match tun::attached(device) {
        Ok(_) => Err(RunError::WorkersEnded),
        Err(_) => Ok(()),
    }
}

/// The signals that end the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn at<T>(step: &'static str, result: io::Result<T>) -> Result<T, RunError> {
    result.map_err(|source| RunError::Io { step, source })
}
