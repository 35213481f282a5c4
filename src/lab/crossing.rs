//! How the daemons of two hosts cross to each other, in the words of their configurations.

use std::net::IpAddr;
use std::path::Path;

use super::certificate::CertificateFiles;
use super::key::KeyFile;
use super::{Host, LabError};
use crate::api::report::DeviceKind;

/// The UDP port of WireGuard.
const PORT: u16 = 51_820;

/// The UDP port of QUIC.
const QUIC_PORT: u16 = 4433;

/// What is between two daemons; they are named by their place, 0 and 1.
#[derive(Debug)]
pub enum Crossing {
    /// VXLAN, in the clear.
    Vxlan,
    /// WireGuard, with these keys.
    WireGuard([KeyFile; 2]),
    /// QUIC, with these certificates; each end dials the other.
    Quic([CertificateFiles; 2]),
}

impl Crossing {
    /// Makes WireGuard keys for two hosts, in files that only their owner can use, beside the
    /// files of the hosts' daemons: `directory` is that of [`Daemon::start`](super::Daemon::start).
    ///
    /// # Errors
    ///
    /// Says which file cannot be made. One that is there already is not written to.
    pub fn wireguard(hosts: [&Host; 2], directory: &Path) -> Result<Self, LabError> {
        let [first, second] = hosts.map(|host| KeyFile::make(host, directory));
        Ok(Self::WireGuard([first?, second?]))
    }

    /// Makes certificates for two hosts, as [`Crossing::wireguard`] makes keys.
    ///
    /// # Errors
    ///
    /// As [`Crossing::wireguard`].
    pub fn quic(hosts: [&Host; 2], directory: &Path) -> Result<Self, LabError> {
        let [first, second] = hosts.map(|host| CertificateFiles::make(host, directory));
        Ok(Self::Quic([first?, second?]))
    }

    /// Gives the table that the configuration of an end has for it: `[vxlan]`, `[wireguard]` or
    /// `[quic]`.
    pub fn table(&self, end: usize, listen: IpAddr, device: DeviceKind) -> String {
        match self {
            Self::Vxlan => format!("[vxlan]\nlisten = \"{listen}\"\n"),
            Self::WireGuard(keys) => format!(
                "[wireguard]\n\
                 listen = \"{listen}:{PORT}\"\n\
                 private_key_file = \"{}\"\n\
                 {}",
                keys[end].path.display(),
                tunnel_ip(end, device),
            ),
            Self::Quic(files) => format!(
                "[quic]\n\
                 listen = \"{listen}:{QUIC_PORT}\"\n\
                 certificate_file = \"{}\"\n\
                 private_key_file = \"{}\"\n",
                files[end].certificate.display(),
                files[end].key.display(),
            ),
        }
    }

    /// Gives what the other end has in its `[[peer]]` to reach this one.
    pub fn peer(&self, end: usize, endpoint: IpAddr, device: DeviceKind) -> String {
        match self {
            Self::Vxlan => format!("transport = \"vxlan\"\nendpoint = \"{endpoint}\"\n"),
            Self::WireGuard(keys) => format!(
                "transport = \"wireguard\"\n\
                 endpoint = \"{endpoint}:{PORT}\"\n\
                 public_key = \"{}\"\n\
                 {}",
                keys[end].public,
                tunnel_ip(end, device),
            ),
            Self::Quic(files) => format!(
                "transport = \"quic\"\n\
                 endpoint = \"{endpoint}:{QUIC_PORT}\"\n\
                 certificate_sha256 = \"{}\"\n",
                files[end].fingerprint,
            ),
        }
    }
}

/// Frames cross as VXLAN inside WireGuard, where each end has an address.
fn tunnel_ip(end: usize, device: DeviceKind) -> String {
    match device {
        DeviceKind::Tun => String::new(),
        DeviceKind::Tap => format!("tunnel_ip = \"10.255.0.{}\"\n", end + 1),
    }
}
