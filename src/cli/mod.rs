//! The verbs and what they print.
//!
//! Results go to standard output, faults to standard error as `tunctl: …`, a line each. The exit
//! code is 0 = done, 1 = failed, 2 = wrong usage or configuration.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

mod bench;
mod check;
mod demo;
mod gencert;
mod genkey;
mod import;
mod keys;
mod pubkey;
mod render;
mod show;
mod table;
mod units;
mod usage;

use self::bench::BenchArgs;
use self::demo::DemoArgs;
use self::gencert::GencertArgs;
use self::import::ImportArgs;
use self::show::{ShowArgs, Subject};
use crate::daemon;
use crate::wg;

/// The variable that stands for `--socket`.
const SOCKET_VARIABLE: &str = "TUNCTL_SOCKET";

/// Exit codes.
const FAILED: u8 = 1;
const WRONG: u8 = 2;

/// Tunnels for frames (TAP) and packets (TUN), by VXLAN, WireGuard and QUIC.
#[derive(Debug, Parser)]
#[command(name = "tunctl", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    /// The daemon's API socket [default: /run/tunctl/NAME.sock; env: TUNCTL_SOCKET]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon in the foreground until SIGTERM
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Check a configuration file and tell every fault in it
    Check(CheckArgs),
    /// Show the main job without set-up: two hosts, a tunnel between them, traffic through it
    Demo(DemoArgs),
    /// Measure tunnels on hosts of their own: rates, latency, what they cost
    #[command(after_help = keys::BENCH)]
    Bench(BenchArgs),
    /// Print a new WireGuard private key
    Genkey,
    /// Print a new WireGuard preshared key
    Genpsk,
    /// Print the public key of the private key on standard input
    Pubkey,
    /// Make certificates for QUIC
    #[command(after_help = gencert::HELP)]
    Gencert(GencertArgs),
    /// Print the configuration that a wg-quick file means
    #[command(after_help = import::HELP)]
    Import(ImportArgs),
    /// Take the place of wireguard-go: an interface that wg and wg-quick configure
    Wg(wg::Arguments),
    /// Show the daemon, its networks and its sockets
    #[command(after_help = keys::STATUS)]
    Status(ShowArgs),
    /// Show the peers and what went to and came from them
    #[command(after_help = keys::PEERS)]
    Peers(ShowArgs),
    /// Show the forwarding tables: which address is behind which peer
    #[command(after_help = keys::FDB)]
    Fdb(ShowArgs),
    /// Show the prefixes of the tun networks and the peers they lead to
    #[command(after_help = keys::ROUTES)]
    Routes(ShowArgs),
    /// Show how many packets were dropped, and why
    #[command(after_help = keys::DROPS)]
    Drops(ShowArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The configuration file (TOML)
    file: PathBuf,
}

const RUN_HELP: &str = "\
Logs go to standard error. TUNCTL_LOG or RUST_LOG is the filter, such as \"debug\"; \
the default is \"info\".";

/// Why a verb did not do what it should.
#[derive(Debug)]
struct Failure {
    exit_code: u8,
    message: String,
}

impl Failure {
    /// What was wanted is right, but was not done.
    fn failed(fault: impl fmt::Display) -> Self {
        Self { exit_code: FAILED, message: fault.to_string() }
    }

    /// What was wanted is wrong.
    fn wrong(fault: impl fmt::Display) -> Self {
        Self { exit_code: WRONG, message: fault.to_string() }
    }
}

/// Runs the program with these arguments, the first of which is its name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let result = match Arguments::try_parse_from(wg::with_verb(arguments)) {
        Ok(arguments) => arguments.run(),
        Err(error) => usage::answer(&error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let mut stderr = io::stderr().lock();
            for line in failure.message.lines() {
                // Where standard error is closed the exit code is all that is left to say.
                let _ = writeln!(stderr, "tunctl: {line}");
            }
            ExitCode::from(failure.exit_code)
        }
    }
}

impl Arguments {
    fn run(self) -> Result<(), Failure> {
        let from_environment = || env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty());
        let socket = self.socket.or_else(|| from_environment().map(PathBuf::from));
        let show = |subject, options| {
            show::run(subject, &options, socket.as_deref()).map_err(Failure::failed)
        };
        match self.verb {
            Verb::Run(run) => daemon::run(&run.config, socket.as_deref()).map_err(|error| {
                if error.is_configuration() {
                    Failure::wrong(error)
                } else {
                    Failure::failed(error)
                }
            }),
            Verb::Check(check) => check::run(&check.file),
            Verb::Demo(demo) => demo::run(demo).map_err(Failure::failed),
            Verb::Bench(bench) => bench::run(&bench),
            Verb::Genkey => genkey::private(),
            Verb::Genpsk => genkey::preshared(),
            Verb::Pubkey => pubkey::run(),
            Verb::Gencert(args) => gencert::run(&args),
            Verb::Import(options) => import::run(&options),
            Verb::Wg(arguments) => wg::run(&arguments, wg::start).map_err(Failure::failed),
            Verb::Status(options) => show(Subject::Status, options),
            Verb::Peers(options) => show(Subject::Peers, options),
            Verb::Fdb(options) => show(Subject::Fdb, options),
            Verb::Routes(options) => show(Subject::Routes, options),
            Verb::Drops(options) => show(Subject::Drops, options),
        }
    }
}

/// Takes what printing gave: a reader that has enough and goes away is no fault.
fn unless_reader_left(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_declared_without_contradiction() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn socket_may_stand_before_and_after_the_verb() {
        for line in [["--socket", "/s", "status"], ["status", "--socket", "/s"]] {
            let words = ["tunctl"].into_iter().chain(line);
            let arguments = Arguments::try_parse_from(words).unwrap();
            assert_eq!(arguments.socket, Some(PathBuf::from("/s")));
        }
    }
}
