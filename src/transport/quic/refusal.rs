//! Why an end refuses the other: one word for it, on its way through rustls and over the wire.

use std::sync::Arc;

use quinn_proto::{ConnectionError, TransportErrorCode};
use rustls::{AlertDescription, CertificateError, OtherError};
use thiserror::Error;

/// Why the other end is not the peer that it should be. Displayed, it is a phrase about that end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    /// It has presented no certificate.
    #[error("it presented no certificate")]
    NoCertificate,
    /// No peer has this `certificate_sha256`, and there is no authority to ask.
    #[error("its certificate is no peer's")]
    Unknown,
    /// It is to have the certificate of `certificate_sha256`, and has another.
    #[error("its certificate is another than certificate_sha256 says")]
    WrongFingerprint,
    /// None of the authorities in `ca_file` has issued the certificate.
    #[error("its certificate is of no authority in ca_file")]
    UnknownIssuer,
    /// The certificate does not have the peer's name, or that of any peer.
    #[error("its certificate does not have the name of the peer")]
    WrongName,
    /// The certificate has the names of several peers.
    #[error("its certificate has the names of several peers")]
    Ambiguous,
    /// The certificate, or one that it depends on, has expired.
    #[error("its certificate has expired")]
    Expired,
    /// The certificate, or one that it depends on, is for later.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// A list in `crl_file` has the certificate, or one that it depends on.
    #[error("its certificate was revoked")]
    Revoked,
    /// The certificate is not for ends of connections: that of an authority, or for other uses.
    #[error("its certificate is for another use")]
    WrongUse,
    /// It does not have the certificate's private key.
    #[error("its key is not that of its certificate")]
    WrongKey,
    /// What it has presented are no certificates.
    #[error("its certificate is malformed")]
    Malformed,
    /// It does not speak this protocol.
    #[error("it does not speak tunctl/1")]
    WrongAlpn,
}

impl Refusal {
    const ALL: [Self; 13] = [
        Self::NoCertificate,
        Self::Unknown,
        Self::WrongFingerprint,
        Self::UnknownIssuer,
        Self::WrongName,
        Self::Ambiguous,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::WrongUse,
        Self::WrongKey,
        Self::Malformed,
        Self::WrongAlpn,
    ];

    /// Gives what rustls is told, which chooses the alert by it.
    pub(super) fn to_rustls(self) -> rustls::Error {
        let error = match self {
            Self::NoCertificate => return rustls::Error::NoCertificatesPresented,
            Self::WrongAlpn => return rustls::Error::NoApplicationProtocol,
            Self::UnknownIssuer => CertificateError::UnknownIssuer,
            Self::WrongName => CertificateError::NotValidForName,
            Self::Expired => CertificateError::Expired,
            Self::NotYetValid => CertificateError::NotValidYet,
            Self::Revoked => CertificateError::Revoked,
            Self::WrongUse => CertificateError::InvalidPurpose,
            Self::WrongKey => CertificateError::BadSignature,
            Self::Malformed => CertificateError::BadEncoding,
            Self::Unknown | Self::WrongFingerprint | Self::Ambiguous => {
                CertificateError::Other(OtherError(Arc::new(self)))
            }
        };
        error.into()
    }

    /// Finds it in what a handshake ended with.
    pub(super) fn of_rustls(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::NoCertificatesPresented => Some(Self::NoCertificate),
            rustls::Error::NoApplicationProtocol => Some(Self::WrongAlpn),
            rustls::Error::InvalidCertificate(error) => Some(Self::of_certificate_error(error)),
            _ => None,
        }
    }

    /// Everything that is not named here says that the bytes are not what they should be.
    fn of_certificate_error(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongUse
            }
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. } => Self::WrongKey,
            CertificateError::Other(OtherError(error)) => {
                error.downcast_ref().copied().unwrap_or(Self::Malformed)
            }
            _ => Self::Malformed,
        }
    }

    /// Takes what webpki says of a chain.
    pub(super) fn of_webpki(error: &webpki::Error) -> Self {
        match error {
            webpki::Error::CertExpired { .. } => Self::Expired,
            webpki::Error::CertNotValidYet { .. } => Self::NotYetValid,
            webpki::Error::CertRevoked => Self::Revoked,
            webpki::Error::RequiredEkuNotFoundContext(_)
            | webpki::Error::CaUsedAsEndEntity
            | webpki::Error::EndEntityUsedAsCa => Self::WrongUse,
            webpki::Error::CertNotValidForName(_) | webpki::Error::NameConstraintViolation => {
                Self::WrongName
            }
            // A signature that is not that of the authority of this name: another with its name.
            webpki::Error::UnknownIssuer
            | webpki::Error::InvalidSignatureForPublicKey
            | webpki::Error::UnsupportedSignatureAlgorithmContext(_)
            | webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
            | webpki::Error::PathLenConstraintViolated => Self::UnknownIssuer,
            _ => Self::Malformed,
        }
    }

    /// Takes the phrase that the other end has sent.
    pub(super) fn of_phrase(phrase: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.to_string().as_bytes() == phrase)
    }

    /// Takes the alert of an end that sends other phrases.
    fn of_alert(code: TransportErrorCode) -> Option<Self> {
        let alert = u8::try_from(u64::from(code).checked_sub(CRYPTO_ERROR)?).ok()?;
        match AlertDescription::from(alert) {
            AlertDescription::CertificateRequired => Some(Self::NoCertificate),
            AlertDescription::NoApplicationProtocol => Some(Self::WrongAlpn),
            AlertDescription::UnknownCA => Some(Self::UnknownIssuer),
            AlertDescription::CertificateExpired => Some(Self::Expired),
            AlertDescription::CertificateRevoked => Some(Self::Revoked),
            AlertDescription::CertificateUnknown | AlertDescription::AccessDenied => {
                Some(Self::Unknown)
            }
            AlertDescription::UnsupportedCertificate => Some(Self::WrongUse),
            AlertDescription::BadCertificate => Some(Self::Malformed),
            AlertDescription::DecryptError => Some(Self::WrongKey),
            _ => None,
        }
    }
}

/// The first code of TLS alerts among those of QUIC, CRYPTO_ERROR (RFC 9001 section 4.8).
pub(super) const CRYPTO_ERROR: u64 = 0x100;

/// Which end refused the other; its phrase is about the end that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// We refused the peer.
    Peer(Refusal),
    /// The peer refused us.
    Us(Refusal),
}

impl Refused {
    /// Finds it in what a connection ended with; none if it ended otherwise.
    pub fn of(error: &ConnectionError) -> Option<Self> {
        match error {
            ConnectionError::TransportError(error) => {
                Refusal::of_phrase(error.reason.as_bytes()).map(Self::Peer)
            }
            ConnectionError::ConnectionClosed(close) => {
                let phrase = Refusal::of_phrase(&close.reason);
                phrase.or_else(|| Refusal::of_alert(close.error_code)).map(Self::Us)
            }
            ConnectionError::VersionMismatch
            | ConnectionError::ApplicationClosed(_)
            | ConnectionError::Reset
            | ConnectionError::TimedOut
            | ConnectionError::LocallyClosed
            | ConnectionError::CidsExhausted => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_through_rustls_as_what_it_was() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::of_rustls(&refusal.to_rustls()), Some(refusal));
            assert_eq!(Refusal::of_phrase(refusal.to_string().as_bytes()), Some(refusal));
        }
    }
}
