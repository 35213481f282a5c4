//! `tunctl check`: is this file a configuration?

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use super::{Failure, unless_reader_left};
use crate::config;

/// Loads the file and its key files, to be used today, and says what is in it.
pub(super) fn run(file: &Path) -> Result<(), Failure> {
    let config = config::load_for(SystemTime::now(), file).map_err(Failure::wrong)?;
    let networks = counted(config.networks.len(), "network");
    let peers = counted(config.peers.len(), "peer");
    let line = format!("{}: sound, {networks}, {peers}", file.display());
    unless_reader_left(writeln!(io::stdout(), "{line}")).map_err(Failure::failed)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
