//! Routes and neighbours of hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::RouteMessageBuilder;

use super::link::{index, netlink};
use super::{Host, LabError};

/// Adds a route by way of a gateway that is reached on `interface`.
///
/// # Panics
///
/// Panics if the destination and the gateway are of different address families.
pub fn add_route(
    host: &Host,
    interface: &str,
    destination: IpNet,
    gateway: IpAddr,
) -> Result<(), LabError> {
    let index = index(host, interface)?;
    let message = match (destination, gateway) {
        (IpNet::V4(net), IpAddr::V4(gateway)) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(net.addr(), net.prefix_len())
            .output_interface(index)
            .gateway(gateway)
            .build(),
        (IpNet::V6(net), IpAddr::V6(gateway)) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(net.addr(), net.prefix_len())
            .output_interface(index)
            .gateway(gateway)
            .build(),
        _ => panic!("destination and gateway are of one address family"),
    };
    netlink(host, format!("add a route to {destination} by {gateway}"), async |handle| {
        handle.route().add(message).execute().await
    })
}

/// Makes permanent neighbours of an interface: addresses with their MACs, which are never asked
/// for. What there is of the same addresses is replaced.
pub fn set_neighbours(
    host: &Host,
    interface: &str,
    neighbours: &[(IpAddr, [u8; 6])],
) -> Result<(), LabError> {
    let index = index(host, interface)?;
    let action = format!("make {} neighbours on {interface}", neighbours.len());
    netlink(host, action, async |handle| {
        for (address, mac) in neighbours {
            let request = handle.neighbours().add(index, *address);
            request.link_layer_address(mac).replace().execute().await?;
        }
        Ok(())
    })
}
