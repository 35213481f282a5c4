//! Two nodes with a tunnel between them, each end of it ours or the kernel's.

use std::fmt;
use std::net::IpAddr;

use tunctl::lab::Host;

use crate::daemon::{Config, Daemon};
use crate::harness::note;
use crate::kernel::{KernelGpe, KernelVxlan};
use crate::place::{Family, Node, ping, run, two_nodes};
use crate::program::Program;
use crate::{frames, kernel, tcp, udp};

/// The VNI of a pair's network.
pub const VNI: u32 = 42;

/// Sizes around every border on the way: minimum, MTU, fragments, the largest.
pub const DATAGRAM_SIZES: &[usize] =
    &[64, 65, 512, 1372, 1392, 1402, 1422, 1423, 1436, 1473, 2900, 9000, 20_001, 60_000];

/// What stands at one end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Our daemon with a TAP.
    Tap,
    /// Our daemon with a TUN.
    Tun,
    /// The kernel's device, with further words for `ip link add` and for `ethtool -K`.
    Kernel { options: &'static str, features: &'static str },
    /// The kernel's device with `external gpe`.
    KernelGpe,
    /// A program that is neither, by its name; it has been started already.
    Program(&'static str),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap => f.write_str("tap"),
            Self::Tun => f.write_str("tun"),
            Self::Kernel { options, features } => write!(f, "kernel {options}{features}"),
            Self::KernelGpe => f.write_str("kernel gpe"),
            Self::Program(name) => f.write_str(name),
        }
    }
}

/// The kernel's device as it comes.
pub const KERNEL: Kind = Kind::Kernel { options: "", features: "" };

/// The kernel's device that computes every checksum and cuts every packet by itself.
pub const KERNEL_WITHOUT_OFFLOADS: Kind = Kind::Kernel {
    options: "",
    features: "tx off tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off",
};

/// The kernel's device that sends no outer checksum, and takes datagrams without one.
pub fn kernel_without_outer_checksums(family: Family) -> Kind {
    let options = match family {
        Family::V4 => "noudpcsum",
        Family::V6 => "udp6zerocsumtx udp6zerocsumrx",
    };
    Kind::Kernel { options, features: "" }
}

impl Kind {
    /// Gives the name of the interface.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Tap => "tap0",
            Self::Tun => "tun0",
            Self::Kernel { .. } => kernel::DEVICE,
            Self::KernelGpe => kernel::GPE_DEVICE,
            Self::Program(name) => panic!("each device of {name} has another name"),
        }
    }

    fn is_ours(self) -> bool {
        matches!(self, Self::Tap | Self::Tun)
    }
}

/// Gives the overlay addresses of end 0 or 1, IPv4 and IPv6.
pub fn overlay(end: usize) -> [IpAddr; 2] {
    let number = end as u16 + 1;
    [[10, 9, 0, number as u8].into(), [0xfd00, 9, 0, 0, 0, 0, 0, number].into()]
}

/// Two nodes and their tunnel.
pub struct Pair {
    pub nodes: [Node; 2],
    pub kinds: [Kind; 2],
    /// The daemons of the ends that are ours.
    pub daemons: [Option<Daemon>; 2],
    /// The programs of the ends that are neither ours nor the kernel's.
    pub programs: Vec<Program>,
}

impl Pair {
    /// Makes two nodes on one wire, and the tunnel.
    #[track_caller]
    pub fn new(family: Family, kinds: [Kind; 2]) -> Self {
        Self::with_tables(family, kinds, "")
    }

    /// Makes the tunnel with further tables for the daemons' configurations.
    #[track_caller]
    pub fn with_tables(family: Family, kinds: [Kind; 2], tables: &str) -> Self {
        Self::between(two_nodes(family), None, kinds, tables, &[])
    }

    /// Makes the tunnel between two nodes; `proxies` are the addresses under which each knows
    /// the other, if they are not their own.
    #[track_caller]
    pub fn between(
        nodes: [Node; 2],
        proxies: Option<[IpAddr; 2]>,
        kinds: [Kind; 2],
        tables: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        Self::made(nodes, proxies, kinds, |config| config.tables(tables), variables)
    }

    /// Makes the tunnel with keys for the daemons' configurations that are in no table.
    #[track_caller]
    pub fn with_keys(family: Family, kinds: [Kind; 2], keys: &str) -> Self {
        Self::made(two_nodes(family), None, kinds, |config| config.keys(keys), &[])
    }

    #[track_caller]
    fn made(
        nodes: [Node; 2],
        proxies: Option<[IpAddr; 2]>,
        kinds: [Kind; 2],
        adapt: impl Fn(Config) -> Config,
        variables: &[(&str, &str)],
    ) -> Self {
        let far = proxies.unwrap_or([nodes[1].address, nodes[0].address]);
        let daemons = [0, 1].map(|end| {
            let (node, kind) = (&nodes[end], kinds[end]);
            if !kind.is_ours() {
                kernel_end(node, kind, end, far[end]);
                return None;
            }
            let config = adapt(daemon_config(node, kind, end, far[end]));
            Some(Daemon::start_with(node, &config, variables))
        });
        Self { nodes, kinds, daemons, programs: vec![] }
    }

    /// Gives the host of an end.
    pub fn host(&self, end: usize) -> &Host {
        &self.nodes[end].host
    }

    /// Gives the daemon of an end that is ours.
    #[track_caller]
    pub fn daemon(&self, end: usize) -> &Daemon {
        self.daemons[end].as_ref().expect("this end is ours")
    }

    /// Opens the overlay interface of an end for frames.
    pub fn frames(&self, end: usize) -> frames::Frames {
        frames::Frames::open(self.host(end), self.kinds[end].interface())
    }

    /// Gives the MAC address of an end's overlay interface.
    pub fn mac(&self, end: usize) -> [u8; 6] {
        frames::mac(self.host(end), self.kinds[end].interface())
    }

    /// Both ends ping each other, small and in fragments.
    #[track_caller]
    pub fn ping_both_ways(&self) {
        for (from, to) in [(0, 1), (1, 0)] {
            for address in overlay(to) {
                ping(self.host(from), address, "");
                ping(self.host(from), address, "-s 9000");
            }
        }
    }

    /// Both ends send each other `bytes` bytes by TCP: one end over IPv4, the other over IPv6, and
    /// an eighth of that the other way round.
    #[track_caller]
    pub fn tcp_both_ways(&self, bytes: u64) {
        for (from, to) in [(0, 1), (1, 0)] {
            for (family, address) in overlay(to).into_iter().enumerate() {
                let bytes = if family == from { bytes } else { bytes / 8 };
                let rate = tcp::send(self.host(from), self.host(to), address, bytes);
                note(&format!("TCP {} to {address}: {rate}", self.kinds[from]));
            }
        }
    }

    /// Both ends send each other runs of datagrams with UDP_SEGMENT.
    #[track_caller]
    pub fn udp_runs_both_ways(&self, bytes: u64) {
        for (from, to) in [(0, 1), (1, 0)] {
            for address in overlay(to) {
                for segment in [1300, 512] {
                    let (near, far) = (self.host(from), self.host(to));
                    let rate = udp::send_runs(near, far, address, bytes, segment);
                    note(&format!("UDP {} to {address}: {rate}", self.kinds[from]));
                }
            }
        }
    }

    /// Both ends exchange datagrams of all sizes.
    #[track_caller]
    pub fn exchange_datagrams(&self) {
        for address in overlay(1) {
            udp::exchange(self.host(0), self.host(1), address, DATAGRAM_SIZES);
        }
    }

    /// Everything that every pair carries.
    #[track_caller]
    pub fn carries_everything(&self, tcp_bytes: u64, udp_bytes: u64) {
        self.ping_both_ways();
        self.exchange_datagrams();
        self.udp_runs_both_ways(udp_bytes);
        self.tcp_both_ways(tcp_bytes);
    }
}

fn daemon_config(node: &Node, kind: Kind, end: usize, far: IpAddr) -> Config {
    let [v4, v6] = overlay(end);
    let addresses = format!("addresses = [\"{v4}/24\", \"{v6}/64\"]");
    let [far_v4, far_v6] = overlay(1 - end);
    let (device, allowed) = match kind {
        Kind::Tun => ("tun", format!("allowed_ips = [\"{far_v4}/32\", \"{far_v6}/128\"]")),
        _ => ("tap", String::new()),
    };
    Config::new(node).network(device, kind.interface(), VNI, &addresses).peer("far", far, &allowed)
}

#[track_caller]
fn kernel_end(node: &Node, kind: Kind, end: usize, far: IpAddr) {
    let addresses = overlay(end);
    match kind {
        Kind::KernelGpe => {
            KernelGpe { node, peer: far, vni: VNI, addresses, far: overlay(1 - end) }.make();
        }
        Kind::Kernel { options, features } => {
            let [v4, v6] = addresses;
            let addresses = [format!("{v4}/24"), format!("{v6}/64")];
            let addresses = addresses.each_ref().map(String::as_str);
            let peers = [far];
            let device = kernel::DEVICE;
            KernelVxlan { node, device, peers: &peers, vni: VNI, addresses: &addresses, options }
                .make();
            if !features.is_empty() {
                run(&node.host, "ethtool", &format!("-K {device} {features}"));
            }
        }
        Kind::Tap | Kind::Tun | Kind::Program(_) => unreachable!("these are made elsewhere"),
    }
}
