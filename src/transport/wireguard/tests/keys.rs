//! Preshared keys that change while there is a session.

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
