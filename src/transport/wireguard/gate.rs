//! Who may start a handshake: the cheap checks in front of the costly ones.
//!
//! A handshake costs a hundred microseconds. So an initiation has to name our public key (mac1),
//! and whoever sends many, or sends while everybody does, has to show first that he receives at
//! the address and port that he sends from (cookie, mac2; white paper, section 5.3). One flooder
//! so brings only himself to that. A host has many ports, so initiations that come to nothing
//! although they show that are counted by host, which then has to wait.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
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
/// Initiations with a cookie that may come to nothing: of one host, and of all together, a quarter
/// of a core. More than the latter, and only hosts that have none are let pass. Those that succeed
/// are not counted: many peers may be behind one address.
const HOST_FAILURES: Rate = Rate::new(50, 100);
const ALL_FAILURES: Rate = Rate::new(2500, 2500);
/// How long it takes at most until a budget that was overdrawn is back.
const DEBT_NS: u64 = 4_000_000_000;
/// Cookies for one source, which asks every five seconds, and for all together: ten thousand peers
/// that begin at once get theirs at once.
const SOURCE_COOKIES: Rate = Rate { interval_ns: 4_000_000_000, burst_ns: 0 };
const ALL_COOKIES: Rate = Rate::new(20_000, 20_000);

/// Counters for sources; those that share one share its budget.
const SOURCES: usize = 65_536;
const HOSTS: usize = 16_384;
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
    /// The same; and it comes from where it says.
    Proven,
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
    fn has(self, now_ns: u64, rate: &Rate) -> bool {
        self.0 <= now_ns + rate.burst_ns
    }

    fn take(&mut self, now_ns: u64, rate: &Rate) -> bool {
        let has = self.has(now_ns, rate);
        if has {
            self.0 = self.0.max(now_ns) + rate.interval_ns;
        }
        has
    }

    /// Takes more than there may be.
    fn charge(&mut self, now_ns: u64, times: u64, rate: &Rate) {
        let due = self.0.max(now_ns) + times * rate.interval_ns;
        self.0 = due.min(now_ns + rate.burst_ns + DEBT_NS);
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
    /// What hosts have sent that came to nothing.
    hosts: Box<[Budget]>,
    hasher: RandomState,
    all: Budget,
    all_failures: Budget,
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
            hosts: vec![Budget::default(); HOSTS].into(),
            hasher: RandomState::new(),
            all: Budget::default(),
            all_failures: Budget::default(),
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
        let now_ns = self.time(now);
        let spread = (from.ip().to_canonical(), from.port(), now_ns / SPREAD_NS);
        let place = self.hasher.hash_one(spread) as usize % SOURCES;
        let source = &mut self.sources[place];
        if source.bare.take(now_ns, &SOURCE) && (is_known || self.all.take(now_ns, &ALL)) {
            return Admission::Pass;
        }
        let has_mac2 = mac2.iter().any(|byte| *byte != 0);
        if has_mac2 && is_mac(&self.cookie(from), &[body, mac1], mac2) {
            let may = is_known || self.may_prove(now_ns, from);
            return match may && self.sources[place].proven.take(now_ns, &SOURCE) {
                true => Admission::Proven,
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

    /// Notes that an initiation passed, and came to nothing. What anybody may have sent in the name
    /// of another costs that one nothing.
    pub(super) fn note_failed(&mut self, now: Instant, from: SocketAddr, how: &Admission) {
        let now_ns = self.time(now);
        match how {
            Admission::Pass => self.all.charge(now_ns, FAILED - 1, &ALL),
            Admission::Proven => {
                let host = self.host(now_ns, from);
                self.hosts[host].charge(now_ns, 1, &HOST_FAILURES);
                self.all_failures.charge(now_ns, 1, &ALL_FAILURES);
            }
            Admission::Challenge(_) | Admission::Refuse(_) => {}
        }
    }

    /// Whether a host that receives where it sends from may still be wrong.
    fn may_prove(&self, now_ns: u64, from: SocketAddr) -> bool {
        let own = self.hosts[self.host(now_ns, from)];
        let is_clean = own.0 <= now_ns;
        is_clean
            || (own.has(now_ns, &HOST_FAILURES) && self.all_failures.has(now_ns, &ALL_FAILURES))
    }

    /// Gives the place of a host's budget: one of IPv6 has a whole /64.
    fn host(&self, now_ns: u64, from: SocketAddr) -> usize {
        let host = match from.ip().to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
            v4 => v4,
        };
        self.hasher.hash_one((host, now_ns / SPREAD_NS)) as usize % HOSTS
    }

    /// Gives the nanoseconds since the gate was made.
    fn time(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_nanos() as u64
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
mod tests;
