//! A QUIC client that shares no code with ours: `quinn` and `rustls` as anybody uses them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, EndpointConfig, TokioRuntime};
use rustls::RootCertStore;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::runtime::{Builder, Runtime};
use tunctl::lab::Host;

/// How long a handshake may take, and its refusal.
const PATIENCE: Duration = Duration::from_secs(10);

/// The protocol of our tunnels.
pub const ALPN: &str = "tunctl/1";

/// Who dials, and as whom.
pub struct Stranger<'a> {
    /// Certificates and a private key in PEM, which need not belong together; or none.
    pub paper: Option<(&'a str, &'a str)>,
    /// The authority that the other end's certificate has to be of, in PEM.
    pub trusts: &'a str,
    pub alpn: &'a str,
}

/// A client in a host. Its tasks go on only while something is waited for.
pub struct Client {
    runtime: Runtime,
    connection: Connection,
    _endpoint: Endpoint,
}

impl Stranger<'_> {
    /// Dials from a host until this end takes the handshake for completed.
    pub fn dial(&self, host: &Host, to: SocketAddr, name: &str) -> Result<Client, ConnectionError> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = host.run(|| std::net::UdpSocket::bind((any, 0))).unwrap();
        let config = QuicClientConfig::try_from(self.tls()).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(config));
        let dialled = runtime.block_on(async {
            let endpoint =
                Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime));
            let endpoint = endpoint.unwrap();
            let connecting = endpoint.connect_with(config, to, name).unwrap();
            let connection = tokio::time::timeout(PATIENCE, connecting).await;
            connection.expect("an answer in time").map(|connection| (connection, endpoint))
        });
        dialled.map(|(connection, endpoint)| Client { runtime, connection, _endpoint: endpoint })
    }

    /// Dials, and gives how the other end refuses it.
    ///
    /// # Panics
    ///
    /// Panics if it is not refused.
    #[track_caller]
    pub fn refused(&self, host: &Host, to: SocketAddr, name: &str) -> ConnectionError {
        match self.dial(host, to, name) {
            Err(error) => error,
            Ok(client) => client.runtime.block_on(async {
                let closed = tokio::time::timeout(PATIENCE, client.connection.closed()).await;
                closed.expect("a refusal in time")
            }),
        }
    }

    fn tls(&self) -> rustls::ClientConfig {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(self.trusts.as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.paper {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
                let chain = chain.map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
                // Not asked whether they belong together.
                let paper = Arc::new(CertifiedKey::new(chain, key));
                config.with_client_cert_resolver(Arc::new(Only(paper)))
            }
        };
        config.alpn_protocols = vec![self.alpn.into()];
        config
    }
}

impl Client {
    /// Sends a datagram as the tunnel's format has it: eight bytes, then the packet.
    pub fn send(&self, header: [u8; 8], packet: &[u8]) {
        let datagram = [&header[..], packet].concat();
        self.connection.send_datagram(datagram.into()).unwrap();
    }

    /// Gives the next datagram that `wanted` takes: its header and its packet.
    ///
    /// # Panics
    ///
    /// Panics if none comes.
    #[track_caller]
    pub fn expect(&self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> ([u8; 8], Vec<u8>) {
        self.runtime.block_on(async {
            let found = tokio::time::timeout(PATIENCE, async {
                loop {
                    let datagram = self.connection.read_datagram().await.unwrap();
                    let (header, packet) = datagram.split_first_chunk().expect("eight bytes");
                    if wanted(packet) {
                        return (*header, packet.to_vec());
                    }
                }
            });
            found.await.unwrap_or_else(|_| panic!("{what}: no such datagram"))
        })
    }
}

/// The one certificate that there is, whatever is asked for.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesClientCert for Only {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
