//! What one table of the file says against what another says.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;

mod listening;
mod quic;
mod wireguard;

use crate::peer::NetworkId;

use super::network::{MTU_MIN_IPV6, Read};
use super::peer::TRANSPORTS;
use super::section::{Draft, Section};
use super::{DeviceKind, Endpoint, Network, Peer, Quic, Transport, Underlay, Vxlan, WireGuard};

pub(super) type Networks<'a> = [Draft<'a, Read<'a>>];
pub(super) type Peers<'a> = [Draft<'a, Peer>];

/// The tables that a file may have once.
pub(super) struct Tables<'t, 'a> {
    pub(super) underlay: Option<&'t mut Draft<'a, Underlay>>,
    pub(super) vxlan: Option<&'t mut Draft<'a, Vxlan>>,
    pub(super) wireguard: Option<&'t mut Draft<'a, WireGuard>>,
    pub(super) quic: Option<&'t mut Draft<'a, Quic>>,
}

/// Gives the networks by name; of two with one name, the first.
pub(super) fn network_ids(networks: &Networks<'_>) -> HashMap<String, NetworkId> {
    let mut ids = HashMap::new();
    for (id, draft) in (0..=u16::MAX).zip(networks) {
        if draft.section.is_sound("name") {
            ids.entry(draft.settings.network.name.clone()).or_insert(NetworkId(id));
        }
    }
    ids
}

/// Checks all tables against each other and resolves the peers of static entries.
pub(super) fn all<'a>(
    root: &mut Section<'a>,
    tables: Tables<'_, 'a>,
    networks: &mut Networks<'a>,
    peers: &mut Peers<'a>,
) {
    let Tables { underlay, mut vxlan, wireguard, quic } = tables;
    if networks.is_empty() && root.is_sound("network") {
        root.fault("network", "missing: expected at least one [[network]]");
    }
    check_transports(root, peers);
    check_unique_networks(networks);
    check_unique_peers(peers);
    let has_device = underlay.as_ref().is_some_and(|draft| draft.settings.bind_device.is_some());
    if let Some(underlay) = underlay {
        check_bind_device(underlay, networks);
    }
    if let Some(vxlan) = vxlan.as_deref_mut() {
        check_listen(vxlan, networks, has_device);
    }
    let vxlan = vxlan.map(|draft| draft.settings);
    for draft in peers.iter_mut() {
        if let (Some(vxlan), Some(endpoint)) = (&vxlan, draft.settings.vxlan()) {
            check_endpoint(draft, endpoint, vxlan, networks, has_device);
        }
        check_allowed(draft, networks);
    }
    let mut taken = listening::vxlan_ports(vxlan.as_ref());
    taken.extend(wireguard.as_ref().map(|draft| ("wireguard.listen", draft.settings.listen)));
    wireguard::all(wireguard, vxlan.as_ref(), networks, peers, has_device);
    quic::all(quic, &taken, networks, peers, has_device);
    check_mtu(networks, peers);
    resolve_static_entries(networks, peers);
}

/// Every transport in use has its table, and there is one.
fn check_transports(root: &mut Section<'_>, peers: &mut Peers<'_>) {
    for draft in peers.iter_mut().filter(|draft| draft.section.is_sound("transport")) {
        let table = match draft.settings.transport {
            Transport::Vxlan(_) => "vxlan",
            Transport::WireGuard(_) => "wireguard",
            Transport::Quic(_) => "quic",
        };
        if !root.has(table) {
            let expected = format!("expected a [{table}] table in the file, which turns it on");
            draft.section.fault("transport", expected);
        }
    }
    if peers.is_empty() && !TRANSPORTS.into_iter().any(|table| root.has(table)) {
        let expected = "missing: expected a [vxlan], [wireguard] or [quic] table: without one \
                        nothing can be sent";
        root.fault("vxlan", expected);
    }
}

/// Reports all drafts but the first that have a key's value in common; none is no value.
fn check_unique<'a, T, K: Eq + Hash>(
    drafts: &mut [Draft<'a, T>],
    key: &'static str,
    value_of: impl Fn(&T) -> Option<K>,
    message: impl Fn(&T, &str) -> String,
) {
    let mut first: HashMap<K, String> = HashMap::with_capacity(drafts.len());
    // An interface that is named after a faulty name is not a second fault.
    let is_judged = |section: &Section<'_>| {
        section.is_sound(key) && (section.has(key) || section.is_sound("name"))
    };
    for draft in drafts.iter_mut().filter(|draft| is_judged(&draft.section)) {
        let Some(value) = value_of(&draft.settings) else { continue };
        match first.get(&value) {
            Some(owner) => {
                let message = message(&draft.settings, owner);
                draft.section.fault(key, message);
            }
            None => {
                first.insert(value, draft.section.path().to_owned());
            }
        }
    }
}

fn check_unique_networks(networks: &mut Networks<'_>) {
    check_unique(
        networks,
        "name",
        |read| Some(read.network.name.clone()),
        |_, owner| format!("expected another name than that of {owner}"),
    );
    check_unique(
        networks,
        "vni",
        |read| Some((read.network.device, read.network.vni)),
        |read, owner| {
            let kind = read.network.device.name();
            format!("expected another VNI than that of {owner}, which is a {kind} network too")
        },
    );
    check_unique(
        networks,
        "interface",
        |read| Some(read.network.interface.clone()),
        |read, owner| {
            let name = &read.network.interface;
            format!("expected another interface than {name:?}, that of {owner}")
        },
    );
    check_unique_addresses(networks);
}

fn check_unique_addresses(networks: &mut Networks<'_>) {
    let mut first: HashMap<IpAddr, String> = HashMap::new();
    for draft in networks.iter_mut().filter(|draft| draft.section.is_sound("addresses")) {
        for (i, net) in draft.settings.network.addresses.iter().enumerate() {
            let here = format!("{}.addresses[{i}]", draft.section.path());
            if let Some(owner) = first.get(&net.addr()) {
                let expected = format!("expected another address than that of {owner}");
                draft.section.fault_item("addresses", i, expected);
            } else {
                first.insert(net.addr(), here);
            }
        }
    }
}

fn check_unique_peers(peers: &mut Peers<'_>) {
    check_unique(
        peers,
        "name",
        |peer| Some(peer.name.clone()),
        |_, owner| format!("expected another name than that of {owner}"),
    );
    check_unique(
        peers,
        "endpoint",
        |peer| peer.vxlan().map(|endpoint| endpoint.address),
        |_, owner| {
            format!(
                "expected another address than that of {owner}: \
                 the source address is all that tells vxlan peers apart"
            )
        },
    );
}

fn check_bind_device(underlay: &mut Draft<'_, Underlay>, networks: &Networks<'_>) {
    let Some(device) = &underlay.settings.bind_device else { return };
    if let Some(own) = networks.iter().find(|d| &d.settings.network.interface == device) {
        let path = own.section.path();
        let expected = format!("expected another device than {path}'s: the tunnel would loop");
        underlay.section.fault("bind_device", expected);
    }
}

fn check_listen(vxlan: &mut Draft<'_, Vxlan>, networks: &Networks<'_>, has_device: bool) {
    let listen = vxlan.settings.listen;
    if let Some(path) = owner_of(networks, listen) {
        vxlan.section.fault("listen", outside(&path));
    }
    if is_link_local(listen) && !has_device {
        vxlan.section.fault("listen", LINK_LOCAL);
    }
}

const LINK_LOCAL: &str = "expected underlay.bind_device to be set beside a link-local address";

fn check_endpoint(
    draft: &mut Draft<'_, Peer>,
    endpoint: Endpoint,
    vxlan: &Vxlan,
    networks: &Networks<'_>,
    has_device: bool,
) {
    if !draft.section.is_sound("endpoint") {
        return;
    }
    if !vxlan.can_reach(endpoint.address) {
        let family = if vxlan.listen.is_ipv4() { "an IPv4" } else { "an IPv6" };
        let expected = format!("expected {family} address, as vxlan.listen is one");
        draft.section.fault("endpoint", expected);
    }
    let kinds = |kind| move |id: &NetworkId| network(networks, *id).device == kind;
    let mut of_peer = draft.settings.networks.iter();
    let is_tun = of_peer.clone().any(kinds(DeviceKind::Tun));
    let is_tap = of_peer.any(kinds(DeviceKind::Tap));
    if endpoint.port.is_some() && is_tun && is_tap {
        let expected = "expected an address without port: the peer has tun and tap networks, \
                        which use two ports";
        draft.section.fault("endpoint", expected);
    }
    let ports = [(is_tap, DeviceKind::Tap), (is_tun, DeviceKind::Tun)];
    let is_own_port = ports.into_iter().any(|(is_used, kind)| {
        let port = endpoint.socket_address(kind, vxlan).port();
        is_used && (port == vxlan.port || port == vxlan.gpe_port)
    });
    if endpoint.address == vxlan.listen && is_own_port {
        let expected = "expected another address than vxlan.listen: the datagrams would come back";
        draft.section.fault("endpoint", expected);
    }
    if let Some(path) = owner_of(networks, endpoint.address) {
        draft.section.fault("endpoint", outside(&path));
    }
    if is_link_local(endpoint.address) && !has_device {
        draft.section.fault("endpoint", LINK_LOCAL);
    }
}

fn check_allowed(draft: &mut Draft<'_, Peer>, networks: &Networks<'_>) {
    let peer = &draft.settings;
    let mut of_peer = peer.networks.iter().map(|id| network(networks, *id));
    let tun = of_peer.clone().find(|network| network.device == DeviceKind::Tun);
    let has_tap = of_peer.any(|network| network.device == DeviceKind::Tap);
    if let (Some(tun), false) = (tun, draft.section.has("allowed_ips")) {
        let name = &tun.name;
        let expected = format!(
            "missing: expected prefixes: to and from others nothing crosses \
                                the tun network {name:?}"
        );
        draft.section.fault("allowed_ips", expected);
    }
    if draft.section.has("allowed_macs") && !has_tap && draft.section.is_sound("networks") {
        let expected = "expected no such key: the peer is in no tap network";
        draft.section.fault("allowed_macs", expected);
    }
    let own = peer.networks.iter().flat_map(|id| &network(networks, *id).addresses);
    let taken = own.map(|net| net.addr()).find(|own| peer.allowed_ips.contains(&IpNet::from(*own)));
    if let Some(address) = taken {
        draft.section.fault("allowed_ips", format!("expected prefixes without {address}, our own"));
    }
}

/// IPv6 needs 1280 bytes on the device that its routes point to.
fn check_mtu(networks: &mut Networks<'_>, peers: &Peers<'_>) {
    for (id, draft) in (0..=u16::MAX).zip(networks) {
        let network = &draft.settings.network;
        let is_small = network.mtu.is_some_and(|mtu| mtu < MTU_MIN_IPV6);
        if !is_small || network.device == DeviceKind::Tap || !draft.section.is_sound("mtu") {
            continue;
        }
        let has_ipv6 = |peer: &Peer| peer.allowed_ips.iter().any(|net| matches!(net, IpNet::V6(_)));
        let mut members = peers.iter().filter(|d| d.settings.networks.contains(&NetworkId(id)));
        if let Some(peer) = members.find(|draft| has_ipv6(&draft.settings)) {
            let path = peer.section.path();
            let expected =
                format!("expected at least {MTU_MIN_IPV6}, because {path}.allowed_ips has IPv6");
            draft.section.fault("mtu", expected);
        }
    }
}

fn resolve_static_entries(networks: &mut Networks<'_>, peers: &Peers<'_>) {
    let by_name: HashMap<&str, usize> =
        peers.iter().enumerate().map(|(i, draft)| (draft.settings.name.as_str(), i)).collect();
    for (id, draft) in (0..=u16::MAX).zip(networks) {
        let Read { network, entries } = &mut draft.settings;
        let mut seen = HashMap::new();
        for (entry, section) in network.static_entries.iter_mut().zip(entries) {
            entry.peer = resolve_peer(section, &by_name, peers, NetworkId(id));
            if section.is_sound("mac") && section.is_sound("vlan") {
                let path = section.path().to_owned();
                if let Some(first) = seen.insert((entry.mac, entry.vlan), path) {
                    let expected = format!("expected another MAC or VLAN than that of {first}");
                    section.fault("mac", expected);
                }
            }
            section.finish();
        }
    }
}

fn resolve_peer(
    section: &mut Section<'_>,
    by_name: &HashMap<&str, usize>,
    peers: &Peers<'_>,
    network: NetworkId,
) -> Option<usize> {
    const EXPECTED: &str = "expected the name of a peer in this network, or no such key for a \
                            host behind the own device";
    let name: String = section.value("peer", EXPECTED)?;
    let found = by_name.get(name.as_str()).copied();
    let is_member = |i: &usize| {
        let Draft { section, settings } = &peers[*i];
        settings.networks.contains(&network) || !section.is_sound("networks")
    };
    if found.filter(is_member).is_none() {
        section.fault("peer", EXPECTED);
    }
    found
}

fn network<'n>(networks: &'n Networks<'_>, id: NetworkId) -> &'n Network {
    &networks[id.index()].settings.network
}

/// Gives the path of the network that has the address on its own device.
fn owner_of(networks: &Networks<'_>, address: IpAddr) -> Option<String> {
    let has = |network: &Network| network.addresses.iter().any(|net| net.addr() == address);
    let owner = networks.iter().find(|draft| has(&draft.settings.network))?;
    Some(owner.section.path().to_owned())
}

fn outside(owner: &str) -> String {
    format!("expected an address outside the tunnel: {owner}.addresses has it")
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
