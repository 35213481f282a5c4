//! `[quic]`, and the keys that only a quic peer has.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::transport::quic::{Fingerprint, Known};

use super::host_port::HostPort;
use super::section::{Draft, Section};
use super::{defaults, listen, peer};

/// The keys of a peer that only a quic peer has.
pub(super) const PEER_KEYS: [&str; 1] = ["certificate_sha256"];

/// The fewest bytes in flight of `congestion = "fixed"`: ten packets, as others begin with.
const WINDOW_BYTES_MIN: u32 = 12_000;

/// The most: what a path of 10 Gbit/s and 800 ms holds.
const WINDOW_BYTES_MAX: u32 = 1 << 30;

/// The most `max_handshakes`: each takes some 100 KiB while it lasts.
const HANDSHAKES_MAX: u32 = 65_536;

/// `[quic]`: our own end of all QUIC connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quic {
    /// The address and port that datagrams arrive on and leave from; `::` is any address, IPv4 and
    /// IPv6 at once.
    pub listen: SocketAddr,
    /// The file with our certificate, and those between it and its authority.
    pub certificate_file: PathBuf,
    /// The file with our private key.
    pub private_key_file: PathBuf,
    /// The file with the certificates of authorities; there if a peer is known by its name.
    pub ca_file: Option<PathBuf>,
    /// The file with the certificate revocation lists of these authorities.
    pub crl_file: Option<PathBuf>,
    /// How much may be in flight to a peer.
    pub congestion: Congestion,
    /// Incoming handshakes at once.
    pub max_handshakes: u32,
}

/// How much may be in flight to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// CUBIC, which a few losses do not slow down where the queue on the path is short.
    Tolerant,
    /// CUBIC (RFC 9438).
    Cubic,
    /// BBR (draft-ietf-ccwg-bbr).
    Bbr,
    /// NewReno (RFC 9002 section 7).
    NewReno,
    /// Always the same, whatever is lost: for paths that nobody else uses.
    Fixed {
        /// Bytes in flight.
        window_bytes: u32,
    },
}

impl Quic {
    pub(super) fn read<'a>(root: &mut Section<'a>) -> Option<Draft<'a, Self>> {
        const CERTIFICATE: &str = "expected the path of a file with our certificate, as `tunctl \
                                   gencert` writes it";
        const KEY: &str = "expected the path of a file with the certificate's private key";
        const CA: &str = "expected the path of a file with certificates of authorities";
        const CRL: &str = "expected the path of a file with certificate revocation lists";
        let mut table = root.table("quic")?;
        let handshakes = table.number("max_handshakes", 1..=HANDSHAKES_MAX);
        table.missing("certificate_file", CERTIFICATE);
        table.missing("private_key_file", KEY);
        let quic = Self {
            listen: listen::read(&mut table, "[::]:4433", defaults::QUIC_LISTEN),
            certificate_file: read_path(&mut table, "certificate_file", CERTIFICATE)
                .unwrap_or_default(),
            private_key_file: read_path(&mut table, "private_key_file", KEY).unwrap_or_default(),
            ca_file: read_path(&mut table, "ca_file", CA),
            crl_file: read_path(&mut table, "crl_file", CRL),
            congestion: read_congestion(&mut table),
            max_handshakes: handshakes.unwrap_or(defaults::MAX_HANDSHAKES),
        };
        if table.has("crl_file") && !table.has("ca_file") {
            let expected = "expected quic.ca_file beside it: lists are taken from authorities only";
            table.fault("crl_file", expected);
        }
        table.finish();
        Some(Draft { section: table, settings: quic })
    }
}

fn read_path(table: &mut Section<'_>, key: &'static str, expected: &str) -> Option<PathBuf> {
    let path: String = table.value(key, expected)?;
    if path.contains("-----BEGIN") {
        table.fault(key, format!("{expected}; this is what should be in the file"));
        return None;
    }
    if path.is_empty() || path.contains('\0') {
        table.fault(key, expected);
        return None;
    }
    Some(PathBuf::from(path))
}

fn read_congestion(table: &mut Section<'_>) -> Congestion {
    const EXPECTED: &str = "expected \"tolerant\", \"cubic\", \"bbr\", \"newreno\" or \"fixed\"";
    let window_bytes = table.number("window_bytes", WINDOW_BYTES_MIN..=WINDOW_BYTES_MAX);
    let word: Option<String> = table.value("congestion", EXPECTED);
    let congestion = match word.as_deref() {
        None => defaults::CONGESTION,
        Some("tolerant") => Congestion::Tolerant,
        Some("cubic") => Congestion::Cubic,
        Some("bbr") => Congestion::Bbr,
        Some("newreno") => Congestion::NewReno,
        Some("fixed") => {
            table.missing("window_bytes", "expected the bytes in flight, as congestion is fixed");
            Congestion::Fixed { window_bytes: window_bytes.unwrap_or(WINDOW_BYTES_MIN) }
        }
        Some(_) => {
            table.fault("congestion", EXPECTED);
            return defaults::CONGESTION;
        }
    };
    let is_fixed = matches!(congestion, Congestion::Fixed { .. });
    if !is_fixed && table.has("window_bytes") && table.is_sound("congestion") {
        table.fault("window_bytes", "expected congestion = \"fixed\" beside it");
    }
    congestion
}

/// Lets the paths of files start in a directory.
pub(super) fn resolve_paths(quic: Option<&mut Draft<'_, Quic>>, directory: &Path) {
    let Some(quic) = quic.map(|draft| &mut draft.settings) else { return };
    let paths = [&mut quic.certificate_file, &mut quic.private_key_file];
    for path in paths.into_iter().chain(&mut quic.ca_file).chain(&mut quic.crl_file) {
        *path = directory.join(&*path);
    }
}

/// What QUIC knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicPeer {
    /// Where the peer is; none = it dials.
    pub endpoint: Option<HostPort>,
    /// The peer's certificate; none = one with the peer's name, of an authority.
    pub certificate_sha256: Option<Fingerprint>,
}

impl QuicPeer {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        const EXPECTED: &str = "expected the SHA-256 of the peer's certificate, as `tunctl gencert` \
                                printed it there: 64 hex digits";
        Self {
            endpoint: peer::read_host_port(section, 4433),
            certificate_sha256: section.parsed("certificate_sha256", EXPECTED),
        }
    }

    /// Tells how the peer with this name is known.
    pub fn known(&self, name: &str) -> Known {
        match self.certificate_sha256 {
            Some(fingerprint) => Known::Fingerprint(fingerprint),
            None => Known::Name(name.to_owned()),
        }
    }
}
