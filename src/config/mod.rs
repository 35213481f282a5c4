//! The configuration file: TOML in, plain settings out, or every fault that the file has.
//!
//! This room reads and judges a file; it never touches a device, a socket or the network. A
//! [`Config`] that it gives out is sound: what can be known without the kernel has been checked.
//! Start with [`parse`]; `section` reads one table, `check` compares the tables with each other.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;

mod check;
pub mod defaults;
mod fault;
mod host_port;
pub mod key_file;
mod listen;
mod name;
mod network;
mod peer;
mod quic;
pub mod quic_file;
mod section;
mod suggest;
mod underlay;
mod wireguard;

use crate::peer::NetworkId;

pub use crate::frame::Mac;
pub use fault::{ConfigErrors, Fault};
pub use host_port::{HostPort, NotAHostPort};
pub use key_file::{KeyFileError, Keys};
pub use network::{DeviceKind, Flood, Learning, Network, Routes, StaticEntry};
pub use peer::{Endpoint, Peer, Transport};
pub use quic::{Congestion, Quic, QuicPeer};
pub use quic_file::QuicFileError;
pub use underlay::{Offload, Switch, Underlay, Vxlan, can_reach};
pub use wireguard::{WireGuard, WireGuardPeer};

pub(crate) use network::{MTU_MAX, MTU_MIN, read_address};
pub(crate) use peer::read_prefix;

use fault::Faults;
use section::{Draft, Section};

/// The largest file that is read: a thousand times what a large site needs.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The most networks of one daemon: each is a device, and a thread waits on all of them.
const NETWORKS_MAX: usize = 1024;

/// The most peers of one daemon, well inside `PeerId::SLOT_BITS`.
const PEERS_MAX: usize = 65_536;

/// The most `workers`: they share one forwarding table, and more would only wait for each other.
const WORKERS_MAX: u8 = 16;

/// The longest `busy_poll_us`: looking for longer saves nothing.
const BUSY_POLL_US_MAX: u32 = 1000;

/// The settings of one daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The daemon's name, a part of its API socket's path: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// How long the worker looks for the next packet before it sleeps.
    pub busy_poll: Duration,
    /// Threads that move packets; none = found out ("auto").
    pub workers: Option<u8>,
    /// How its datagrams are sent and received.
    pub underlay: Underlay,
    /// Which offloads it uses.
    pub offload: Offload,
    /// Clear VXLAN and VXLAN-GPE; absent = off.
    pub vxlan: Option<Vxlan>,
    /// WireGuard; absent = off.
    pub wireguard: Option<WireGuard>,
    /// QUIC; absent = off.
    pub quic: Option<Quic>,
    /// The networks; a [`NetworkId`] is a position in this list. Never empty.
    pub networks: Vec<Network>,
    /// The peers, in the order of the file.
    pub peers: Vec<Peer>,
}

impl Config {
    /// Gives a network.
    ///
    /// # Panics
    ///
    /// Panics if the id is not from this configuration.
    pub fn network(&self, id: NetworkId) -> &Network {
        &self.networks[id.index()]
    }
}

/// Reads a file, not those with keys and certificates that it names.
///
/// # Errors
///
/// Gives all faults of the file, or the reason why it cannot be read.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    load_judged(path, KeyFiles::Unread).map(|(config, _)| config)
}

/// Reads a file and the files with keys and certificates that it names; the keys are there if it
/// has `[wireguard]`. What QUIC has is judged and forgotten: [`quic_file::load`] reads it to be used.
///
/// # Errors
///
/// Gives all faults of the file and of those that it names, or the reason why the file cannot be read.
pub fn load_with_keys(path: &Path) -> Result<(Config, Option<Keys>), ConfigErrors> {
    load_judged(path, KeyFiles::Read)
}

/// Reads a file and those that it names, as [`load_with_keys`], and judges whether they can be used
/// at a time. A daemon does not ask that: it starts with a clock that is to be set, and takes new
/// certificates at work.
///
/// # Errors
///
/// As [`load_with_keys`].
pub fn load_for(at: SystemTime, path: &Path) -> Result<Config, ConfigErrors> {
    let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let keys = KeyFiles::Dated(UnixTime::since_unix_epoch(at));
    load_judged(path, keys).map(|(config, _)| config)
}

/// Whether the key files are part of what is judged, and for when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyFiles {
    Unread,
    Read,
    Dated(UnixTime),
}

impl KeyFiles {
    fn time(self) -> Option<UnixTime> {
        match self {
            Self::Dated(at) => Some(at),
            Self::Unread | Self::Read => None,
        }
    }
}

fn load_judged(path: &Path, keys: KeyFiles) -> Result<(Config, Option<Keys>), ConfigErrors> {
    let file = path.display().to_string();
    let directory = path.parent().unwrap_or(path);
    match read_limited(path) {
        Ok(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => judge(&file, text, directory, keys),
            Err(error) => Err(ConfigErrors::not_utf8(file, &bytes, error.valid_up_to())),
        },
        Err(error) => Err(ConfigErrors::Unreadable { file, error }),
    }
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
    }
    Ok(bytes)
}

/// Reads the text of a file; `file` is its name in messages. Relative paths stay relative.
///
/// # Errors
///
/// Gives all faults, sorted by position. While the text is not TOML only its syntax is judged.
pub fn parse(file: &str, text: &str) -> Result<Config, ConfigErrors> {
    judge(file, text, Path::new(""), KeyFiles::Unread).map(|(config, _)| config)
}

fn judge(
    file: &str,
    text: &str,
    directory: &Path,
    keys: KeyFiles,
) -> Result<(Config, Option<Keys>), ConfigErrors> {
    let (document, errors) = toml::de::DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(ConfigErrors::not_toml(file, text, &errors));
    }
    let faults = Faults::new(text);
    let read = read(Section::root(&faults, document.get_ref()), directory, keys);
    faults.into_result(file, read)
}

/// Reads the whole document; what is faulty is reported and stands at its default.
fn read(mut root: Section<'_>, directory: &Path, keys: KeyFiles) -> (Config, Option<Keys>) {
    let name = name::read_host(&mut root);
    let busy_poll_us = root.number("busy_poll_us", 0..=BUSY_POLL_US_MAX);
    let workers = root.number_or_auto("workers", 1..=WORKERS_MAX);
    let mut underlay = Underlay::read(&mut root);
    let offload = Offload::read(&mut root);
    let mut vxlan = Vxlan::read(&mut root);
    let mut wireguard = WireGuard::read(&mut root);
    let mut quic = Quic::read(&mut root);
    let mut networks = read_tables(&mut root, "network", NETWORKS_MAX, Network::read);
    let ids = check::network_ids(&networks);
    let mut peers = read_tables(&mut root, "peer", PEERS_MAX, |s| Peer::read(s, &ids));
    let tables = check::Tables {
        underlay: underlay.as_mut(),
        vxlan: vxlan.as_mut(),
        wireguard: wireguard.as_mut(),
        quic: quic.as_mut(),
    };
    check::all(&mut root, tables, &mut networks, &mut peers);
    wireguard::resolve_paths(wireguard.as_mut(), &mut peers, directory);
    quic::resolve_paths(quic.as_mut(), directory);
    let is_wanted = keys != KeyFiles::Unread;
    if let Some(quic) = quic.as_mut().filter(|_| is_wanted) {
        quic_file::judge_all(quic, &mut peers, keys.time());
    }
    let wanted = wireguard.as_mut().filter(|_| is_wanted);
    let keys = wanted.and_then(|wireguard| key_file::read_all(wireguard, &mut peers));
    networks.iter_mut().for_each(|draft| draft.section.finish());
    peers.iter_mut().for_each(|draft| draft.section.finish());
    root.finish();
    let config = Config {
        name,
        busy_poll: Duration::from_micros(busy_poll_us.unwrap_or(defaults::BUSY_POLL_US).into()),
        workers,
        underlay: underlay.map(|draft| draft.settings).unwrap_or_default(),
        offload,
        vxlan: vxlan.map(|draft| draft.settings),
        wireguard: wireguard.map(|draft| draft.settings),
        quic: quic.map(|draft| draft.settings),
        networks: networks.into_iter().map(|draft| draft.settings.network).collect(),
        peers: peers.into_iter().map(|draft| draft.settings).collect(),
    };
    (config, keys)
}

fn read_tables<'a, T>(
    root: &mut Section<'a>,
    key: &'static str,
    max: usize,
    read: impl Fn(&mut Section<'a>) -> T,
) -> Vec<Draft<'a, T>> {
    let mut sections = root.tables(key);
    if sections.len() > max {
        root.fault(key, format!("expected at most {max} tables"));
        sections.truncate(max);
    }
    let draft = |mut section| Draft { settings: read(&mut section), section };
    sections.into_iter().map(draft).collect()
}

#[cfg(test)]
mod tests;
