//! What time does to handshakes and sessions (white paper, section 6).

use mock_instant::MockClock;

use super::*;

/// Lets time pass for both ends, in steps that the timers are looked at in, and carries what they
/// say; gives the packets that came out at the second.
fn pass(a: &mut End, b: &mut End, time: Duration) -> Vec<Vec<u8>> {
    let step = Duration::from_millis(250);
    let mut arrived = Vec::new();
    for _ in 0..time.as_millis() / step.as_millis() {
        MockClock::advance(step);
        a.look(step);
        b.look(step);
        arrived.append(&mut settle(a, b)[1]);
    }
    arrived
}

/// As [`pass`], for one end that nobody hears; gives when it said how much.
fn pass_alone(end: &mut End, time: Duration) -> Vec<(Duration, usize)> {
    let step = Duration::from_millis(100);
    let mut said = Vec::new();
    for number in 1..=(time.as_millis() / step.as_millis()) as u32 {
        MockClock::advance(step);
        end.look(step);
        let letters = end.letters();
        said.extend(letters.iter().map(|letter| (step * number, letter.bytes.len())));
    }
    said
}

#[test]
fn unanswered_handshake_is_repeated_and_given_up() {
    let (mut a, _) = pair();
    for number in 0..3 {
        a.send(&[packet(100, number)]);
    }
    assert_eq!(a.letters().len(), 1);
    let said = pass_alone(&mut a, Duration::from_secs(120));
    assert!(said.iter().all(|(_, len)| *len == 148), "{said:?}");
    // Every 5 s and up to 333 ms, 200 ms until it is looked, and 100 ms of the test's own steps.
    let mut last = Duration::ZERO;
    for (at, _) in &said {
        let pause = *at - last;
        assert!((5000..=5700).contains(&pause.as_millis()), "{pause:?}");
        last = *at;
    }
    assert!((15..=18).contains(&said.len()) && last < Duration::from_secs(91), "{said:?}");
    assert_eq!(a.losses(), [(DropReason::WireGuardNoSession, 1); 3]);
    // The next packet begins anew.
    a.send(&[packet(100, 9)]);
    assert_eq!(a.letters().len(), 1);
}

#[test]
fn used_session_is_renewed_after_two_minutes() {
    let (mut a, mut b) = pair();
    a.start();
    settle(&mut a, &mut b);
    let first = a.engine.status(PEER).unwrap().established.unwrap();
    for second in 0..150u8 {
        let run = a.send(&[packet(100, second)]).expect("there is always a session");
        assert_eq!(b.receive(&run), [packet(100, second)]);
        pass(&mut a, &mut b, Duration::from_secs(1));
    }
    let renewed = a.engine.status(PEER).unwrap().established.unwrap() - first;
    assert!((120..=122).contains(&renewed.as_secs()), "{renewed:?}");
    assert_eq!((a.losses(), b.losses()), (vec![], vec![]));
}

#[test]
fn session_is_not_used_after_three_minutes() {
    let (mut a, mut b) = pair();
    a.start();
    settle(&mut a, &mut b);
    let run = b.send(&[packet(100, 1)]).unwrap();
    assert_eq!(a.receive(&run).len(), 1);
    // Nobody says anything, so nobody renews it.
    MockClock::advance(Duration::from_secs(181));
    a.look(Duration::from_secs(181));
    assert!(a.send(&[packet(100, 2)]).is_none(), "it has to wait for another session");
    let late = b.send(&[packet(100, 3)]).unwrap();
    assert!(a.receive(&late).is_empty());
    assert_eq!(a.losses(), [(DropReason::WireGuardUnknownIndex, 1)]);
    b.look(Duration::from_secs(181));
    b.letters().clear();
    let [_, arrived] = settle(&mut a, &mut b);
    assert_eq!(arrived, [packet(100, 2)]);
}

#[test]
fn end_that_was_lost_is_noticed_and_found_again() {
    let (mut a, mut b) = pair();
    a.start();
    settle(&mut a, &mut b);
    // The other end begins anew and knows nothing of the session, nor where we are.
    b = End { now: b.now, ..End::new(2, 1, None, None) };
    let found_after = (0..30).find(|_| {
        let run = a.send(&[packet(100, 1)]).unwrap();
        let is_found = !b.receive(&run).is_empty();
        pass(&mut a, &mut b, Duration::from_secs(1));
        is_found
    });
    // Ten seconds in which an answer had to come, and five for one to be late.
    assert!(found_after.is_some_and(|secs| (14..=16).contains(&secs)), "{found_after:?}");
}
