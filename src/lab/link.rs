//! Wires between hosts: veth pairs with addresses, made by rtnetlink.

use std::io;
use std::os::fd::AsRawFd;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::{Host, LabError};

/// One end of a wire.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// The host that it is plugged into.
    pub host: &'a Host,
    /// The interface that it makes there.
    pub interface: &'a str,
    /// The addresses of the interface.
    pub addresses: &'a [IpNet],
}

/// Plugs a wire between two hosts: a veth pair, both ends up.
pub fn connect(left: End<'_>, right: End<'_>, mtu: u32) -> Result<(), LabError> {
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(right.interface)
        .mtu(mtu)
        .append_extra_attribute(LinkAttribute::NetNsFd(right.host.netns().as_raw_fd()))
        .build();
    let pair = LinkVeth::new(left.interface, right.interface)
        .mtu(mtu)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    netlink(left.host, format!("make interface {}", left.interface), async |handle| {
        handle.link().add(pair).execute().await
    })?;
    for end in [left, right] {
        set_up(end.host, end.interface)?;
        for address in end.addresses {
            add_address(end.host, end.interface, *address)?;
        }
    }
    Ok(())
}

/// Sets an interface up.
pub fn set_up(host: &Host, interface: &str) -> Result<(), LabError> {
    netlink(host, format!("set {interface} up"), async |handle| {
        handle.link().set(LinkUnspec::new_with_name(interface).up().build()).execute().await
    })
}

/// Gives an interface an address, usable at once.
pub fn add_address(host: &Host, interface: &str, address: IpNet) -> Result<(), LabError> {
    let index = index(host, interface)?;
    let action = format!("give {interface} the address {address}");
    netlink(host, action, async |handle| {
        let mut request = handle.address().add(index, address.addr(), address.prefix_len());
        let message = request.message_mut();
        message.header.flags |= AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        request.execute().await
    })
}

/// Changes the MTU of an interface, bytes.
pub fn set_mtu(host: &Host, interface: &str, mtu: u32) -> Result<(), LabError> {
    netlink(host, format!("set the MTU of {interface} to {mtu}"), async |handle| {
        handle.link().set(LinkUnspec::new_with_name(interface).mtu(mtu).build()).execute().await
    })
}

/// Gives the number of an interface.
pub(super) fn index(host: &Host, interface: &str) -> Result<u32, LabError> {
    host.run(|| nix::net::if_::if_nametoindex(interface))
        .map_err(|errno| host.refused(format!("find interface {interface}"), errno.into()))
}

/// Runs one netlink conversation in a host.
pub(super) fn netlink<F>(host: &Host, action: String, talk: F) -> Result<(), LabError>
where
    F: AsyncFnOnce(Handle) -> Result<(), rtnetlink::Error> + Send,
{
    let conversation = || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            talk(handle).await.map_err(into_io_error)
        })
    };
    host.run(conversation).map_err(|source| host.refused(action, source))
}

fn into_io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}
