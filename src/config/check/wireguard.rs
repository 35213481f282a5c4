//! What `[wireguard]`, its peers and their networks say against each other.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::{LINK_LOCAL, Networks, Peers, check_unique, is_link_local, network, outside, owner_of};
use crate::config::section::Draft;
use crate::config::underlay::can_reach;
use crate::config::{DeviceKind, HostPort, Network, Peer, Vxlan, WireGuard};
use crate::peer::NetworkId;

pub(super) fn all(
    wireguard: Option<&mut Draft<'_, WireGuard>>,
    vxlan: Option<&Vxlan>,
    networks: &Networks<'_>,
    peers: &mut Peers<'_>,
    has_device: bool,
) {
    check_unique_peers(peers);
    check_routes(networks, peers);
    for draft in peers.iter_mut().filter(|draft| draft.settings.wireguard().is_some()) {
        check_networks(draft, networks);
        check_tap(draft, networks);
    }
    let Some(wireguard) = wireguard else { return };
    check_listen(wireguard, vxlan, networks, has_device);
    if let Some(peer) = peers.iter().find(|draft| is_tap_member(&draft.settings, networks))
        && !wireguard.section.has("tunnel_ip")
    {
        let path = peer.section.path();
        let expected = format!(
            "missing: expected our address inside WireGuard, because {path} is in a tap network"
        );
        wireguard.section.fault("tunnel_ip", expected);
    }
    for draft in peers.iter_mut() {
        check_endpoint(draft, wireguard, networks, has_device);
        check_tunnel_ip(draft, wireguard);
    }
}

fn check_unique_peers(peers: &mut Peers<'_>) {
    check_unique(
        peers,
        "public_key",
        |peer| peer.wireguard().map(|peer| peer.public_key),
        |_, owner| {
            format!("expected another key than that of {owner}: it is all that tells peers apart")
        },
    );
    check_unique(
        peers,
        "tunnel_ip",
        |peer| peer.wireguard().and_then(|peer| peer.tunnel_ip),
        |_, owner| format!("expected another address than that of {owner}"),
    );
}

/// In one tun network a prefix leads to one wireguard peer: cryptokey routing.
fn check_routes(networks: &Networks<'_>, peers: &mut Peers<'_>) {
    let mut first: HashMap<(NetworkId, IpNet), String> = HashMap::new();
    let is_judged = |draft: &&mut Draft<'_, Peer>| {
        draft.settings.wireguard().is_some() && draft.section.is_sound("allowed_ips")
    };
    for draft in peers.iter_mut().filter(is_judged) {
        let mut taken = None;
        for (id, tun) in tuns(&draft.settings, networks) {
            for prefix in &draft.settings.allowed_ips {
                if let Some(owner) = first.get(&(id, *prefix)) {
                    taken = taken.or_else(|| Some((*prefix, owner.clone(), tun.name.clone())));
                } else {
                    first.insert((id, *prefix), draft.section.path().to_owned());
                }
            }
        }
        if let Some((prefix, owner, tun)) = taken {
            let expected = format!(
                "expected prefixes without {prefix}, which leads to {owner} in {tun:?}: over \
                 WireGuard a prefix has one peer"
            );
            draft.section.fault("allowed_ips", expected);
        }
    }
}

fn check_networks(draft: &mut Draft<'_, Peer>, networks: &Networks<'_>) {
    let mut of_peer = tuns(&draft.settings, networks);
    if let (Some((_, first)), Some((_, second))) = (of_peer.next(), of_peer.next())
        && draft.section.is_sound("networks")
    {
        let expected = format!(
            "expected at most one tun network: {:?} and {:?} are, and WireGuard has no room for \
             a VNI",
            first.name, second.name
        );
        drop(of_peer);
        draft.section.fault("networks", expected);
    }
}

fn check_tap(draft: &mut Draft<'_, Peer>, networks: &Networks<'_>) {
    if is_tap_member(&draft.settings, networks) && !draft.section.has("tunnel_ip") {
        let expected = "missing: expected the peer's address inside WireGuard, because it is in a \
                        tap network";
        draft.section.fault("tunnel_ip", expected);
    }
}

fn check_listen(
    wireguard: &mut Draft<'_, WireGuard>,
    vxlan: Option<&Vxlan>,
    networks: &Networks<'_>,
    has_device: bool,
) {
    let listen = wireguard.settings.listen;
    if let Some(path) = owner_of(networks, listen.ip()) {
        wireguard.section.fault("listen", outside(&path));
    }
    if is_link_local(listen.ip()) && !has_device {
        wireguard.section.fault("listen", LINK_LOCAL);
    }
    let Some(vxlan) = vxlan else { return };
    let ports = [("vxlan.port", vxlan.port), ("vxlan.gpe_port", vxlan.gpe_port)];
    if let Some((key, port)) = ports.into_iter().find(|(_, port)| *port == listen.port())
        && is_shared(listen.ip(), vxlan.listen)
    {
        wireguard.section.fault("listen", format!("expected another port than {key}, {port}"));
    }
}

/// Whether a datagram can arrive on both of two addresses that sockets are bound to.
fn is_shared(a: IpAddr, b: IpAddr) -> bool {
    let takes =
        |any: IpAddr, other: IpAddr| any.is_unspecified() && (any.is_ipv6() || other.is_ipv4());
    a == b || takes(a, b) || takes(b, a)
}

fn check_endpoint(
    draft: &mut Draft<'_, Peer>,
    wireguard: &Draft<'_, WireGuard>,
    networks: &Networks<'_>,
    has_device: bool,
) {
    let Some(HostPort::Address(endpoint)) =
        draft.settings.wireguard().and_then(|peer| peer.endpoint.as_ref())
    else {
        return;
    };
    let (endpoint, listen): (SocketAddr, _) = (*endpoint, wireguard.settings.listen);
    if !draft.section.is_sound("endpoint") {
        return;
    }
    if wireguard.section.is_sound("listen") && !can_reach(listen.ip(), endpoint.ip()) {
        let expected =
            format!("expected {} address, as wireguard.listen is one", family(listen.ip()));
        draft.section.fault("endpoint", expected);
    }
    if endpoint == listen {
        let expected = "expected another address than wireguard.listen: it is our own";
        draft.section.fault("endpoint", expected);
    }
    if let Some(path) = owner_of(networks, endpoint.ip()) {
        draft.section.fault("endpoint", outside(&path));
    }
    if is_link_local(endpoint.ip()) && !has_device {
        draft.section.fault("endpoint", LINK_LOCAL);
    }
}

fn check_tunnel_ip(draft: &mut Draft<'_, Peer>, wireguard: &Draft<'_, WireGuard>) {
    let theirs = draft.settings.wireguard().and_then(|peer| peer.tunnel_ip);
    let (Some(ours), Some(theirs)) = (wireguard.settings.tunnel_ip, theirs) else { return };
    if ours.is_ipv4() != theirs.is_ipv4() {
        let expected = format!("expected {} address, as wireguard.tunnel_ip is one", family(ours));
        draft.section.fault("tunnel_ip", expected);
    }
    if ours == theirs {
        let expected = "expected another address than wireguard.tunnel_ip, our own";
        draft.section.fault("tunnel_ip", expected);
    }
}

/// The tun networks of a peer.
fn tuns<'n>(
    peer: &'n Peer,
    networks: &'n Networks<'_>,
) -> impl Iterator<Item = (NetworkId, &'n Network)> {
    let all = peer.networks.iter().map(|id| (*id, network(networks, *id)));
    all.filter(|(_, network)| network.device == DeviceKind::Tun)
}

/// Whether a peer is in a tap network over WireGuard.
fn is_tap_member(peer: &Peer, networks: &Networks<'_>) -> bool {
    let is_tap = |id: &NetworkId| network(networks, *id).device == DeviceKind::Tap;
    peer.wireguard().is_some() && peer.networks.iter().any(is_tap)
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "an IPv4" } else { "an IPv6" }
}
