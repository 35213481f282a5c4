//! One host of the demonstration, and the configuration of the daemon in it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::DemoDevice;
use crate::lab::{Crossing, Host, LabError};

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
}

/// Gives the configuration of the daemon at one end of the tunnel.
pub(super) fn config(
    end: usize,
    sites: &[Site; 2],
    device: DemoDevice,
    crossing: &Crossing,
) -> String {
    let other = 1 - end;
    let (near, far) = (&sites[end], &sites[other]);
    let allowed = match device {
        DemoDevice::Tun => format!("allowed_ips = [\"{}/32\"]\n", far.overlay),
        DemoDevice::Tap => String::new(),
    };
    format!(
        "name = \"{}\"\n\
         {}\
         [[network]]\n\
         name = \"demo\"\n\
         vni = {VNI}\n\
         device = \"{}\"\n\
         addresses = [\"{}/24\"]\n\
         [[peer]]\n\
         name = \"{}\"\n\
         {}\
         {allowed}",
        near.name,
        crossing.table(end, near.underlay, device.kind()),
        device.name(),
        near.overlay,
        far.name,
        crossing.peer(other, far.underlay, device.kind()),
    )
}
