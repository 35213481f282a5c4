//! Handshakes between two ends in memory: who takes whom, and what each is told otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quinn_proto::ConnectionError;
use rustls::CipherSuite;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;

use super::issue::{Authority, Dates, Issued, self_signed};
use super::*;
use crate::peer::PeerId;

mod certificates;
mod engine;
mod pair;
mod stock;
mod trusts;

use pair::{Ended, handshake};

/// 2026-06-01 00:00:00 UTC.
const NOW_SECS: u64 = 1_780_272_000;
const DAY_SECS: u64 = 86_400;

/// The other end, and somebody else.
const PEER: PeerId = PeerId::new(7, 0);
const OTHER: PeerId = PeerId::new(8, 3);

fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(NOW_SECS))
}

/// Dates from so many days before now.
fn dates(days_ago: u64, days: u32) -> Dates {
    Dates { now: at(NOW_SECS - days_ago * DAY_SECS), days }
}

fn authority(name: &str) -> (Authority, CertificateDer<'static>) {
    let (authority, issued) = Authority::generate(name, dates(1, 3650)).unwrap();
    (authority, der(&issued))
}

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()
}

fn credentials(issued: &Issued) -> Credentials {
    Credentials::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes()).unwrap()
}

fn key_of(issued: &Issued) -> Arc<CertifiedKey> {
    credentials(issued).certified_key()
}

fn pinned(issued: &Issued) -> Known {
    Known::Fingerprint(issued.fingerprint)
}

fn named(name: &str) -> Known {
    Known::Name(name.to_owned())
}

/// A list with one certificate of an authority.
fn list(authority: &Authority, revoked: &Issued) -> CertificateRevocationListDer<'static> {
    let list = authority.revoke(&der(revoked), None, at(NOW_SECS)).unwrap();
    CertificateRevocationListDer::from_pem_slice(list.as_bytes()).unwrap()
}

/// A clock that the test sets.
#[derive(Debug)]
struct Clock(AtomicU64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

fn tls_at(clock: &Arc<Clock>, own: &Issued, trust: Trust) -> Tls {
    let clock = Arc::clone(clock);
    Tls::with_clock(credentials(own), trust, clock).unwrap()
}

fn tls(own: &Issued, trust: Trust) -> Tls {
    tls_at(&Arc::new(Clock(AtomicU64::new(NOW_SECS))), own, trust)
}

fn trust(peers: impl IntoIterator<Item = (PeerId, Known)>) -> Trust {
    Trust::new(&[], &[], peers).unwrap()
}

fn refused(ended: &Ended) -> Option<Refused> {
    match ended {
        Ended::Connected(_) => None,
        Ended::Lost(error) => Refused::of(error),
    }
}

#[test]
fn ends_that_know_each_other_connect_and_agree_on_the_best() {
    let (a, b) = (self_signed("a", dates(1, 30)).unwrap(), self_signed("b", dates(1, 30)).unwrap());
    let dialler = tls(&a, trust([(PEER, pinned(&b))]));
    let acceptor = tls(&b, trust([(OTHER, pinned(&a))]));

    let (ours, theirs) = handshake(dialler.client(PEER).unwrap(), acceptor.server());

    for (ended, tls, chain, peer) in [(ours, &dialler, &b, PEER), (theirs, &acceptor, &a, OTHER)] {
        let Ended::Connected(connected) = ended else { panic!("{ended:?}") };
        assert_eq!(connected.agreed.group_name(), Some("X25519MLKEM768"));
        let cipher = connected.agreed.cipher_name();
        assert!(matches!(cipher, Some("AES-128-GCM" | "ChaCha20-Poly1305")), "{cipher:?}");
        assert_eq!(connected.chain, [der(chain)]);
        assert_eq!(tls.trust().judge(&connected.chain, now()), Ok(peer));
        assert!(!connected.has_early_data);
    }
}

#[test]
fn aes_comes_first_where_the_processor_has_it() {
    let first = |has_aes| tls::suites(has_aes).map(|suite| suite.suite());
    let (aes, chacha, strong) = (
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
    );
    assert_eq!(first(true), [aes, chacha, strong]);
    assert_eq!(first(false), [chacha, aes, strong]);
}

#[test]
fn peers_of_one_authority_are_told_apart_by_name_and_the_case_does_not_matter() {
    let (ca, root) = authority("tunnels");
    let [a, b] = ["Site-A.example", "site_b"].map(|name| ca.issue(name, dates(1, 30)).unwrap());
    let trust = |peer| Trust::new(std::slice::from_ref(&root), &[], [(PEER, named(peer))]).unwrap();
    let dialler = tls(&a, trust("SITE_B"));
    let acceptor = tls(&b, trust("site-a.EXAMPLE"));
    let (ours, theirs) = handshake(dialler.client(PEER).unwrap(), acceptor.server());
    assert!(ours.is_connected() && theirs.is_connected(), "{ours:?} {theirs:?}");
}

/// An end that should be refused, and by what it is judged.
struct Case {
    key: Option<Arc<CertifiedKey>>,
    trust: fn(&Cast) -> Trust,
    /// Why it is refused if it dials, and if we dial.
    refusals: [Refusal; 2],
}

/// Who is there.
struct Cast {
    root: CertificateDer<'static>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    pinned: Issued,
}

impl Cast {
    fn by_authority(&self) -> Trust {
        let roots = std::slice::from_ref(&self.root);
        Trust::new(roots, &self.lists, [(PEER, named("peer")), (OTHER, named("other"))]).unwrap()
    }

    fn by_fingerprint(&self) -> Trust {
        trust([(PEER, pinned(&self.pinned))])
    }
}

fn with_key_of(chain: &Issued, key: &Issued) -> Arc<CertifiedKey> {
    Arc::new(CertifiedKey::new(vec![der(chain)], Arc::clone(&key_of(key).key)))
}

#[test]
fn each_end_tells_why_it_refuses_the_other() {
    let (ca, root) = authority("tunnels");
    let (foreign, _) = authority("tunnels");
    let issue = |name, dates| ca.issue(name, dates).unwrap();
    let sound = issue("peer", dates(1, 30));
    let revoked = issue("peer", dates(1, 30));
    let stranger = self_signed("peer", dates(1, 30)).unwrap();
    let old = self_signed("peer", dates(31, 30)).unwrap();
    let lists = vec![list(&ca, &revoked)];
    let cast = Cast { root, lists, pinned: self_signed("peer", dates(1, 30)).unwrap() };
    let (_, authority_itself) = Authority::generate("peer", dates(1, 30)).unwrap();
    let garbage = CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01, 0x01]);
    let mut cut = der(&sound).to_vec();
    cut.truncate(cut.len() / 2);
    let bare = |chain| Some(Arc::new(CertifiedKey::new(chain, Arc::clone(&key_of(&sound).key))));
    let same = |refusal| [refusal, refusal];
    let case = |key, trust, refusals| Case { key, trust, refusals };
    let by_authority: fn(&Cast) -> Trust = Cast::by_authority;
    let by_fingerprint: fn(&Cast) -> Trust = Cast::by_fingerprint;
    let cases = [
        (
            "unknown",
            case(
                Some(key_of(&stranger)),
                by_fingerprint,
                [Refusal::Unknown, Refusal::WrongFingerprint],
            ),
        ),
        (
            "of another authority",
            case(
                Some(key_of(&foreign.issue("peer", dates(1, 30)).unwrap())),
                by_authority,
                same(Refusal::UnknownIssuer),
            ),
        ),
        ("self-signed", case(Some(key_of(&stranger)), by_authority, same(Refusal::UnknownIssuer))),
        (
            "expired",
            case(Some(key_of(&issue("peer", dates(31, 30)))), by_authority, same(Refusal::Expired)),
        ),
        (
            "not yet valid",
            case(
                Some(key_of(
                    &ca.issue("peer", Dates { now: at(NOW_SECS + DAY_SECS), days: 30 }).unwrap(),
                )),
                by_authority,
                same(Refusal::NotYetValid),
            ),
        ),
        (
            "of another name",
            case(
                Some(key_of(&issue("somebody", dates(1, 30)))),
                by_authority,
                same(Refusal::WrongName),
            ),
        ),
        ("revoked", case(Some(key_of(&revoked)), by_authority, same(Refusal::Revoked))),
        (
            "of an authority itself",
            case(Some(key_of(&authority_itself)), by_authority, same(Refusal::WrongUse)),
        ),
        (
            "with another key",
            case(Some(with_key_of(&sound, &old)), by_authority, same(Refusal::WrongKey)),
        ),
        (
            "pinned, with another key",
            case(Some(with_key_of(&cast.pinned, &old)), by_fingerprint, same(Refusal::WrongKey)),
        ),
        ("none", case(None, by_authority, same(Refusal::NoCertificate))),
        ("garbage", case(bare(vec![garbage.clone()]), by_authority, same(Refusal::Malformed))),
        (
            "cut",
            case(bare(vec![CertificateDer::from(cut)]), by_authority, same(Refusal::Malformed)),
        ),
        (
            "a chain without end",
            case(
                bare(std::iter::once(der(&sound)).chain(vec![garbage; 20]).collect()),
                by_authority,
                same(Refusal::Malformed),
            ),
        ),
    ];
    let own = self_signed("us", dates(1, 30)).unwrap();
    for (what, Case { key, trust, refusals }) in cases {
        let us = || tls(&own, trust(&cast));

        let (theirs, ours) = handshake(stock::client(key.clone(), &[ALPN]), us().server());
        assert_eq!(refused(&ours), Some(Refused::Peer(refusals[0])), "{what} dials: {ours:?}");
        assert_eq!(refused(&theirs), Some(Refused::Us(refusals[0])), "{what} dials: {theirs:?}");

        let dialled = us().client(PEER).unwrap();
        let (ours, theirs) = handshake(dialled, stock::server(key, &[ALPN]));
        assert_eq!(refused(&ours), Some(Refused::Peer(refusals[1])), "we dial {what}: {ours:?}");
        assert_eq!(refused(&theirs), Some(Refused::Us(refusals[1])), "we dial {what}: {theirs:?}");
    }

    // What all of this was told apart from.
    let us = tls(&own, cast.by_authority());
    let (theirs, ours) = handshake(stock::client(Some(key_of(&sound)), &[ALPN]), us.server());
    assert!(ours.is_connected() && theirs.is_connected(), "{ours:?} {theirs:?}");
}

#[test]
fn dialler_wants_the_peer_that_it_dials_and_no_other() {
    let (ca, root) = authority("tunnels");
    let other = ca.issue("other", dates(1, 30)).unwrap();
    let own = self_signed("us", dates(1, 30)).unwrap();
    let peers = [(PEER, named("peer")), (OTHER, named("other"))];
    let us = tls(&own, Trust::new(&[root], &[], peers).unwrap());
    let server = || stock::server(Some(key_of(&other)), &[ALPN]);
    let (ours, _) = handshake(us.client(PEER).unwrap(), server());
    assert_eq!(refused(&ours), Some(Refused::Peer(Refusal::WrongName)), "{ours:?}");
    let (ours, _) = handshake(us.client(OTHER).unwrap(), server());
    assert!(ours.is_connected(), "{ours:?}");
    let (ours, _) = handshake(us.client(PeerId::new(9, 0)).unwrap(), server());
    assert_eq!(refused(&ours), Some(Refused::Peer(Refusal::Unknown)), "{ours:?}");
}

#[test]
fn other_protocols_are_refused() {
    let [own, peer] = ["us", "peer"].map(|name| self_signed(name, dates(1, 30)).unwrap());
    let us = tls(&own, trust([(PEER, pinned(&peer))]));
    for alpn in [&[&b"h3"[..]][..], &[], &[b"tunctl/2", b"tunctl/"]] {
        let (theirs, ours) = handshake(stock::client(Some(key_of(&peer)), alpn), us.server());
        assert_eq!(refused(&ours), Some(Refused::Peer(Refusal::WrongAlpn)), "{alpn:?}: {ours:?}");
        assert_eq!(refused(&theirs), Some(Refused::Us(Refusal::WrongAlpn)), "{theirs:?}");

        let dialled = us.client(PEER).unwrap();
        let (ours, _) = handshake(dialled, stock::server(Some(key_of(&peer)), alpn));
        let by_us_or_them = [Refused::Peer(Refusal::WrongAlpn), Refused::Us(Refusal::WrongAlpn)];
        let found = refused(&ours);
        assert!(found.is_some_and(|found| by_us_or_them.contains(&found)), "{alpn:?}: {ours:?}");
    }
}

#[test]
fn dates_are_those_of_the_clock_at_the_handshake() {
    let [a, b] = ["a", "b"].map(|name| self_signed(name, dates(0, 30)).unwrap());
    let clock = Arc::new(Clock(AtomicU64::new(0)));
    let dialler = tls_at(&clock, &a, trust([(PEER, pinned(&b))]));
    let acceptor = tls(&b, trust([(PEER, pinned(&a))]));
    let ended_at = |secs| {
        clock.0.store(secs, Ordering::Relaxed);
        handshake(dialler.client(PEER).unwrap(), acceptor.server()).0
    };
    let last = NOW_SECS + 30 * DAY_SECS;
    for (secs, expected) in [
        (NOW_SECS - 3601, Some(Refused::Peer(Refusal::NotYetValid))),
        (NOW_SECS - 3600, None),
        (last, None),
        (last + 1, Some(Refused::Peer(Refusal::Expired))),
    ] {
        let ended = ended_at(secs);
        assert_eq!(refused(&ended), expected, "{secs}: {ended:?}");
        assert_eq!(ended.is_connected(), expected.is_none(), "{secs}: {ended:?}");
    }
}

#[test]
fn what_ended_otherwise_was_no_refusal() {
    for error in [ConnectionError::TimedOut, ConnectionError::Reset] {
        assert_eq!(Refused::of(&error), None);
    }
}
