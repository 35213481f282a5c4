//! What tables learn: a MAC in a VLAN, or the address of a host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The key of an L2 entry: VLAN (12 bits) and MAC (48 bits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacKey(u64);

impl MacKey {
    /// Makes a key; 0 is "no VLAN", and bits of `vlan` above the twelfth (priority) are ignored.
    #[inline]
    pub const fn new(vlan: u16, mac: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = mac;
        let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Self(((vlan & 0xfff) as u64) << 48 | mac)
    }

    /// Gives the VLAN, 0 to 4095.
    pub const fn vlan(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// Gives the MAC.
    pub const fn mac(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// Whether the MAC names a group (multicast, broadcast): the lowest bit of its first byte.
    #[inline]
    pub const fn is_group(self) -> bool {
        self.0 & (1 << 40) != 0
    }

    /// Whether the MAC can be the source of a frame: not a group, not zero.
    #[inline]
    pub const fn is_source(self) -> bool {
        !self.is_group() && self.0 & 0xffff_ffff_ffff != 0
    }
}

impl fmt::Display for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.mac();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")?;
        match self.vlan() {
            0 => Ok(()),
            vlan => write!(f, " vlan {vlan}"),
        }
    }
}

/// The key of an L3 entry: an IP address. IPv4 and IPv4-mapped IPv6 addresses are different hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey {
    /// 4 or 6; 0 in the default, which is no host.
    version: u8,
    high: u64,
    low: u64,
}

impl From<IpAddr> for HostKey {
    #[inline]
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self { version: 4, high: 0, low: v4.to_bits().into() },
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                Self { version: 6, high: (bits >> 64) as u64, low: bits as u64 }
            }
        }
    }
}

impl From<HostKey> for IpAddr {
    fn from(key: HostKey) -> Self {
        match key.version {
            4 => Ipv4Addr::from_bits(key.low as u32).into(),
            _ => Ipv6Addr::from_bits(u128::from(key.high) << 64 | u128::from(key.low)).into(),
        }
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_key_gives_back_its_address_and_versions_differ() {
        let addresses = ["10.1.2.3", "::ffff:10.1.2.3", "::a01:203", "fd00::1", "::", "0.0.0.0"];
        let keys = addresses.map(|address| HostKey::from(address.parse::<IpAddr>().unwrap()));
        for (at, (key, address)) in keys.iter().zip(addresses).enumerate() {
            assert_eq!(key.to_string(), address.parse::<IpAddr>().unwrap().to_string());
            assert!(keys[..at].iter().all(|other| other != key));
        }
    }

    #[test]
    fn a_key_gives_back_its_parts() {
        let key = MacKey::new(0xfabc, [0x02, 1, 2, 3, 4, 5]);
        assert_eq!(key.vlan(), 0xabc);
        assert_eq!(key.mac(), [0x02, 1, 2, 3, 4, 5]);
        assert_eq!(key.to_string(), "02:01:02:03:04:05 vlan 2748");
    }

    #[test]
    fn groups_and_zero_are_no_sources() {
        assert!(MacKey::new(5, [0xff; 6]).is_group());
        assert!(MacKey::new(0, [0x01, 0, 0x5e, 0, 0, 1]).is_group());
        assert!(!MacKey::new(0, [0x02, 0, 0, 0, 0, 1]).is_group());
        assert!(!MacKey::new(7, [0; 6]).is_source());
        assert!(MacKey::new(0xfff, [0, 0, 0, 0, 0, 1]).is_source());
    }
}
