//! A dialler and an acceptor with a wire of memory between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Endpoint,
    EndpointConfig, Event, ServerConfig, Transmit, crypto,
};
use rustls::pki_types::CertificateDer;

use super::Agreed;

/// The most rounds of a handshake; a good one takes ten.
const ROUNDS_MAX: u32 = 100;

/// How the handshake ended for one end.
#[derive(Debug)]
pub(super) enum Ended {
    Connected(Connected),
    Lost(ConnectionError),
}

#[derive(Debug)]
pub(super) struct Connected {
    pub(super) agreed: Agreed,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) has_early_data: bool,
}

impl Ended {
    pub(super) fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }
}

struct End {
    address: SocketAddr,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    is_connected: bool,
    lost: Option<ConnectionError>,
}

/// Carries datagrams between both until neither has anything to say; gives how it ended for the
/// dialler and for the acceptor.
pub(super) fn handshake(
    dialler: Arc<dyn crypto::ClientConfig>,
    acceptor: Arc<dyn crypto::ServerConfig>,
) -> (Ended, Ended) {
    let mut now = Instant::now();
    let server = Arc::new(ServerConfig::with_crypto(acceptor));
    let (mut a, mut b) = (End::new(1, None), End::new(2, Some(server)));
    let config = ClientConfig::new(dialler);
    a.connection = Some(a.endpoint.connect(now, config, b.address, "any.invalid").unwrap());
    for _ in 0..ROUNDS_MAX {
        let sent = a.send(now);
        let is_quiet = sent.is_empty();
        b.receive(now, a.address, sent);
        let sent = b.send(now);
        let is_quiet = is_quiet && sent.is_empty();
        a.receive(now, b.address, sent);
        if is_quiet && a.is_done() && b.is_done() {
            break;
        }
        // On a wire that takes no time the timers are short: whoever has something to say says it.
        if is_quiet {
            now += Duration::from_millis(10);
            a.pass_time(now);
            b.pass_time(now);
        }
    }
    (a.ended(), b.ended())
}

impl End {
    fn new(host: u8, server: Option<Arc<ServerConfig>>) -> Self {
        let endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), server, false, None);
        let address = SocketAddr::new(Ipv4Addr::new(192, 0, 2, host).into(), 4433);
        Self { address, endpoint, connection: None, is_connected: false, lost: None }
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, arrived: Vec<BytesMut>) {
        for datagram in arrived {
            let mut answer = Vec::new();
            match self.endpoint.handle(now, from, None, None, datagram, &mut answer) {
                Some(DatagramEvent::NewConnection(incoming)) => {
                    let accepted = self.endpoint.accept(incoming, now, &mut answer, None);
                    match accepted {
                        Ok(accepted) => self.connection = Some(accepted),
                        Err(error) => self.lost = Some(error.cause),
                    }
                }
                Some(DatagramEvent::ConnectionEvent(_, event)) => {
                    if let Some((_, connection)) = &mut self.connection {
                        connection.handle_event(event);
                    }
                }
                Some(DatagramEvent::Response(_)) | None => {}
            }
            self.note_events();
        }
    }

    fn send(&mut self, now: Instant) -> Vec<BytesMut> {
        let Some((_, connection)) = &mut self.connection else { return Vec::new() };
        let mut sent = Vec::new();
        let mut buffer = Vec::new();
        while let Some(Transmit { size, .. }) = connection.poll_transmit(now, 1, &mut buffer) {
            sent.push(BytesMut::from(&buffer[..size]));
            buffer.clear();
        }
        sent
    }

    fn pass_time(&mut self, now: Instant) {
        if let Some((_, connection)) = &mut self.connection {
            connection.handle_timeout(now);
        }
        self.note_events();
    }

    fn note_events(&mut self) {
        let Some((handle, connection)) = &mut self.connection else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected => self.is_connected = true,
                Event::ConnectionLost { reason } => self.lost = Some(reason),
                _ => {}
            }
        }
    }

    /// A dialler is done only when the other end has confirmed that it takes it.
    fn is_done(&self) -> bool {
        let Some((_, connection)) = &self.connection else { return self.lost.is_some() };
        let is_confirmed =
            connection.side().is_server() || connection.stats().frame_rx.handshake_done > 0;
        self.lost.is_some() || (self.is_connected && is_confirmed)
    }

    fn ended(self) -> Ended {
        if let Some(reason) = self.lost {
            return Ended::Lost(reason);
        }
        assert!(self.is_connected, "{} neither connected nor lost", self.address);
        let (_, connection) = self.connection.expect("it is connected");
        let session = connection.crypto_session();
        let agreed = session.handshake_data().and_then(|data| data.downcast().ok());
        let chain = session.peer_identity().and_then(|chain| chain.downcast().ok());
        Ended::Connected(Connected {
            agreed: agreed.map_or(Agreed { group: None, cipher: None }, |agreed| *agreed),
            chain: chain.map_or_else(Vec::new, |chain| *chain),
            has_early_data: session.early_crypto().is_some(),
        })
    }
}
