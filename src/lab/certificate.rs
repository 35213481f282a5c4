//! A host's certificate for QUIC and its key, in files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};

use super::key::write_new;
use super::{Host, LabError};
use crate::transport::quic::Fingerprint;

/// A new certificate, which its own key has signed: others know it by its fingerprint.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The file with the certificate.
    pub(super) certificate: PathBuf,
    /// The file with its private key, which only its owner can use.
    pub(super) key: PathBuf,
    /// What others know it by.
    pub(super) fingerprint: Fingerprint,
}

impl CertificateFiles {
    /// Makes one for a host's daemon, beside the daemon's other files: in a directory inside
    /// `directory` with the host's name.
    ///
    /// # Errors
    ///
    /// Fails if the key cannot be made, or the files are there or cannot be made.
    pub(super) fn make(host: &Host, directory: &Path) -> Result<Self, LabError> {
        let directory = directory.join(host.name());
        let (certificate, key) = (directory.join("quic.crt"), directory.join("quic.pem"));
        let fingerprint = make(host.name(), &directory, &certificate, &key);
        let fingerprint = fingerprint
            .map_err(|source| host.refused(format!("make {}", certificate.display()), source))?;
        Ok(Self { certificate, key, fingerprint })
    }
}

fn make(name: &str, directory: &Path, certificate: &Path, key: &Path) -> io::Result<Fingerprint> {
    let pair = KeyPair::generate().map_err(io::Error::other)?;
    let params = CertificateParams::new(vec![name.to_owned()]).map_err(io::Error::other)?;
    let made = params.self_signed(&pair).map_err(io::Error::other)?;
    fs::create_dir_all(directory)?;
    write_new(key, pair.serialize_pem().as_bytes())?;
    write_new(certificate, made.pem().as_bytes())?;
    Ok(Fingerprint::of(made.der()))
}
