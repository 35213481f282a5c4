//! Files of wg-quick: sections, keys in any case, comments from `#` on, keys that repeat.
//!
//! Start with [`parse`]. A line says one thing, and is judged alone; `settle` sees to what lines
//! say against each other.

use std::collections::HashMap;
use std::str::FromStr;

use ipnet::IpNet;

use super::value;
use crate::config::{ConfigErrors, Fault, HostPort};
use crate::transport::wireguard::{PresharedKey, PrivateKey, PublicKey};

/// Values longer than this many characters are cut in messages.
const VALUE_CHARS_MAX: usize = 60;

/// Keys that add to what the file has said; the others replace it.
const ADDING: [&str; 7] =
    ["address", "allowedips", "dns", "preup", "postup", "predown", "postdown"];

/// A file of wg-quick.
#[derive(Debug, Default)]
pub(super) struct Quick {
    pub(super) interface: Interface,
    pub(super) peers: Vec<Peer>,
    pub(super) left_out: Vec<LeftOut>,
}

/// `[Interface]`.
#[derive(Debug, Default)]
pub(super) struct Interface {
    pub(super) private_key: Option<OnLine<PrivateKey>>,
    pub(super) addresses: Vec<IpNet>,
    pub(super) listen_port: Option<u16>,
    pub(super) fwmark: Option<u32>,
    pub(super) mtu: Option<u16>,
    pub(super) table: Table,
}

/// `[Peer]`, which begins on `line`.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) line: usize,
    pub(super) public_key: Option<PublicKey>,
    pub(super) preshared_key: Option<OnLine<PresharedKey>>,
    pub(super) allowed_ips: Vec<OnLine<IpNet>>,
    pub(super) endpoint: Option<HostPort>,
    pub(super) keepalive_secs: u16,
}

/// A value and the line that it stands on.
#[derive(Debug)]
pub(super) struct OnLine<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// Where wg-quick puts the routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Table {
    /// The main table; default routes in a table of their own, by rules.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// The main table, default routes too.
    Main,
    /// This table.
    Number(u32),
}

/// Something in the file that the configuration does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LeftOut {
    pub(super) line: usize,
    pub(super) key: String,
    /// None if it has something secret.
    pub(super) value: Option<String>,
    pub(super) why: String,
}

/// One line `key = value`.
struct Line<'t> {
    number: usize,
    key: &'t str,
    value: &'t str,
}

/// What has been read, and where the reading is.
#[derive(Default)]
struct Reader {
    quick: Quick,
    section: Option<Section>,
    /// Lines of the keys that `[Interface]` has, and the current `[Peer]`.
    of_interface: HashMap<String, usize>,
    of_peer: HashMap<String, usize>,
    faults: Vec<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Interface,
    Peer,
    /// It has been reported; what is in it is not.
    Unknown,
}

/// Reads a file; `file` is its name in messages.
///
/// # Errors
///
/// Gives all faults, in the order of the file.
pub(super) fn parse(file: &str, text: &str) -> Result<Quick, ConfigErrors> {
    let mut reader = Reader::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.split('#').next().unwrap_or_default();
        let column = content.chars().take_while(|c| c.is_whitespace()).count() + 1;
        reader.read(number, column, content);
    }
    reader.settle();
    if reader.faults.is_empty() {
        reader.quick.left_out.sort();
        return Ok(reader.quick);
    }
    reader.faults.sort();
    Err(ConfigErrors::Faulty { file: file.to_owned(), faults: reader.faults })
}

impl Reader {
    fn read(&mut self, number: usize, column: usize, content: &str) {
        let trimmed = content.trim();
        if trimmed.is_empty() {
            return;
        }
        if trimmed.starts_with('[') {
            return self.begin(number, column, trimmed);
        }
        let Some((key, value)) = content.split_once('=') else {
            return self.fault(number, column, String::new(), None, "expected KEY = VALUE");
        };
        let line = Line { number, key: key.trim(), value: value.trim() };
        let before = key.chars().count() + 1;
        let column = before + value.chars().take_while(|c| c.is_whitespace()).count() + 1;
        let known = line.key.to_ascii_lowercase();
        let read = match self.section {
            Some(Section::Interface) => self.read_interface(&known, &line),
            Some(Section::Peer) => self.read_peer(&known, &line),
            Some(Section::Unknown) => return,
            None => Err("expected [Interface] or [Peer] before it".to_owned()),
        };
        if let Err(expected) = read {
            let is_secret = known.ends_with("key") || value::has_key(line.value);
            let value = (!is_secret || known == "publickey").then(|| cut(line.value));
            self.fault(number, column, line.key.to_owned(), value, &expected);
        }
    }

    fn begin(&mut self, number: usize, column: usize, head: &str) {
        let section = match head.to_ascii_lowercase().as_str() {
            "[interface]" => Section::Interface,
            "[peer]" => {
                self.of_peer.clear();
                self.quick.peers.push(Peer { line: number, ..Peer::default() });
                Section::Peer
            }
            _ => {
                let key = cut(head);
                self.fault(number, column, key, None, "expected [Interface] or [Peer]");
                Section::Unknown
            }
        };
        self.section = Some(section);
    }

    fn read_interface(&mut self, known: &str, line: &Line<'_>) -> Result<(), String> {
        let interface = &mut self.quick.interface;
        match known {
            "privatekey" => interface.private_key = line.secret()?,
            "address" => interface.addresses.extend(value::list(line.value, value::address)?),
            "listenport" => interface.listen_port = value::listen_port(line.value)?,
            "fwmark" => interface.fwmark = value::fwmark(line.value)?,
            "mtu" => interface.mtu = Some(value::mtu(line.value)?),
            "table" => interface.table = value::table(line.value)?,
            "dns" => self.leave_out(line, "set it by the means of the system"),
            "preup" | "postup" | "predown" | "postdown" => {
                self.leave_out(line, "tunctl runs no commands; a service that does can go with it");
            }
            "saveconfig" => self.leave_out(line, "tunctl never writes its file"),
            _ => {
                return Err("unknown key: expected one of Address, DNS, FwMark, ListenPort, MTU, \
                            PostDown, PostUp, PreDown, PreUp, PrivateKey, SaveConfig, Table"
                    .to_owned());
            }
        }
        let earlier = self.of_interface.insert(known.to_owned(), line.number);
        self.note_replaced(earlier, known, line);
        Ok(())
    }

    fn read_peer(&mut self, known: &str, line: &Line<'_>) -> Result<(), String> {
        let Some(peer) = self.quick.peers.last_mut() else { return Ok(()) };
        match known {
            "publickey" => {
                peer.public_key = Some(line.value.parse().map_err(value::shown)?);
            }
            "presharedkey" => peer.preshared_key = line.secret()?,
            "allowedips" => {
                let prefixes = value::list(line.value, value::prefix)?;
                let on_line = |value| OnLine { line: line.number, value };
                peer.allowed_ips.extend(prefixes.into_iter().map(on_line));
            }
            "endpoint" => peer.endpoint = Some(value::endpoint(line.value)?),
            "persistentkeepalive" => peer.keepalive_secs = value::keepalive(line.value)?,
            _ => {
                return Err("unknown key: expected one of AllowedIPs, Endpoint, \
                            PersistentKeepalive, PresharedKey, PublicKey"
                    .to_owned());
            }
        }
        let earlier = self.of_peer.insert(known.to_owned(), line.number);
        self.note_replaced(earlier, known, line);
        Ok(())
    }

    fn leave_out(&mut self, line: &Line<'_>, why: &str) {
        self.quick.left_out.push(LeftOut {
            line: line.number,
            key: line.key.to_owned(),
            value: (!value::has_key(line.value)).then(|| cut(line.value)),
            why: why.to_owned(),
        });
    }

    /// Of a key that says one thing the last counts, as with `wg`.
    fn note_replaced(&mut self, earlier: Option<usize>, known: &str, line: &Line<'_>) {
        let Some(earlier) = earlier.filter(|_| !ADDING.contains(&known)) else { return };
        self.quick.left_out.push(LeftOut {
            line: earlier,
            key: line.key.to_owned(),
            value: None,
            why: format!("line {} says it again", line.number),
        });
    }

    /// Judges what the lines say together.
    fn settle(&mut self) {
        let mut keys: HashMap<PublicKey, usize> = HashMap::new();
        for i in 0..self.quick.peers.len() {
            let line = self.quick.peers[i].line;
            let is_seen = self.of_faulty("publickey", line, i);
            let message = match self.quick.peers[i].public_key {
                None if !is_seen => "missing: expected the peer's PublicKey".to_owned(),
                None => continue,
                Some(key) => match keys.insert(key, line) {
                    None => continue,
                    Some(first) => format!("expected another key than that of line {first}'s peer"),
                },
            };
            self.fault(line, 1, "PublicKey".to_owned(), None, &message);
        }
        let (peers, left_out) = (&mut self.quick.peers, &mut self.quick.left_out);
        super::settle::leave_multicast_out(peers, left_out);
        super::settle::give_prefixes_to_the_last(peers, left_out);
        super::settle::leave_idle_peers_out(peers, left_out);
    }

    /// Whether a key of the peer that begins on a line has been reported already.
    fn of_faulty(&self, known: &str, line: usize, index: usize) -> bool {
        let next = self.quick.peers.get(index + 1).map_or(usize::MAX, |peer| peer.line);
        let of_peer = self.faults.iter().filter(|fault| (line..next).contains(&fault.line));
        of_peer.into_iter().any(|fault| fault.key.eq_ignore_ascii_case(known))
    }

    fn fault(
        &mut self,
        line: usize,
        column: usize,
        key: String,
        value: Option<String>,
        message: &str,
    ) {
        self.faults.push(Fault { line, column, key, value, message: message.to_owned() });
    }
}

impl Line<'_> {
    /// Reads a key that must not be shown; the key of zeros is none, as with `wg`.
    fn secret<K>(&self) -> Result<Option<OnLine<K>>, String>
    where
        K: FromStr<Err = crate::transport::wireguard::KeyError>,
    {
        match value::secret(self.value)? {
            Some(value) => Ok(Some(OnLine { line: self.number, value })),
            None => Ok(None),
        }
    }
}

/// Gives a value as one short line, without what a comment must not have.
fn cut(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests;
