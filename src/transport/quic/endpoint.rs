//! Which connection a datagram belongs to, and whether it may begin one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, ConnectError, ConnectionEvent, ConnectionHandle, DatagramEvent, EcnCodepoint,
    Endpoint, EndpointConfig, EndpointEvent, Incoming, ServerConfig, Transmit,
    ValidationTokenConfig,
};
use thiserror::Error;

use super::connection::{Link, State};
use super::gate::{Gate, HANDSHAKES_UNPROVEN};
use super::ids::Ids;
use super::settings::Settings;
use super::tls::{Tls, TlsError};
use crate::drops::DropReason;
use crate::peer::PeerId;
use crate::transport::Received;

/// The largest UDP payload that we take.
const PAYLOAD_MAX: u16 = 65_527;

/// Resets for connections that we do not know: a restarted daemon has many at once.
const RESET_INTERVAL: Duration = Duration::from_micros(200);

/// Bytes that are kept of a connection that is not accepted yet: it is accepted at once.
const INCOMING_BYTES: u64 = 4096;
const INCOMING_BYTES_ALL: u64 = 64 * 1024;
const INCOMING_MAX: usize = 8;

/// The name in the handshake: who is meant is judged by the certificate alone.
const SERVER_NAME: &str = "tunctl";

/// Why a peer cannot be dialled.
#[derive(Debug, Error)]
pub(super) enum DialError {
    /// The handshake cannot be begun.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be one.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// What a datagram is.
pub(super) enum Arrival {
    /// A part of a connection.
    Part(Arc<Link>, ConnectionEvent),
    /// The begin of one.
    New(Arc<Link>),
    /// Something to answer without one; the answer is in the buffer.
    Answer(Transmit),
    /// Nothing that is of use.
    Nothing(DropReason),
}

/// What may become of who asks for a connection.
pub(super) struct Load {
    /// A peer is thought to be there.
    pub(super) is_known: bool,
    /// Handshakes of others that are under way.
    pub(super) handshakes: usize,
    /// What the way back may take, bytes of a datagram.
    pub(super) payload_max: u16,
}

/// All connections by their IDs.
pub(super) struct Front {
    endpoint: Endpoint,
    links: Vec<Option<Arc<Link>>>,
    gate: Gate,
    server: Arc<ServerConfig>,
    settings: Settings,
    next_id: AtomicU64,
    start: Instant,
}

impl Front {
    pub(super) fn new(tls: &Tls, settings: Settings, now: Instant) -> Self {
        let server = Arc::new(server_config(tls, settings));
        let key = hmac::Key::new(hmac::HMAC_SHA256, tls.credentials().reset_secret());
        let ids = Ids::new(&key);
        let config = Arc::new(endpoint_config(key, ids.clone()));
        Self {
            // The sockets set DF on everything.
            endpoint: Endpoint::new(config, Some(Arc::clone(&server)), true, None),
            links: Vec::new(),
            gate: Gate::new(ids, now),
            server,
            settings,
            next_id: AtomicU64::new(0),
            start: now,
        }
    }

    /// Uses another certificate, or other ones to judge by, for what begins from now on.
    pub(super) fn set_tls(&mut self, tls: &Tls) {
        self.server = Arc::new(server_config(tls, self.settings));
        self.endpoint.set_server_config(Some(Arc::clone(&self.server)));
    }

    /// Dials a peer.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        tls: &Tls,
        peer: PeerId,
        to: SocketAddr,
        payload_max: u16,
    ) -> Result<Arc<Link>, DialError> {
        let mut config = ClientConfig::new(tls.client(peer)?);
        config.transport_config(Arc::new(self.settings.transport(payload_max)));
        let (handle, connection) = self.endpoint.connect(now, config, to, SERVER_NAME)?;
        let state = State::new(connection, handle, Some(peer), payload_max, self.start, now);
        Ok(self.insert(handle, state))
    }

    fn insert(&mut self, handle: ConnectionHandle, state: State) -> Arc<Link> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let link = Arc::new(Link::new(id, state));
        if self.links.len() <= handle.0 {
            self.links.resize(handle.0 + 1, None);
        }
        self.links[handle.0] = Some(Arc::clone(&link));
        link
    }

    /// Says what a datagram of a buffer is; what is to be answered is in `answer`.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        received: &Received,
        datagram: BytesMut,
        load: &Load,
        answer: &mut Vec<u8>,
    ) -> Arrival {
        if !self.gate.admits(now, &datagram, load.is_known) {
            return Arrival::Nothing(DropReason::QuicBudget);
        }
        let ecn = EcnCodepoint::from_bits(received.tos);
        let (from, local) = (received.from, received.local);
        match self.endpoint.handle(now, from, local, ecn, datagram, answer) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                match self.links.get(handle.0).and_then(Option::as_ref) {
                    Some(link) => Arrival::Part(Arc::clone(link), event),
                    None => Arrival::Nothing(DropReason::QuicMalformed),
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.admit(now, incoming, load, answer),
            Some(DatagramEvent::Response(transmit)) => Arrival::Answer(transmit),
            None => Arrival::Nothing(DropReason::QuicMalformed),
        }
    }

    fn admit(
        &mut self,
        now: Instant,
        incoming: Incoming,
        load: &Load,
        answer: &mut Vec<u8>,
    ) -> Arrival {
        let &Load { handshakes, payload_max, .. } = load;
        if handshakes >= self.settings.handshakes_max {
            self.endpoint.ignore(incoming);
            return Arrival::Nothing(DropReason::QuicBudget);
        }
        if handshakes >= HANDSHAKES_UNPROVEN && !incoming.remote_address_validated() {
            return match self.endpoint.retry(incoming, answer) {
                Ok(transmit) => Arrival::Answer(transmit),
                Err(error) => {
                    self.endpoint.ignore(error.into_incoming());
                    Arrival::Nothing(DropReason::QuicBudget)
                }
            };
        }
        let mut server = ServerConfig::clone(&self.server);
        server.transport_config(Arc::new(self.settings.transport(payload_max)));
        match self.endpoint.accept(incoming, now, answer, Some(Arc::new(server))) {
            Ok((handle, connection)) => {
                let state = State::new(connection, handle, None, payload_max, self.start, now);
                Arrival::New(self.insert(handle, state))
            }
            Err(error) => match error.response {
                Some(transmit) => Arrival::Answer(transmit),
                None => Arrival::Nothing(DropReason::QuicMalformed),
            },
        }
    }

    /// Takes what a connection has to say of its IDs; gives what it is to be told of them.
    pub(super) fn handle_event(
        &mut self,
        handle: ConnectionHandle,
        event: EndpointEvent,
    ) -> Option<ConnectionEvent> {
        if event.is_drained()
            && let Some(link) = self.links.get_mut(handle.0)
        {
            *link = None;
        }
        self.endpoint.handle_event(handle, event)
    }

    /// Gives all connections.
    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        self.links.iter().flatten().cloned().collect()
    }
}

fn endpoint_config(key: hmac::Key, ids: Ids) -> EndpointConfig {
    // A daemon that was restarted knows its former IDs, and resets what goes on with them.
    let mut config = EndpointConfig::new(Arc::new(key));
    config
        .cid_generator(move || Box::new(ids.clone()))
        .min_reset_interval(RESET_INTERVAL)
        .grease_quic_bit(false);
    // The only error is a value below 1200.
    let _ = config.max_udp_payload_size(PAYLOAD_MAX);
    config
}

fn server_config(tls: &Tls, settings: Settings) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(tls.server());
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    config
        .transport_config(Arc::new(settings.transport(PAYLOAD_MAX)))
        .validation_token_config(tokens)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_ALL);
    config
}
