//! What floods of the QUIC port are made of.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, Endpoint, EndpointConfig};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};

use crate::stranger::ALPN;
use crate::stream::Random;

/// The fewest bytes of a datagram with an Initial (RFC 9000 section 14.1).
const INITIAL_LEN: usize = 1200;

/// What a flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Datagrams of all types and lengths that mean nothing, half of them with an Initial's header.
    Garbage,
    /// Initials with a whole ClientHello, each with IDs and a key of its own.
    Hellos,
}

/// Makes one message after the other.
pub type Messages = Box<dyn FnMut(&mut Random) -> Vec<u8>>;

impl Kind {
    /// Gives what makes messages.
    pub fn messages(self) -> Messages {
        match self {
            Self::Garbage => Box::new(garbage),
            Self::Hellos => {
                let mut clients = Clients::new();
                Box::new(move |_| clients.hello())
            }
        }
    }
}

fn garbage(random: &mut Random) -> Vec<u8> {
    let kind = random.next() % 4;
    let len = match kind {
        3 => 1 + random.next() as usize % 1400,
        _ => INITIAL_LEN,
    };
    let mut message = random.bytes(len);
    if kind == 3 {
        return message;
    }
    let version = if kind == 2 { 0x0a0a_0a0a_u32 } else { 1 };
    // Eight bytes are the shortest ID to begin with, and as long as those that we give.
    let token_len = if kind == 1 { 60 } else { 0 };
    message[0] = 0xc0 | message[0] & 0x0f;
    message[1..5].copy_from_slice(&version.to_be_bytes());
    (message[5], message[14], message[23]) = (8, 8, token_len);
    let at = 24 + usize::from(token_len);
    let left = (INITIAL_LEN - at - 2) as u16;
    message[at..at + 2].copy_from_slice(&(0x4000 | left).to_be_bytes());
    message
}

/// Makes clients that say one thing each.
struct Clients {
    endpoint: Endpoint,
    config: ClientConfig,
}

impl Clients {
    fn new() -> Self {
        // The smaller key fits in one datagram, and has the other end do all that it ever does for
        // one.
        let provider = CryptoProvider { kx_groups: vec![kx_group::X25519], ..default_provider() };
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.into()];
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        Self { endpoint, config }
    }

    fn hello(&mut self) -> Vec<u8> {
        let (now, to) = (Instant::now(), SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        let connected = self.endpoint.connect(now, self.config.clone(), to, "tunctl");
        let (_, mut connection) = connected.unwrap();
        let mut message = vec![];
        assert!(connection.poll_transmit(now, 1, &mut message).is_some(), "a first message");
        message
    }
}
