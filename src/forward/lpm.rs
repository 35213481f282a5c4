//! Longest prefix match, built once: the prefixes cut the address space into ranges, and a lookup
//! is a binary search among the starts of the ranges.

use std::net::IpAddr;

use ipnet::IpNet;

/// Maps prefixes to values; a longer prefix wins. At most twice as many ranges as prefixes.
#[derive(Clone, Debug, Default)]
pub(super) struct Lpm<V> {
    v4: Ranges<u32, V>,
    v6: Ranges<u128, V>,
}

impl<V: Copy + PartialEq> Lpm<V> {
    /// Builds the map. Bits behind a prefix are ignored; of equal prefixes the last one wins.
    pub(super) fn new(prefixes: impl IntoIterator<Item = (IpNet, V)>) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for (net, value) in prefixes {
            match net {
                IpNet::V4(net) => {
                    v4.push((net.network().to_bits(), net.broadcast().to_bits(), value));
                }
                IpNet::V6(net) => {
                    v6.push((net.network().to_bits(), net.broadcast().to_bits(), value));
                }
            }
        }
        Self { v4: Ranges::new(v4), v6: Ranges::new(v6) }
    }

    /// Gives the value of the longest prefix that covers `address`.
    pub(super) fn lookup(&self, address: IpAddr) -> Option<V> {
        match address {
            IpAddr::V4(address) => self.v4.lookup(address.to_bits()),
            IpAddr::V6(address) => self.v6.lookup(address.to_bits()),
        }
    }
}

/// Ranges of addresses: each begins at its start and ends before the next one's.
#[derive(Clone, Debug)]
struct Ranges<A, V> {
    starts: Vec<A>,
    values: Vec<Option<V>>,
}

impl<A, V> Default for Ranges<A, V> {
    fn default() -> Self {
        Self { starts: Vec::new(), values: Vec::new() }
    }
}

impl<A: Address, V: Copy + PartialEq> Ranges<A, V> {
    /// Takes the first and the last address of each prefix. Prefixes nest or are disjoint.
    fn new(mut prefixes: Vec<(A, A, V)>) -> Self {
        prefixes.sort_by(|(a, a_last, _), (b, b_last, _)| a.cmp(b).then(b_last.cmp(a_last)));
        let mut ranges = Self::default();
        let mut around: Vec<(A, V)> = Vec::new();
        for (first, last, value) in prefixes {
            while let Some(&(end, _)) = around.last()
                && end < first
            {
                around.pop();
                ranges.close(end, around.last());
            }
            ranges.open(first, Some(value));
            around.push((last, value));
        }
        while let Some((end, _)) = around.pop() {
            ranges.close(end, around.last());
        }
        ranges
    }

    /// A prefix ended: what is around it goes on.
    fn close(&mut self, end: A, around: Option<&(A, V)>) {
        if let Some(next) = end.next() {
            self.open(next, around.map(|(_, value)| *value));
        }
    }

    fn open(&mut self, start: A, value: Option<V>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last().copied().flatten() != value {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    fn lookup(&self, address: A) -> Option<V> {
        let after = self.starts.partition_point(|start| *start <= address);
        self.values[after.checked_sub(1)?]
    }
}

trait Address: Copy + Ord {
    fn next(self) -> Option<Self>;
}

impl Address for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use ipnet::{Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_whole_space_and_its_last_address_are_prefixes_too() {
        let nets = ["0.0.0.0/0", "255.255.255.255/32", "::/0", "ffff::/16"];
        let lpm = Lpm::new(nets.iter().zip(0..).map(|(net, at)| (net.parse().unwrap(), at)));
        let find = |address: &str| lpm.lookup(address.parse().unwrap());
        assert_eq!(find("0.0.0.0"), Some(0));
        assert_eq!(find("255.255.255.254"), Some(0));
        assert_eq!(find("255.255.255.255"), Some(1));
        assert_eq!(find("::"), Some(2));
        assert_eq!(find("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Some(3));
    }

    #[test]
    fn an_empty_map_covers_nothing() {
        let lpm = Lpm::<u8>::new([]);
        assert_eq!(lpm.lookup(Ipv4Addr::BROADCAST.into()), None);
        assert_eq!(lpm.lookup(Ipv6Addr::UNSPECIFIED.into()), None);
    }

    /// Prefixes that often nest: few distinct leading bits.
    fn prefix() -> impl Strategy<Value = IpNet> {
        let v4 = (any::<u32>(), 0..=32_u8).prop_map(|(bits, len)| {
            let bits = bits & 0xc000_00ff;
            IpNet::V4(Ipv4Net::new(Ipv4Addr::from_bits(bits), len).unwrap())
        });
        let v6 = (any::<u128>(), 0..=128_u8).prop_map(|(bits, len)| {
            let bits = bits & (0xc << 124 | 0xff);
            IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(bits), len).unwrap())
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn the_longest_prefix_wins(
            nets in prop::collection::vec(prefix(), 0..40),
            near in prop::collection::vec(prefix(), 1..40),
        ) {
            let nets: Vec<IpNet> = nets.iter().map(IpNet::trunc).collect();
            let lpm = Lpm::new(nets.iter().zip(0..).map(|(net, at)| (*net, at)));
            let probes = near.iter().chain(&nets).flat_map(|net| {
                [net.addr(), net.network(), net.broadcast()]
            });
            for address in probes {
                let expected = nets.iter().filter(|net| net.contains(&address))
                    .max_by_key(|net| net.prefix_len());
                let found = lpm.lookup(address).map(|at: usize| nets[at]);
                prop_assert_eq!(found, expected.copied(), "{}", address);
            }
        }
    }
}
