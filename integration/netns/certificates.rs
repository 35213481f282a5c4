//! Certificates for the cases about QUIC: of an authority, and with a fault each.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use tunctl::transport::quic::Fingerprint;
use tunctl::transport::quic::issue::{Dates, Issued, self_signed};

/// A certificate and its private key, in PEM.
#[derive(Clone, Debug)]
pub struct Paper {
    pub certificate: String,
    pub key: String,
    serial: u64,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub enum Validity {
    Now,
    Past,
    Future,
}

/// Somebody who issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Gives its own certificate, in PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for a name.
    pub fn issue(&self, name: &str, validity: Validity) -> Paper {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.into()]).unwrap();
        let (from, until) = match validity {
            Validity::Now => (2020, 2090),
            Validity::Past => (2019, 2020),
            Validity::Future => (2089, 2090),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let serial = u64::from(rand_of(&key));
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Paper { certificate: certificate.pem(), key: key.serialize_pem(), serial }
    }

    /// Gives a list of revoked certificates that has this one, in PEM.
    pub fn revoke(&self, paper: &Paper) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(paper.serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

impl Paper {
    /// Makes one as `tunctl gencert NAME` does, and gives its fingerprint.
    pub fn by_us(name: &str) -> (Self, Fingerprint) {
        let issued = self_signed(name, Dates { now: SystemTime::now(), days: 90 }).unwrap();
        let Issued { certificate, key, fingerprint } = issued;
        (Self { certificate, key: key.to_string(), serial: 0 }, fingerprint)
    }

    /// Gives a certificate that nobody but its owner has issued.
    pub fn of_nobody(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate: certificate.pem(), key: key.serialize_pem(), serial: 0 }
    }
}

/// A number that no two keys share, as far as tests go.
fn rand_of(key: &KeyPair) -> u32 {
    let bytes = key.public_key_raw();
    u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) | 1
}
