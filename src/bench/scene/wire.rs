//! The two hosts of a scene and the wire between them.

use std::fmt;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::bench::BenchError;
use crate::bench::case::Maker;
use crate::lab::{self, End, Host};
use crate::sys::ethtool;

/// The wire's interface on both hosts.
pub(in crate::bench) const INTERFACE: &str = "wire0";

/// Bytes of an Ethernet header.
const ETHERNET_HEADER: u64 = 14;

/// What a wire carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnderlayKind {
    /// Packets of at most the MTU, which the receiving host may merge (GRO), as with a real NIC.
    #[default]
    Nic,
    /// Aggregates of up to 64 KiB unsegmented, as veth pairs carry them and no real network does.
    Veth,
}

impl UnderlayKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nic, Self::Veth];

    /// Gives the name that users write and read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nic => "nic",
            Self::Veth => "veth",
        }
    }
}

impl FromStr for UnderlayKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("no underlay is named {name}; there are: nic, veth"))
    }
}

impl fmt::Display for UnderlayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A host of a scene, and its addresses.
#[derive(Debug)]
pub(in crate::bench) struct Site {
    pub(in crate::bench) host: Host,
    pub(in crate::bench) underlay: Ipv4Addr,
    pub(super) overlay: Ipv4Addr,
}

impl Site {
    /// Makes the left and the right host, with a wire between them.
    pub(in crate::bench) fn pair(mtu: u32) -> Result<[Self; 2], BenchError> {
        let sites = [Self::new("left", 1)?, Self::new("right", 2)?];
        let nets = [&sites[0], &sites[1]].map(|site| [site.underlay_net()]);
        lab::connect(
            End { host: &sites[0].host, interface: INTERFACE, addresses: &nets[0] },
            End { host: &sites[1].host, interface: INTERFACE, addresses: &nets[1] },
            mtu,
        )?;
        Ok(sites)
    }

    /// Makes a host without IPv6, whose own packets would be among those that are counted. The
    /// underlay is TEST-NET-1 (RFC 5737), the overlay a private network.
    fn new(name: &str, number: u8) -> Result<Self, BenchError> {
        let host = Host::new(name)?;
        host.set_sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
        host.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        let underlay = Ipv4Addr::new(192, 0, 2, number);
        Ok(Self { host, underlay, overlay: super::overlay(number) })
    }

    fn underlay_net(&self) -> IpNet {
        Ipv4Net::new_assert(self.underlay, 24).into()
    }

    pub(super) fn overlay_net(&self) -> IpNet {
        Ipv4Net::new_assert(self.overlay, 16).into()
    }
}

/// Makes the wire carry what its kind says.
pub(in crate::bench) fn adjust(
    sites: &[Site; 2],
    kind: UnderlayKind,
    makers: [Maker; 2],
) -> Result<(), BenchError> {
    if kind == UnderlayKind::Veth {
        return Ok(());
    }
    for (site, maker) in sites.iter().zip(makers) {
        let chosen = |feature: &str| nic_feature(feature, maker);
        let left =
            site.host.run(|| ethtool::set_features(INTERFACE, chosen)).map_err(|source| {
                let host = site.host.name();
                BenchError::step(format!("set the features of {INTERFACE} in host {host}"), source)
            })?;
        if let Some(feature) = left.into_iter().next() {
            return Err(BenchError::Feature {
                host: site.host.name().into(),
                interface: INTERFACE,
                wish: if feature.is_active { "off" } else { "on" },
                feature: feature.name,
            });
        }
    }
    Ok(())
}

/// Gives whether a wire that is like a NIC's has a feature; `None` if it does not matter.
///
/// Without segmentation offloads what crosses is cut to the MTU before. veth merges on receipt
/// (GRO) if the sending end has no TCP segmentation. A kernel VXLAN sender also gets no checksum
/// offload: with it the outer checksum would stay unfinished on a wire that never leaves the
/// machine.
fn nic_feature(feature: &str, maker: Maker) -> Option<bool> {
    match feature {
        "rx-gro" => Some(true),
        "tx-generic-segmentation" | "tx-udp-segmentation" => Some(false),
        "tx-udp_tnl-segmentation" | "tx-udp_tnl-csum-segmentation" => Some(false),
        "tx-checksum-ip-generic" | "tx-checksum-ipv4" | "tx-checksum-ipv6" => {
            (maker == Maker::Kernel).then_some(false)
        }
        // What `ethtool -K … tso off` means.
        _ => (feature.starts_with("tx-tcp") && feature.ends_with("-segmentation")).then_some(false),
    }
}

/// What a wire has carried in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Packets; an aggregate that crosses unsegmented is one.
    pub packets: u64,
    /// Bytes of these, with their Ethernet headers.
    pub bytes: u64,
}

/// What a wire has carried since it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireCounters {
    /// From the left host to the right one.
    pub left_to_right: Carried,
    /// From the right host to the left one.
    pub right_to_left: Carried,
}

impl WireCounters {
    /// Gives what was carried after `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let less = |now: Carried, then: Carried| Carried {
            packets: now.packets.saturating_sub(then.packets),
            bytes: now.bytes.saturating_sub(then.bytes),
        };
        Self {
            left_to_right: less(self.left_to_right, earlier.left_to_right),
            right_to_left: less(self.right_to_left, earlier.right_to_left),
        }
    }
}

/// Reads the counters of a wire at its left end.
pub(super) fn counters(left: &Site, kind: UnderlayKind) -> Result<WireCounters, BenchError> {
    let text = left.host.run(|| fs::read_to_string("/proc/thread-self/net/dev"));
    let read = text.and_then(|text| {
        parse_counters(&text).ok_or_else(|| io::Error::other(format!("no {INTERFACE}: {text}")))
    });
    let mut counters =
        read.map_err(|source| BenchError::step("read the counters of the wire", source))?;
    if kind == UnderlayKind::Nic {
        // veth counts what it may merge without the Ethernet header.
        for carried in [&mut counters.left_to_right, &mut counters.right_to_left] {
            carried.bytes += carried.packets * ETHERNET_HEADER;
        }
    }
    Ok(counters)
}

/// Finds the wire in `/proc/net/dev`: eight numbers of what was received, then eight of what was
/// sent; of each the first two are bytes and packets.
fn parse_counters(text: &str) -> Option<WireCounters> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("wire0:"))?;
    let numbers: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let at = |index: usize| {
        Some(Carried { bytes: *numbers.get(index)?, packets: *numbers.get(index + 1)? })
    };
    Some(WireCounters { right_to_left: at(0)?, left_to_right: at(8)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nic_has_no_segmentation_and_merges() {
        for feature in ["tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation"] {
            assert_eq!(nic_feature(feature, Maker::Nobody), Some(false));
        }
        assert_eq!(nic_feature("rx-gro", Maker::Nobody), Some(true));
        assert_eq!(nic_feature("tx-scatter-gather", Maker::Nobody), None);
    }

    #[test]
    fn only_the_kernels_vxlan_loses_the_checksum_offload() {
        assert_eq!(nic_feature("tx-checksum-ip-generic", Maker::Kernel), Some(false));
        assert_eq!(nic_feature("tx-checksum-ip-generic", Maker::Nobody), None);
    }

    #[test]
    fn counters_are_read_for_each_direction() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1 2 0 0 0 0 0 0 1 2 0 0 0 0 0 0\n\
                     wire0: 700 7 0 0 0 0 0 0 9000 6 0 0 0 0 0 0\n";
        let counters = parse_counters(text).unwrap();
        assert_eq!(counters.left_to_right, Carried { packets: 6, bytes: 9000 });
        assert_eq!(counters.right_to_left, Carried { packets: 7, bytes: 700 });
        assert_eq!(counters.since(counters), WireCounters::default());
        assert_eq!(parse_counters("Inter-|"), None);
    }

    #[test]
    fn underlay_is_read_by_name() {
        for kind in UnderlayKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("lan".parse::<UnderlayKind>().unwrap_err().contains("nic, veth"));
    }
}
