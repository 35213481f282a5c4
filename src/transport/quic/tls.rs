//! TLS as both ends of a tunnel do it: version 1.3 only, both certificates checked, one protocol,
//! no resumption and no early data.

use std::fmt;
use std::sync::Arc;

use quinn_proto::crypto;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{
    CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::version::TLS13;
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme, SupportedCipherSuite};
use thiserror::Error;

use super::certificate::Credentials;
use super::refusal::Refusal;
use super::session::{Acceptor, Dialler};
use super::trust::Trust;
use crate::peer::PeerId;

/// What both ends call their protocol (RFC 7301).
pub const ALPN: &[u8] = b"tunctl/1";

/// The groups that keys are agreed in, the best first: the hybrid one also withstands who stores
/// what is sent and has a quantum computer later (draft-ietf-tls-ecdhe-mlkem).
static GROUPS: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

/// Why there is no TLS.
#[derive(Debug, Error)]
#[error("cannot set up TLS 1.3: {0}")]
pub struct TlsError(#[from] rustls::Error);

/// Our end of all handshakes: who we are, and whom we take.
pub struct Tls {
    credentials: Credentials,
    trust: Arc<Trust>,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn TimeProvider>,
    acceptor: Arc<Acceptor>,
}

impl Tls {
    /// Makes it, with the system's clock for the dates of certificates.
    ///
    /// # Errors
    ///
    /// Where the library refuses what it itself has.
    pub fn new(credentials: Credentials, trust: Trust) -> Result<Self, TlsError> {
        Self::with_clock(credentials, trust, Arc::new(DefaultTimeProvider))
    }

    /// Makes it with a clock for the dates of certificates.
    ///
    /// # Errors
    ///
    /// As [`Tls::new`].
    pub fn with_clock(
        credentials: Credentials,
        trust: Trust,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let trust = Arc::new(trust);
        let verifier = Verifier { trust: Arc::clone(&trust), peer: None };
        let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::clone(&clock));
        let mut server = builder
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.certified_key())));
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.max_early_data_size = 0;
        let acceptor = Arc::new(Acceptor::new(Arc::new(server))?);
        Ok(Self { credentials, trust, provider, clock, acceptor })
    }

    /// Gives what incoming handshakes are done by: any of the peers may be at the other end.
    pub fn server(&self) -> Arc<dyn crypto::ServerConfig> {
        Arc::clone(&self.acceptor) as Arc<dyn crypto::ServerConfig>
    }

    /// Gives what a handshake with one peer is begun by. The name that is given to the endpoint
    /// beside it is not looked at, nor sent.
    ///
    /// # Errors
    ///
    /// As [`Tls::new`].
    pub fn client(&self, peer: PeerId) -> Result<Arc<dyn crypto::ClientConfig>, TlsError> {
        let verifier = Verifier { trust: Arc::clone(&self.trust), peer: Some(peer) };
        let (provider, clock) = (Arc::clone(&self.provider), Arc::clone(&self.clock));
        let key = SingleCertAndKey::from(self.credentials.certified_key());
        let mut client = ClientConfig::builder_with_details(provider, clock)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(key));
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_early_data = false;
        client.enable_sni = false;
        Ok(Arc::new(Dialler::new(Arc::new(client))?))
    }

    /// Gives whom we take.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Gives who we are.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { credentials, trust, .. } = self;
        f.debug_struct("Tls")
            .field("credentials", credentials)
            .field("trust", trust)
            .finish_non_exhaustive()
    }
}

/// The algorithms, the fastest on this processor first.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: suites(has_aes()).to_vec(),
        kx_groups: GROUPS.to_vec(),
        ..default_provider()
    }
}

/// Both ciphers are good; AES is the faster one where the processor helps, and half as fast where
/// it does not. QUIC cannot do without the first (RFC 9001 section 5.2).
pub(super) fn suites(has_aes: bool) -> [SupportedCipherSuite; 3] {
    let (aes, chacha) =
        (cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256);
    let strong = cipher_suite::TLS13_AES_256_GCM_SHA384;
    if has_aes { [aes, chacha, strong] } else { [chacha, aes, strong] }
}

/// Whether the processor computes AES and GCM by itself.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has_aes = is_x86_feature_detected!("aes") && is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has_aes = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has_aes = false;
    has_aes
}

/// Judges the other end's certificate: as that of one peer, or of any.
#[derive(Debug)]
struct Verifier {
    trust: Arc<Trust>,
    peer: Option<PeerId>,
}

impl Verifier {
    fn check(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let chain: Vec<_> = std::iter::once(own).chain(others).cloned().collect();
        let judged = match self.peer {
            Some(peer) => self.trust.judge_as(peer, &chain, now),
            None => self.trust.judge(&chain, now).map(|_| ()),
        };
        judged.map_err(Refusal::to_rustls)
    }

    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        self.trust.algorithms()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(own, others, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _own: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(Refusal::WrongKey.to_rustls())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, own, signature, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    /// Nobody is told whom we trust.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(own, others, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _own: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(Refusal::WrongKey.to_rustls())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, own, signature, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}
