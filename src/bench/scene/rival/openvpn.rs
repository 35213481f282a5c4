//! OpenVPN with a tun device, TLS between two fixed keys, AES-256-GCM, all in user space.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::End;
use crate::bench::BenchError;

/// A self-signed certificate with its key, and the SHA-256 of the certificate.
struct Identity {
    pem: &'static str,
    fingerprint: &'static str,
}

const LEFT: Identity = Identity {
    pem: include_str!("openvpn/left.pem"),
    fingerprint: "A5:A9:F2:93:01:AD:EF:69:56:9C:3A:F3:68:95:E1:79:\
                  32:92:2C:B3:E2:83:B1:B0:68:9E:C0:EE:79:E4:FA:54",
};
const RIGHT: Identity = Identity {
    pem: include_str!("openvpn/right.pem"),
    fingerprint: "3B:FC:04:3C:BB:26:2C:B1:F6:3C:D0:5B:90:34:0F:76:\
                  CA:2F:DB:B8:B5:15:C2:F8:A0:5E:EB:E5:B6:5B:29:DF",
};

/// Completes the command that starts the program; writes its key.
pub(super) fn prepare(command: &mut Command, end: &End<'_>) -> Result<(), BenchError> {
    let (own, other) = if end.is_left { (LEFT, RIGHT) } else { (RIGHT, LEFT) };
    let path = end.directory.join(format!("{}.pem", end.near.host.name()));
    write_key(&path, own.pem)
        .map_err(|source| BenchError::step(format!("write {}", path.display()), source))?;
    let (near, far) = (end.near.underlay.to_string(), end.far.underlay.to_string());
    command.args(["--dev", end.interface, "--dev-type", "tun", "--proto", "udp4"]);
    command.args(["--local", &near, "--remote", &far, "--port", "1194"]);
    command.args(if end.is_left {
        &["--tls-client"][..]
    } else {
        &["--tls-server", "--dh", "none"]
    });
    command.arg("--cert").arg(&path).arg("--key").arg(&path);
    command.args(["--peer-fingerprint", other.fingerprint, "--data-ciphers", "AES-256-GCM"]);
    // The interface is set up by us, as with all the others.
    let (near, far) = (end.near.overlay.to_string(), end.far.overlay.to_string());
    command.args(["--ifconfig", &near, &far, "--ifconfig-noexec"]);
    command.args(["--tun-mtu", &end.mtu.to_string(), "--mssfix", "0", "--disable-dco"]);
    Ok(())
}

fn write_key(path: &Path, pem: &str) -> io::Result<()> {
    fs::write(path, pem)?;
    // OpenVPN warns of a key that others may read.
    fs::set_permissions(path, Permissions::from_mode(0o600))
}
