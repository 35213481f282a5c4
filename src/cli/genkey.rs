//! `tunctl genkey` and `tunctl genpsk`: new keys, as `wg` prints them.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use super::{Failure, unless_reader_left};
use crate::transport::wireguard::{PresharedKey, PrivateKey};

/// What group and others should not be able to do with a key.
const MODE_OPEN: u32 = 0o077;

/// Prints a new private key.
pub(super) fn private() -> Result<(), Failure> {
    print(&PrivateKey::generate().map_err(Failure::failed)?.to_base64())
}

/// Prints a new preshared key.
pub(super) fn preshared() -> Result<(), Failure> {
    print(&PresharedKey::generate().map_err(Failure::failed)?.to_base64())
}

fn print(key: &str) -> Result<(), Failure> {
    let stdout = io::stdout();
    if let Some(mode) = open_mode(&stdout) {
        let _ = writeln!(
            io::stderr(),
            "tunctl: warning: others can use the file that the key goes to (mode {mode:04o}): \
             chmod 600 it, and set umask 077 before the next"
        );
    }
    unless_reader_left(writeln!(stdout.lock(), "{key}")).map_err(Failure::failed)
}

/// Gives the permissions of a regular file that others than its owner can use.
fn open_mode(output: &impl AsFd) -> Option<u32> {
    let file = File::from(output.as_fd().try_clone_to_owned().ok()?);
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file())?;
    let mode = metadata.permissions().mode() & 0o7777;
    (mode & MODE_OPEN != 0).then_some(mode)
}
