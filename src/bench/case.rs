//! What is measured: tunnels and what they are compared with, by name.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::api::report::DeviceKind;

/// One thing that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Case {
    /// No tunnel: the bare wire between the hosts.
    Raw,
    /// The kernel's VXLAN device on both hosts.
    KernelVxlan,
    /// Our daemon with a tap device on both hosts.
    VxlanTap,
    /// Our daemon with a tun device on both hosts.
    VxlanTun,
    /// Our daemon with a tap device sends, the kernel's VXLAN device receives.
    VxlanTapToKernel,
    /// The kernel's VXLAN device sends, our daemon with a tap device receives.
    KernelToVxlanTap,
    /// Our daemon with a tun device on both hosts, over WireGuard.
    WireguardTun,
    /// Our daemon with a tap device on both hosts, whose frames cross as VXLAN inside WireGuard.
    WireguardTap,
    /// Our daemon with a tun device on both hosts, over QUIC.
    QuicTun,
    /// Our daemon with a tap device on both hosts, over QUIC.
    QuicTap,
    /// `wireguard-go` on both hosts.
    WireguardGo,
    /// `boringtun-cli` on both hosts.
    BoringtunCli,
    /// `gotatun` on both hosts.
    Gotatun,
    /// `vpncloud` with a tun device and AES-256-GCM on both hosts.
    Vpncloud,
    /// `openvpn` with a tun device and AES-256-GCM on both hosts, all of it in user space.
    Openvpn,
}

/// A name that no case has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no case is named {name}; there are: {}", Case::ALL.map(Case::name).join(", "))]
pub struct UnknownCase {
    /// The name.
    pub name: String,
}

impl Case {
    /// All cases: the references first, then ours, then the rivals.
    pub const ALL: [Self; 15] = [
        Self::Raw,
        Self::KernelVxlan,
        Self::VxlanTap,
        Self::VxlanTun,
        Self::VxlanTapToKernel,
        Self::KernelToVxlanTap,
        Self::WireguardTun,
        Self::WireguardTap,
        Self::QuicTun,
        Self::QuicTap,
        Self::WireguardGo,
        Self::BoringtunCli,
        Self::Gotatun,
        Self::Vpncloud,
        Self::Openvpn,
    ];

    /// Gives the name that users write and read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::KernelVxlan => "kernel-vxlan",
            Self::VxlanTap => "vxlan-tap",
            Self::VxlanTun => "vxlan-tun",
            Self::VxlanTapToKernel => "vxlan-tap-to-kernel",
            Self::KernelToVxlanTap => "kernel-to-vxlan-tap",
            Self::WireguardTun => "wireguard-tun",
            Self::WireguardTap => "wireguard-tap",
            Self::QuicTun => "quic-tun",
            Self::QuicTap => "quic-tap",
            Self::WireguardGo => "wireguard-go",
            Self::BoringtunCli => "boringtun-cli",
            Self::Gotatun => "gotatun",
            Self::Vpncloud => "vpncloud",
            Self::Openvpn => "openvpn",
        }
    }

    /// Gives what is measured if nothing is asked for: all that needs no program but this one, and
    /// `wireguard-go` where it is installed.
    pub fn default_set() -> Vec<Self> {
        let is_default = |case: &Self| {
            case.program().is_none() || (*case == Self::WireguardGo && case.is_installed())
        };
        Self::ALL.into_iter().filter(is_default).collect()
    }

    /// Gives the program of another project that the case needs, which is looked up in PATH.
    pub const fn program(self) -> Option<&'static str> {
        match self {
            Self::Raw | Self::KernelVxlan | Self::VxlanTap | Self::VxlanTun => None,
            Self::VxlanTapToKernel | Self::KernelToVxlanTap => None,
            Self::WireguardTun | Self::WireguardTap | Self::QuicTun | Self::QuicTap => None,
            Self::WireguardGo => Some("wireguard-go"),
            Self::BoringtunCli => Some("boringtun-cli"),
            Self::Gotatun => Some("gotatun"),
            Self::Vpncloud => Some("vpncloud"),
            Self::Openvpn => Some("openvpn"),
        }
    }

    /// Whether what the case needs beside this program is there.
    pub fn is_installed(self) -> bool {
        self.program().is_none_or(|program| find_program(program).is_some())
    }

    /// Whether what crosses the wire is encrypted.
    pub const fn is_encrypted(self) -> bool {
        match self {
            Self::Raw | Self::KernelVxlan | Self::VxlanTap | Self::VxlanTun => false,
            Self::VxlanTapToKernel | Self::KernelToVxlanTap => false,
            Self::WireguardTun | Self::WireguardTap | Self::QuicTun | Self::QuicTap => true,
            Self::WireguardGo | Self::BoringtunCli | Self::Gotatun => true,
            Self::Vpncloud | Self::Openvpn => true,
        }
    }

    /// Gives what makes the tunnel on the left and on the right host.
    pub(super) const fn ends(self) -> [Maker; 2] {
        match self {
            Self::Raw => [Maker::Nobody; 2],
            Self::KernelVxlan => [Maker::Kernel; 2],
            Self::VxlanTap => [OURS_TAP; 2],
            Self::VxlanTun => [Maker::Daemon(Transport::Vxlan, DeviceKind::Tun); 2],
            Self::VxlanTapToKernel => [OURS_TAP, Maker::Kernel],
            Self::KernelToVxlanTap => [Maker::Kernel, OURS_TAP],
            Self::WireguardTun => [Maker::Daemon(Transport::Wireguard, DeviceKind::Tun); 2],
            Self::WireguardTap => [Maker::Daemon(Transport::Wireguard, DeviceKind::Tap); 2],
            Self::QuicTun => [Maker::Daemon(Transport::Quic, DeviceKind::Tun); 2],
            Self::QuicTap => [Maker::Daemon(Transport::Quic, DeviceKind::Tap); 2],
            Self::WireguardGo | Self::BoringtunCli | Self::Gotatun => {
                [Maker::Rival(Protocol::Wireguard); 2]
            }
            Self::Vpncloud => [Maker::Rival(Protocol::Vpncloud); 2],
            Self::Openvpn => [Maker::Rival(Protocol::Openvpn); 2],
        }
    }
}

/// Our end of a tunnel that the kernel's VXLAN device can be the other end of.
const OURS_TAP: Maker = Maker::Daemon(Transport::Vxlan, DeviceKind::Tap);

/// What makes one end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    /// There is no tunnel.
    Nobody,
    /// The kernel's VXLAN device.
    Kernel,
    /// Our daemon, over this, with this kind of device.
    Daemon(Transport, DeviceKind),
    /// The program of another project, which speaks this.
    Rival(Protocol),
}

/// How our daemon crosses the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// In the clear.
    Vxlan,
    /// Encrypted, by WireGuard.
    Wireguard,
    /// Encrypted, by QUIC.
    Quic,
}

/// What the programs of other projects speak, and how they are told what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// WireGuard, with the control socket that its programs have in common.
    Wireguard,
    /// OpenVPN, by its command line.
    Openvpn,
    /// VpnCloud, by its command line.
    Vpncloud,
}

impl FromStr for Case {
    type Err = UnknownCase;

    fn from_str(name: &str) -> Result<Self, UnknownCase> {
        let found = Self::ALL.into_iter().find(|case| case.name() == name);
        found.ok_or_else(|| UnknownCase { name: name.into() })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Gives the path of a program in PATH.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut files = env::split_paths(&path).map(|directory| directory.join(name));
    files.find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_its_case() {
        for case in Case::ALL {
            assert_eq!(case.name().parse(), Ok(case));
            assert_eq!(case.to_string(), case.name());
        }
    }

    #[test]
    fn unknown_name_is_told_with_the_known_ones() {
        let text = "vxlan".parse::<Case>().unwrap_err().to_string();
        assert!(
            text.starts_with("no case is named vxlan; there are: raw, kernel-vxlan, "),
            "{text}"
        );
        assert!(text.ends_with(", openvpn"), "{text}");
    }

    #[test]
    fn default_set_has_ours_and_the_references() {
        let set = Case::default_set();
        assert!(set.starts_with(&Case::ALL[..8]), "{set:?}");
        assert!(set[10..].iter().all(|case| *case == Case::WireguardGo), "{set:?}");
    }
}
