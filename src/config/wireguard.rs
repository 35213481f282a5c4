//! `[wireguard]`, and the keys that only a wireguard peer has.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::transport::wireguard::{PrivateKey, PublicKey};

use super::host_port::HostPort;
use super::section::{Draft, Section, WordOrNumber};
use super::{Peer, Transport, defaults, listen, peer};

/// What stands for a public key that could not be read, beside the fault that says so.
const NO_KEY: PublicKey = PublicKey::from_bytes([0; 32]);

/// The keys of a peer that only a wireguard peer has.
pub(super) const PEER_KEYS: [&str; 4] =
    ["public_key", "preshared_key_file", "persistent_keepalive", "tunnel_ip"];

/// `[wireguard]`: our own end of all WireGuard tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireGuard {
    /// The address and port that datagrams arrive on and leave from; `::` is any address, IPv4 and
    /// IPv6 at once.
    pub listen: SocketAddr,
    /// The file with our private key.
    pub private_key_file: PathBuf,
    /// Our address inside WireGuard, between which and the peers' VXLAN runs; there if a wireguard
    /// peer is in a tap network.
    pub tunnel_ip: Option<IpAddr>,
    /// A session older than this is renewed by its initiator, 2 to 120 s.
    pub rekey_after: Duration,
}

impl WireGuard {
    pub(super) fn read<'a>(root: &mut Section<'a>) -> Option<Draft<'a, Self>> {
        let mut table = root.table("wireguard")?;
        let rekey_after = table.number("rekey_after_secs", 2..=defaults::REKEY_AFTER_SECS);
        let wireguard = Self {
            listen: listen::read(&mut table, "[::]:51820", defaults::WIREGUARD_LISTEN),
            private_key_file: read_private_key_file(&mut table),
            tunnel_ip: read_tunnel_ip(&mut table),
            rekey_after: Duration::from_secs(
                rekey_after.unwrap_or(defaults::REKEY_AFTER_SECS).into(),
            ),
        };
        table.finish();
        Some(Draft { section: table, settings: wireguard })
    }
}

fn read_private_key_file(table: &mut Section<'_>) -> PathBuf {
    const EXPECTED: &str = "expected the path of a file with the output of `tunctl genkey`";
    table.missing("private_key_file", EXPECTED);
    read_path(table, "private_key_file", EXPECTED).unwrap_or_default()
}

fn read_path(section: &mut Section<'_>, key: &'static str, expected: &str) -> Option<PathBuf> {
    let path: String = section.value(key, expected)?;
    if path.is_empty() || path.contains('\0') {
        section.fault(key, expected);
        return None;
    }
    if path.parse::<PrivateKey>().is_ok() || PrivateKey::from_hex(&path).is_ok() {
        section.fault(key, format!("{expected}; this is the key itself"));
        return None;
    }
    Some(PathBuf::from(path))
}

/// Lets the paths of key files start in a directory.
pub(super) fn resolve_paths(
    wireguard: Option<&mut Draft<'_, WireGuard>>,
    peers: &mut [Draft<'_, Peer>],
    directory: &Path,
) {
    if let Some(WireGuard { private_key_file, .. }) = wireguard.map(|draft| &mut draft.settings) {
        *private_key_file = directory.join(&*private_key_file);
    }
    for draft in peers {
        if let Transport::WireGuard(peer) = &mut draft.settings.transport
            && let Some(path) = &mut peer.preshared_key_file
        {
            *path = directory.join(&*path);
        }
    }
}

fn read_tunnel_ip(section: &mut Section<'_>) -> Option<IpAddr> {
    const EXPECTED: &str = "expected a unicast address, such as \"10.255.0.1\"";
    let address = section.parsed::<IpAddr>("tunnel_ip", EXPECTED)?.to_canonical();
    if !peer::is_host(address) || address.is_loopback() {
        section.fault("tunnel_ip", EXPECTED);
        return None;
    }
    Some(address)
}

/// What WireGuard knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireGuardPeer {
    /// Where the peer is; none = where it last sent from.
    pub endpoint: Option<HostPort>,
    /// Who the peer is; unique.
    pub public_key: PublicKey,
    /// The file with the key that both ends share beside their own.
    pub preshared_key_file: Option<PathBuf>,
    /// After so long without anything sent an empty packet is; none = never.
    pub persistent_keepalive: Option<Duration>,
    /// The peer's address inside WireGuard, of the family of ours and unique; there if the peer is
    /// in a tap network.
    pub tunnel_ip: Option<IpAddr>,
}

impl WireGuardPeer {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        const PRESHARED: &str = "expected the path of a file with the output of `tunctl genpsk`";
        Self {
            endpoint: peer::read_host_port(section, 51_820),
            public_key: read_public_key(section),
            preshared_key_file: read_path(section, "preshared_key_file", PRESHARED),
            persistent_keepalive: read_keepalive(section),
            tunnel_ip: read_tunnel_ip(section),
        }
    }
}

fn read_public_key(section: &mut Section<'_>) -> PublicKey {
    const EXPECTED: &str = "expected the peer's public key, the output of `tunctl pubkey` there: \
                            44 characters of base64";
    section.missing("public_key", EXPECTED);
    section.parsed("public_key", EXPECTED).unwrap_or(NO_KEY)
}

fn read_keepalive(section: &mut Section<'_>) -> Option<Duration> {
    const EXPECTED: &str = "expected \"off\" or seconds from 0 to 65535; 0 is off";
    let secs = match section.value("persistent_keepalive", EXPECTED)? {
        WordOrNumber::Word(word) if word == "off" => return None,
        WordOrNumber::Word(_) => None,
        WordOrNumber::Number(number) => u16::try_from(number).ok(),
    };
    if secs.is_none() {
        section.fault("persistent_keepalive", EXPECTED);
    }
    secs.filter(|secs| *secs != 0).map(|secs| Duration::from_secs(secs.into()))
}
