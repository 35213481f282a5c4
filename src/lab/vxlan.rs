//! The kernel's own VXLAN devices.

use std::net::{IpAddr, SocketAddr};

use rtnetlink::{LinkMessageBuilder, LinkVxlan};

use super::link::netlink;
use super::{Host, LabError};

/// A VXLAN device of the kernel with one other end.
#[derive(Clone, Copy, Debug)]
pub struct KernelVxlan<'a> {
    /// The device's name.
    pub interface: &'a str,
    /// The network identifier.
    pub vni: u32,
    /// The underlay address of the host.
    pub local: IpAddr,
    /// The other end, with the UDP port of both.
    pub remote: SocketAddr,
    /// The MTU of the device, bytes.
    pub mtu: u32,
}

impl KernelVxlan<'_> {
    /// Makes the device in a host; it is still down. It learns, and its datagrams have checksums.
    pub fn make(&self, host: &Host) -> Result<(), LabError> {
        let link = LinkMessageBuilder::<LinkVxlan>::new(self.interface).id(self.vni);
        let link = match self.local {
            IpAddr::V4(address) => link.local(address),
            IpAddr::V6(address) => link.local6(address),
        };
        let link = match self.remote.ip() {
            IpAddr::V4(address) => link.remote(address),
            IpAddr::V6(address) => link.remote6(address),
        };
        let link = link.port(self.remote.port()).learning(true).udp_csum(true).mtu(self.mtu);
        netlink(host, format!("make interface {}", self.interface), async |handle| {
            handle.link().add(link.build()).execute().await
        })
    }
}
