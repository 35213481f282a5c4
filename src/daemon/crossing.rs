//! How each peer is crossed to, found out at the start: where it is, what is put around its
//! packets, how much the path takes; and the sessions of those that need them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::build::StartError;
use crate::config::{self, Config, DeviceKind, HostPort, Transport, WireGuardPeer, key_file};
use crate::node::Crossing;
use crate::peer::{NetworkId, PeerId};
use crate::socket::Underlay;
use crate::transport::outer::TunnelIps;
use crate::transport::overhead::{self, Wrap};
use crate::transport::wireguard::{PeerSpec, PresharedKey, PrivateKey, WireGuard};

/// The path MTU that is assumed where the kernel has no route yet.
const ETHERNET_MTU: u16 = 1500;

/// The way to a peer.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) crossing: Crossing,
    pub(super) path_mtu: Option<u16>,
}

impl Way {
    fn look_up(config: &Config, peer: &config::Peer, underlay: &Underlay) -> Self {
        let crossing = match &peer.transport {
            Transport::Vxlan(endpoint) => vxlan(config, *endpoint),
            Transport::WireGuard(peer) => Crossing::WireGuard {
                endpoint: address(peer.endpoint.as_ref()),
                tunnel: tunnel(config, peer),
            },
            Transport::Quic(peer) => Crossing::Quic { endpoint: address(peer.endpoint.as_ref()) },
        };
        let mut way = Self { crossing, path_mtu: None };
        let path_mtu = way.endpoint().and_then(|to| underlay.path_mtu(to, None));
        way.path_mtu = path_mtu.map(|mtu| u16::try_from(mtu).unwrap_or(u16::MAX));
        way
    }

    pub(super) fn endpoint(&self) -> Option<SocketAddr> {
        match self.crossing {
            Crossing::Vxlan { vxlan, .. } => Some(vxlan),
            Crossing::WireGuard { endpoint, .. } | Crossing::Quic { endpoint } => endpoint,
        }
    }

    fn wrap(&self, is_frame: bool) -> Wrap {
        match self.crossing {
            Crossing::Vxlan { .. } => Wrap::Vxlan,
            Crossing::WireGuard { tunnel: Some(ips), .. } if is_frame => {
                Wrap::VxlanInWireGuard(ips)
            }
            Crossing::WireGuard { .. } => Wrap::WireGuard,
            Crossing::Quic { .. } => Wrap::Quic,
        }
    }
}

fn vxlan(config: &Config, endpoint: config::Endpoint) -> Crossing {
    let ports = config.vxlan.as_ref().map(|vxlan| (vxlan.port, vxlan.gpe_port));
    let default = (config::defaults::VXLAN_PORT, config::defaults::VXLAN_GPE_PORT);
    let (port, gpe_port) = ports.unwrap_or(default);
    let at = |port| SocketAddr::new(endpoint.address, endpoint.port.unwrap_or(port));
    Crossing::Vxlan { vxlan: at(port), vxlan_gpe: at(gpe_port) }
}

fn tunnel(config: &Config, peer: &WireGuardPeer) -> Option<TunnelIps> {
    let ours = config.wireguard.as_ref()?.tunnel_ip?;
    TunnelIps::new(ours, peer.tunnel_ip?)
}

/// Gives a peer's address; one that has a name is asked for later, as that may take long.
fn address(endpoint: Option<&HostPort>) -> Option<SocketAddr> {
    match endpoint? {
        HostPort::Address(address) => Some(*address),
        HostPort::Name(..) => None,
    }
}

/// The ways to all peers, in the order of the configuration.
pub(super) struct Ways(Vec<Way>);

impl Ways {
    pub(super) fn look_up(config: &Config, underlay: &Underlay) -> Self {
        Self(config.peers.iter().map(|peer| Way::look_up(config, peer, underlay)).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Way> {
        self.0.iter()
    }

    /// What is configured, or what every path of the network takes.
    pub(super) fn network_mtu(&self, config: &Config, id: NetworkId) -> Result<u16, StartError> {
        let network = config.network(id);
        if let Some(mtu) = network.mtu {
            return Ok(mtu);
        }
        let is_frame = network.device == DeviceKind::Tap;
        let fits = self.of(config, id).map(|way| {
            let path = way.path_mtu.unwrap_or(ETHERNET_MTU);
            let to = way.endpoint().map_or(listen(config), |to| to.ip());
            (overhead::network_mtu(way.wrap(is_frame), to, path, is_frame), path)
        });
        let alone = overhead::network_mtu(Wrap::Vxlan, listen(config), ETHERNET_MTU, is_frame);
        let (mtu, path_mtu) = fits.min().unwrap_or((alone, ETHERNET_MTU));
        let has_ipv6 = network.addresses.iter().any(|net| net.addr().is_ipv6());
        let least = if has_ipv6 { 1280 } else { 576 };
        if mtu < least {
            return Err(StartError::Mtu { network: network.name.clone(), path_mtu });
        }
        Ok(mtu)
    }

    /// The segments of a GSO packet that one send takes to every peer of a network.
    pub(super) fn run_segments(&self, config: &Config, id: NetworkId, mtu: u16) -> u32 {
        let is_frame = config.network(id).device == DeviceKind::Tap;
        let segments = |way: &Way| overhead::run_segments(way.wrap(is_frame), mtu, is_frame);
        let fewest = self.of(config, id).map(segments).min();
        fewest.unwrap_or(overhead::run_segments(Wrap::Vxlan, mtu, is_frame))
    }

    fn of<'a>(&'a self, config: &'a Config, id: NetworkId) -> impl Iterator<Item = &'a Way> {
        let all = config.peers.iter().zip(&self.0);
        all.filter(move |(peer, _)| peer.networks.contains(&id)).map(|(_, way)| way)
    }
}

/// The address of ours that stands for the family of a peer that has not spoken yet.
pub(super) fn listen(config: &Config) -> IpAddr {
    let clear = config.vxlan.as_ref().map(|vxlan| vxlan.listen);
    let sealed = config.wireguard.as_ref().map(|wireguard| wireguard.listen.ip());
    let quic = config.quic.as_ref().map(|quic| quic.listen.ip());
    clear.or(sealed).or(quic).unwrap_or(config::defaults::LISTEN)
}

/// Where we listen; the node must never carry what is addressed to it.
pub(super) fn own_endpoints(config: &Config) -> Vec<SocketAddr> {
    let clear = config.vxlan.iter().flat_map(|vxlan| {
        [vxlan.port, vxlan.gpe_port].map(|port| SocketAddr::new(vxlan.listen, port))
    });
    let sealed = config.wireguard.iter().map(|wireguard| wireguard.listen);
    let both = |at: SocketAddr| {
        let is_all = at.ip().is_unspecified() && at.is_ipv6();
        let v4 = is_all.then(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port()));
        [Some(at), v4].into_iter().flatten()
    };
    let quic = config.quic.iter().map(|quic| quic.listen);
    clear.chain(sealed).chain(quic).flat_map(both).collect()
}

/// Makes the sessions' engine, with all WireGuard peers. The keys are read once more: what judged
/// the configuration has forgotten them, so that the clean-up process never had them.
///
/// # Errors
///
/// Names the key file that cannot be used.
pub(super) fn engine(config: &Config, ways: &Ways) -> Result<Option<Arc<WireGuard>>, StartError> {
    let Some(settings) = &config.wireguard else { return Ok(None) };
    let now = Instant::now();
    let private: PrivateKey = key_file::read(&settings.private_key_file)?;
    let engine = WireGuard::new(private, settings.rekey_after, now);
    for (slot, (peer, way)) in config.peers.iter().zip(ways.iter()).enumerate() {
        let Some(wireguard) = peer.wireguard() else { continue };
        let preshared = wireguard.preshared_key_file.as_deref().map(key_file::read::<PresharedKey>);
        engine.add(
            PeerSpec {
                id: PeerId::new(slot, 0),
                key: wireguard.public_key,
                preshared: preshared.transpose()?,
                keepalive: wireguard.persistent_keepalive,
                endpoint: way.endpoint(),
            },
            now,
        );
    }
    Ok(Some(Arc::new(engine)))
}
