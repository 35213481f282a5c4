//! Certificates: their PEM, their fingerprint, their dates and names; and our own with its key.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac};
use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, DnsName, PrivateKeyDer, UnixTime,
};
use rustls::sign::{CertifiedKey, SigningKey};
use thiserror::Error;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};
use zeroize::Zeroizing;

/// The most certificates of one chain, that of its owner included. Real ones have two or three.
pub const CHAIN_LEN_MAX: usize = 8;

/// What the key of stateless resets is derived with, so that it serves nothing else.
const RESET_LABEL: &[u8] = b"tunctl quic stateless reset 1";

/// Why PEM gives no certificates, no key, or none that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The text is not PEM (RFC 7468), or its base64 is broken.
    #[error("expected PEM: {0}")]
    NotPem(String),
    /// The PEM has no certificate.
    #[error("expected a PEM certificate, -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// The PEM has no private key.
    #[error("expected a PEM private key, -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// The PEM has a private key that cannot be read without its passphrase.
    #[error("the key has a passphrase: expected a PEM private key without one")]
    Encrypted,
    /// The PEM has no certificate revocation list.
    #[error("expected a PEM certificate revocation list, -----BEGIN X509 CRL-----")]
    NoRevocationList,
    /// What is in the PEM is not what it says to be.
    #[error("expected a certificate (X.509 version 3): number {number} of the file is none")]
    NotX509 {
        /// Its place in the file, from 1.
        number: usize,
    },
    /// A chain that nobody would take.
    #[error("expected at most {CHAIN_LEN_MAX} certificates in a chain, found {len}")]
    TooLong {
        /// Its certificates.
        len: usize,
    },
    /// The key is of a kind, or a size, that TLS 1.3 is not done with here.
    #[error(
        "expected a key of ECDSA (P-256, P-384, P-521), of Ed25519, or of RSA with 2048 bits or more"
    )]
    UnusableKey,
    /// The key is another's.
    #[error("the certificate does not belong to the private key")]
    WrongKey,
}

/// The SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Takes the bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Gives that of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let hash = digest::digest(&digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        Self(bytes)
    }

    /// Gives the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The text is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    /// Takes 64 hex digits, or 32 pairs with a colon between each two, as openssl prints them.
    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let mut bytes = [0; 32];
        let pair_len = if text.contains(':') { 3 } else { 2 };
        let is_long_enough = text.len() == 32 * pair_len - (pair_len - 2);
        if !text.is_ascii() || !is_long_enough {
            return Err(NotAFingerprint);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(pair_len)) {
            let (digits, colon) = pair.split_at_checked(2).ok_or(NotAFingerprint)?;
            let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
            let digits = std::str::from_utf8(digits).map_err(|_| NotAFingerprint)?;
            let read = u8::from_str_radix(digits, 16).map_err(|_| NotAFingerprint)?;
            if !is_hex || !matches!(colon, [] | [b':']) {
                return Err(NotAFingerprint);
            }
            *byte = read;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// From when until when a certificate can be used, seconds since 1970; both belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    not_before: u64,
    not_after: u64,
}

impl Validity {
    /// Reads that of a certificate; none if it is not one.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
        let validity = parsed.validity();
        // What was before 1970 is over all the same.
        let secs = |timestamp: i64| u64::try_from(timestamp).unwrap_or(0);
        rest.is_empty().then(|| Self {
            not_before: secs(validity.not_before.timestamp()),
            not_after: secs(validity.not_after.timestamp()),
        })
    }

    /// Gives the last second.
    pub fn expires(self) -> SystemTime {
        let after = UNIX_EPOCH.checked_add(Duration::from_secs(self.not_after));
        after.unwrap_or(UNIX_EPOCH)
    }

    /// Gives the last second, for comparisons.
    pub(super) fn ends(self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.not_after))
    }

    /// Gives the day of the first second in UTC, as in `2026-06-01`.
    pub fn first_day(self) -> String {
        day_of(self.not_before)
    }

    /// Gives the day of the last second, likewise.
    pub fn last_day(self) -> String {
        day_of(self.not_after)
    }

    /// Whether it is over.
    pub fn is_over(self, now: UnixTime) -> bool {
        now.as_secs() > self.not_after
    }

    /// Whether it is still to come.
    pub fn is_to_come(self, now: UnixTime) -> bool {
        now.as_secs() < self.not_before
    }
}

fn day_of(secs: u64) -> String {
    let time = ASN1Time::from_timestamp(i64::try_from(secs).unwrap_or(i64::MAX));
    time.map(|time| time.to_datetime().date().to_string()).unwrap_or_default()
}

/// Whether a certificate is that of an authority (RFC 5280 section 4.2.1.9).
pub fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| parsed.is_ca())
}

/// Whether a certificate can have the name as a dNSName (RFC 5280 section 4.2.1.6): labels of 1 to
/// 63 letters, digits, dashes and underscores, the last not all digits.
pub fn is_dns_name(name: &str) -> bool {
    !name.ends_with('.') && DnsName::try_from(name).is_ok()
}

/// Reads the certificates of a PEM text, at least one; other sections are passed over.
///
/// # Errors
///
/// See [`CertificateError`].
pub fn read_certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let read = sections(text, CertificateError::NoCertificate)?;
    for (number, certificate) in (1..).zip(&read) {
        Validity::of(certificate).ok_or(CertificateError::NotX509 { number })?;
    }
    Ok(read)
}

/// Reads the certificate revocation lists of a PEM text, at least one.
///
/// # Errors
///
/// See [`CertificateError`]; whether each is a sound list is told where it is trusted.
pub fn read_revocations(
    text: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, CertificateError> {
    sections(text, CertificateError::NoRevocationList)
}

fn sections<T: PemObject>(text: &[u8], none: CertificateError) -> Result<Vec<T>, CertificateError> {
    let read: Result<Vec<T>, _> = T::pem_slice_iter(text).collect();
    let read = read.map_err(|error| not_pem(error, none.clone()))?;
    if read.is_empty() { Err(none) } else { Ok(read) }
}

fn not_pem(error: pem::Error, none: CertificateError) -> CertificateError {
    match error {
        pem::Error::NoItemsFound => none,
        // It quotes what it found, which may be of a key.
        pem::Error::Base64Decode(_) => CertificateError::NotPem("its base64 is broken".into()),
        pem::Error::MissingSectionEnd { .. } => {
            CertificateError::NotPem("a section has no end".into())
        }
        _ => CertificateError::NotPem("a section has no proper beginning".into()),
    }
}

/// Our certificate, the chain to its authority, and our key. Shown, it is the fingerprint.
#[derive(Clone)]
pub struct Credentials {
    key: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
    validity: Validity,
    reset_secret: Zeroizing<[u8; 32]>,
}

impl Credentials {
    /// Reads them from PEM: our certificate first, then those of the authorities between it and
    /// the one that peers trust; and an unencrypted private key (PKCS #8, SEC 1 or PKCS #1).
    ///
    /// # Errors
    ///
    /// See [`CertificateError`]. Dates are not judged: who starts early may have a clock to be set.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain = read_certificates(chain)?;
        if chain.len() > CHAIN_LEN_MAX {
            return Err(CertificateError::TooLong { len: chain.len() });
        }
        let end_entity = chain.first().ok_or(CertificateError::NoCertificate)?;
        let fingerprint = Fingerprint::of(end_entity);
        let not_x509 = CertificateError::NotX509 { number: 1 };
        let validity = Validity::of(end_entity).ok_or(not_x509.clone())?;
        let (signing, reset_secret) = read_key(key)?;
        let key = CertifiedKey::new(chain, signing);
        match key.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(CertificateError::WrongKey);
            }
            Err(rustls::Error::InconsistentKeys(_)) => return Err(CertificateError::UnusableKey),
            Err(_) => return Err(not_x509),
        }
        Ok(Self { key: Arc::new(key), fingerprint, validity, reset_secret })
    }

    /// Gives the fingerprint of our certificate: what a peer's `certificate_sha256` is.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Gives from when until when our certificate can be used.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Gives the last second in which our certificate can be used.
    pub fn expires(&self) -> SystemTime {
        self.validity.expires()
    }

    /// Gives a secret for the tokens of stateless resets (RFC 9000 section 10.3): the same after
    /// each start with the same key, and nothing about the key.
    pub fn reset_secret(&self) -> &[u8; 32] {
        &self.reset_secret
    }

    /// Gives what rustls signs with.
    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.fingerprint).finish()
    }
}

/// Tells whether a PEM text has a private key that can be used.
///
/// # Errors
///
/// See [`CertificateError`].
pub fn check_key(text: &[u8]) -> Result<(), CertificateError> {
    read_key(text).map(|_| ())
}

/// What signs handshakes, and what is derived from the same key.
type KeyAndSecret = (Arc<dyn SigningKey>, Zeroizing<[u8; 32]>);

fn read_key(text: &[u8]) -> Result<KeyAndSecret, CertificateError> {
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        if is_encrypted(text) {
            return CertificateError::Encrypted;
        }
        not_pem(error, CertificateError::NoKey)
    })?;
    let signing = any_supported_type(&key).map_err(|_| CertificateError::UnusableKey)?;
    Ok((signing, reset_secret(key.secret_der())))
}

/// Whether a PEM text has a key with a passphrase: PKCS #8 (RFC 7468 section 11), or OpenSSL's older
/// form, which has headers where base64 begins otherwise (RFC 1421 section 4.6.1.1).
fn is_encrypted(text: &[u8]) -> bool {
    const MARKS: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
    let mut lines = text.split(|&byte| byte == b'\n');
    lines.any(|line| MARKS.contains(&line.trim_ascii_end()))
}

fn reset_secret(key: &[u8]) -> Zeroizing<[u8; 32]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), RESET_LABEL);
    let mut secret = Zeroizing::new([0; 32]);
    secret.copy_from_slice(tag.as_ref());
    secret
}
