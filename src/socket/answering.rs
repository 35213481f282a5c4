//! Sockets that WireGuard and QUIC listen on, and answer from.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::open::{address_of, agree_on_runs, check_free, open_listener, open_probe, setting};
use super::{Listener, Runs, Sender, Senders, SocketError, SocketSpec, Underlay};
use crate::sys::udp::{self, Family};
use crate::transport::Carrier;

/// Opens a socket that a carrier listens on and sends from.
pub(super) fn open(
    underlay: &mut Underlay,
    carrier: Carrier,
    ip: IpAddr,
    port: u16,
) -> Result<(), SocketError> {
    let spec = &underlay.spec;
    check_free(spec, ip, port)?;
    let listener = open_listener(spec, ip, port, carrier)?;
    let runs = agree_on_runs(spec, &listener.socket)?;
    underlay.answering.push((carrier, sending_half(spec, &listener, runs)?));
    underlay.listeners.push(listener);
    open_probe(underlay, ip)
}

/// Gives what a carrier sends from in an address family.
pub(super) fn find(
    all: &[(Carrier, Senders)],
    carrier: Carrier,
    family: Family,
) -> Option<&Senders> {
    let found = all.iter().find(|(own, senders)| *own == carrier && senders.family == family);
    found.map(|(_, senders)| senders)
}

/// Gives what answers for a listener, if it does not listen only.
pub(super) fn of<'a>(underlay: &'a Underlay, listener: &Listener) -> Option<&'a Senders> {
    find(&underlay.answering, listener.carrier, listener.family)
}

/// Gives the port that a carrier listens on; 0 for none.
pub(super) fn port(underlay: &Underlay, carrier: Carrier) -> u16 {
    let mut listeners = underlay.listeners.iter();
    let listener = listeners.find(|listener| listener.carrier == carrier);
    listener.map_or(0, |listener| address_of(&listener.socket, listener.family).port())
}

/// Makes the sending half of a listener.
pub(super) fn sending_half(
    spec: &SocketSpec,
    listener: &Listener,
    runs: Arc<Runs>,
) -> Result<Senders, SocketError> {
    let socket = listener.socket.try_clone().map_err(setting("listen", spec.listen))?;
    let bytes = spec.send_buffer_bytes;
    let send_buffer =
        udp::set_send_buffer(socket.as_fd(), bytes).map_err(setting("send_buffer_bytes", bytes))?;
    let sockets = vec![Sender { socket, send_buffer }];
    Ok(Senders { family: listener.family, sockets, runs })
}
