//! The cryptography of one connection: rustls as quinn-proto wants it.
//!
//! quinn-proto's own does the same, but does not tell what was agreed on, and gives the reason of a
//! refusal in rustls's words only.

use std::any::Any;
use std::io::Cursor;
use std::sync::Arc;

use aws_lc_rs::aead;
use quinn_proto::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn_proto::crypto::{
    self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
    UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::quic::{
    ClientConnection, Connection, KeyChange, Keys as TlsKeys, PacketKeySet, Secrets,
    ServerConnection, Suite, Version,
};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite};

use super::refusal::Refusal;

/// QUIC version 1 (RFC 9000), the only one.
pub const VERSION: u32 = 1;

/// The name that TLS wants to have of the other end. It is neither sent nor looked at.
const NAME: &str = "tunctl.invalid";

/// Key and nonce of the tag of Retry packets (RFC 9001 section 5.8).
const RETRY_KEY: [u8; 16] = [
    0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e,
];
const RETRY_NONCE: [u8; 12] =
    [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];

/// What both ends agreed on, for the status: `handshake_data()` of a connection is this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The group that the keys were agreed in; none until the handshake is done.
    pub group: Option<NamedGroup>,
    /// The cipher and hash.
    pub cipher: Option<CipherSuite>,
}

impl Agreed {
    /// Gives the group's name, as IANA has it; none for groups that we do not offer.
    pub fn group_name(&self) -> Option<&'static str> {
        self.group?.as_str()
    }

    /// Gives the cipher's name without what all ciphers of TLS 1.3 have in common.
    pub fn cipher_name(&self) -> Option<&'static str> {
        match self.cipher? {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("AES-128-GCM"),
            CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("AES-256-GCM"),
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("ChaCha20-Poly1305"),
            _ => None,
        }
    }
}

/// Begins handshakes.
pub(super) struct Dialler {
    config: Arc<rustls::ClientConfig>,
    initial: Suite,
}

impl Dialler {
    pub(super) fn new(config: Arc<rustls::ClientConfig>) -> Result<Self, rustls::Error> {
        let initial = initial_suite(&config.crypto_provider().cipher_suites)?;
        Ok(Self { config, initial })
    }
}

impl crypto::ClientConfig for Dialler {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        _name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        if version != VERSION {
            return Err(ConnectError::UnsupportedVersion);
        }
        let invalid = || ConnectError::InvalidServerName(NAME.to_owned());
        let name = ServerName::try_from(NAME).map_err(|_| invalid())?;
        let config = Arc::clone(&self.config);
        let connection = ClientConnection::new(config, Version::V1, name, bytes_of(params));
        let connection = connection.map_err(|_| invalid())?;
        Ok(Box::new(TlsSession::new(Connection::Client(connection), self.initial)))
    }
}

/// Answers handshakes.
pub(super) struct Acceptor {
    config: Arc<rustls::ServerConfig>,
    initial: Suite,
    /// Does what needs no handshake: Initial keys, Retry.
    stateless: QuicServerConfig,
}

impl Acceptor {
    pub(super) fn new(config: Arc<rustls::ServerConfig>) -> Result<Self, rustls::Error> {
        let initial = initial_suite(&config.crypto_provider().cipher_suites)?;
        let stateless = QuicServerConfig::try_from(Arc::clone(&config));
        let stateless = stateless.map_err(|error: NoInitialCipherSuite| no_suite(&error))?;
        Ok(Self { config, initial, stateless })
    }
}

impl crypto::ServerConfig for Acceptor {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        if version != VERSION {
            return Err(UnsupportedVersion);
        }
        self.stateless.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.stateless.retry_tag(version, orig_dst_cid, packet)
    }

    /// # Panics
    ///
    /// Panics if the system has no random numbers: then nothing here is safe.
    fn start_session(
        self: Arc<Self>,
        _version: u32,
        params: &TransportParameters,
    ) -> Box<dyn Session> {
        let config = Arc::clone(&self.config);
        let connection = ServerConnection::new(config, Version::V1, bytes_of(params));
        let connection = connection.expect("the configuration has TLS 1.3 and ciphers for QUIC");
        Box::new(TlsSession::new(Connection::Server(connection), self.initial))
    }
}

/// The suite of Initial packets (RFC 9001 section 5.2).
fn initial_suite(suites: &[SupportedCipherSuite]) -> Result<Suite, rustls::Error> {
    let is_initial =
        |suite: &&SupportedCipherSuite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256;
    let suite = suites.iter().find(is_initial).and_then(|suite| suite.tls13()?.quic_suite());
    suite.ok_or_else(|| no_suite(&"no AES-128-GCM"))
}

fn no_suite(reason: &dyn std::fmt::Display) -> rustls::Error {
    rustls::Error::General(reason.to_string())
}

fn bytes_of(params: &TransportParameters) -> Vec<u8> {
    let mut bytes = Vec::new();
    params.write(&mut bytes);
    bytes
}

/// The handshake of one connection, and the keys that come out of it.
struct TlsSession {
    connection: Connection,
    initial: Suite,
    next: Option<Secrets>,
    is_agreed: bool,
}

impl TlsSession {
    fn new(connection: Connection, initial: Suite) -> Self {
        Self { connection, initial, next: None, is_agreed: false }
    }

    fn side(&self) -> Side {
        match self.connection {
            Connection::Client(_) => Side::Client,
            Connection::Server(_) => Side::Server,
        }
    }

    /// Gives the reason of our refusal in our words, which the other end may understand.
    fn failed(&self, error: &rustls::Error) -> TransportError {
        let reason = Refusal::of_rustls(error).map(|refusal| refusal.to_string());
        let reason = reason.unwrap_or_else(|| error.to_string());
        let code = match self.connection.alert() {
            Some(alert) => TransportErrorCode::crypto(alert.into()),
            None => TransportErrorCode::PROTOCOL_VIOLATION,
        };
        let mut failed = TransportError::from(code);
        failed.reason = reason;
        failed
    }
}

impl Session for TlsSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        let side = match side {
            Side::Client => rustls::Side::Client,
            Side::Server => rustls::Side::Server,
        };
        quic_keys(self.initial.keys(dst_cid, side, Version::V1))
    }

    /// An [`Agreed`], from the end of the handshake on.
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        if !self.is_agreed {
            return None;
        }
        let group = self.connection.negotiated_key_exchange_group().map(|group| group.name());
        let cipher = self.connection.negotiated_cipher_suite().map(|suite| suite.suite());
        Some(Box::new(Agreed { group, cipher }))
    }

    /// A `Vec<CertificateDer<'static>>`, the other end's own first.
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let chain = self.connection.peer_certificates()?;
        let chain: Vec<CertificateDer<'static>> =
            chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Some(Box::new(chain))
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        match self.side() {
            Side::Client => Some(false),
            Side::Server => None,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.connection.read_hs(buf).map_err(|error| self.failed(&error))?;
        let is_news = !self.is_agreed && !self.connection.is_handshaking();
        self.is_agreed |= is_news;
        Ok(is_news)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(bytes) = self.connection.quic_transport_parameters() else { return Ok(None) };
        let read = TransportParameters::read(self.side(), &mut Cursor::new(bytes));
        Ok(Some(read.map_err(TransportError::from)?))
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        match self.connection.write_hs(buf)? {
            KeyChange::Handshake { keys } => Some(quic_keys(keys)),
            KeyChange::OneRtt { keys, next } => {
                self.next = Some(next);
                Some(quic_keys(keys))
            }
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let PacketKeySet { local, remote } = self.next.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(local), remote: Box::new(remote) })
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        let Some((payload, tag)) = payload.split_last_chunk::<16>() else { return false };
        // The pseudo-packet of RFC 9001 section 5.8 is what the tag speaks for; it seals nothing.
        let cid: &[u8] = orig_dst_cid;
        let pseudo = [&[cid.len() as u8][..], cid, header, payload].concat();
        let Ok(key) = aead::UnboundKey::new(&aead::AES_128_GCM, &RETRY_KEY) else { return false };
        let nonce = aead::Nonce::assume_unique_for_key(RETRY_NONCE);
        let mut tag = *tag;
        let key = aead::LessSafeKey::new(key);
        key.open_in_place(nonce, aead::Aad::from(pseudo), &mut tag).is_ok()
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let exported = self.connection.export_keying_material(output, label, Some(context));
        exported.map(|_| ()).map_err(|_| ExportKeyingMaterialError)
    }
}

fn quic_keys(keys: TlsKeys) -> Keys {
    let TlsKeys { local, remote } = keys;
    Keys {
        header: KeyPair { local: Box::new(local.header), remote: Box::new(remote.header) },
        packet: KeyPair { local: Box::new(local.packet), remote: Box::new(remote.packet) },
    }
}
