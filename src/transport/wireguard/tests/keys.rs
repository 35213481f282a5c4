//! Preshared keys that change while there is a session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::{Packet, Tunn};

use super::*;

/// Sends a packet each way.
fn talk(a: &mut End, b: &mut End) {
    let run = a.send(&[packet(100, 1)]).unwrap();
    assert_eq!(b.receive(&run).len(), 1);
    let run = b.send(&[packet(100, 2)]).unwrap();
    assert_eq!(a.receive(&run).len(), 1);
}

fn change(end: &mut End, seed: u8) {
    end.engine.set_preshared(PEER, Some(preshared(seed)), end.now, &mut end.post);
}

#[test]
fn session_goes_on_until_there_is_one_with_the_new_key() {
    let (mut a, mut b) = pair();
    a.start();
    settle(&mut a, &mut b);
    change(&mut a, 5);
    settle(&mut a, &mut b);
    talk(&mut a, &mut b);
    assert_eq!(a.losses(), [(DropReason::WireGuardHandshake, 1)], "the other has none yet");
    let before = b.engine.status(PEER).unwrap().established;
    b.now += Duration::from_secs(1);
    change(&mut b, 5);
    settle(&mut a, &mut b);
    talk(&mut a, &mut b);
    assert!(b.engine.status(PEER).unwrap().established > before);
    assert_eq!((a.losses(), b.losses()), (vec![], vec![]));
}

#[test]
fn change_before_there_is_a_session_takes_effect_at_once() {
    let (mut a, mut b) = pair();
    a.send(&[packet(100, 1)]);
    a.letters().clear();
    change(&mut a, 5);
    change(&mut b, 5);
    let [_, arrived] = settle(&mut a, &mut b);
    assert_eq!(arrived, [packet(100, 1)]);
}

#[test]
fn the_same_key_again_changes_nothing() {
    let (mut a, mut b) = pair();
    change(&mut a, 5);
    change(&mut b, 5);
    a.start();
    settle(&mut a, &mut b);
    change(&mut a, 5);
    assert!(a.post.letters.is_empty());
    talk(&mut a, &mut b);
}

#[test]
fn key_that_changes_while_others_make_tunnels_is_the_key_of_all() {
    let (mut a, b) = pair();
    let other = b.engine.identity();
    let (secret, public) = (other.private.to_secret(), other.public.to_x25519());
    a.engine.set_keepalive(PEER, Some(Duration::from_secs(1)));
    for seed in 10..210 {
        let (now, is_changed) = (a.now, AtomicBool::new(false));
        a.now += Duration::from_secs(1000);
        thread::scope(|scope| {
            let (engine, post) = (&a.engine, &mut a.post);
            let ticks = scope.spawn(|| {
                // Each is due, and makes a tunnel where there is none.
                let mut at = now;
                while !is_changed.load(Ordering::Relaxed) {
                    at += Duration::from_millis(1);
                    engine.peer(PEER).unwrap().lock().due = at;
                    engine.tick(at, post);
                }
            });
            engine.set_private(private(seed), now, &mut Post::default());
            is_changed.store(true, Ordering::Relaxed);
            ticks.join().unwrap();
        });
        a.look(Duration::ZERO);
        let last = a.letters().pop().expect("there is a tunnel, or one is made");
        let Ok(Packet::HandshakeInit(init)) = Tunn::parse_incoming_packet(&last.bytes) else {
            panic!("an initiation is sent: {last:?}");
        };
        let half = parse_handshake_anon(&secret, &public, &init).unwrap();
        let sender = PublicKey::from_bytes(half.peer_static_public);
        assert_eq!(sender, private(seed).public(), "round {seed}");
    }
}
