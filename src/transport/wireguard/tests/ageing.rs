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

/// Sends a packet, if there is a session; tells whether it arrives.
fn arrives(from: &mut End, to: &mut End) -> bool {
    from.send(&[packet(100, 1)]).is_some_and(|run| to.receive(&run).len() == 1)
}

/// Sends a packet each way, which has to arrive.
fn talk(a: &mut End, b: &mut End, second: u64) {
    assert!(arrives(a, b) && arrives(b, a), "after {second} s");
}

fn change(end: &mut End) {
    end.engine.set_preshared(PEER, Some(preshared(5)), end.now, &mut end.post);
}

/// Counts the sessions that one end has asked for in vain.
fn refused(end: &mut End) -> usize {
    end.losses().iter().filter(|(reason, _)| *reason == DropReason::WireGuardHandshake).count()
}

/// Lets traffic flow from when the first end has another preshared key until the session is over,
/// or the second end has the key too.
fn after_change_at_one_end(first_begins: bool, other_after: Option<u64>) {
    let (mut a, mut b) = pair();
    let begins = if first_begins { &mut a } else { &mut b };
    begins.engine.set_endpoint(PEER, address(if first_begins { 2 } else { 1 }));
    begins.start();
    settle(&mut a, &mut b);
    pass(&mut a, &mut b, Duration::from_secs(10));
    change(&mut a);
    settle(&mut a, &mut b);
    for second in 10..other_after.unwrap_or(178) {
        talk(&mut a, &mut b, second);
        pass(&mut a, &mut b, Duration::from_secs(1));
    }
    assert!((1..=14).contains(&refused(&mut a)), "it asks now and then");
    let Some(after) = other_after else { return };
    change(&mut b);
    settle(&mut a, &mut b);
    for second in after..after + 400 {
        talk(&mut a, &mut b, second);
        pass(&mut a, &mut b, Duration::from_secs(1));
    }
}

#[test]
fn key_that_only_one_end_has_leaves_the_session_until_it_is_over() {
    // Often: when who asks for a session is left to chance.
    for _ in 0..40 {
        after_change_at_one_end(true, None);
        after_change_at_one_end(false, None);
    }
}

#[test]
fn key_that_the_other_end_gets_later_costs_nothing() {
    for after in [11, 41, 100, 125, 160, 175] {
        after_change_at_one_end(true, Some(after));
    }
    // Not later: the other end's tunnels would then say in their handshakes when it is by clocks
    // that differ, as only one of two that boringtun reads is turned by hand.
    for after in [11, 41, 100] {
        after_change_at_one_end(false, Some(after));
    }
}

#[test]
fn key_that_the_other_end_gets_when_all_is_over_begins_anew() {
    let (mut a, mut b) = pair();
    a.start();
    settle(&mut a, &mut b);
    change(&mut a);
    settle(&mut a, &mut b);
    for second in 0..300u64 {
        let arrived = [arrives(&mut a, &mut b), arrives(&mut b, &mut a)];
        assert_eq!(arrived, [second < 180; 2], "after {second} s");
        pass(&mut a, &mut b, Duration::from_secs(1));
    }
    change(&mut b);
    pass(&mut a, &mut b, Duration::from_secs(6));
    talk(&mut a, &mut b, 306);
}
