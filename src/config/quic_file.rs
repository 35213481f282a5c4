//! The files that `[quic]` names: our certificate and key, those of authorities, revocation lists.

use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::peer::PeerId;
use crate::transport::quic::certificate::{
    check_key, is_authority, read_certificates, read_revocations,
};
use crate::transport::quic::{CertificateError, Credentials, Known, Trust, TrustError, Validity};

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
    /// The certificate is that of another key.
    #[error("expected the certificate of the key in quic.private_key_file, {}", .0.display())]
    OtherKey(PathBuf),
    /// Peers that ask an authority take no authority's certificate for a peer's.
    #[error("is an authority's: expected one that it has issued (tunctl gencert NAME --ca DIR)")]
    OfAnAuthority,
    /// Nobody can be judged by what is in the file.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Reads the files of `[quic]`, for these peers. May be called again at any time: it holds nothing.
/// Dates are not judged.
///
/// # Errors
///
/// Gives the first file that cannot be used.
pub fn load(
    quic: &Quic,
    peers: impl IntoIterator<Item = (PeerId, Known)>,
) -> Result<(Credentials, Trust), QuicFileError> {
    let credentials = credentials(quic, &read_chain(quic)?, &read_key(quic)?)?;
    let (authorities, revocations) = (read_authorities(quic)?, read_lists(quic)?);
    Ok((credentials, trust(quic, &authorities, &revocations, peers)?))
}

/// Reads the text of a file with certificates.
///
/// # Errors
///
/// Names the file that cannot be read, or is too large.
pub fn read_pem(path: &Path) -> Result<Pem, KeyFileError> {
    key_file::read_bytes(path, Access::Anybody, PEM_LEN_MAX)
}

/// Reads the text of a file with a private key.
///
/// # Errors
///
/// Names the file that cannot be read, is too large, or can be used by others.
pub fn read_key_pem(path: &Path) -> Result<Pem, KeyFileError> {
    key_file::read_bytes(path, Access::Owner, PEM_LEN_MAX)
}

/// Reads the text of a file with revocation lists.
///
/// # Errors
///
/// Names the file that cannot be read, or is too large.
pub fn read_list_pem(path: &Path) -> Result<Pem, KeyFileError> {
    key_file::read_bytes(path, Access::Anybody, CRL_LEN_MAX)
}

/// The text of a file, gone from memory with it.
pub type Pem = Zeroizing<Vec<u8>>;

fn read_chain(quic: &Quic) -> Result<Pem, QuicFileError> {
    let path = &quic.certificate_file;
    let text = readable("certificate_file", path, read_pem(path))?;
    let chain = at("certificate_file", path, read_certificates(&text))?;
    // Without authorities it may be any: peers know it by its fingerprint.
    if quic.ca_file.is_some() && chain.first().is_some_and(is_authority) {
        let (key, path) = ("certificate_file", path.clone());
        return Err(QuicFileError { key, path, fault: QuicFileFault::OfAnAuthority });
    }
    Ok(text)
}

fn read_key(quic: &Quic) -> Result<Pem, QuicFileError> {
    let path = &quic.private_key_file;
    let text = readable("private_key_file", path, read_key_pem(path))?;
    at("private_key_file", path, check_key(&text))?;
    Ok(text)
}

fn read_authorities(quic: &Quic) -> Result<Vec<CertificateDer<'static>>, QuicFileError> {
    let Some(path) = &quic.ca_file else { return Ok(Vec::new()) };
    let text = readable("ca_file", path, read_pem(path))?;
    at("ca_file", path, read_certificates(&text))
}

fn read_lists(quic: &Quic) -> Result<Vec<CertificateRevocationListDer<'static>>, QuicFileError> {
    let Some(path) = &quic.crl_file else { return Ok(Vec::new()) };
    let text = readable("crl_file", path, read_list_pem(path))?;
    at("crl_file", path, read_revocations(&text))
}

fn credentials(quic: &Quic, chain: &[u8], key: &[u8]) -> Result<Credentials, QuicFileError> {
    Credentials::from_pem(chain, key).map_err(|error| {
        let fault = match error {
            CertificateError::WrongKey => QuicFileFault::OtherKey(quic.private_key_file.clone()),
            error => error.into(),
        };
        QuicFileError { key: "certificate_file", path: quic.certificate_file.clone(), fault }
    })
}

fn trust(
    quic: &Quic,
    authorities: &[CertificateDer<'static>],
    revocations: &[CertificateRevocationListDer<'static>],
    peers: impl IntoIterator<Item = (PeerId, Known)>,
) -> Result<Trust, QuicFileError> {
    Trust::new(authorities, revocations, peers).map_err(|error| not_trusted(quic, error))
}

fn readable(
    key: &'static str,
    path: &Path,
    read: Result<Pem, KeyFileError>,
) -> Result<Pem, QuicFileError> {
    read.map_err(|error| QuicFileError {
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

/// Reads the files, and reports at their keys what is wrong with them; also that our certificate
/// cannot be used at a time, if there is one.
pub(super) fn judge_all(
    quic: &mut Draft<'_, Quic>,
    peers: &mut [Draft<'_, Peer>],
    at: Option<UnixTime>,
) {
    let own = both(
        judge(quic, "certificate_file", read_chain),
        judge(quic, "private_key_file", read_key),
    );
    let others =
        both(judge(quic, "ca_file", read_authorities), judge(quic, "crl_file", read_lists));
    if let Some((chain, key)) = own
        && let Some(credentials) =
            judge(quic, "certificate_file", |quic| credentials(quic, &chain, &key))
    {
        if let Some(message) = at.and_then(|at| misdated(credentials.validity(), at)) {
            quic.section.fault("certificate_file", message);
        }
        refuse_own(&credentials, peers);
    }
    if let Some((authorities, lists)) = others {
        // The peers are judged with the file: here it is about what they are judged by.
        let _ = judge(quic, "ca_file", |quic| trust(quic, &authorities, &lists, []));
    }
}

/// Reads one file, unless something was reported about its key.
fn judge<T>(
    quic: &mut Draft<'_, Quic>,
    key: &'static str,
    read: impl Fn(&Quic) -> Result<T, QuicFileError>,
) -> Option<T> {
    if !quic.section.is_sound(key) {
        return None;
    }
    let read = read(&quic.settings);
    // The path is shown with the key.
    read.map_err(|error| quic.section.fault(error.key, error.fault.to_string())).ok()
}

fn both<A, B>(a: Option<A>, b: Option<B>) -> Option<(A, B)> {
    Some((a?, b?))
}

fn misdated(validity: Validity, at: UnixTime) -> Option<String> {
    const EXPECTED: &str = "expected one that can be used today";
    if validity.is_over(at) {
        return Some(format!("expired on {}: {EXPECTED}", validity.last_day()));
    }
    let from = validity.first_day();
    validity.is_to_come(at).then(|| format!("can be used from {from} only: {EXPECTED}"))
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
