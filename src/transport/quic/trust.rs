//! Who may be who: certificates of authorities, what they have revoked, and how each peer is known.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm, TrustAnchor,
    UnixTime,
};
use thiserror::Error;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::certificate::{CHAIN_LEN_MAX, Fingerprint, Validity, is_dns_name};
use super::refusal::Refusal;
use crate::peer::PeerId;

/// How a peer is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    /// By an authority that has issued it a certificate with this dNSName.
    Name(String),
    /// By this certificate and no other; no authority is asked, and names do not matter.
    Fingerprint(Fingerprint),
}

/// Why nobody can be judged by this.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrustError {
    /// An authority's certificate is not one.
    #[error("certificate number {number} of the file is not that of an authority")]
    NotAnAuthority {
        /// Its place in the file, from 1.
        number: usize,
    },
    /// A list is not one that can be used: delta and indirect lists cannot.
    #[error("list number {number} of the file is no certificate revocation list of version 2")]
    NotAList {
        /// Its place in the file, from 1.
        number: usize,
    },
    /// A list is not of any of the authorities, or was not signed by them.
    #[error("list number {number} of the file was not signed by an authority in ca_file")]
    ForeignList {
        /// Its place in the file, from 1.
        number: usize,
    },
    /// A peer's name cannot be in a certificate.
    #[error("{0:?} cannot be a name in a certificate")]
    NotAName(String),
    /// Two peers cannot be told apart.
    #[error("two peers are known by {0}")]
    Shared(Known),
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Known::Name(name) => write!(f, "the name {name}"),
            Known::Fingerprint(fingerprint) => write!(f, "the certificate {fingerprint}"),
        }
    }
}

/// What certificates are judged by.
pub struct Trust {
    algorithms: WebPkiSupportedAlgorithms,
    authorities: Vec<TrustAnchor<'static>>,
    revocations: Vec<CertRevocationList<'static>>,
    known: HashMap<PeerId, Known>,
    /// The peers by their names in lower case.
    by_name: HashMap<String, PeerId>,
    by_fingerprint: HashMap<Fingerprint, PeerId>,
}

impl Trust {
    /// Takes the certificates of authorities, their revocation lists, and the peers.
    ///
    /// # Errors
    ///
    /// See [`TrustError`].
    pub fn new(
        authorities: &[CertificateDer<'static>],
        revocations: &[CertificateRevocationListDer<'static>],
        peers: impl IntoIterator<Item = (PeerId, Known)>,
    ) -> Result<Self, TrustError> {
        let anchors = (1..).zip(authorities).map(|(number, certificate)| {
            let anchor = anchor_from_trusted_cert(certificate).ok();
            anchor.map(|anchor| anchor.to_owned()).ok_or(TrustError::NotAnAuthority { number })
        });
        let lists = (1..).zip(revocations).map(|(number, list)| {
            let read = OwnedCertRevocationList::from_der(list);
            let read = read.map_err(|_| TrustError::NotAList { number })?;
            if !is_of_any(list, authorities) {
                return Err(TrustError::ForeignList { number });
            }
            Ok(CertRevocationList::from(read))
        });
        let mut trust = Self {
            algorithms: default_provider().signature_verification_algorithms,
            authorities: anchors.collect::<Result<_, _>>()?,
            revocations: lists.collect::<Result<_, _>>()?,
            known: HashMap::new(),
            by_name: HashMap::new(),
            by_fingerprint: HashMap::new(),
        };
        peers.into_iter().try_for_each(|(peer, known)| trust.add(peer, known))?;
        Ok(trust)
    }

    fn add(&mut self, peer: PeerId, known: Known) -> Result<(), TrustError> {
        let is_new = match &known {
            Known::Name(name) if !is_dns_name(name) => {
                return Err(TrustError::NotAName(name.clone()));
            }
            Known::Name(name) => is_new(self.by_name.entry(name.to_ascii_lowercase()), peer),
            Known::Fingerprint(fingerprint) => {
                is_new(self.by_fingerprint.entry(*fingerprint), peer)
            }
        };
        if !is_new {
            return Err(TrustError::Shared(known));
        }
        self.known.insert(peer, known);
        Ok(())
    }

    /// Tells which peer has presented a chain, its own certificate first. That it has the key too
    /// is for the handshake to show.
    ///
    /// # Errors
    ///
    /// Why it is no peer, or none now.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<PeerId, Refusal> {
        let (own, others) = chain.split_first().ok_or(Refusal::NoCertificate)?;
        if let Some(peer) = self.by_fingerprint.get(&Fingerprint::of(own)) {
            self.check_pinned(own, others, now)?;
            return Ok(*peer);
        }
        if self.authorities.is_empty() {
            return Err(Refusal::Unknown);
        }
        let certificate = self.check_issued(own, others, now)?;
        self.named(&certificate)
    }

    /// Tells whether a chain is that of this peer.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn judge_as(
        &self,
        peer: PeerId,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let own = chain.first().ok_or(Refusal::NoCertificate)?;
        match self.known.get(&peer) {
            None => return Err(Refusal::Unknown),
            Some(Known::Fingerprint(known)) if *known != Fingerprint::of(own) => {
                return Err(Refusal::WrongFingerprint);
            }
            Some(Known::Fingerprint(_) | Known::Name(_)) => {}
        }
        if self.judge(chain, now)? == peer { Ok(()) } else { Err(Refusal::WrongName) }
    }

    /// The algorithms that signatures may be made with.
    pub(super) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    /// A certificate that is known as such needs no authority; one that has revoked it is heard.
    fn check_pinned(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let validity = Validity::of(own).ok_or(Refusal::Malformed)?;
        if validity.is_over(now) {
            return Err(Refusal::Expired);
        }
        if validity.is_to_come(now) {
            return Err(Refusal::NotYetValid);
        }
        match self.check_issued(own, others, now) {
            Err(Refusal::Revoked) => Err(Refusal::Revoked),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Finds the way to an authority (RFC 5280 section 6): dates, uses, constraints, revocation.
    fn check_issued<'c>(
        &self,
        own: &'c CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<EndEntityCert<'c>, Refusal> {
        if others.len() >= CHAIN_LEN_MAX {
            return Err(Refusal::Malformed);
        }
        let certificate = EndEntityCert::try_from(own).map_err(|e| Refusal::of_webpki(&e))?;
        let lists: Vec<&CertRevocationList<'_>> = self.revocations.iter().collect();
        // An authority need not have a list. An old list still says what was revoked; that it is
        // old must not stop the tunnel.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Ignore)
                .build()
        });
        let check = |usage: KeyUsage| {
            let path = certificate.verify_for_usage(
                self.verifiers(),
                &self.authorities,
                others,
                now,
                usage,
                revocation,
                None,
            );
            path.map(|_| ())
        };
        // Either end may dial, so a certificate for either end of TLS is one for both.
        let checked = match check(KeyUsage::client_auth()) {
            Err(webpki::Error::RequiredEkuNotFoundContext(_)) => check(KeyUsage::server_auth()),
            checked => checked,
        };
        checked.map_err(|error| Refusal::of_webpki(&error))?;
        Ok(certificate)
    }

    fn verifiers(&self) -> &'static [&'static dyn SignatureVerificationAlgorithm] {
        self.algorithms.all
    }

    /// A wildcard is nobody's name.
    fn named(&self, certificate: &EndEntityCert<'_>) -> Result<PeerId, Refusal> {
        let mut found = None;
        for name in certificate.valid_dns_names() {
            let peer = self.by_name.get(&name.to_ascii_lowercase()).copied();
            match (found, peer) {
                (Some(first), Some(peer)) if first != peer => return Err(Refusal::Ambiguous),
                (_, peer) => found = found.or(peer),
            }
        }
        found.ok_or(Refusal::WrongName)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("authorities", &self.authorities.len())
            .field("revocations", &self.revocations.len())
            .field("peers", &self.known.len())
            .finish_non_exhaustive()
    }
}

fn is_new<K>(entry: Entry<'_, K, PeerId>, peer: PeerId) -> bool {
    match entry {
        Entry::Vacant(entry) => {
            entry.insert(peer);
            true
        }
        Entry::Occupied(entry) => *entry.get() == peer,
    }
}

/// Whether one of the authorities has signed a list.
fn is_of_any(
    list: &CertificateRevocationListDer<'_>,
    authorities: &[CertificateDer<'static>],
) -> bool {
    let Ok((_, list)) = CertificateRevocationList::from_der(list) else { return false };
    authorities.iter().any(|authority| {
        let Ok((_, authority)) = X509Certificate::from_der(authority) else { return false };
        let is_issuer = authority.subject().as_raw() == list.issuer().as_raw();
        is_issuer && list.verify_signature(authority.public_key()).is_ok()
    })
}
