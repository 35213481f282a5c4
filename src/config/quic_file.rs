//! The files that `[quic]` names: our certificate and key, those of authorities, revocation lists.

use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::peer::PeerId;
use crate::transport::quic::certificate::{read_certificates, read_revocations};
use crate::transport::quic::{CertificateError, Credentials, Known, Trust, TrustError};

use super::key_file::{self, Access};
use super::section::Draft;
use super::{KeyFileError, Peer, Quic};

/// The longest file with certificates or a key, bytes: some hundred of them.
const PEM_LEN_MAX: usize = 1 << 20;

/// The longest file with revocation lists, bytes: a hundred thousand revoked certificates.
const CRL_LEN_MAX: usize = 16 << 20;

/// Why the files are of no use.
#[derive(Debug, Error)]
#[error("{path}: {fault}")]
pub struct QuicFileError {
    /// The key of `[quic]` that names the file.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it. It says nothing of what is in it.
    pub fault: QuicFileFault,
}

/// What is wrong with a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QuicFileFault {
    /// The file cannot be read, or others could read the key in it.
    #[error("{}", .0.without_path())]
    Unreadable(KeyFileError),
    /// What is in the file cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Nobody can be judged by what is in the file.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// What `[quic]`'s files say.
struct Files {
    credentials: Credentials,
    authorities: Vec<CertificateDer<'static>>,
    revocations: Vec<CertificateRevocationListDer<'static>>,
}

/// Reads the files of `[quic]`, for these peers. May be called again at any time: it holds nothing.
///
/// # Errors
///
/// Gives the first file that cannot be used.
pub fn load(
    quic: &Quic,
    peers: impl IntoIterator<Item = (PeerId, Known)>,
) -> Result<(Credentials, Trust), QuicFileError> {
    let Files { credentials, authorities, revocations } = read(quic)?;
    let trust = Trust::new(&authorities, &revocations, peers);
    let trust = trust.map_err(|error| not_trusted(quic, error))?;
    Ok((credentials, trust))
}

fn read(quic: &Quic) -> Result<Files, QuicFileError> {
    let credentials = read_credentials(quic)?;
    let authorities = quic.ca_file.as_deref().map(|path| {
        let text = read_file("ca_file", path, Access::Anybody, PEM_LEN_MAX)?;
        at("ca_file", path, read_certificates(&text))
    });
    let revocations = quic.crl_file.as_deref().map(|path| {
        let text = read_file("crl_file", path, Access::Anybody, CRL_LEN_MAX)?;
        at("crl_file", path, read_revocations(&text))
    });
    Ok(Files {
        credentials,
        authorities: authorities.transpose()?.unwrap_or_default(),
        revocations: revocations.transpose()?.unwrap_or_default(),
    })
}

fn read_credentials(quic: &Quic) -> Result<Credentials, QuicFileError> {
    let (certificate, key) = (&quic.certificate_file, &quic.private_key_file);
    let chain = read_file("certificate_file", certificate, Access::Anybody, PEM_LEN_MAX)?;
    let secret = read_file("private_key_file", key, Access::Owner, PEM_LEN_MAX)?;
    at("certificate_file", certificate, read_certificates(&chain))?;
    Credentials::from_pem(&chain, &secret).map_err(|error| {
        let is_of_key = matches!(
            error,
            CertificateError::NoKey | CertificateError::NotPem(_) | CertificateError::UnusableKey
        );
        let (key, path) =
            if is_of_key { ("private_key_file", key) } else { ("certificate_file", certificate) };
        QuicFileError { key, path: path.clone(), fault: error.into() }
    })
}

fn read_file(
    key: &'static str,
    path: &Path,
    access: Access,
    len_max: usize,
) -> Result<Zeroizing<Vec<u8>>, QuicFileError> {
    key_file::read_bytes(path, access, len_max).map_err(|error| QuicFileError {
        key,
        path: path.to_owned(),
        fault: QuicFileFault::Unreadable(error),
    })
}

fn at<T>(
    key: &'static str,
    path: &Path,
    read: Result<T, CertificateError>,
) -> Result<T, QuicFileError> {
    read.map_err(|error| QuicFileError { key, path: path.to_owned(), fault: error.into() })
}

/// Names the file that an error of [`Trust::new`] is about.
fn not_trusted(quic: &Quic, error: TrustError) -> QuicFileError {
    let lists = || Some(("crl_file", quic.crl_file.clone()?));
    let authorities = || Some(("ca_file", quic.ca_file.clone()?));
    let place = match error {
        TrustError::NotAList { .. } | TrustError::ForeignList { .. } => lists(),
        TrustError::NotAnAuthority { .. } | TrustError::NotAName(_) | TrustError::Shared(_) => {
            authorities()
        }
    };
    let own = ("certificate_file", quic.certificate_file.clone());
    let (key, path) = place.unwrap_or(own);
    QuicFileError { key, path, fault: error.into() }
}

/// Reads the files, and reports at their keys what is wrong with them.
pub(super) fn judge_all(quic: &mut Draft<'_, Quic>, peers: &mut [Draft<'_, Peer>]) {
    let is_sound = |key| quic.section.is_sound(key);
    if !["certificate_file", "private_key_file", "ca_file", "crl_file"].into_iter().all(is_sound) {
        return;
    }
    // The peers are judged with the file: here it is about what they are judged by.
    match load(&quic.settings, []) {
        Ok((credentials, _)) => refuse_own(&credentials, peers),
        Err(error) => {
            quic.section.fault(error.key, error.to_string());
        }
    }
}

fn refuse_own(credentials: &Credentials, peers: &mut [Draft<'_, Peer>]) {
    for draft in peers {
        let theirs = draft.settings.quic().and_then(|peer| peer.certificate_sha256);
        if theirs == Some(credentials.fingerprint()) {
            let expected = "expected that of the peer's certificate: this is our own, that of \
                            quic.certificate_file";
            draft.section.fault("certificate_sha256", expected);
        }
    }
}
