//! Who is let in, who is asked for a proof, and who has to wait.

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
            gate.note_failed(now, source(port), &Admission::Pass);
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
    let flood: Vec<_> = (0..1000).map(|_| gate.admit(now, source(1), false, &message)).collect();
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
            Admission::Pass | Admission::Proven => {}
            Admission::Challenge(reply) => break reply,
            Admission::Refuse(reason) => panic!("{reason:?}"),
        }
    };
    let mut room = [0; 256];
    assert!(matches!(tunn.decapsulate(None, &*reply, &mut room), TunnResult::Done));
    let message = initiation(&mut tunn);
    assert_eq!(gate.admit(now, source(1), false, &message), Admission::Proven);
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
    let passed =
        (0..5000).filter(|port| gate.admit(now, source(*port), false, &message) == Admission::Pass);
    assert_eq!(passed.count(), 1000);
    let known = SocketAddr::from(([198, 51, 100, 1], 51820));
    assert_ne!(gate.admit(now, known, false, &message), Admission::Pass);
    assert_eq!(gate.admit(now, known, true, &message), Admission::Pass);
}

/// Puts into an initiation what its source has been given.
fn prove(gate: &Gate, from: SocketAddr, message: &[u8]) -> Vec<u8> {
    let (body, mac1, _) = split(message).unwrap();
    [body, mac1, &mac(&gate.cookie(from), &[body, mac1])].concat()
}

/// Has nobody pass without a cookie for a while, by sources whose addresses are made up.
fn spend_all(gate: &mut Gate, now: Instant, message: &[u8]) {
    for port in 0..2000 {
        let from = SocketAddr::from(([198, 51, 100, 1], port));
        let how = gate.admit(now, from, false, message);
        gate.note_failed(now, from, &how);
    }
}

/// Counts what passes of these sources' initiations; each comes to nothing.
fn failing(
    gate: &mut Gate,
    now: Instant,
    sources: impl Iterator<Item = SocketAddr>,
    message: &[u8],
) -> usize {
    let passes = |from: &SocketAddr| {
        let how = gate.admit(now, *from, false, &prove(gate, *from, message));
        gate.note_failed(now, *from, &how);
        matches!(how, Admission::Pass | Admission::Proven)
    };
    sources.filter(passes).count()
}

/// Gives a host that shares its budget with none that failed.
fn clean_host(gate: &Gate, now: Instant) -> SocketAddr {
    let mut hosts = (1..255).map(|host| SocketAddr::from(([192, 0, 2, host], 51_820)));
    let is_clean = |from: &SocketAddr| gate.hosts[gate.host(gate.time(now), *from)].0 == 0;
    hosts.find(is_clean).expect("there are more places than hosts that failed")
}

#[test]
fn host_with_many_sources_is_wrong_no_more_often_than_one() {
    let (mut gate, public, now) = gate();
    let message = initiation(&mut initiator(&public));
    let of_v6 = |n: u16| {
        let host = [0x2001, 0xdb8, 0, 7, n, 1, 2, 3];
        SocketAddr::from((host, 51_820))
    };
    spend_all(&mut gate, now, &message);
    assert_eq!(failing(&mut gate, now, (0..20_000).map(source), &message), 100);
    assert_eq!(failing(&mut gate, now, (0..20_000).map(of_v6), &message), 100);
    let other = clean_host(&gate, now);
    let proven = prove(&gate, other, &message);
    assert_eq!(gate.admit(now, other, false, &proven), Admission::Proven);
    // Also one that is known is not kept out by those who share its address.
    let proven = prove(&gate, source(1), &message);
    assert_ne!(gate.admit(now, source(1), false, &proven), Admission::Proven);
    assert_eq!(gate.admit(now, source(30_000), true, &message), Admission::Pass);
}

#[test]
fn hosts_that_fail_together_leave_those_that_do_not() {
    let (mut gate, public, now) = gate();
    let message = initiation(&mut initiator(&public));
    spend_all(&mut gate, now, &message);
    let sources = (0..100)
        .flat_map(|host| (0..60).map(move |port| SocketAddr::from(([203, 0, 113, host], port))));
    let passed = failing(&mut gate, now, sources, &message);
    // And one of each host that had none before.
    assert!((2500..2600).contains(&passed), "{passed}");
    let other = clean_host(&gate, now);
    let proven = prove(&gate, other, &message);
    assert_eq!(gate.admit(now, other, false, &proven), Admission::Proven);
}

#[test]
fn many_peers_behind_one_address_are_all_let_in() {
    let (mut gate, public, now) = gate();
    let message = initiation(&mut initiator(&public));
    spend_all(&mut gate, now, &message);
    let passed = (0..10_000).filter(|port| {
        let message = prove(&gate, source(*port), &message);
        gate.admit(now, source(*port), false, &message) == Admission::Proven
    });
    // A few share a budget.
    assert!(passed.count() > 9_990);
}

#[test]
fn debt_is_forgotten_after_some_seconds() {
    let (mut gate, public, now) = gate();
    let message = initiation(&mut initiator(&public));
    for _ in 0..1_000_000 {
        gate.note_failed(now, source(1), &Admission::Pass);
        gate.note_failed(now, source(1), &Admission::Proven);
    }
    spend_all(&mut gate, now, &message);
    let proven = prove(&gate, source(2), &message);
    assert_ne!(gate.admit(now, source(2), false, &proven), Admission::Proven);
    let later = now + Duration::from_secs(6);
    assert_eq!(gate.admit(later, source(3), false, &message), Admission::Pass);
    spend_all(&mut gate, later, &message);
    assert_eq!(gate.admit(later, source(2), false, &proven), Admission::Proven);
}

#[test]
fn budget_comes_back_with_time() {
    let mut budget = Budget::default();
    let rate = Rate::new(10, 2);
    let at = |ms: u64| ms * 1_000_000;
    let taken = [0, 0, 0, 99, 100, 100, 1000, 1000, 1000].map(|ms| budget.take(at(ms), &rate));
    assert_eq!(taken, [true, true, false, false, true, false, true, true, false]);
}
