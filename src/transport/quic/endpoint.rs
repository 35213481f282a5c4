//! Which connection a datagram belongs to, and whether it may begin one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::{hkdf, hmac};
use bytes::BytesMut;
use quinn_proto::crypto::HandshakeTokenKey;
use quinn_proto::{
    ClientConfig, ConnectError, ConnectionEvent, ConnectionHandle, DatagramEvent, EcnCodepoint,
    Endpoint, EndpointConfig, EndpointEvent, Incoming, ServerConfig, Transmit,
    ValidationTokenConfig,
};
use thiserror::Error;

use super::connection::{Link, State};
use super::gate::{Gate, HANDSHAKES_UNPROVEN, HEAD_LEN, is_short};
use super::ids::Ids;
use super::settings::Settings;
use super::tls::{Tls, TlsError};
use crate::drops::DropReason;
use crate::peer::PeerId;
use crate::transport::Received;

/// The largest UDP payload that we take.
const PAYLOAD_MAX: u16 = 65_527;

/// Bytes that are kept of a connection that is not accepted yet: it is accepted at once.
const INCOMING_BYTES: u64 = 4096;
const INCOMING_BYTES_ALL: u64 = 64 * 1024;
const INCOMING_MAX: usize = 8;

/// Who is not where a peer is thought to be leaves this part of the handshakes to those who are.
const STRANGERS_LEAVE: usize = 4;

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
    /// A part of one that is over; the answer is in the buffer.
    Reset(Transmit),
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
    tokens: Tokens,
    settings: Settings,
    next_id: u64,
    start: Instant,
}

impl Front {
    pub(super) fn new(tls: &Tls, settings: Settings, now: Instant) -> Self {
        let tokens = token_key(tls);
        let server = Arc::new(server_config(tls, settings, &tokens));
        let key = hmac::Key::new(hmac::HMAC_SHA256, tls.credentials().reset_secret());
        let ids = Ids::new(&key);
        let config = Arc::new(endpoint_config(key, ids.clone()));
        Self {
            // The sockets set DF on everything.
            endpoint: Endpoint::new(config, Some(Arc::clone(&server)), true, None),
            links: Vec::new(),
            gate: Gate::new(ids, now),
            server,
            tokens,
            settings,
            next_id: 0,
            start: now,
        }
    }

    /// Uses another certificate, or other ones to judge by, for what begins from now on.
    pub(super) fn set_tls(&mut self, tls: &Tls) {
        self.server = Arc::new(server_config(tls, self.settings, &self.tokens));
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
        let link = Arc::new(Link::new(self.next_id, state));
        self.next_id += 1;
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
        let mut head = [0; HEAD_LEN];
        let head_len = HEAD_LEN.min(datagram.len());
        head[..head_len].copy_from_slice(&datagram[..head_len]);
        let head = &head[..head_len];
        match self.endpoint.handle(now, from, local, ecn, datagram, answer) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                match self.links.get(handle.0).and_then(Option::as_ref) {
                    Some(link) => Arrival::Part(Arc::clone(link), event),
                    None => Arrival::Nothing(DropReason::QuicUnknownConnection),
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.admit(now, incoming, load, answer),
            Some(DatagramEvent::Response(transmit)) if is_short(head) => {
                match self.gate.may_reset(now) {
                    true => Arrival::Reset(transmit),
                    false => Arrival::Nothing(DropReason::QuicUnknownConnection),
                }
            }
            Some(DatagramEvent::Response(transmit)) => Arrival::Answer(transmit),
            None if self.gate.is_later(head) => Arrival::Nothing(DropReason::QuicUnknownConnection),
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
        let &Load { is_known, handshakes, payload_max } = load;
        let max = self.settings.handshakes_max;
        // Strangers who begin and do not go on shall not keep peers away.
        let max = if is_known { max } else { max - max / STRANGERS_LEAVE };
        if handshakes >= max {
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
        // The gate limits them: the time is that of a whole batch.
        .min_reset_interval(Duration::ZERO)
        .grease_quic_bit(false);
    // The only error is a value below 1200.
    let _ = config.max_udp_payload_size(PAYLOAD_MAX);
    config
}

/// What seals the proof of an address that is given by a Retry.
type Tokens = Arc<dyn HandshakeTokenKey>;

/// The same for a key as long as it is used: who was given a proof may come back with it after a
/// restart, or when there is another certificate.
fn token_key(tls: &Tls) -> Tokens {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tunctl retry tokens");
    Arc::new(salt.extract(tls.credentials().reset_secret()))
}

fn server_config(tls: &Tls, settings: Settings, tokens: &Tokens) -> ServerConfig {
    let mut config = ServerConfig::new(tls.server(), Arc::clone(tokens));
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
