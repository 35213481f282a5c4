//! A host's WireGuard key, in a file that only its owner can use.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Host, LabError};
use crate::transport::wireguard::{PrivateKey, PublicKey};

/// What a key file's owner may do with it; nobody else may do anything.
const MODE: u32 = 0o600;

/// A new key: the private one is in a file and nowhere else.
#[derive(Clone, Debug)]
pub struct KeyFile {
    /// The file with the private key.
    pub(super) path: PathBuf,
    /// The public key, for the others.
    pub(super) public: PublicKey,
}

impl KeyFile {
    /// Makes a key for a host's daemon, beside the daemon's other files: in a directory inside
    /// `directory` with the host's name.
    ///
    /// # Errors
    ///
    /// Fails if the kernel has no random bytes, or the file is there or cannot be made.
    pub(super) fn make(host: &Host, directory: &Path) -> Result<Self, LabError> {
        let directory = directory.join(host.name());
        let path = directory.join("wireguard.key");
        let made = fs::create_dir_all(&directory).and_then(|()| make_key(&path));
        let public =
            made.map_err(|source| host.refused(format!("make {}", path.display()), source))?;
        Ok(Self { path, public })
    }
}

/// Writes a new key into a new file; gives its public key.
fn make_key(path: &Path) -> io::Result<PublicKey> {
    let key = PrivateKey::generate().map_err(io::Error::other)?;
    write_new(path, format!("{}\n", *key.to_base64()).as_bytes())?;
    Ok(key.public())
}

/// Writes a new file that only its owner can use.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(bytes)
}
