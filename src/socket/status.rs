//! Describing the sockets.

use super::answering;
use super::open::address_of;
use super::{Lane, SocketStatus, Underlay};

/// Describes each socket.
pub(super) fn status(underlay: &Underlay) -> Vec<SocketStatus> {
    let listeners = underlay.listeners.iter().map(|listener| {
        let sends = answering::of(underlay, listener);
        let refused = || sends.and_then(|it| it.runs.refused.get().cloned());
        SocketStatus {
            address: address_of(&listener.socket, listener.family),
            lane: Lane::Listen(listener.carrier),
            gso: sends.is_some_and(|it| it.runs.is_on()),
            gro: listener.gro,
            refused: listener.refused.clone().or_else(refused),
            receive_buffer: listener.receive_buffer,
            send_buffer: sends.map_or(0, |it| it.sockets[0].send_buffer),
        }
    });
    let senders = underlay.senders.iter().flat_map(|senders| {
        senders.sockets.iter().map(|sender| SocketStatus {
            address: address_of(&sender.socket, senders.family),
            lane: Lane::Send,
            gso: senders.runs.is_on(),
            gro: false,
            refused: senders.runs.refused.get().cloned(),
            receive_buffer: 0,
            send_buffer: sender.send_buffer,
        })
    });
    listeners.chain(senders).collect()
}
