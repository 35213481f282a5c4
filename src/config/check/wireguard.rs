//! What `[wireguard]`, its peers and their networks say against each other.

use std::collections::HashMap;

use ipnet::IpNet;

use super::listening::{self, Own};
use super::{Networks, Peers, check_unique, network};
use crate::config::section::Draft;
use crate::config::{DeviceKind, Network, Peer, Vxlan, WireGuard};
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
    let listen = wireguard.settings.listen;
    listening::check_listen(&mut wireguard.section, listen, networks, has_device);
    listening::check_port(&mut wireguard.section, listen, &listening::vxlan_ports(vxlan));
    if let Some(peer) = peers.iter().find(|draft| is_tap_member(&draft.settings, networks))
        && !wireguard.section.has("tunnel_ip")
    {
        let path = peer.section.path();
        let expected = format!(
            "missing: expected our address inside WireGuard, because {path} is in a tap network"
        );
        wireguard.section.fault("tunnel_ip", expected);
    }
    let own = Own { listen, is_sound: wireguard.section.is_sound("listen"), has_device };
    for draft in peers.iter_mut() {
        if draft.settings.wireguard().is_some() {
            listening::check_endpoint(draft, "wireguard", &own, networks);
        }
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

fn check_tunnel_ip(draft: &mut Draft<'_, Peer>, wireguard: &Draft<'_, WireGuard>) {
    let theirs = draft.settings.wireguard().and_then(|peer| peer.tunnel_ip);
    let (Some(ours), Some(theirs)) = (wireguard.settings.tunnel_ip, theirs) else { return };
    if ours.is_ipv4() != theirs.is_ipv4() {
        let expected =
            format!("expected {} address, as wireguard.tunnel_ip is one", listening::family(ours));
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
