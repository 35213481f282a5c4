//! What holds for every transport that has one port, and endpoints with ports.

use std::net::{IpAddr, SocketAddr};

use super::{LINK_LOCAL, Networks, is_link_local, outside, owner_of};
use crate::config::section::{Draft, Section};
use crate::config::underlay::can_reach;
use crate::config::{HostPort, Peer, Vxlan};

/// Our own end of a transport.
pub(super) struct Own {
    pub(super) listen: SocketAddr,
    /// Whether nothing has been reported about `listen`.
    pub(super) is_sound: bool,
    /// Whether `underlay.bind_device` is set.
    pub(super) has_device: bool,
}

/// A port that another transport has: its key, and the socket's address.
pub(super) type Taken = (&'static str, SocketAddr);

/// Gives the ports of clear VXLAN.
pub(super) fn vxlan_ports(vxlan: Option<&Vxlan>) -> Vec<Taken> {
    let Some(vxlan) = vxlan else { return Vec::new() };
    let at = |port| SocketAddr::new(vxlan.listen, port);
    vec![("vxlan.port", at(vxlan.port)), ("vxlan.gpe_port", at(vxlan.gpe_port))]
}

pub(super) fn check_listen(
    section: &mut Section<'_>,
    listen: SocketAddr,
    networks: &Networks<'_>,
    has_device: bool,
) {
    if let Some(path) = owner_of(networks, listen.ip()) {
        section.fault("listen", outside(&path));
    }
    if is_link_local(listen.ip()) && !has_device {
        section.fault("listen", LINK_LOCAL);
    }
}

/// Reports a port that another transport has.
pub(super) fn check_port(section: &mut Section<'_>, listen: SocketAddr, taken: &[Taken]) {
    let is_taken = |at: &SocketAddr| at.port() == listen.port() && is_shared(listen.ip(), at.ip());
    if let Some((key, at)) = taken.iter().find(|(_, at)| is_taken(at)) {
        section.fault("listen", format!("expected another port than {key}, {}", at.port()));
    }
}

/// Whether a datagram can arrive on both of two addresses that sockets are bound to.
fn is_shared(a: IpAddr, b: IpAddr) -> bool {
    let takes =
        |any: IpAddr, other: IpAddr| any.is_unspecified() && (any.is_ipv6() || other.is_ipv4());
    a == b || takes(a, b) || takes(b, a)
}

/// Checks the address of a peer, where it has one, against our own end of its transport.
pub(super) fn check_endpoint(
    draft: &mut Draft<'_, Peer>,
    table: &str,
    own: &Own,
    networks: &Networks<'_>,
) {
    let Some(HostPort::Address(endpoint)) = draft.settings.host_port() else { return };
    let (endpoint, listen) = (*endpoint, own.listen);
    if !draft.section.is_sound("endpoint") {
        return;
    }
    if own.is_sound && !can_reach(listen.ip(), endpoint.ip()) {
        let expected =
            format!("expected {} address, as {table}.listen is one", family(listen.ip()));
        draft.section.fault("endpoint", expected);
    }
    if endpoint == listen {
        let expected = format!("expected another address than {table}.listen: it is our own");
        draft.section.fault("endpoint", expected);
    }
    if let Some(path) = owner_of(networks, endpoint.ip()) {
        draft.section.fault("endpoint", outside(&path));
    }
    if is_link_local(endpoint.ip()) && !own.has_device {
        draft.section.fault("endpoint", LINK_LOCAL);
    }
}

pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "an IPv4" } else { "an IPv6" }
}
