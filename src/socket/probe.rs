//! Asking the kernel for the path MTU to a peer.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;

use socket2::Socket;

use super::open::open_socket;
use super::{SocketError, SocketSpec, Underlay};
use crate::sys::udp::{self, Family};

/// A socket that is never sent on: connected to a peer, it knows the route and its MTU.
///
/// It is kept because a mark and an interface need rights that the daemon may have given up.
pub(super) struct Probe {
    pub(super) family: Family,
    pub(super) socket: Socket,
}

impl Probe {
    pub(super) fn open(spec: &SocketSpec, family: Family) -> Result<Self, SocketError> {
        Ok(Self { family, socket: open_socket(spec, family)? })
    }
}

/// Gives the path MTU to an address, as seen from the given source if there is one.
pub(super) fn path_mtu(underlay: &Underlay, to: SocketAddr, from: Option<IpAddr>) -> Option<u32> {
    let family = Family::of(to.ip());
    let own = (!underlay.spec.listen.is_unspecified()).then_some(underlay.spec.listen);
    let from = from.or(own).filter(|from| Family::of(*from) == family);
    from.and_then(|from| path_mtu_from(underlay, to, from)).or_else(|| {
        let probe = underlay.probes.iter().find(|probe| probe.family == family)?;
        path_mtu_by(&probe.socket, family, to)
    })
}

/// Asks with a socket of its own, bound to the source. Fails without the rights, or when the
/// source is gone.
fn path_mtu_from(underlay: &Underlay, to: SocketAddr, from: IpAddr) -> Option<u32> {
    let family = Family::of(from);
    let socket = open_socket(&underlay.spec, family).ok()?;
    let from = match (from, to) {
        (IpAddr::V6(from), SocketAddr::V6(to)) => {
            SocketAddrV6::new(from, 0, 0, to.scope_id()).into()
        }
        (from, _) => SocketAddr::new(from, 0),
    };
    socket.bind(&from.into()).ok()?;
    path_mtu_by(&socket, family, to)
}

fn path_mtu_by(socket: &Socket, family: Family, to: SocketAddr) -> Option<u32> {
    socket.connect(&to.into()).ok()?;
    let mtu = udp::path_mtu(socket.as_fd(), family).ok();
    // Else the source that this route gave would be kept for the next.
    let _ = udp::disconnect(socket.as_fd());
    mtu
}
