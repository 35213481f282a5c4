//! Which sources a peer may send from on a TAP network.

use std::net::IpAddr;

use ipnet::IpNet;

use super::lpm::Lpm;

/// A peer's `allowed_macs` and `allowed_ips`. What is not configured allows everything.
#[derive(Clone, Debug, Default)]
pub struct SourceFilter {
    /// Sorted.
    macs: Option<Box<[[u8; 6]]>>,
    ips: Option<Lpm<()>>,
}

impl SourceFilter {
    /// Makes a filter; `None` allows any, an empty list allows none.
    pub fn new(macs: Option<&[[u8; 6]]>, ips: Option<&[IpNet]>) -> Self {
        let macs = macs.map(|macs| {
            let mut macs = macs.to_vec();
            macs.sort_unstable();
            macs.into_boxed_slice()
        });
        let ips = ips.map(|ips| Lpm::new(ips.iter().map(|net| (*net, ()))));
        Self { macs, ips }
    }

    /// Whether the peer may send from this MAC.
    #[inline]
    pub fn allows_mac(&self, mac: [u8; 6]) -> bool {
        self.macs.as_ref().is_none_or(|macs| macs.binary_search(&mac).is_ok())
    }

    /// Whether the peer may send from this IP address (source of a packet, sender of an ARP).
    #[inline]
    pub fn allows_ip(&self, address: IpAddr) -> bool {
        self.ips.as_ref().is_none_or(|ips| ips.lookup(address).is_some())
    }

    /// Whether IP sources are checked at all.
    pub fn checks_ips(&self) -> bool {
        self.ips.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_allows_any() {
        let filter = SourceFilter::default();
        assert!(filter.allows_mac([2, 0, 0, 0, 0, 1]));
        assert!(filter.allows_ip("10.0.0.1".parse().unwrap()));
        assert!(!filter.checks_ips());
    }

    #[test]
    fn what_is_empty_allows_none() {
        let filter = SourceFilter::new(Some(&[]), Some(&[]));
        assert!(!filter.allows_mac([2, 0, 0, 0, 0, 1]));
        assert!(!filter.allows_ip("10.0.0.1".parse().unwrap()));
        assert!(filter.checks_ips());
    }

    #[test]
    fn only_listed_sources_are_allowed() {
        let macs = [[2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1]];
        let ips = ["10.0.0.0/24".parse().unwrap(), "10.0.0.0/25".parse().unwrap()];
        let filter = SourceFilter::new(Some(&macs), Some(&ips));
        assert!(filter.allows_mac([2, 0, 0, 0, 0, 1]));
        assert!(filter.allows_mac([2, 0, 0, 0, 0, 9]));
        assert!(!filter.allows_mac([2, 0, 0, 0, 0, 2]));
        assert!(filter.allows_ip("10.0.0.200".parse().unwrap()));
        assert!(!filter.allows_ip("10.0.1.0".parse().unwrap()));
        assert!(!filter.allows_ip("fd00::1".parse().unwrap()));
    }
}
