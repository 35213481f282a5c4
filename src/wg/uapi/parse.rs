//! Reads a change: the lines between `set=1` and the blank line.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str;

use ipnet::IpNet;
use nix::errno::Errno;
use thiserror::Error;

use super::{AllowedIp, PeerSet, Set};
use crate::transport::wireguard::{KeyError, PresharedKey, PrivateKey, PublicKey};

/// The longest line, bytes: what wireguard-go takes (`bufio.MaxScanTokenSize`).
pub const LINE_LEN_MAX: usize = 64 * 1024;

/// The most changes of peers in one request: as many as wireguard-go has peers (`MaxPeers`).
pub const PEERS_MAX: usize = 1 << 16;

/// So much of a key that is not known is shown, characters.
const SHOWN_LEN: usize = 32;

/// Why a change is refused as a whole. It never shows a value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A line without `=`.
    #[error("line {line}: expected key=value")]
    NoValue {
        /// Counted from 1, without the line of the operation.
        line: usize,
    },
    /// A line that is too long.
    #[error("line {line} has {len} bytes, expected at most {LINE_LEN_MAX}")]
    LineTooLong {
        /// Counted from 1, without the line of the operation.
        line: usize,
        /// Its length, bytes.
        len: usize,
    },
    /// A key that is not of this protocol, or not where it stands.
    #[error("line {line}: {key:?} is no key of {place}")]
    UnknownKey {
        /// Counted from 1, without the line of the operation.
        line: usize,
        /// The key, shortened.
        key: String,
        /// Whose keys would be right: an interface's or a peer's.
        place: &'static str,
    },
    /// A value that the key cannot have.
    #[error("line {line}: {key}: expected {expected}")]
    Value {
        /// Counted from 1, without the line of the operation.
        line: usize,
        /// The key.
        key: &'static str,
        /// What it can have.
        expected: &'static str,
    },
    /// Too many peers.
    #[error("line {line}: more than {PEERS_MAX} peers in one request")]
    TooManyPeers {
        /// Counted from 1, without the line of the operation.
        line: usize,
    },
}

impl Refusal {
    /// Gives the error number that wireguard-go answers.
    pub fn errno(&self) -> Errno {
        match self {
            Self::NoValue { .. } => Errno::EPROTO,
            Self::LineTooLong { .. } => Errno::EIO,
            Self::UnknownKey { .. } | Self::Value { .. } | Self::TooManyPeers { .. } => {
                Errno::EINVAL
            }
        }
    }
}

/// Reads the lines of a change. `zone` gives the index of the interface of that name, for an
/// endpoint such as `[fe80::1%eth0]:51820`.
///
/// # Errors
///
/// See [`Refusal`].
pub fn parse(lines: &[u8], zone: &dyn Fn(&str) -> Option<u32>) -> Result<Set, Refusal> {
    let mut set = Set::default();
    let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
    if lines.is_empty() {
        return Ok(set);
    }
    for (i, bytes) in lines.split(|byte| *byte == b'\n').enumerate() {
        let line = Line::split(i + 1, bytes, zone)?;
        match set.peers.last_mut() {
            _ if line.key == b"public_key" => {
                if set.peers.len() == PEERS_MAX {
                    return Err(Refusal::TooManyPeers { line: line.number });
                }
                set.peers.push(PeerSet::new(line.public_key()?));
            }
            Some(peer) => line.apply_to_peer(peer)?,
            None => line.apply_to_interface(&mut set)?,
        }
    }
    set.peers.iter_mut().filter(|peer| peer.remove).for_each(forget_the_rest);
    Ok(set)
}

/// Of a peer that is removed nothing else is said.
fn forget_the_rest(peer: &mut PeerSet) {
    *peer = PeerSet { remove: true, ..PeerSet::new(peer.public_key) };
}

/// One line and what is needed to read it.
struct Line<'a> {
    number: usize,
    key: &'a [u8],
    value: &'a [u8],
    zone: &'a dyn Fn(&str) -> Option<u32>,
}

impl<'a> Line<'a> {
    fn split(
        number: usize,
        bytes: &'a [u8],
        zone: &'a dyn Fn(&str) -> Option<u32>,
    ) -> Result<Self, Refusal> {
        if bytes.len() > LINE_LEN_MAX {
            return Err(Refusal::LineTooLong { line: number, len: bytes.len() });
        }
        let mut halves = bytes.splitn(2, |byte| *byte == b'=');
        match (halves.next(), halves.next()) {
            (Some(key), Some(value)) => Ok(Self { number, key, value, zone }),
            _ => Err(Refusal::NoValue { line: number }),
        }
    }

    fn apply_to_interface(&self, set: &mut Set) -> Result<(), Refusal> {
        match self.key {
            b"private_key" => {
                let key = self.text().map(PrivateKey::from_hex);
                set.private_key = Some(self.unless_zero("private_key", key)?);
            }
            b"listen_port" => {
                set.listen_port = Some(self.number("listen_port", "a port from 0 to 65535")?);
            }
            b"fwmark" => {
                set.fwmark = Some(self.number("fwmark", "a number from 0 to 4294967295")?);
            }
            b"replace_peers" => set.replace_peers = self.is_true("replace_peers")?,
            _ => return Err(self.unknown("an interface")),
        }
        Ok(())
    }

    fn apply_to_peer(&self, peer: &mut PeerSet) -> Result<(), Refusal> {
        match self.key {
            b"remove" => peer.remove = self.is_true("remove")?,
            b"update_only" => peer.update_only = self.is_true("update_only")?,
            b"preshared_key" => {
                let key = self.text().map(PresharedKey::from_hex);
                peer.preshared_key = Some(self.unless_zero("preshared_key", key)?);
            }
            b"endpoint" => peer.endpoint = Some(self.endpoint()?),
            b"persistent_keepalive_interval" => {
                let seconds =
                    self.number("persistent_keepalive_interval", "seconds from 0 to 65535")?;
                peer.persistent_keepalive_interval = Some(seconds);
            }
            b"replace_allowed_ips" => {
                peer.replace_allowed_ips = self.is_true("replace_allowed_ips")?;
                // Lines count one after the other: this one removes what is there by now.
                peer.allowed_ips.clear();
            }
            b"allowed_ip" => peer.allowed_ips.push(self.allowed_ip()?),
            b"protocol_version" if self.value == b"1" => {}
            b"protocol_version" => return Err(self.wrong("protocol_version", "1")),
            _ => return Err(self.unknown("a peer")),
        }
        Ok(())
    }

    fn public_key(&self) -> Result<PublicKey, Refusal> {
        self.text()
            .and_then(|text| PublicKey::from_hex(text).ok())
            .ok_or_else(|| self.wrong("public_key", "64 hex digits that are not all zero"))
    }

    /// A secret of zeros means that there is none.
    fn unless_zero<K>(
        &self,
        name: &'static str,
        key: Option<Result<K, KeyError>>,
    ) -> Result<Option<K>, Refusal> {
        match key {
            Some(Ok(key)) => Ok(Some(key)),
            Some(Err(KeyError::Zero)) => Ok(None),
            _ => Err(self.wrong(name, "64 hex digits")),
        }
    }

    fn number<N: str::FromStr>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<N, Refusal> {
        // Rust would take a sign as well.
        let digits = self.text().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| self.wrong(name, expected))
    }

    fn is_true(&self, name: &'static str) -> Result<bool, Refusal> {
        if self.value == b"true" { Ok(true) } else { Err(self.wrong(name, "true")) }
    }

    fn endpoint(&self) -> Result<SocketAddr, Refusal> {
        self.text()
            .and_then(|text| text.parse().ok().or_else(|| self.scoped_endpoint(text)))
            .ok_or_else(|| self.wrong("endpoint", "an address with a port"))
    }

    /// Reads an endpoint whose zone is the name of an interface.
    fn scoped_endpoint(&self, text: &str) -> Option<SocketAddr> {
        let (address, port) = text.strip_prefix('[')?.split_once("]:")?;
        let (address, zone) = address.split_once('%')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = port.parse().ok().filter(|_| !port.starts_with('+'))?;
        Some(SocketAddrV6::new(address, port, 0, (self.zone)(zone)?).into())
    }

    fn allowed_ip(&self) -> Result<AllowedIp, Refusal> {
        let wrong = || self.wrong("allowed_ip", "a prefix such as 10.0.0.0/8, or -10.0.0.0/8");
        let text = self.text().ok_or_else(wrong)?;
        let (text, change): (_, fn(IpNet) -> AllowedIp) = match text.strip_prefix('-') {
            Some(text) => (text, AllowedIp::Remove),
            None => (text, AllowedIp::Add),
        };
        let (address, len) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let len = Some(len).filter(|len| len.bytes().all(|byte| byte.is_ascii_digit()));
        let len = len.and_then(|len| len.parse().ok()).ok_or_else(wrong)?;
        Ok(change(IpNet::new(address, len).map_err(|_| wrong())?.trunc()))
    }

    fn text(&self) -> Option<&'a str> {
        str::from_utf8(self.value).ok()
    }

    fn wrong(&self, key: &'static str, expected: &'static str) -> Refusal {
        Refusal::Value { line: self.number, key, expected }
    }

    fn unknown(&self, place: &'static str) -> Refusal {
        let key = String::from_utf8_lossy(self.key).chars().take(SHOWN_LEN).collect();
        Refusal::UnknownKey { line: self.number, key, place }
    }
}
