//! Cleaning up on persistent devices when the daemon is killed: they keep routes and addresses.
//!
//! A child process holds the other end of a pipe and is told what has been set up. When the pipe
//! ends, because the daemon has stopped or was killed, it undoes what it still remembers. While it
//! remembers something of a device it listens on a socket named after it, so that a daemon that is
//! started again at once can wait until it has finished.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::setup::Applied;
use crate::sys::capability::{self, Capability};
use crate::sys::child::Child;

/// How long a start waits for the janitor of a daemon that was killed. It takes milliseconds.
const PREVIOUS_WAIT: Duration = Duration::from_secs(1);

/// What the child is told, a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Order {
    Remember(Applied),
    Forget(String),
}

/// A child process that undoes what the daemon cannot undo any more. Dropping it has the child undo
/// what it still remembers, and waits for that.
#[derive(Debug)]
pub struct Janitor {
    child: Child,
}

impl Janitor {
    /// Starts the child. It needs to be started while the process has one thread, and before it
    /// gives up CAP_NET_ADMIN.
    ///
    /// # Errors
    ///
    /// Fails if there are more threads, or if no process can be made.
    pub fn start() -> io::Result<Self> {
        Ok(Self { child: Child::start(c"tunctl-janitor", work)? })
    }

    /// Has the child undo this on a device when the daemon ends; takes the place of what it
    /// remembered of the device before.
    ///
    /// # Errors
    ///
    /// Fails if the child is gone.
    pub fn remember(&mut self, applied: &Applied) -> io::Result<()> {
        self.tell(&Order::Remember(applied.clone()))
    }

    /// Has the child undo nothing on a device.
    ///
    /// # Errors
    ///
    /// Fails if the child is gone.
    pub fn forget(&mut self, name: &str) -> io::Result<()> {
        self.tell(&Order::Forget(name.into()))
    }

    fn tell(&mut self, order: &Order) -> io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.child.pipe()?.write_all(&line)
    }
}

/// Waits until the janitor of an earlier daemon has finished with a device, at most a second.
pub(super) fn await_previous(name: &str) {
    let Ok(mut stream) = lock_name(name).and_then(|name| UnixStream::connect_addr(&name)) else {
        return;
    };
    // Nobody writes: the read ends when the janitor does.
    let _ = stream.set_read_timeout(Some(PREVIOUS_WAIT));
    let _ = stream.read(&mut [0]);
}

/// The name is in the abstract name space, which each network namespace has its own of.
fn lock_name(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("tunctl/janitor/{name}"))
}

/// What the child does.
fn work(orders: File) {
    // Undoing needs no more; without it the child would keep all that the daemon started with.
    if let Err(error) = capability::keep_only(&[Capability::NetAdmin]) {
        tracing::error!(%error, "cannot drop capabilities");
    }
    let mut remembered = BTreeMap::new();
    for line in BufReader::new(orders).lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Order::Remember(applied)) => {
                let name = applied.name().to_owned();
                let lock = remembered.remove(&name).and_then(|(_, lock)| lock);
                let lock = lock.or_else(|| UnixListener::bind_addr(&lock_name(&name).ok()?).ok());
                remembered.insert(name, (applied, lock));
            }
            Ok(Order::Forget(name)) => drop(remembered.remove(&name)),
            // The daemon was killed in the middle of a line.
            Err(_) => {}
        }
    }
    if remembered.is_empty() {
        return;
    }
    if let Err(error) = undo(remembered.values().map(|(applied, _)| applied)) {
        tracing::error!(%error, "cleaning up after the daemon");
    }
}

fn undo<'a>(remembered: impl Iterator<Item = &'a Applied>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        for applied in remembered {
            for error in applied.undo(&handle).await {
                tracing::error!(%error, "cleaning up after the daemon");
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::device::setup::{self, Setup};
    use crate::device::{Device, DeviceSpec, Kind, Switch};
    use crate::sys::testing::{ip, ip_output, with_devices};

    const READY: &str = "set up";

    /// What a test does when it is run again to have a daemon to kill.
    fn daemon_to_be_killed() {
        let spec = DeviceSpec {
            name: "old0".into(),
            kind: Kind::Tun,
            gso: Switch::Auto,
            is_multi_queue: false,
        };
        let _device = Device::open(&spec).unwrap();
        let child = Child::start_among_threads(c"tunctl-janitor", work).unwrap();
        let mut janitor = Janitor { child };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let applied = runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            let addresses = ["10.9.0.1/24".parse().unwrap(), "fd00:9::1/64".parse().unwrap()];
            let routes = ["10.7.0.0/16".parse().unwrap()];
            let setup = Setup { addresses: &addresses, routes: &routes, ..Setup::default() };
            setup::apply(&handle, "old0", &setup).await.unwrap()
        });
        janitor.remember(&applied).unwrap();
        // The lock says that the order has been read.
        while UnixStream::connect_addr(&lock_name("old0").unwrap()).is_err() {
            std::thread::yield_now();
        }
        println!("{READY}");
        let _ = io::stdin().read(&mut [0]);
        janitor.forget("old0").unwrap();
    }

    fn start_daemon() -> std::process::Child {
        let mut daemon = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("device::janitor::tests::killed_daemon_leaves_nothing_on_a_persistent_device")
            .env("TUNCTL_TEST_DAEMON", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(daemon.stdout.as_mut().unwrap());
        let ready = output.lines().any(|line| line.is_ok_and(|line| line.ends_with(READY)));
        assert!(ready, "the daemon has set its device up");
        daemon
    }

    #[test]
    fn killed_daemon_leaves_nothing_on_a_persistent_device() {
        if std::env::var_os("TUNCTL_TEST_DAEMON").is_some() {
            return daemon_to_be_killed();
        }
        with_devices(|| {
            ip("tuntap add name old0 mode tun");
            ip("addr add 10.1.0.1/24 dev old0");
            for _ in 0..2 {
                let mut daemon = start_daemon();
                assert!(ip_output("route").contains("10.7.0.0/16 dev old0 proto 84"));
                daemon.kill().unwrap();
                daemon.wait().unwrap();
                // The next start works at once: it waits for the janitor in Device::open.
                await_previous("old0");
                let addresses = ip_output("-br addr show dev old0");
                assert_eq!(
                    addresses.split_whitespace().collect::<Vec<_>>(),
                    ["old0", "DOWN", "10.1.0.1/24"]
                );
                assert_eq!(ip_output("route"), "");
            }
        });
    }

    #[test]
    fn what_is_forgotten_stays() {
        with_devices(|| {
            ip("tuntap add name old0 mode tun");
            let mut daemon = start_daemon();
            drop(daemon.stdin.take());
            assert!(daemon.wait().unwrap().success());
            await_previous("old0");
            assert!(ip_output("addr show dev old0").contains("10.9.0.1/24"));
        });
    }
}
