//! `[[peer]]`: another node, how it is reached, and what it may send.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use crate::peer::NetworkId;

use super::{
    DeviceKind, HostPort, Mac, QuicPeer, Vxlan, WireGuardPeer, name, quic, section::Section,
    suggest, wireguard,
};

/// The transports, which are also the names of their tables.
pub(super) const TRANSPORTS: [&str; 3] = ["vxlan", "wireguard", "quic"];

/// With more networks than this a message does not list them.
const NAMES_SHOWN_MAX: usize = 16;

/// How packets cross to a peer, and what that needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Clear VXLAN (tap) and VXLAN-GPE (tun); no other vxlan peer has the endpoint's address.
    Vxlan(Endpoint),
    /// WireGuard: IP packets (tun), or VXLAN inside (tap).
    WireGuard(WireGuardPeer),
    /// QUIC: VXLAN (tap) and VXLAN-GPE (tun) in datagrams.
    Quic(QuicPeer),
}

/// Where a vxlan peer's datagrams go to and come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address: what tells one vxlan peer from another.
    pub address: IpAddr,
    /// The port; none = our own port for the network's device kind.
    pub port: Option<u16>,
}

impl Endpoint {
    /// Gives the address and port for a network's datagrams.
    pub fn socket_address(self, device: DeviceKind, vxlan: &Vxlan) -> SocketAddr {
        let default = match device {
            DeviceKind::Tun => vxlan.gpe_port,
            DeviceKind::Tap => vxlan.port,
        };
        SocketAddr::new(self.address, self.port.unwrap_or(default))
    }
}

/// The text is neither an address nor an address with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEndpoint;

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Self, NotAnEndpoint> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { address: address.to_canonical(), port: None });
        }
        let socket: SocketAddr = text.parse().map_err(|_| NotAnEndpoint)?;
        let has_scope = matches!(socket, SocketAddr::V6(v6) if v6.scope_id() != 0);
        if socket.port() == 0 || has_scope {
            return Err(NotAnEndpoint);
        }
        Ok(Self { address: socket.ip().to_canonical(), port: Some(socket.port()) })
    }
}

/// `[[peer]]`: another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The name, unique: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// How packets cross.
    pub transport: Transport,
    /// Its networks, in the order of the file; never empty.
    pub networks: Vec<NetworkId>,
    /// The prefixes that it may send from, without host bits. Tun: also the routes to it, never
    /// empty. Tap: empty = any.
    pub allowed_ips: Vec<IpNet>,
    /// The MACs that it may send from (tap); empty = any.
    pub allowed_macs: Vec<Mac>,
}

impl Peer {
    pub(super) fn read(section: &mut Section<'_>, ids: &HashMap<String, NetworkId>) -> Self {
        let name = name::read(section, "name", name::HOST_CHARS_MAX);
        let transport = read_transport(section);
        let networks = read_networks(section, ids);
        let mut allowed_ips = section.list("allowed_ips", read_prefix);
        allowed_ips.sort_unstable();
        allowed_ips.dedup();
        let allowed_macs = section.list("allowed_macs", read_mac);
        for (key, is_empty) in
            [("allowed_ips", allowed_ips.is_empty()), ("allowed_macs", allowed_macs.is_empty())]
        {
            if is_empty && section.has(key) && section.is_sound(key) {
                section.fault(key, "expected at least one; without the key, any is allowed on tap");
            }
        }
        Self { name, transport, networks, allowed_ips, allowed_macs }
    }

    /// Gives the endpoint of a vxlan peer.
    pub fn vxlan(&self) -> Option<Endpoint> {
        match &self.transport {
            Transport::Vxlan(endpoint) => Some(*endpoint),
            Transport::WireGuard(_) | Transport::Quic(_) => None,
        }
    }

    /// Gives what WireGuard knows of a wireguard peer.
    pub fn wireguard(&self) -> Option<&WireGuardPeer> {
        match &self.transport {
            Transport::WireGuard(peer) => Some(peer),
            Transport::Vxlan(_) | Transport::Quic(_) => None,
        }
    }

    /// Gives what QUIC knows of a quic peer.
    pub fn quic(&self) -> Option<&QuicPeer> {
        match &self.transport {
            Transport::Quic(peer) => Some(peer),
            Transport::Vxlan(_) | Transport::WireGuard(_) => None,
        }
    }

    /// Gives the endpoint, maybe a name, of a peer over a transport with one port.
    pub fn host_port(&self) -> Option<&HostPort> {
        match &self.transport {
            Transport::Vxlan(_) => None,
            Transport::WireGuard(peer) => peer.endpoint.as_ref(),
            Transport::Quic(peer) => peer.endpoint.as_ref(),
        }
    }
}

fn read_transport(section: &mut Section<'_>) -> Transport {
    const EXPECTED: &str = "expected \"vxlan\", \"wireguard\" or \"quic\"";
    section.missing("transport", EXPECTED);
    let transport: String = section.value("transport", EXPECTED).unwrap_or_default();
    match transport.as_str() {
        "vxlan" => {
            refuse(section, "vxlan", &[&wireguard::PEER_KEYS, &quic::PEER_KEYS]);
            Transport::Vxlan(read_endpoint(section))
        }
        "wireguard" => {
            refuse(section, "wireguard", &[&quic::PEER_KEYS]);
            Transport::WireGuard(WireGuardPeer::read(section))
        }
        "quic" => {
            refuse(section, "quic", &[&wireguard::PEER_KEYS]);
            Transport::Quic(QuicPeer::read(section))
        }
        _ => {
            if section.is_sound("transport") {
                section.fault("transport", EXPECTED);
            }
            // Nobody knows which keys belong here.
            let keys = wireguard::PEER_KEYS.into_iter().chain(quic::PEER_KEYS);
            keys.for_each(|key| section.allow(key));
            Transport::Vxlan(read_endpoint(section))
        }
    }
}

/// Refuses the keys of other transports.
fn refuse(section: &mut Section<'_>, transport: &str, keys: &[&[&'static str]]) {
    let expected = format!("expected no such key: the peer's transport is {transport:?}");
    keys.iter().copied().flatten().for_each(|key| section.refuse(key, &expected));
}

fn read_endpoint(section: &mut Section<'_>) -> Endpoint {
    const EXPECTED: &str = "expected an address or address:port, such as \"192.0.2.2\" \
                            or \"[2001:db8::2]:4789\"";
    let nowhere = Endpoint { address: IpAddr::from([0; 4]), port: None };
    section.missing("endpoint", EXPECTED);
    let Some(endpoint) = section.parsed::<Endpoint>("endpoint", EXPECTED) else { return nowhere };
    if !is_host(endpoint.address) {
        section.fault("endpoint", ONE_HOST);
    }
    endpoint
}

/// Reads `endpoint` of a transport that takes names and needs a port.
pub(super) fn read_host_port(section: &mut Section<'_>, port: u16) -> Option<HostPort> {
    let expected = format!(
        "expected address:port or name:port, such as \"192.0.2.2:{port}\", \
         \"[2001:db8::2]:{port}\" or \"site-b.example:{port}\""
    );
    let endpoint: HostPort = section.parsed("endpoint", &expected)?;
    if matches!(endpoint, HostPort::Address(address) if !is_host(address.ip())) {
        section.fault("endpoint", ONE_HOST);
    }
    Some(endpoint)
}

const ONE_HOST: &str = "expected the address of one host";

/// Whether the address can be that of one host.
pub(super) fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
    }
}

fn read_networks(section: &mut Section<'_>, ids: &HashMap<String, NetworkId>) -> Vec<NetworkId> {
    let read = |name: &str| match ids.get(name) {
        Some(id) => Ok(*id),
        None => Err(Cow::from(unknown_network(name, ids))),
    };
    let mut networks = if section.has("networks") {
        section.list("networks", read)
    } else {
        let _ = section.list("networks", read);
        ids.values().copied().collect()
    };
    if networks.is_empty() && section.has("networks") && section.is_sound("networks") {
        section.fault("networks", "expected at least one network");
    }
    networks.sort_unstable();
    networks.dedup();
    networks
}

fn unknown_network(name: &str, ids: &HashMap<String, NetworkId>) -> String {
    let mut known: Vec<&str> = ids.keys().map(String::as_str).collect();
    known.sort_unstable();
    match suggest::nearest(name, &known) {
        Some(near) => format!("expected the name of a network: did you mean {near:?}?"),
        None if known.is_empty() => "expected the name of a [[network]]".to_owned(),
        None if known.len() > NAMES_SHOWN_MAX => "expected the name of a network".to_owned(),
        None => format!("expected the name of a network: {}", known.join(", ")),
    }
}

/// Reads a prefix; host bits are cleared, as `wg` does, and a bare address is a prefix of its own.
pub(crate) fn read_prefix(text: &str) -> Result<IpNet, Cow<'static, str>> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(net) = net.map(|net| net.trunc()) else {
        return Err("expected an address or a prefix, such as \"192.168.20.0/24\"".into());
    };
    if net.network().is_multicast() {
        return Err("expected a prefix of hosts: nothing is sent from a multicast address".into());
    }
    Ok(net)
}

fn read_mac(text: &str) -> Result<Mac, Cow<'static, str>> {
    match text.parse::<Mac>() {
        Ok(mac) if !mac.is_multicast() && !mac.is_zero() => Ok(mac),
        _ => Err("expected a unicast MAC, such as \"02:00:00:00:00:02\"".into()),
    }
}
