//! One host of the demonstration, and the configuration of the daemon in it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::DemoDevice;
use crate::lab::{Host, LabError};

/// The network identifier of the tunnel.
pub(super) const VNI: u32 = 42;

/// A host and its addresses.
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) host: Host,
    pub(super) underlay: IpAddr,
    pub(super) wire: IpNet,
    pub(super) overlay: IpAddr,
}

impl Site {
    pub(super) fn alpha() -> Result<Self, LabError> {
        Self::new("alpha", 1)
    }

    pub(super) fn beta() -> Result<Self, LabError> {
        Self::new("beta", 2)
    }

    /// Makes a host; the underlay is TEST-NET-1 (RFC 5737), the overlay a private network.
    fn new(name: &'static str, number: u8) -> Result<Self, LabError> {
        let underlay = Ipv4Addr::new(192, 0, 2, number);
        Ok(Self {
            name,
            host: Host::new(name)?,
            underlay: underlay.into(),
            wire: Ipv4Net::new_assert(underlay, 24).into(),
            overlay: Ipv4Addr::new(10, 9, 0, number).into(),
        })
    }

    /// Gives the configuration of its daemon, whose peer is `other`.
    pub(super) fn config(&self, other: &Site, device: DemoDevice) -> String {
        let Self { name, underlay, overlay, .. } = self;
        let allowed = match device {
            DemoDevice::Tun => format!("allowed_ips = [\"{}/32\"]\n", other.overlay),
            DemoDevice::Tap => String::new(),
        };
        let device = device.name();
        format!(
            "name = \"{name}\"\n\
             [vxlan]\n\
             listen = \"{underlay}\"\n\
             [[network]]\n\
             name = \"demo\"\n\
             vni = {VNI}\n\
             device = \"{device}\"\n\
             addresses = [\"{overlay}/24\"]\n\
             [[peer]]\n\
             name = \"{}\"\n\
             transport = \"vxlan\"\n\
             endpoint = \"{}\"\n\
             {allowed}",
            other.name, other.underlay
        )
    }
}
