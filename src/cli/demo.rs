//! `tunctl demo`: two hosts, a real daemon in each, traffic through the tunnel between them.
//!
//! Hosts, sockets and files live in namespaces that end with this process, and the daemons are
//! killed with it, so nothing is left behind however it ends.

mod site;
mod traffic;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::api::report::DeviceKind;
use crate::lab::{self, Crossing, Daemon, End, Interrupt, LabError};
use site::Site;

/// What the wire between the hosts carries, bytes.
const UNDERLAY_MTU: u32 = 1500;

/// How long the TCP transfer lasts, at most.
const TRANSFER: Duration = Duration::from_secs(2);

/// The arguments of `tunctl demo`.
#[derive(Clone, Copy, Debug, Args)]
pub struct DemoArgs {
    /// How the tunnel crosses the underlay
    #[arg(long, value_enum, default_value_t = DemoTransport::Vxlan)]
    pub transport: DemoTransport,
    /// What the tunnel carries: IP packets (tun) or Ethernet frames (tap)
    #[arg(long, value_enum, default_value_t = DemoDevice::Tap)]
    pub device: DemoDevice,
    /// End after this time instead of at Ctrl-C
    #[arg(long = "for", value_name = "SECS", value_parser = seconds)]
    pub duration: Option<Duration>,
}

/// A transport of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DemoTransport {
    /// VXLAN over UDP, in the clear.
    Vxlan,
    /// WireGuard, with keys made for the demonstration; frames cross as VXLAN inside it.
    Wireguard,
    /// QUIC, with certificates made for the demonstration.
    Quic,
}

/// A device type of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DemoDevice {
    /// IP packets.
    Tun,
    /// Ethernet frames.
    Tap,
}

impl DemoDevice {
    fn name(self) -> &'static str {
        match self {
            Self::Tun => "tun",
            Self::Tap => "tap",
        }
    }

    fn kind(self) -> DeviceKind {
        match self {
            Self::Tun => DeviceKind::Tun,
            Self::Tap => DeviceKind::Tap,
        }
    }

    /// Gives the verb that shows where its packets go.
    fn table(self) -> &'static str {
        match self {
            Self::Tun => "routes",
            Self::Tap => "fdb",
        }
    }
}

/// Why the demonstration ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The hosts could not be made.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A step of the set-up failed.
    #[error("cannot {action}: {source}")]
    Setup {
        /// The step.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The echo did not come back.
    #[error("echo through the tunnel: {0}")]
    Echo(io::Error),
    /// The TCP transfer failed.
    #[error("TCP through the tunnel: {0}")]
    Transfer(io::Error),
    /// Standard output is gone.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Runs the demonstration.
///
/// To be called before the process has a second thread: without root it moves into a user
/// namespace.
pub fn run(args: DemoArgs) -> Result<(), DemoError> {
    match show(&mut io::stdout().lock(), args) {
        // Whoever read along has seen enough.
        Err(DemoError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn show(out: &mut impl Write, args: DemoArgs) -> Result<(), DemoError> {
    let interrupt =
        Interrupt::catch().map_err(|source| DemoError::Setup { action: "catch Ctrl-C", source })?;
    lab::check_tun()?;
    let entered = lab::enter()?;
    let sites = [Site::alpha()?, Site::beta()?];
    let [left, right] = &sites;
    lab::connect(left.end(), right.end(), UNDERLAY_MTU)?;
    describe(out, args, &sites)?;

    let crossing = match args.transport {
        DemoTransport::Vxlan => Crossing::Vxlan,
        DemoTransport::Wireguard => {
            Crossing::wireguard([&left.host, &right.host], entered.directory)?
        }
        DemoTransport::Quic => Crossing::quic([&left.host, &right.host], entered.directory)?,
    };
    let start = |end: usize| {
        let config = site::config(end, &sites, args.device, &crossing);
        Daemon::start(&sites[end].host, &config, entered.directory)
    };
    let mut daemons = [start(0)?, start(1)?];
    daemons.iter_mut().try_for_each(Daemon::wait_until_ready)?;
    let up = Instant::now();
    writeln!(out, "Both daemons are ready.\n")?;

    let is_done = show_traffic(out, args, &sites, &interrupt)?;
    if !is_done {
        show_tables(out, args, &daemons)?;
        invite(out, &daemons[0], entered)?;
        stay(out, args, &interrupt, up)?;
    }
    daemons.into_iter().try_for_each(Daemon::stop)?;
    writeln!(out, "Both daemons have stopped; nothing is left of the hosts.")?;
    Ok(())
}

fn describe(out: &mut impl Write, args: DemoArgs, sites: &[Site; 2]) -> io::Result<()> {
    let tunnel = match (args.transport, args.device) {
        (DemoTransport::Vxlan, _) => format!(" vxlan VNI {} ", site::VNI),
        (DemoTransport::Wireguard, DemoDevice::Tun) => " wireguard ".into(),
        (DemoTransport::Wireguard, DemoDevice::Tap) => " vxlan in wireguard ".into(),
        (DemoTransport::Quic, _) => format!(" quic VNI {} ", site::VNI),
    };
    let device = args.device.name();
    let [left, right] = sites;
    writeln!(out, "Two hosts in network namespaces of their own, a wire of {UNDERLAY_MTU} bytes")?;
    writeln!(out, "between them, and on each a tunctl daemon with a {device} device:\n")?;
    writeln!(out, "  {:<16}{:^24}{:>16}", left.name, "wire", right.name)?;
    writeln!(out, "  {:<16}{:-^24}{:>16}", left.underlay, "", right.underlay)?;
    writeln!(out, "  {:<16}{tunnel:=^24}{:>16}\n", left.overlay, right.overlay)?;
    match args.transport {
        DemoTransport::Vxlan => {}
        DemoTransport::Wireguard => {
            writeln!(out, "Each host has a new WireGuard key, which goes with it.")?;
        }
        DemoTransport::Quic => {
            writeln!(out, "Each host has a new certificate, which goes with it.")?;
        }
    }
    Ok(())
}

/// Sends an echo and a TCP transfer through the tunnel; gives whether Ctrl-C came.
fn show_traffic(
    out: &mut impl Write,
    args: DemoArgs,
    sites: &[Site; 2],
    interrupt: &Interrupt,
) -> Result<bool, DemoError> {
    let [left, right] = sites;
    let echo = traffic::echo(&left.host, &right.host, right.overlay).map_err(DemoError::Echo)?;
    writeln!(out, "echo   {echo}")?;
    if interrupt.is_raised() {
        return Ok(true);
    }
    let half = args.duration.map_or(TRANSFER, |time| time / 2);
    let transfer = traffic::Transfer {
        from: &left.host,
        to: &right.host,
        address: right.overlay,
        time: half.clamp(Duration::from_millis(200), TRANSFER),
    };
    let rate = transfer.run(interrupt).map_err(DemoError::Transfer)?;
    writeln!(out, "TCP    {rate}")?;
    Ok(interrupt.is_raised())
}

fn show_tables(
    out: &mut impl Write,
    args: DemoArgs,
    daemons: &[Daemon; 2],
) -> Result<(), DemoError> {
    for daemon in daemons {
        for verb in ["status", "peers", args.device.table()] {
            let table = daemon.ask(verb)?;
            writeln!(out, "\n[{}] tunctl {verb}", daemon.host().name())?;
            out.write_all(table.as_bytes())?;
        }
    }
    Ok(())
}

/// Says how to look at the hosts from another terminal.
fn invite(out: &mut impl Write, daemon: &Daemon, entered: lab::Entered) -> io::Result<()> {
    let (pid, socket) = (daemon.pid(), daemon.socket());
    let user = if entered.in_user_namespace { " -U --preserve-credentials" } else { "" };
    writeln!(
        out,
        "\nTo look at {} from another terminal, as the same user:",
        daemon.host().name()
    )?;
    writeln!(out, "  tunctl --socket /proc/{pid}/root{} status", socket.display())?;
    writeln!(out, "  nsenter -t {pid}{user} -n ip addr")
}

/// Keeps the tunnel up until Ctrl-C, or until its time is over.
fn stay(
    out: &mut impl Write,
    args: DemoArgs,
    interrupt: &Interrupt,
    up: Instant,
) -> Result<(), DemoError> {
    let left = args.duration.map(|time| time.saturating_sub(up.elapsed()));
    match left {
        Some(left) => writeln!(out, "The tunnel stays up for {:.0} s.", left.as_secs_f64())?,
        None => writeln!(out, "The tunnel stays up until Ctrl-C.")?,
    }
    out.flush()?;
    interrupt.wait(left).map_err(|source| DemoError::Setup { action: "wait for Ctrl-C", source })
}

impl Site {
    fn end(&self) -> End<'_> {
        End { host: &self.host, interface: "wire0", addresses: std::slice::from_ref(&self.wire) }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text.parse().map_err(|_| "expected whole seconds".to_owned())?;
    Ok(Duration::from_secs(seconds))
}
