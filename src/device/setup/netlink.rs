//! What netlink needs: errors, routes and addresses as messages, and finding those that are ours.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::{Error, Handle, RouteMessageBuilder};

use super::step::Step;
use super::{PROTOCOL, SetupError};

/// Makes a set-up error of a netlink error.
pub(super) fn failed(name: &str, step: impl ToString, error: Error) -> SetupError {
    let cause = match errno_of(&error) {
        Some(errno) => io::Error::from(errno),
        None => io::Error::other(error),
    };
    SetupError::Kernel { name: name.into(), step: step.to_string(), cause }
}

/// Gives the kernel's error number, if the error is the kernel's.
pub(super) fn errno_of(error: &Error) -> Option<Errno> {
    match error {
        Error::NetlinkError(message) => Some(Errno::from_raw(message.raw_code().abs())),
        _ => None,
    }
}

/// Makes the message of one of our routes.
pub(super) fn route_message(index: u32, prefix: IpNet, table: Option<u32>) -> RouteMessage {
    let table = table.unwrap_or(RouteHeader::RT_TABLE_MAIN.into());
    let protocol = RouteProtocol::from(PROTOCOL);
    match prefix {
        IpNet::V4(prefix) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(prefix.addr(), prefix.prefix_len())
            .output_interface(index)
            .table_id(table)
            .protocol(protocol)
            .scope(RouteScope::Link)
            .build(),
        IpNet::V6(prefix) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(prefix.addr(), prefix.prefix_len())
            .output_interface(index)
            .table_id(table)
            .protocol(protocol)
            .build(),
    }
}

/// Gives the interface that a route of this prefix and table leads to, 0 if to several or none;
/// the outer `None` if there is no such route.
pub(super) async fn interface_of_route(
    handle: &Handle,
    prefix: IpNet,
    table: Option<u32>,
) -> Result<Option<u32>, Error> {
    let table = table.unwrap_or(RouteHeader::RT_TABLE_MAIN.into());
    let is_v4 = matches!(prefix, IpNet::V4(_));
    let routes = routes(handle, is_v4).await?;
    let route = routes.iter().find(|route| {
        prefix_of(route) == prefix && table_of(route) == table && has_default_metric(route)
    });
    Ok(route.map(|route| output_of(route).unwrap_or(0)))
}

/// Finds the routes and addresses of an interface that carry our protocol number.
pub(super) async fn stale(handle: &Handle, index: u32) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for is_v4 in [true, false] {
        let ours = routes(handle, is_v4).await?.into_iter().filter(|route| {
            u8::from(route.header.protocol) == PROTOCOL && output_of(route) == Some(index)
        });
        steps.extend(
            ours.map(|route| Step::Route {
                prefix: prefix_of(&route),
                table: Some(table_of(&route)),
            }),
        );
    }
    let request = handle.address().get().set_link_index_filter(index);
    let addresses: Vec<AddressMessage> = request.execute().try_collect().await?;
    let ours = addresses.iter().filter(|address| {
        address.attributes.contains(&AddressAttribute::Protocol(AddressProtocol::from(PROTOCOL)))
    });
    steps.extend(ours.filter_map(address_of).map(Step::Address));
    Ok(steps)
}

async fn routes(handle: &Handle, is_v4: bool) -> Result<Vec<RouteMessage>, Error> {
    let message = if is_v4 {
        RouteMessageBuilder::<Ipv4Addr>::new().build()
    } else {
        RouteMessageBuilder::<Ipv6Addr>::new().build()
    };
    handle.route().get(message).execute().try_collect().await
}

fn prefix_of(route: &RouteMessage) -> IpNet {
    let len = route.header.destination_prefix_length;
    let ip = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Destination(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    });
    let any = match route.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let ip = ip.unwrap_or(any);
    IpNet::new(ip, len).unwrap_or(ip.into())
}

fn table_of(route: &RouteMessage) -> u32 {
    let large = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    large.unwrap_or(route.header.table.into())
}

/// Whether a route's metric is the one that ours have, so that both exclude each other.
fn has_default_metric(route: &RouteMessage) -> bool {
    /// IP6_RT_PRIO_USER in `include/uapi/linux/ipv6_route.h`.
    const IPV6_METRIC: u32 = 1024;
    let metric = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    match route.header.address_family {
        AddressFamily::Inet => metric.unwrap_or(0) == 0,
        _ => metric.unwrap_or(IPV6_METRIC) == IPV6_METRIC,
    }
}

fn output_of(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

fn address_of(message: &AddressMessage) -> Option<IpNet> {
    let of_kind = |local| {
        message.attributes.iter().find_map(move |attribute| match attribute {
            AddressAttribute::Local(ip) if local => Some(*ip),
            AddressAttribute::Address(ip) if !local => Some(*ip),
            _ => None,
        })
    };
    let ip = of_kind(true).or_else(|| of_kind(false))?;
    IpNet::new(ip, message.header.prefix_len).ok()
}
