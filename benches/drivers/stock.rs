//! quinn as it is: an endpoint and a connection at either end, each with their tasks.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, SendDatagramError, ServerConfig, TransportConfig};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite::TLS13_AES_128_GCM_SHA256, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::task;
use tunctl::transport::quic::issue::{Authority, Dates};

use super::{PAYLOAD, Sample, Tally};

/// The queue at either end, bytes: as much as ours may be.
const QUEUE: usize = 1 << 20;

const NAME: &str = "b";

/// Sends and receives for a while; either end has a thread, as ours has.
pub fn run(time: Duration) -> Sample {
    let (client, server) = configs();
    let arrived = AtomicU64::new(0);
    let (stop, over) = watch::channel(());
    let (tell, told) = oneshot::channel();
    let (first, news) = mpsc::channel();
    let tally = Tally { bytes: &arrived, first };
    let sample = thread::scope(|scope| {
        let until = over.clone();
        scope.spawn(|| alone(until, accept(server, tell, tally)));
        scope.spawn(|| alone(over, dial(client, told)));
        let sample = Sample::of(time, &arrived, &news);
        drop(stop);
        sample
    });
    sample.expect("datagrams arrive")
}

/// A runtime for an end, until it is `over`.
fn alone(mut over: watch::Receiver<()>, end: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        tokio::select! {
            biased;
            _ = over.changed() => {}
            () = end => panic!("the connection has ended"),
        }
    });
}

async fn accept(config: ServerConfig, tell: oneshot::Sender<SocketAddr>, tally: Tally<'_>) {
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    tell.send(endpoint.local_addr().expect("it is bound")).expect("the other waits");
    let connection = endpoint.accept().await.expect("it is open").await.expect("a connection");
    while let Ok(datagram) = connection.read_datagram().await {
        tally.add(datagram.len() as u64);
    }
}

async fn dial(config: ClientConfig, told: oneshot::Receiver<SocketAddr>) {
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let connecting = endpoint
        .connect_with(config, told.await.expect("the other is bound"), NAME)
        .expect("sound");
    let connection = connecting.await.expect("a connection");
    let datagram = Bytes::from(vec![0x5a; PAYLOAD]);
    loop {
        match connection.send_datagram_wait(datagram.clone()).await {
            Ok(()) => {}
            // The path is not known yet.
            Err(SendDatagramError::TooLarge) => task::yield_now().await,
            Err(_) => return,
        }
    }
}

fn configs() -> (ClientConfig, ServerConfig) {
    let dates = Dates { now: SystemTime::now(), days: 1 };
    let (authority, root) = Authority::generate("bench", dates).expect("sound");
    let issued = authority.issue(NAME, dates).expect("sound");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root.certificate.as_bytes()).expect("sound"))
        .expect("sound");
    let client = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("sound")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
    let chain = chain.map(|der| der.expect("a certificate")).collect();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("sound");
    let server = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("sound")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("sound");
    let mut client =
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).expect("sound")));
    let server = QuicServerConfig::try_from(server).expect("sound");
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    client.transport_config(transport());
    server.transport_config(transport());
    (client, server)
}

/// Seals as ours does.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..default_provider() })
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(1500 - 28);
    transport
        .mtu_discovery_config(Some(discovery))
        .datagram_send_buffer_size(QUEUE)
        .datagram_receive_buffer_size(Some(QUEUE));
    Arc::new(transport)
}
