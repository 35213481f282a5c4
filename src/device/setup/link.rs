//! What netlink says of an interface.

use std::io;

use futures_util::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::Handle;
use rtnetlink::packet_core::Nla;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, InfoData, InfoKind, InfoTun, LinkAttribute, LinkFlags,
    LinkInfo as Info, LinkLayerType, LinkMessage,
};

use super::SetupError;
use super::netlink::{errno_of, failed};

/// IN6_ADDR_GEN_MODE_NONE in `include/uapi/linux/if_link.h`.
pub(super) const ADDRESS_MODE_NONE: u8 = 1;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) mtu: u32,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) kind: Option<InfoKind>,
    pub(super) master: Option<u32>,
    pub(super) is_up: bool,
    pub(super) is_ethernet: bool,
    /// A TUN or TAP device that stays when nobody has it open.
    pub(super) is_persistent: bool,
    pub(super) txqueuelen: u32,
    pub(super) gso_max_segments: u32,
    /// How IPv6 makes addresses by itself; `None` if the kernel has no IPv6.
    pub(super) address_mode: Option<u8>,
}

impl Link {
    /// Asks for an interface by its name.
    pub(super) async fn named(handle: &Handle, name: &str) -> Result<Self, SetupError> {
        let request = handle.link().get().match_name(name);
        let message = request.execute().try_next().await;
        match message {
            Ok(Some(message)) => Ok(Self::from_message(name, &message)),
            Ok(None) => Err(SetupError::NoLink { name: name.into() }),
            Err(error) if errno_of(&error) == Some(Errno::ENODEV) => {
                Err(SetupError::NoLink { name: name.into() })
            }
            Err(error) => Err(failed(name, "looking it up", error)),
        }
    }

    fn from_message(name: &str, message: &LinkMessage) -> Self {
        let mut link = Self {
            name: name.into(),
            index: message.header.index,
            is_up: message.header.flags.contains(LinkFlags::Up),
            is_ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            ..Self::default()
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok(),
                LinkAttribute::Controller(index) => link.master = Some(*index),
                LinkAttribute::TxQueueLen(len) => link.txqueuelen = *len,
                LinkAttribute::GsoMaxSegs(segments) => link.gso_max_segments = *segments,
                LinkAttribute::LinkInfo(infos) => infos.iter().for_each(|info| link.take(info)),
                LinkAttribute::AfSpecUnspec(specs) => link.address_mode = address_mode(specs),
                _ => {}
            }
        }
        link
    }

    fn take(&mut self, info: &Info) {
        match info {
            Info::Kind(kind) => self.kind = Some(kind.clone()),
            Info::Data(InfoData::Tun(tun)) => {
                self.is_persistent = tun.iter().any(is_persist);
            }
            _ => {}
        }
    }
}

/// Whether the attribute is IFLA_TUN_PERSIST with the value 1.
fn is_persist(tun: &InfoTun) -> bool {
    const IFLA_TUN_PERSIST: u16 = 6;
    let mut value = [0];
    if tun.kind() == IFLA_TUN_PERSIST && tun.value_len() == value.len() {
        tun.emit_value(&mut value);
    }
    value == [1]
}

fn address_mode(specs: &[AfSpecUnspec]) -> Option<u8> {
    specs.iter().find_map(|spec| match spec {
        AfSpecUnspec::Inet6(attributes) => {
            attributes.iter().find_map(|attribute| match attribute {
                AfSpecInet6::AddrGenMode(mode) => Some(u8::from(mode)),
                _ => None,
            })
        }
        _ => None,
    })
}

/// Asks for a bridge by its name.
pub(super) async fn bridge_named(handle: &Handle, name: &str) -> Result<Link, SetupError> {
    let link = Link::named(handle, name).await?;
    match &link.kind {
        Some(InfoKind::Bridge) => Ok(link),
        Some(kind) => {
            Err(SetupError::NotABridge { name: name.into(), found: format!("a {kind} interface") })
        }
        None => Err(SetupError::NotABridge { name: name.into(), found: "a device".into() }),
    }
}

/// Gives the bridge that an interface is a port of, if it is one.
pub(super) async fn bridge_above(handle: &Handle, link: &Link) -> Result<Option<Link>, SetupError> {
    let Some(master) = link.master else {
        return Ok(None);
    };
    let master = Link::named(handle, &name_of(handle, master).await).await?;
    Ok(Some(master).filter(|master| master.kind == Some(InfoKind::Bridge)))
}

/// Gives an interface's name, or its number if it is gone.
pub(super) async fn name_of(handle: &Handle, index: u32) -> String {
    let message = handle.link().get().match_index(index).execute().try_next().await;
    message
        .ok()
        .flatten()
        .and_then(|message| {
            message.attributes.into_iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            })
        })
        .unwrap_or_else(|| format!("interface {index}"))
}

/// Gives the MTU of an interface.
///
/// # Errors
///
/// Fails if there is none of that name.
pub async fn link_mtu(handle: &Handle, name: &str) -> Result<u32, SetupError> {
    Ok(Link::named(handle, name).await?.mtu)
}

/// Gives the MTU of a bridge.
///
/// # Errors
///
/// Fails if there is no interface of that name, or if it is not a bridge.
pub async fn bridge_mtu(handle: &Handle, name: &str) -> Result<u32, SetupError> {
    Ok(bridge_named(handle, name).await?.mtu)
}

/// Gives the name of the bridge that an interface is a port of, if it is one.
///
/// # Errors
///
/// Fails if there is no interface of that name.
pub async fn bridge_of(handle: &Handle, name: &str) -> Result<Option<String>, SetupError> {
    let link = Link::named(handle, name).await?;
    Ok(bridge_above(handle, &link).await?.map(|bridge| bridge.name))
}

/// Gives the MAC address of an Ethernet interface.
///
/// # Errors
///
/// Fails if there is none of that name, or if it has none.
pub async fn link_mac(handle: &Handle, name: &str) -> Result<[u8; 6], SetupError> {
    Link::named(handle, name).await?.mac.ok_or_else(|| SetupError::Kernel {
        name: name.into(),
        step: "its MAC address".into(),
        cause: io::Error::from(Errno::EADDRNOTAVAIL),
    })
}
