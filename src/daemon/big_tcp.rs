//! Which TCP is merged beyond 64 KiB: what is for this host's own sockets.

use super::build::{Port, StartError};
use super::shared::Core;
use super::worker::Worker;
use crate::config::Switch;
use crate::device::{self, Kind};
use crate::frame::Mac;
use crate::offload::BigTcp;
use crate::peer::NetworkId;
use crate::sys::release;

/// The first kernel that takes an IPv4 packet without a length, and has `gro_ipv4_max_size`.
const SINCE: (u32, u32) = (6, 3);

/// What a network's device may be given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    switch: Switch,
    /// For whom, while the host does not forward.
    local: BigTcp,
}

impl Policy {
    /// Decides for a device; `own_mac` is that of a TAP that is in no bridge.
    ///
    /// # Errors
    ///
    /// Fails if the switch is on and the kernel is too old.
    pub(super) fn new(
        switch: Switch,
        kind: Kind,
        own_mac: Option<Mac>,
    ) -> Result<Self, StartError> {
        let release = release::release();
        let switch = match switch {
            _ if release::is_at_least(&release, SINCE) => switch,
            Switch::On => return Err(StartError::BigTcp { release }),
            Switch::Auto | Switch::Off => Switch::Off,
        };
        let local = match kind {
            Kind::Tun => BigTcp::Always,
            Kind::Tap => own_mac.map_or(BigTcp::Never, BigTcp::To),
        };
        Ok(Self { switch, local })
    }

    /// Gives what holds now for the device of that name.
    pub(super) fn now(&self, device: &str) -> BigTcp {
        match self.switch {
            Switch::On => BigTcp::Always,
            Switch::Off => BigTcp::Never,
            Switch::Auto if self.local == BigTcp::Never => BigTcp::Never,
            Switch::Auto if device::may_forward(device) => BigTcp::Never,
            Switch::Auto => self.local,
        }
    }

    /// The kernel refused such a packet.
    pub(super) fn give_up(&mut self) {
        self.switch = Switch::Off;
    }
}

impl Worker {
    /// Looks at one device in turn: forwarding may be switched on while the daemon runs.
    pub(super) fn follow_forwarding(&mut self) {
        let (index, mut core) = (self.next_port, self.shared.core());
        let Core { node, ports } = &mut *core;
        let Some(Port { interface, big_tcp, .. }) = ports.get(index) else {
            self.next_port = 0;
            return;
        };
        node.set_big_tcp(NetworkId(index as u16), big_tcp.now(interface));
        self.next_port += 1;
    }
}
