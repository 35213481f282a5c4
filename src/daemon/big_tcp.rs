//! Which TCP is merged beyond 64 KiB: what is for this host's own sockets.

use super::build::StartError;
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

    /// Gives what holds where the host may forward what the device hands it, or does not.
    pub(super) fn given(&self, may_forward: bool) -> BigTcp {
        match self.switch {
            Switch::On => BigTcp::Always,
            Switch::Off => BigTcp::Never,
            Switch::Auto if may_forward => BigTcp::Never,
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
        let index = self.next_port;
        let Some(device) = self.devices.get(index) else {
            self.next_port = 0;
            return;
        };
        self.next_port += 1;
        let may_forward = device::may_forward(device.name());
        let Core { node, ports, .. } = &mut *self.shared.core();
        node.set_big_tcp(NetworkId(index as u16), ports[index].big_tcp.given(may_forward));
    }
}
