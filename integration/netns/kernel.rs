//! The kernel's own VXLAN devices, as the other end.

use std::net::IpAddr;

use crate::place::{Node, UNDERLAY, run};

/// The usual name of a VXLAN device.
pub const DEVICE: &str = "vx0";

/// The usual name of a VXLAN-GPE device.
pub const GPE_DEVICE: &str = "vg0";

/// The kernel's device for Ethernet frames.
pub struct KernelVxlan<'a> {
    pub node: &'a Node,
    pub device: &'a str,
    /// The endpoints to which it floods.
    pub peers: &'a [IpAddr],
    pub vni: u32,
    /// Addresses of the device, as `ip addr add` takes them.
    pub addresses: &'a [&'a str],
    /// Further words for `ip link add`.
    pub options: &'a str,
}

impl KernelVxlan<'_> {
    /// Makes the device and sets it up.
    #[track_caller]
    pub fn make(&self) {
        let Self { node, device, vni, options, .. } = self;
        let local = node.address;
        node.ip(&format!(
            "link add {device} type vxlan id {vni} dstport 4789 local {local} dev {UNDERLAY} {options}"
        ));
        for address in self.addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            node.ip(&format!("addr add {address} dev {device} {nodad}"));
        }
        node.ip(&format!("link set {device} up"));
        for peer in self.peers {
            let entry = format!("fdb append 00:00:00:00:00:00 dev {device} dst {peer}");
            run(&node.host, "bridge", &entry);
        }
    }
}

/// The kernel's device for IP packets: VXLAN-GPE, the endpoint and the VNI in the routes.
pub struct KernelGpe<'a> {
    pub node: &'a Node,
    pub peer: IpAddr,
    pub vni: u32,
    /// Its own overlay addresses, IPv4 and IPv6.
    pub addresses: [IpAddr; 2],
    /// The overlay addresses of the other end, IPv4 and IPv6.
    pub far: [IpAddr; 2],
}

impl KernelGpe<'_> {
    /// Makes the device and its routes and sets it up.
    #[track_caller]
    pub fn make(&self) {
        let Self { node, peer, vni, addresses: [v4, v6], far: [far_v4, far_v6] } = self;
        let (mtu, encap) = if peer.is_ipv4() { (1464, "ip") } else { (1444, "ip6") };
        let (device, local) = (GPE_DEVICE, node.address);
        node.ip(&format!("link add {device} type vxlan dstport 4790 local {local} external gpe"));
        node.ip(&format!("link set {device} mtu {mtu} up"));
        node.ip(&format!("addr add {v4}/32 dev {device}"));
        node.ip(&format!("addr add {v6}/128 dev {device} nodad"));
        let encap = format!("encap {encap} id {vni} dst {peer} csum dev {device}");
        node.ip(&format!("route add {far_v4}/32 {encap} src {v4}"));
        node.ip(&format!("-6 route add {far_v6}/128 {encap} src {v6}"));
    }
}
