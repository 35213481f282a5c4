//! Makes certificates: self-signed ones, an authority and what it issues, and its revocation list.
//!
//! Keys are ECDSA on P-256, which every TLS takes, and signs and verifies the fastest.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::certificate::{
    CertificateError, Fingerprint, check_key, is_dns_name, read_certificates, read_revocations,
};

/// What a certificate is dated back: the clocks of two hosts differ.
const SKEW: Duration = Duration::from_secs(3600);

/// The last second that a certificate can name, at the end of the year 9999.
const LAST_SECS: u64 = 253_402_300_799;

/// How long a revocation list says that it is good for. Nobody here asks it.
const LIST_DAYS: u32 = 3650;

const DAY: Duration = Duration::from_secs(86_400);

/// Why no certificate was made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The name cannot be in a certificate.
    #[error(
        "{0:?} cannot be a name in a certificate: expected a DNS name, of 1 to 63 letters, digits, \
         dashes and underscores between dots, 64 characters at most, and not a number at its end"
    )]
    NotAName(String),
    /// The authority's certificate, key or list, or what is to be revoked, cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The authority has not issued the certificate.
    #[error("the certificate is not of this authority")]
    NotIssued,
    /// The list has the certificate already.
    #[error("the certificate is revoked already")]
    IsRevoked,
    /// The library cannot do it.
    #[error(transparent)]
    Library(#[from] rcgen::Error),
}

/// From when a certificate can be used, less some skew of clocks, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Dates {
    /// The time at which it is made.
    pub now: SystemTime,
    /// For how many days it can be used; what comes after the year 9999 is cut.
    pub days: u32,
}

/// A certificate and its key, as PEM.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS #8).
    pub key: Zeroizing<String>,
    /// What others may know it by.
    pub fingerprint: Fingerprint,
}

/// Makes a certificate with a dNSName that nobody but itself vouches for.
///
/// # Errors
///
/// See [`IssueError`].
pub fn self_signed(name: &str, dates: Dates) -> Result<Issued, IssueError> {
    let (params, key) = (params(name, dates)?, KeyPair::generate()?);
    let certificate = params.self_signed(&key)?;
    Ok(issued(&certificate, &key))
}

/// The longest name: that of a peer.
const NAME_LEN_MAX: usize = 64;

/// Whether a certificate for a peer of this name can be made.
pub fn is_name(name: &str) -> bool {
    name.len() <= NAME_LEN_MAX && is_dns_name(name)
}

fn params(name: &str, dates: Dates) -> Result<CertificateParams, IssueError> {
    if !is_name(name) {
        return Err(IssueError::NotAName(name.to_owned()));
    }
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    set_dates(&mut params, dates);
    Ok(params)
}

fn set_dates(params: &mut CertificateParams, dates: Dates) {
    let since = dates.now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    let last = Duration::from_secs(LAST_SECS);
    params.not_before = epoch + since.saturating_sub(SKEW).min(last);
    params.not_after = epoch + (since + DAY.saturating_mul(dates.days)).min(last);
}

fn issued(certificate: &rcgen::Certificate, key: &KeyPair) -> Issued {
    Issued {
        certificate: certificate.pem(),
        key: Zeroizing::new(key.serialize_pem()),
        fingerprint: Fingerprint::of(certificate.der()),
    }
}

/// An authority: it issues certificates, and revokes them.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// Makes one with this common name; also gives its certificate and key.
    ///
    /// # Errors
    ///
    /// See [`IssueError`].
    pub fn generate(common_name: &str, dates: Dates) -> Result<(Self, Issued), IssueError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_dates(&mut params, dates);
        let made = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let issued = Issued {
            certificate: made.pem(),
            key: Zeroizing::new(made.key().serialize_pem()),
            fingerprint: Fingerprint::of(made.der()),
        };
        let authority = Self::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes())?;
        Ok((authority, issued))
    }

    /// Reads one from the PEM of its certificate and its key.
    ///
    /// # Errors
    ///
    /// See [`IssueError`].
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, IssueError> {
        let certificate = read_certificates(certificate)?.swap_remove(0);
        check_key(key)?;
        let key = std::str::from_utf8(key).map_err(|_| CertificateError::NoKey)?;
        let key = KeyPair::from_pem(key)?;
        let not_x509 = CertificateError::NotX509 { number: 1 };
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| not_x509)?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(CertificateError::WrongKey.into());
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { issuer, certificate })
    }

    /// Makes a certificate with a dNSName.
    ///
    /// # Errors
    ///
    /// See [`IssueError`].
    pub fn issue(&self, name: &str, dates: Dates) -> Result<Issued, IssueError> {
        let mut params = params(name, dates)?;
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(issued(&certificate, &key))
    }

    /// Makes the PEM of a list with one certificate more than the former list has.
    ///
    /// # Errors
    ///
    /// See [`IssueError`].
    pub fn revoke(
        &self,
        certificate: &CertificateDer<'_>,
        former: Option<&[u8]>,
        now: SystemTime,
    ) -> Result<String, IssueError> {
        let serial = self.serial_of(certificate)?;
        let (number, mut revoked) = self.read_list(former)?;
        if revoked.iter().any(|entry| entry.serial_number == serial) {
            return Err(IssueError::IsRevoked);
        }
        let mut dates = CertificateParams::default();
        set_dates(&mut dates, Dates { now, days: LIST_DAYS });
        revoked.push(RevokedCertParams {
            serial_number: serial,
            revocation_time: dates.not_before,
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: dates.not_before,
            next_update: dates.not_after,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }

    fn serial_of(&self, certificate: &CertificateDer<'_>) -> Result<SerialNumber, IssueError> {
        let parse = |der| X509Certificate::from_der(der).map(|(_, parsed)| parsed);
        let not_x509 = |_| CertificateError::NotX509 { number: 1 };
        let own = parse(&self.certificate).map_err(not_x509)?;
        let theirs = parse(certificate).map_err(not_x509)?;
        let is_ours = theirs.issuer().as_raw() == own.subject().as_raw()
            && theirs.verify_signature(Some(own.public_key())).is_ok();
        let serial = SerialNumber::from_slice(theirs.raw_serial());
        if is_ours { Ok(serial) } else { Err(IssueError::NotIssued) }
    }

    /// Gives the number of the next list, and what the former has.
    fn read_list(
        &self,
        former: Option<&[u8]>,
    ) -> Result<(u64, Vec<RevokedCertParams>), IssueError> {
        let Some(former) = former else { return Ok((1, Vec::new())) };
        let lists = read_revocations(former)?;
        let own = X509Certificate::from_der(&self.certificate);
        let (_, own) = own.map_err(|_| CertificateError::NotX509 { number: 1 })?;
        let (mut number, mut revoked) = (0_u64, Vec::new());
        for list in &lists {
            let list = CertificateRevocationList::from_der(list);
            let (_, list) = list.map_err(|_| CertificateError::NoRevocationList)?;
            if list.verify_signature(own.public_key()).is_err() {
                return Err(IssueError::NotIssued);
            }
            let its = list.crl_number().and_then(|number| number.to_u64_digits().first().copied());
            number = number.max(its.unwrap_or(0));
            revoked.extend(list.iter_revoked_certificates().map(|entry| RevokedCertParams {
                serial_number: SerialNumber::from_slice(entry.raw_serial()),
                revocation_time: entry.revocation_date.to_datetime(),
                reason_code: None,
                invalidity_date: None,
            }));
        }
        Ok((number.saturating_add(1), revoked))
    }
}
