//! Who may start a handshake: the cheap checks in front of the costly ones.
//!
//! A handshake costs a hundred microseconds. So an initiation has to name our public key (mac1),
//! and whoever sends many, or sends while everybody does, has to show first that he receives at
//! the address and port that he sends from (cookie, mac2; white paper, section 5.3). One flooder
//! so brings only himself to that.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, Payload};
use ring::rand::{SecureRandom, SystemRandom};

use super::message::{INITIATION_LEN, number};
use crate::drops::DropReason;

/// Initiations that one source may send without a cookie, and with one.
const SOURCE: Rate = Rate::new(5, 10);
/// Initiations of all sources together before each needs a cookie: a fifth of a core.
const ALL: Rate = Rate::new(1000, 1000);
/// What one that comes to nothing takes of that budget: who floods us gets a quarter of it.
const FAILED: u64 = 4;
/// Cookies for one source, which asks every five seconds, and for all together: ten thousand peers
/// that begin at once get theirs at once.
const SOURCE_COOKIES: Rate = Rate { interval_ns: 4_000_000_000, burst_ns: 0 };
const ALL_COOKIES: Rate = Rate::new(20_000, 20_000);

/// Counters for sources; those that share one share its budget.
const SOURCES: usize = 65_536;
/// Sources are spread over the counters anew so often: who shares one with a flooder does not when
/// he asks again, after five seconds.
const SPREAD_NS: u64 = 4_000_000_000;

/// How long a cookie is good for.
const SECRET_AGE: Duration = Duration::from_secs(120);

/// What is to be done with an initiation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is worth its handshake.
    Pass,
    /// This cookie reply goes back.
    Challenge(Box<[u8; COOKIE_REPLY_LEN]>),
    /// It is dropped.
    Refuse(DropReason),
}

const COOKIE_REPLY_LEN: usize = 64;

/// How often something may happen.
struct Rate {
    interval_ns: u64,
    burst_ns: u64,
}

impl Rate {
    const fn new(per_sec: u64, burst: u64) -> Self {
        let interval_ns = 1_000_000_000 / per_sec;
        Self { interval_ns, burst_ns: interval_ns * (burst - 1) }
    }
}

/// When the next one is due, in nanoseconds of the gate's time (the generic cell rate algorithm).
#[derive(Clone, Copy, Default)]
struct Budget(u64);

impl Budget {
    fn take(&mut self, now_ns: u64, rate: &Rate) -> bool {
        let has = self.0 <= now_ns + rate.burst_ns;
        if has {
            self.0 = self.0.max(now_ns) + rate.interval_ns;
        }
        has
    }

    /// Takes more than there may be.
    fn charge(&mut self, times: u64, rate: &Rate) {
        self.0 += times * rate.interval_ns;
    }
}

/// What is kept of a source.
#[derive(Clone, Copy, Default)]
struct Source {
    bare: Budget,
    proven: Budget,
    cookies: Budget,
}

/// Keeps handshakes from those who only want them to cost.
pub(super) struct Gate {
    cookie_key: [u8; 32],
    secret: [u8; 32],
    secret_since: Instant,
    /// The start of each cookie reply's nonce, and the number that follows it: none comes twice.
    nonce: [u8; 16],
    replies: u64,
    epoch: Instant,
    sources: Box<[Source]>,
    hasher: RandomState,
    all: Budget,
    all_cookies: Budget,
    random: SystemRandom,
}

impl Gate {
    /// Makes the gate of who has this public key.
    pub(super) fn new(public: &[u8; 32], now: Instant) -> Self {
        let mut gate = Self {
            cookie_key: labelled(b"cookie--", public),
            secret: [0; 32],
            secret_since: now,
            nonce: [0; 16],
            replies: 0,
            epoch: now,
            sources: vec![Source::default(); SOURCES].into(),
            hasher: RandomState::new(),
            all: Budget::default(),
            all_cookies: Budget::default(),
            random: SystemRandom::new(),
        };
        gate.renew_secret(now);
        gate
    }

    /// Judges an initiation whose mac1 is right; `is_known` is whether a peer of ours was seen at
    /// this source.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        from: SocketAddr,
        is_known: bool,
        message: &[u8],
    ) -> Admission {
        let Some((body, mac1, mac2)) = split(message) else {
            return Admission::Refuse(DropReason::WireGuardMalformed);
        };
        if now.saturating_duration_since(self.secret_since) >= SECRET_AGE {
            self.renew_secret(now);
        }
        let now_ns = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        let spread = (from.ip().to_canonical(), from.port(), now_ns / SPREAD_NS);
        let place = self.hasher.hash_one(spread) as usize % SOURCES;
        let source = &mut self.sources[place];
        if source.bare.take(now_ns, &SOURCE) && (is_known || self.all.take(now_ns, &ALL)) {
            return Admission::Pass;
        }
        let has_mac2 = mac2.iter().any(|byte| *byte != 0);
        if has_mac2 && is_mac(&self.cookie(from), &[body, mac1], mac2) {
            return match self.sources[place].proven.take(now_ns, &SOURCE) {
                true => Admission::Pass,
                false => Admission::Refuse(DropReason::WireGuardUnderLoad),
            };
        }
        if self.sources[place].cookies.take(now_ns, &SOURCE_COOKIES)
            && self.all_cookies.take(now_ns, &ALL_COOKIES)
            && let Some(reply) = self.cookie_reply(message, &self.cookie(from), mac1)
        {
            return Admission::Challenge(Box::new(reply));
        }
        Admission::Refuse(DropReason::WireGuardUnderLoad)
    }

    /// Notes that an initiation from somebody unknown passed, and came to nothing.
    pub(super) fn note_failed(&mut self) {
        self.all.charge(FAILED - 1, &ALL);
    }

    /// A failure of the kernel's random numbers leaves the former secret.
    fn renew_secret(&mut self, now: Instant) {
        let _ = self.random.fill(&mut self.secret);
        if self.random.fill(&mut self.nonce).is_ok() {
            self.replies = 0;
        }
        self.secret_since = now;
    }

    fn cookie(&self, from: SocketAddr) -> [u8; 16] {
        let port = from.port().to_be_bytes();
        match from.ip().to_canonical() {
            IpAddr::V4(ip) => mac(&self.secret, &[&ip.octets(), &port]),
            IpAddr::V6(ip) => mac(&self.secret, &[&ip.octets(), &port]),
        }
    }

    fn cookie_reply(
        &mut self,
        message: &[u8],
        cookie: &[u8; 16],
        mac1: &[u8],
    ) -> Option<[u8; COOKIE_REPLY_LEN]> {
        let mut reply = [0; COOKIE_REPLY_LEN];
        reply[0] = 3;
        reply[4..8].copy_from_slice(&number(message, 4)?.to_le_bytes());
        self.replies += 1;
        reply[8..24].copy_from_slice(&self.nonce);
        reply[24..32].copy_from_slice(&self.replies.to_le_bytes());
        let cipher = XChaCha20Poly1305::new(&self.cookie_key.into());
        let nonce = chacha20poly1305::XNonce::clone_from_slice(&reply[8..32]);
        let sealed = cipher.encrypt(&nonce, Payload { msg: cookie, aad: mac1 }).ok()?;
        reply[32..].copy_from_slice(&sealed);
        Some(reply)
    }
}

/// Gives the key of the mac1 of what is sent to who has this public key.
pub(super) fn mac1_key(public: &[u8; 32]) -> [u8; 32] {
    labelled(b"mac1----", public)
}

/// Tells whether an initiation names the public key that the mac1 key is of; what everybody can
/// send ends here, before anything is locked.
///
/// # Errors
///
/// Gives the reason why it is dropped.
pub(super) fn check_mac1(mac1_key: &[u8; 32], message: &[u8]) -> Result<(), DropReason> {
    let (body, mac1, _) = split(message).ok_or(DropReason::WireGuardMalformed)?;
    is_mac(mac1_key, &[body], mac1).then_some(()).ok_or(DropReason::WireGuardMac)
}

/// Gives what the macs are about, mac1 and mac2.
fn split(message: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    if message.len() != INITIATION_LEN {
        return None;
    }
    let (body, macs) = message.split_at(INITIATION_LEN - 32);
    let (mac1, mac2) = macs.split_at(16);
    Some((body, mac1, mac2))
}

fn labelled(label: &[u8], public: &[u8; 32]) -> [u8; 32] {
    Blake2s256::new().chain_update(label).chain_update(public).finalize().into()
}

/// Begins a mac. Keys here have 16 or 32 bytes, both of which it takes.
fn begin_mac(key: &[u8], parts: &[&[u8]]) -> Option<Blake2sMac<U16>> {
    let mut mac = <Blake2sMac<U16> as KeyInit>::new_from_slice(key).ok()?;
    parts.iter().for_each(|part| Mac::update(&mut mac, part));
    Some(mac)
}

pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    begin_mac(key, parts).map_or([0; 16], |mac| mac.finalize_fixed().into())
}

/// Compares in constant time.
fn is_mac(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    begin_mac(key, parts).is_some_and(|mac| mac.verify_slice(tag).is_ok())
}

#[cfg(test)]
mod tests {
    use boringtun::noise::{Tunn, TunnResult};
    use boringtun::x25519::{PublicKey, StaticSecret};

    use super::*;

    /// Somebody who sends initiations to us.
    fn initiator(to: &PublicKey) -> Tunn {
        Tunn::new(StaticSecret::from([7; 32]), *to, None, None, 5, None)
    }

    fn initiation(tunn: &mut Tunn) -> Vec<u8> {
        let mut room = [0; INITIATION_LEN];
        match tunn.format_handshake_initiation(&mut room, true) {
            TunnResult::WriteToNetwork(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn gate() -> (Gate, PublicKey, Instant) {
        let public = PublicKey::from(&StaticSecret::from([9; 32]));
        let now = Instant::now();
        (Gate::new(public.as_bytes(), now), public, now)
    }

    fn source(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn initiation_for_another_key_is_refused() {
        let (mut gate, public, now) = gate();
        let other = PublicKey::from(&StaticSecret::from([8; 32]));
        let message = initiation(&mut initiator(&other));
        assert_eq!(check_mac1(&mac1_key(other.as_bytes()), &message), Ok(()));
        let key = mac1_key(public.as_bytes());
        assert_eq!(check_mac1(&key, &message), Err(DropReason::WireGuardMac));
        assert_eq!(check_mac1(&key, &message[1..]), Err(DropReason::WireGuardMalformed));
        let refused = Admission::Refuse(DropReason::WireGuardMalformed);
        assert_eq!(gate.admit(now, source(1), false, &message[1..]), refused);
    }

    #[test]
    fn what_comes_to_nothing_leaves_less_for_others() {
        let (mut gate, public, now) = gate();
        let message = initiation(&mut initiator(&public));
        let mut passed = 0;
        for port in 0..5000 {
            if gate.admit(now, source(port), false, &message) == Admission::Pass {
                gate.note_failed();
                passed += 1;
            }
        }
        assert_eq!(passed, 1000 / FAILED);
        // Where all is well again the budget is as before.
        let later = now + Duration::from_secs(2);
        let all = (0..5000)
            .filter(|port| gate.admit(later, source(*port), false, &message) == Admission::Pass);
        assert_eq!(all.count(), 1000);
    }

    #[test]
    fn cookies_are_sealed_with_another_nonce_each() {
        let (mut gate, public, now) = gate();
        let message = initiation(&mut initiator(&public));
        let mut nonces = std::collections::HashSet::new();
        for port in 0..5000 {
            if let Admission::Challenge(reply) = gate.admit(now, source(port), false, &message) {
                assert!(nonces.insert(reply[8..32].to_vec()));
            }
        }
        // Two ports may share a budget.
        assert!((3500..=4000).contains(&nonces.len()), "{}", nonces.len());
    }

    #[test]
    fn one_flooder_brings_only_himself_under_load() {
        let (mut gate, public, now) = gate();
        let mut tunn = initiator(&public);
        let message = initiation(&mut tunn);
        let flood: Vec<_> =
            (0..1000).map(|_| gate.admit(now, source(1), false, &message)).collect();
        assert_eq!(flood.iter().filter(|it| **it == Admission::Pass).count(), 10);
        let challenges = flood.iter().filter(|it| matches!(it, Admission::Challenge(_))).count();
        assert_eq!(challenges, 1);
        assert_eq!(flood[999], Admission::Refuse(DropReason::WireGuardUnderLoad));
        assert_eq!(gate.admit(now, source(2), false, &message), Admission::Pass);
    }

    #[test]
    fn cookie_opens_the_gate_to_who_got_it_and_to_nobody_else() {
        let (mut gate, public, now) = gate();
        let mut tunn = initiator(&public);
        let reply = loop {
            let message = initiation(&mut tunn);
            match gate.admit(now, source(1), false, &message) {
                Admission::Pass => {}
                Admission::Challenge(reply) => break reply,
                Admission::Refuse(reason) => panic!("{reason:?}"),
            }
        };
        let mut room = [0; 256];
        assert!(matches!(tunn.decapsulate(None, &*reply, &mut room), TunnResult::Done));
        let message = initiation(&mut tunn);
        assert_eq!(gate.admit(now, source(1), false, &message), Admission::Pass);
        // The same from another port has to prove itself as soon as it is one of many.
        for _ in 0..10 {
            gate.admit(now, source(3), false, &message);
        }
        let other = gate.admit(now, source(3), false, &message);
        assert!(matches!(other, Admission::Challenge(_)), "{other:?}");
        // And it ages.
        let later = now + SECRET_AGE;
        for _ in 0..10 {
            gate.admit(later, source(1), false, &message);
        }
        assert_ne!(gate.admit(later, source(1), false, &message), Admission::Pass);
    }

    #[test]
    fn while_many_come_those_who_are_known_need_no_cookie() {
        let (mut gate, public, now) = gate();
        let message = initiation(&mut initiator(&public));
        let passed = (0..5000)
            .filter(|port| gate.admit(now, source(*port), false, &message) == Admission::Pass);
        assert_eq!(passed.count(), 1000);
        let known = SocketAddr::from(([198, 51, 100, 1], 51820));
        assert_ne!(gate.admit(now, known, false, &message), Admission::Pass);
        assert_eq!(gate.admit(now, known, true, &message), Admission::Pass);
    }

    #[test]
    fn budget_comes_back_with_time() {
        let mut budget = Budget::default();
        let rate = Rate::new(10, 2);
        let at = |ms: u64| ms * 1_000_000;
        let taken = [0, 0, 0, 99, 100, 100, 1000, 1000, 1000].map(|ms| budget.take(at(ms), &rate));
        assert_eq!(taken, [true, true, false, false, true, false, true, true, false]);
    }
}
