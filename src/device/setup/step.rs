//! One change of a device: how it is made, and how it is undone.

use std::fmt;
use std::io;

use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressProtocol};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkMessage,
};
use rtnetlink::{Error, Handle, LinkUnspec};
use serde::{Deserialize, Serialize};

use super::link::{Link, name_of};
use super::netlink::{errno_of, failed, interface_of_route, route_message};
use super::{PROTOCOL, SetupError, is_gone};

/// A change, with what undoing it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    Mtu { to: u32, before: u32 },
    TxQueueLen { to: u32, before: u32 },
    GsoMaxSegments { to: u32, before: u32 },
    AddressMode { to: u8, before: u8 },
    Address(IpNet),
    Join { bridge: u32 },
    Up,
    Route { prefix: IpNet, table: Option<u32> },
}

/// Whether making a step changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Done,
    WasThere,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Mtu { to, .. } => write!(f, "MTU {to}"),
            Step::TxQueueLen { to, .. } => write!(f, "txqueuelen {to}"),
            Step::GsoMaxSegments { to, .. } => write!(f, "at most {to} GSO segments"),
            Step::AddressMode { .. } => f.write_str("no link-local address"),
            Step::Address(address) => write!(f, "address {address}"),
            Step::Join { .. } => f.write_str("joining the bridge"),
            Step::Up => f.write_str("setting it up"),
            Step::Route { prefix, table: None } => write!(f, "route {prefix}"),
            Step::Route { prefix, table: Some(table) } => {
                write!(f, "route {prefix} in table {table}")
            }
        }
    }
}

impl Step {
    /// Makes the change.
    pub(super) async fn make(&self, handle: &Handle, link: &Link) -> Result<Made, SetupError> {
        let result = match self {
            Step::Address(address) => add_address(handle, link.index, *address).await,
            Step::Route { prefix, table } => {
                let message = route_message(link.index, *prefix, *table);
                handle.route().add(message).execute().await
            }
            Step::Mtu { to, .. }
            | Step::TxQueueLen { to, .. }
            | Step::GsoMaxSegments { to, .. } => self.set(handle, link.index, *to).await,
            Step::AddressMode { to, .. } => self.set(handle, link.index, (*to).into()).await,
            Step::Join { bridge } => self.set(handle, link.index, *bridge).await,
            Step::Up => self.set(handle, link.index, 1).await,
        };
        match result {
            Ok(()) => Ok(Made::Done),
            Err(error) => self.explain(handle, link, error).await,
        }
    }

    /// Undoes the change; what is gone already is fine.
    pub(super) async fn undo(
        &self,
        handle: &Handle,
        name: &str,
        index: u32,
    ) -> Result<(), SetupError> {
        let result = match self {
            Step::Address(address) => {
                let mut add = handle.address().add(index, address.addr(), address.prefix_len());
                let message = std::mem::take(add.message_mut());
                handle.address().del(message).execute().await
            }
            Step::Route { prefix, table } => {
                handle.route().del(route_message(index, *prefix, *table)).execute().await
            }
            Step::Mtu { before, .. }
            | Step::TxQueueLen { before, .. }
            | Step::GsoMaxSegments { before, .. } => self.set(handle, index, *before).await,
            Step::AddressMode { before, .. } => self.set(handle, index, (*before).into()).await,
            Step::Join { .. } | Step::Up => self.set(handle, index, 0).await,
        };
        match result {
            Err(error) if errno_of(&error).is_some_and(is_gone) => Ok(()),
            Err(error) => Err(failed(name, format!("undoing {self}"), error)),
            Ok(()) => Ok(()),
        }
    }

    /// Sets what the step is about to a value.
    async fn set(&self, handle: &Handle, index: u32, value: u32) -> Result<(), Error> {
        handle.link().set(self.link_message(index, value)).execute().await
    }

    fn link_message(&self, index: u32, value: u32) -> LinkMessage {
        let message = LinkUnspec::new_with_index(index);
        let message = match self {
            Step::Mtu { .. } => message.mtu(value),
            Step::TxQueueLen { .. } => message.txqueuelen(value),
            Step::GsoMaxSegments { .. } => {
                message.append_extra_attribute(LinkAttribute::GsoMaxSegs(value))
            }
            Step::AddressMode { .. } => {
                let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::from(value as u8));
                let spec = vec![AfSpecUnspec::Inet6(vec![mode])];
                message.append_extra_attribute(LinkAttribute::AfSpecUnspec(spec))
            }
            Step::Join { .. } => message.controller(value),
            Step::Up if value == 0 => message.down(),
            Step::Up | Step::Address(_) | Step::Route { .. } => message.up(),
        };
        message.build()
    }

    /// Says what a refusal means: that it is there already, or an error.
    async fn explain(
        &self,
        handle: &Handle,
        link: &Link,
        error: Error,
    ) -> Result<Made, SetupError> {
        match (self, errno_of(&error)) {
            (Step::Address(_), Some(Errno::EEXIST)) => Ok(Made::WasThere),
            (Step::Address(IpNet::V6(_)), Some(Errno::EACCES)) => Err(SetupError::Kernel {
                name: link.name.clone(),
                step: self.to_string(),
                cause: io::Error::other("IPv6 is disabled (sysctl net.ipv6.conf.*.disable_ipv6)"),
            }),
            (Step::Route { prefix, table }, Some(Errno::EEXIST)) => {
                match interface_of_route(handle, *prefix, *table).await {
                    // The network of one of its own addresses, most often.
                    Ok(Some(index)) if index == link.index => Ok(Made::WasThere),
                    Ok(Some(index)) if index != 0 => {
                        let found = name_of(handle, index).await;
                        Err(SetupError::RouteExists { prefix: *prefix, found })
                    }
                    Ok(_) => Err(SetupError::RouteExists {
                        prefix: *prefix,
                        found: "another place".into(),
                    }),
                    Err(error) => Err(failed(&link.name, self, error)),
                }
            }
            _ => Err(failed(&link.name, self, error)),
        }
    }
}

async fn add_address(handle: &Handle, index: u32, address: IpNet) -> Result<(), Error> {
    let mut request = handle.address().add(index, address.addr(), address.prefix_len());
    let message = request.message_mut();
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(PROTOCOL)));
    if matches!(address, IpNet::V6(_)) {
        // Usable at once; duplicate detection would look for the address at peers that may not
        // be there yet.
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    request.execute().await
}
