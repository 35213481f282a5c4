//! Paths that lose, shrink, grow and change.

use super::*;

#[test]
fn loss_and_reordering_cost_no_more_than_what_is_lost() {
    let mut world = World::connected([true, false]);
    (world.lose_each, world.delay_each) = (20, 7);
    for round in 0..200 {
        world.send(0, round * 20..(round + 1) * 20, 1400);
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_secs(1));
    let arrived = world.ends[1].arrived.len();
    let refused = world.ends[0].lost(DropReason::QuicQueueFull) as usize;
    assert!(arrived + refused >= 4000 * 94 / 100, "{arrived} arrived, {refused} refused");
    assert!(world.ends[0].is_up());
}

#[test]
fn full_queue_refuses_the_newest_and_counts_them() {
    let mut world = World::connected([true, false]);
    for round in 0..100 {
        world.send(0, round * 40..(round + 1) * 40, 1400);
    }
    let refused = world.ends[0].lost(DropReason::QuicQueueFull);
    assert!(refused > 0);
    world.run(Duration::from_secs(5));
    let arrived: Vec<_> = world.ends[1].arrived.iter().map(|packet| number(packet)).collect();
    assert_eq!(arrived.len() as u64 + refused, 4000);
    assert!(arrived.is_sorted());
    assert!(arrived.iter().copied().take(80).eq(0..80), "the oldest are not lost");
}

#[test]
fn runs_leave_in_full_sends() {
    // As large a window is not paced.
    let congestion = Congestion::Fixed { window_bytes: 1 << 33 };
    let settings = Settings { congestion, ..Settings::default() };
    let mut world = World::of(&["a", "b"].map(Identity::new), [true, false], settings);
    world.connect();
    world.run(Duration::from_secs(1));
    world.sends.clear();
    world.send(0, 0..44, 1426 + 8);
    assert_eq!(world.sends, [44]);
}

#[test]
fn path_is_found_out_and_followed_when_it_shrinks_and_grows() {
    let mut world = World::connected([true, false]);
    assert_eq!(world.ends[0].path_mtu(), Some(1500));
    world.payload_max = 1280 - 28;
    let send = |world: &mut World| {
        world.send(0, 0..10, 1426 + 8);
        world.send(0, 0..10, 600);
        world.run(Duration::from_millis(100));
    };
    let start = world.now;
    while world.ends[0].path_mtu().is_none_or(|mtu| mtu > 1280) {
        send(&mut world);
        assert!(world.now - start < Duration::from_secs(5), "a black hole is noticed");
    }
    world.payload_max = 1472;
    let start = world.now;
    while world.ends[0].path_mtu() != Some(1500) {
        send(&mut world);
        assert!(world.now - start < Duration::from_secs(90), "{:?}", world.ends[0].path_mtu());
    }
}

#[test]
fn nobody_is_told_of_a_path_that_is_not_known_yet() {
    let mut world = World::new([true, false]);
    world.run_until(Duration::from_secs(5), |world| world.ends[0].is_up());
    world.send(0, 0..20, 1426 + 8);
    assert_eq!(world.ends[0].lost(DropReason::QuicTooBig), 0, "they wait");
    world.run(Duration::from_secs(2));
    assert_eq!(world.ends[1].arrived.len(), 20);
    let told: Vec<_> =
        world.ends[0].events.iter().filter(|it| matches!(it, Event::PathMtu { .. })).collect();
    assert_eq!(told, [&Event::PathMtu { peer: PEER, mtu: 1500 }]);
}

#[test]
fn dialling_end_that_moves_keeps_its_connection() {
    let mut world = World::connected([true, false]);
    let before = world.ends[1].quic.status(PEER).unwrap().connection.unwrap().established;
    world.ends[0].address = address(9);
    world.send(0, 0..5, 800);
    world.run(Duration::from_secs(1));
    world.send(1, 0..5, 800);
    world.run(Duration::from_secs(1));
    assert_eq!((world.ends[0].arrived.len(), world.ends[1].arrived.len()), (5, 5));
    let status = world.ends[1].quic.status(PEER).unwrap();
    assert_eq!(status.connection.unwrap().established, before);
    assert_eq!(status.endpoint, Some(address(9)));
    let moved = |it: &Event| matches!(it, Event::Moved { to, .. } if *to == address(9));
    assert!(world.ends[1].events.iter().any(moved));
}

#[test]
fn accepting_end_that_moves_is_dialled_where_its_name_leads() {
    let mut world = World::connected([true, false]);
    world.ends[1].address = address(9);
    world.send(0, 0..5, 800);
    world.run(Duration::from_secs(2));
    let now = world.now;
    assert!(world.ends[0].quic.set_endpoint(PEER, address(9), now));
    let is_there =
        |world: &World| world.ends[0].quic.status(PEER).unwrap().endpoint == Some(address(9));
    let took = world.run_until(Duration::from_secs(3), is_there);
    assert!(took < Duration::from_secs(2), "{took:?}");
    world.send(0, 5..10, 800);
    world.run(Duration::from_secs(1));
    assert!(world.ends[1].arrived.len() >= 5);
}

#[test]
fn idle_connection_stays_up_by_few_datagrams() {
    let mut world = World::connected([true, false]);
    world.run(Duration::from_secs(30));
    world.sends.clear();
    world.run(Duration::from_secs(600));
    assert!(world.ends.iter().all(End::is_up));
    assert!(world.sends.len() < 400, "{}", world.sends.len());
    assert!(world.elapsed() > Duration::from_secs(600));
}

#[test]
fn what_never_fits_is_counted_when_the_path_is_known() {
    let mut world = World::new([true, false]);
    world.payload_max = 1252;
    world.send(0, 0..10, 1400);
    world.run(Duration::from_secs(4));
    assert_eq!(world.ends[0].lost(DropReason::QuicTooBig), 10);
    assert_eq!(world.ends[1].arrived.len(), 0);
}

#[test]
fn what_a_path_does_not_take_any_more_is_counted() {
    let mut world = World::connected([true, false]);
    world.run(Duration::from_secs(1));
    let packets: Vec<_> = (0..40).map(|n| packet(n, 1400)).collect();
    world.ends[0].queue(world.now, &packets);
    // The kernel knows before anything is sent.
    world.ends[0].quic.shrink(PEER, address(1).ip(), Some(1280), world.now);
    world.flush(0);
    world.run(Duration::from_secs(1));
    assert_eq!(world.ends[0].lost(DropReason::QuicTooBig), 40);
    assert_eq!(world.ends[1].arrived.len(), 0);
}
