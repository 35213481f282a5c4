//! How connections begin and end.

use std::sync::atomic::Ordering;

use super::*;
use crate::transport::quic::connection::Closing;

#[test]
fn one_end_dials_and_packets_cross_both_ways() {
    let mut world = World::connected([true, false]);
    for from in 0..2 {
        world.send(from, 0..40, 1400);
        world.run(Duration::from_millis(50));
        let arrived = &world.ends[1 - from].arrived;
        assert!(arrived.iter().map(|packet| number(packet)).eq(0..40), "{}", arrived.len());
        assert!(arrived.iter().all(|packet| packet.len() == 1400));
    }
}

#[test]
fn packets_that_wait_for_a_connection_arrive_in_their_order() {
    let mut world = World::new([true, false]);
    world.send(0, 0..40, 600);
    world.send(1, 0..10, 600);
    world.run(Duration::from_secs(1));
    assert!(world.ends[1].arrived.iter().map(|packet| number(packet)).eq(0..40));
    assert!(world.ends[0].arrived.iter().map(|packet| number(packet)).eq(0..10));
}

#[test]
fn both_dial_at_once_and_one_connection_remains() {
    for _ in 0..4 {
        let mut world = World::connected([true, true]);
        world.run(Duration::from_secs(4));
        for end in &world.ends {
            assert!(end.is_up());
            assert_eq!(end.open(), 1);
        }
        let dialled = world.ends.each_ref().map(|end| {
            let connection = end.quic.status(PEER).unwrap().connection.unwrap();
            connection.is_dialled
        });
        let lower = world.ends[0].identity.fingerprint() < world.ends[1].identity.fingerprint();
        assert_eq!(dialled, [lower, !lower]);
        world.send(0, 0..10, 1000);
        world.run(Duration::from_millis(100));
        assert_eq!(world.ends[1].arrived.len(), 10);
    }
}

#[test]
fn restart_of_either_end_is_noticed_within_three_seconds() {
    for dials in [[true, false], [false, true], [true, true]] {
        let mut world = World::connected(dials);
        world.run(Duration::from_secs(2));
        world.restart(1, dials[1]);
        // Something is sent at times, as a flow does.
        let mut sent = 0;
        let start = world.now;
        while world.ends[1].arrived.is_empty() {
            world.send(0, sent..sent + 1, 500);
            sent += 1;
            world.run(Duration::from_millis(50));
            assert!(world.now - start < Duration::from_secs(3), "{dials:?}");
        }
    }
}

#[test]
fn end_that_was_away_is_reached_again() {
    let mut world = World::connected([true, false]);
    world.ends[1].is_running = false;
    world.run(Duration::from_secs(60));
    assert!(!world.ends[0].is_up(), "the idle timeout is over");
    world.restart(1, false);
    let took = world.run_until(Duration::from_secs(12), |world| world.ends[0].is_up());
    assert!(took < Duration::from_secs(11), "{took:?}");
}

#[test]
fn stranger_is_refused_by_both_ends() {
    for stranger in 0..2 {
        let identities = ["a", "b"].map(Identity::new);
        let mut world = World::of(&identities, [true, false], Settings::default());
        let other = Identity::new("c");
        world.ends[stranger] = End::new(
            &other,
            identities[1 - stranger].fingerprint(),
            address(stranger as u8),
            (stranger == 0).then(|| address(1)),
            Settings::default(),
            world.now,
        );
        world.run(Duration::from_secs(5));
        for end in &world.ends {
            assert!(!end.is_up());
            let refused = |event: &Event| matches!(event, Event::Refused { .. });
            assert!(end.events.iter().any(refused), "{stranger}: {:?}", end.events);
            assert!(end.lost(DropReason::QuicRefused) > 0);
        }
        assert!(world.ends[1].quic.handshakes.load(Ordering::Relaxed) <= 1);
    }
}

#[test]
fn flood_of_handshakes_is_bounded_and_disturbs_no_connection() {
    let settings = Settings { handshakes_max: 48, ..Settings::default() };
    let mut world = World::of(&["a", "b"].map(Identity::new), [true, false], settings);
    world.connect();
    let stranger = Identity::new("c");
    let (now, known) = (world.now, world.ends[1].identity.fingerprint());
    let (mut proofs, mut under_way) = (0, 0);
    for number in 0..1200_u32 {
        let from = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 4433));
        let mut other =
            End::new(&stranger, known, from, Some(address(1)), Settings::default(), now);
        other.work(now);
        let out = other.quic.poll_transmit(now, &mut other.local).expect("an Initial");
        let bytes = other.local.sealed.clone();
        let stride = usize::from(out.datagram_len);
        let victim = &mut world.ends[1];
        victim.receive(now, &Datagrams { from, to: address(1), tos: 0, stride, bytes });
        // A Retry has neither certificates nor keys: it is short.
        while let Some(out) = victim.quic.poll_transmit(now, &mut victim.local) {
            proofs += usize::from(out.to == from && out.count == 1 && out.datagram_len < 200);
        }
        under_way = under_way.max(victim.quic.handshakes.load(Ordering::Relaxed));
        victim.losses.append(&mut victim.local.post.losses);
    }
    assert_eq!(under_way, 32, "those that have not proved where they are");
    assert!((1500..=2048).contains(&proofs), "{proofs}");
    assert!(world.ends[1].lost(DropReason::QuicBudget) >= 100);
    world.send(0, 0..40, 1000);
    world.run(Duration::from_millis(100));
    assert_eq!(world.ends[1].arrived.len(), 40);
    world.run(Duration::from_secs(10));
    assert_eq!(world.ends[1].quic.handshakes.load(Ordering::Relaxed), 0);
    assert_eq!(world.ends[1].open(), 1, "what came to nothing is forgotten");
}

#[test]
fn peer_that_is_not_accepted_any_more_is_cut_off() {
    let mut world = World::connected([true, false]);
    let stranger = Identity::new("c").fingerprint();
    let tls = world.ends[1].identity.tls(stranger);
    let now = world.now;
    world.ends[1].quic.set_tls(tls, now);
    world.run(Duration::from_secs(1));
    assert!(!world.ends[0].is_up() && !world.ends[1].is_up());
}

#[test]
fn connection_that_was_to_end_stays_when_the_other_one_ends_first() {
    let mut world = World::connected([true, true]);
    let lower = world.ends[0].identity.fingerprint() < world.ends[1].identity.fingerprint();
    let chosen = usize::from(!lower);
    let end = &mut world.ends[chosen];
    assert_eq!(end.open(), 2, "the other one is not over yet");
    let current = end.quic.peer(PEER).unwrap().lock().current.clone().unwrap();
    let mut state = current.lock();
    state.close(world.now, Closing::Stopped);
    end.local.activate(&current, &mut state);
    drop(state);
    world.run(Duration::from_secs(4));
    for end in &world.ends {
        assert!(end.is_up());
        assert_eq!(end.open(), 1);
        let is_lost = |event: &Event| matches!(event, Event::Lost { .. });
        assert!(!end.events.iter().any(is_lost), "{:?}", end.events);
    }
}

#[test]
fn strangers_leave_some_handshakes_to_peers() {
    let mut world = World::new([true, false]);
    let max = Settings::default().handshakes_max;
    world.ends[1].quic.handshakes.store(max - max / 4, Ordering::Relaxed);
    world.run(Duration::from_secs(4));
    assert!(!world.ends[1].is_up());
    assert!(world.ends[1].lost(DropReason::QuicBudget) > 0);
    world.ends[1].quic.set_kernel_mtu(PEER, address(0).ip(), 1500, world.now);
    world.connect();
}

#[test]
fn packets_wait_for_a_connection_for_some_seconds() {
    let mut world = World::new([false, false]);
    world.send(0, 0..10, 600);
    world.run(Duration::from_secs(4));
    assert_eq!(world.ends[0].lost(DropReason::QuicNoConnection), 0);
    world.run(Duration::from_secs(2));
    assert_eq!(world.ends[0].lost(DropReason::QuicNoConnection), 10);
}

#[test]
fn what_was_queued_when_a_connection_ends_is_counted() {
    let mut world = World::connected([true, false]);
    world.run(Duration::from_secs(1));
    world.ends[0].queue(world.now, &(0..40).map(|n| packet(n, 1400)).collect::<Vec<_>>());
    let end = &mut world.ends[0];
    end.quic.stop(world.now, &mut end.local);
    // And what comes after that.
    end.queue(world.now, &[packet(40, 1400)]);
    world.flush(0);
    world.run(Duration::from_secs(1));
    assert_eq!(world.ends[0].lost(DropReason::QuicNoConnection), 41);
}
