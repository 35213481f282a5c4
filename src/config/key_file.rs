//! Files with one key each, read only if nobody but their owner can; and how such files are read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::transport::wireguard::{KeyError, PresharedKey, PrivateKey};

use super::section::Draft;
use super::{Peer, Transport, WireGuard};

/// What group and others may do with a key file: nothing.
const MODE_REFUSED: u32 = 0o077;

/// The longest key file, bytes: a key, and white space around it.
const FILE_LEN_MAX: usize = 256;

/// The keys of one daemon.
#[derive(Debug)]
pub struct Keys {
    /// Our own.
    pub private: PrivateKey,
    /// For each peer of the configuration, in its order, what we share with it.
    pub preshared: Vec<Option<PresharedKey>>,
}

/// Why a file gives no key. It says nothing of what is in the file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A directory, a device, a pipe.
    #[error("{path}: expected a regular file")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner can read or change the file.
    #[error("{path}: mode {mode:04o}: expected a file that only its owner can use (chmod 600)")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file has more than a key.
    #[error(
        "{path}: expected one key and nothing else: the file is longer than {FILE_LEN_MAX} bytes"
    )]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than any of its kind.
    #[error("{path}: expected at most {max} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is allowed.
        max: usize,
    },
    /// What is in the file is no key.
    #[error("{path}: {source}")]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
}

impl KeyFileError {
    /// Says what is wrong where the path has been said.
    pub(super) fn without_path(&self) -> String {
        let (Self::Unreadable { path, .. }
        | Self::NotAFile { path }
        | Self::Mode { path, .. }
        | Self::TooLong { path }
        | Self::TooLarge { path, .. }
        | Self::NotAKey { path, .. }) = self;
        let message = self.to_string();
        let bare = message.strip_prefix(&format!("{}: ", path.display()));
        bare.unwrap_or(&message).to_owned()
    }
}

/// Who may use a file that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Its owner only.
    Owner,
    /// Whoever may.
    Anybody,
}

/// Reads the key in a file: [`PrivateKey`] or [`PresharedKey`] in base64, white space around it.
///
/// # Errors
///
/// See [`KeyFileError`].
pub fn read<K: FromStr<Err = KeyError>>(path: &Path) -> Result<K, KeyFileError> {
    let bytes = read_bytes(path, Access::Owner, FILE_LEN_MAX).map_err(|error| match error {
        KeyFileError::TooLarge { path, .. } => KeyFileError::TooLong { path },
        error => error,
    })?;
    let key = std::str::from_utf8(&bytes).map_err(|_| KeyError::NotBase64);
    let key = key.and_then(|text| text.trim().parse());
    key.map_err(|source| KeyFileError::NotAKey { path: path.to_owned(), source })
}

/// Reads a regular file of at most so many bytes.
pub(super) fn read_bytes(
    path: &Path,
    access: Access,
    len_max: usize,
) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let unreadable = |source| KeyFileError::Unreadable { path: path.to_owned(), source };
    let too_large = || KeyFileError::TooLarge { path: path.to_owned(), max: len_max };
    // Opening a pipe must not wait for its other end.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if access == Access::Owner && mode & MODE_REFUSED != 0 {
        return Err(KeyFileError::Mode { path: path.to_owned(), mode });
    }
    // One more byte than the file has, or may have: the buffer never moves, so that no copy of a
    // key stays behind, and a longer file is seen to be longer.
    let len = usize::try_from(metadata.len()).ok().filter(|len| *len <= len_max);
    let mut buffer = Zeroizing::new(vec![0; len.ok_or_else(too_large)? + 1]);
    let read = fill(&mut file, buffer.as_mut()).map_err(unreadable)?;
    if read == buffer.len() {
        return Err(too_large());
    }
    buffer.truncate(read);
    Ok(buffer)
}

/// Reads up to the end of the file or of the buffer.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// Reads the key files of a configuration, and reports at their keys what is wrong with them; none
/// if our own gives no key.
pub(super) fn read_all(
    wireguard: &mut Draft<'_, WireGuard>,
    peers: &mut [Draft<'_, Peer>],
) -> Option<Keys> {
    let private = private_of(wireguard);
    let preshared = peers.iter_mut().map(preshared_of).collect();
    let own = private.as_ref().map(PrivateKey::public);
    for draft in peers {
        let theirs = draft.settings.wireguard().map(|peer| peer.public_key);
        if theirs.is_some() && theirs == own {
            let expected = "expected the peer's public key: this is our own, that of \
                            wireguard.private_key_file";
            draft.section.fault("public_key", expected);
        }
    }
    Some(Keys { private: private?, preshared })
}

fn private_of(wireguard: &mut Draft<'_, WireGuard>) -> Option<PrivateKey> {
    if !wireguard.section.is_sound("private_key_file") {
        return None;
    }
    let read = read(&wireguard.settings.private_key_file);
    // The path is shown with the key.
    read.map_err(|error| wireguard.section.fault("private_key_file", error.without_path())).ok()
}

fn preshared_of(draft: &mut Draft<'_, Peer>) -> Option<PresharedKey> {
    let Transport::WireGuard(peer) = &draft.settings.transport else { return None };
    let read = read(peer.preshared_key_file.as_deref()?);
    read.map_err(|error| draft.section.fault("preshared_key_file", error.without_path())).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use tempfile::{NamedTempFile, tempdir};

    use super::*;

    const KEY: &str = "cAdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LGo=";

    fn file(content: &[u8], mode: u32) -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        file
    }

    fn message(path: &Path) -> String {
        read::<PrivateKey>(path).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn key_may_have_white_space_around_it() {
        for content in [KEY.to_owned(), format!("{KEY}\n"), format!(" {KEY}\r\n\n")] {
            let file = file(content.as_bytes(), 0o600);
            let key: PrivateKey = read(file.path()).unwrap();
            assert_eq!(*key.to_base64(), KEY);
            let shared: PresharedKey = read(file.path()).unwrap();
            assert_eq!(*shared.to_base64(), KEY);
        }
    }

    #[test]
    fn file_that_others_can_use_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666, 0o440] {
            let file = file(KEY.as_bytes(), mode);
            let expected = format!(
                "{}: mode {mode:04o}: expected a file that only its owner can use (chmod 600)",
                file.path().display()
            );
            assert_eq!(message(file.path()), expected);
        }
        assert!(read::<PrivateKey>(file(KEY.as_bytes(), 0o400).path()).is_ok());
    }

    #[test]
    fn only_regular_files_are_read() {
        let directory = tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        for path in [directory.path(), &pipe, Path::new("/dev/zero")] {
            assert_eq!(message(path), format!("{}: expected a regular file", path.display()));
        }
        let missing = directory.path().join("missing");
        let expected = format!("{}: No such file or directory (os error 2)", missing.display());
        assert_eq!(message(&missing), expected);
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        let zero = format!("{}=", "A".repeat(43));
        let two = format!("{KEY}\n{KEY}\n");
        let long = "A".repeat(257);
        let none = KeyError::NotBase64.to_string();
        let too_long = "expected one key and nothing else: the file is longer than 256 bytes";
        let cases: [(&[u8], &str); 6] = [
            (b"", &none),
            (b"secret", &none),
            (b"\xff\xfe", &none),
            (two.as_bytes(), &none),
            (zero.as_bytes(), &KeyError::Zero.to_string()),
            (long.as_bytes(), too_long),
        ];
        for (content, expected) in cases {
            let file = file(content, 0o600);
            assert_eq!(message(file.path()), format!("{}: {expected}", file.path().display()));
        }
    }
}
