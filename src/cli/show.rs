//! `status`, `peers`, `fdb`, `routes`, `drops`: ask the daemon, print what it says.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use thiserror::Error;

use super::{render, unless_reader_left};
use crate::api;
use crate::api::client::{Client, ClientError};
use crate::api::discover::{DiscoverError, discover};
use crate::api::report::FdbEntry;

/// Between two rounds of `--watch`.
const WATCH_PERIOD: Duration = Duration::from_secs(1);

/// Moves the terminal's cursor home and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

/// The arguments of the five verbs.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Print JSON with stable keys
    #[arg(long)]
    json: bool,
    /// Print again every second until interrupted; JSON then has one line for each time
    #[arg(long)]
    watch: bool,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Status,
    Peers,
    Fdb,
    Routes,
    Drops,
}

/// Why nothing, or not all, is shown.
#[derive(Debug, Error)]
pub(super) enum ShowError {
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Shows `subject`, once or again and again.
pub(super) fn run(
    subject: Subject,
    options: &ShowArgs,
    socket: Option<&Path>,
) -> Result<(), ShowError> {
    let path = find(socket)?;
    match print_rounds(subject, options, &path) {
        Err(ShowError::Output(error)) => Ok(unless_reader_left(Err(error))?),
        result => result,
    }
}

fn find(socket: Option<&Path>) -> Result<PathBuf, DiscoverError> {
    match socket {
        Some(path) => Ok(path.to_owned()),
        None => discover(Path::new(api::DIRECTORY)),
    }
}

fn print_rounds(subject: Subject, options: &ShowArgs, path: &Path) -> Result<(), ShowError> {
    let stdout = io::stdout();
    let between = match (options.json, stdout.is_terminal()) {
        (true, _) => "",
        (false, true) => CLEAR,
        (false, false) => "\n",
    };
    let mut out = BufWriter::new(stdout.lock());
    if options.watch && between == CLEAR {
        out.write_all(CLEAR.as_bytes())?;
    }
    loop {
        print_round(subject, options, path, &mut out)?;
        out.flush()?;
        if !options.watch {
            return Ok(());
        }
        thread::sleep(WATCH_PERIOD);
        out.write_all(between.as_bytes())?;
    }
}

fn print_round(
    subject: Subject,
    options: &ShowArgs,
    path: &Path,
    out: &mut impl Write,
) -> Result<(), ShowError> {
    let mut client = Client::connect(path)?;
    let style = match (options.json, options.watch) {
        (false, _) => Style::Table,
        (true, false) => Style::Lines,
        (true, true) => Style::OneLine,
    };
    match subject {
        Subject::Status => {
            style.print(out, &client.status()?, |out, it| render::status(out, it))?
        }
        Subject::Peers => style.print(out, &client.peers()?, |out, it| render::peers(out, it))?,
        Subject::Routes => {
            style.print(out, &client.routes()?, |out, it| render::routes(out, it))?
        }
        Subject::Drops => style.print(out, &client.drops()?, |out, it| render::drops(out, it))?,
        Subject::Fdb => print_fdb(style, &mut client, out)?,
    }
    Ok(())
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// For people.
    Table,
    /// JSON over several lines.
    Lines,
    /// JSON in one line.
    OneLine,
}

impl Style {
    fn print<W: Write, T: Serialize>(
        self,
        out: &mut W,
        report: &T,
        table: impl Fn(&mut W, &T) -> io::Result<()>,
    ) -> io::Result<()> {
        match self {
            Self::Table => return table(out, report),
            Self::Lines => serde_json::to_writer_pretty(&mut *out, report)?,
            Self::OneLine => serde_json::to_writer(&mut *out, report)?,
        }
        writeln!(out)
    }
}

/// Prints the tables of all networks as one, part by part: they may be long.
fn print_fdb(style: Style, client: &mut Client, out: &mut impl Write) -> Result<(), ShowError> {
    let mut printer = FdbPrinter { style, table: render::fdb(), is_first: true };
    let networks = client.status()?.state.networks;
    printer.start(out)?;
    for network in networks {
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let page = client.fdb(&network.name, at)?;
            printer.print(out, page.entries)?;
            cursor = page.next;
        }
    }
    Ok(printer.end(out)?)
}

struct FdbPrinter {
    style: Style,
    table: super::table::Table<7>,
    is_first: bool,
}

impl FdbPrinter {
    fn start(&self, out: &mut impl Write) -> io::Result<()> {
        match self.style {
            Style::Table => Ok(()),
            Style::Lines | Style::OneLine => write!(out, "["),
        }
    }

    fn print(&mut self, out: &mut impl Write, entries: Vec<FdbEntry>) -> io::Result<()> {
        if self.style == Style::Table {
            entries.into_iter().for_each(|entry| self.table.row(render::fdb_row(entry)));
            return self.table.print(out);
        }
        let between = if self.style == Style::Lines { "\n  " } else { "" };
        for entry in entries {
            let comma = if self.is_first { "" } else { "," };
            self.is_first = false;
            write!(out, "{comma}{between}")?;
            serde_json::to_writer(&mut *out, &entry)?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        match self.style {
            // The titles, if there was no entry.
            Style::Table => self.table.print(out),
            Style::Lines if !self.is_first => writeln!(out, "\n]"),
            Style::Lines | Style::OneLine => writeln!(out, "]"),
        }
    }
}
