//! The table's rules, one by one; `model` compares it with a naive one.

use super::*;

mod model;

const LOCAL: Place = Place::Local;
const A: Place = Place::Peer(PeerId::new(1, 0));
const B: Place = Place::Peer(PeerId::new(2, 0));

/// A table and its clock.
struct Bench {
    table: Table<u64>,
    now: Instant,
}

impl Bench {
    fn new(learning: Learning) -> Self {
        let now = Instant::now();
        Self { table: Table::new(learning, now, 7), now }
    }

    fn wait(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
    }

    fn learn(&mut self, key: u64, place: Place) -> Result<Learned, DropReason> {
        self.table.learn(key, place, self.now)
    }

    fn lookup(&self, key: u64) -> Option<Place> {
        self.table.lookup(&key, self.now)
    }

    /// All entries, by pages of a few.
    fn dump(&self) -> Vec<EntryView<u64>> {
        let mut entries = Vec::new();
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let page = self.table.entries(from, 7, self.now);
            assert!(page.entries.len() <= 7);
            entries.extend(page.entries);
            cursor = page.next;
        }
        entries.sort_by_key(|entry| entry.key);
        entries
    }
}

fn limits(network: u32, per_peer: u32, local: u32) -> Learning {
    Learning { limits: Limits { network, per_peer, local }, ..Learning::default() }
}

fn peer_of(place: Place) -> PeerId {
    match place {
        Place::Peer(peer) => peer,
        Place::Local => panic!("no peer"),
    }
}

#[test]
fn what_is_learned_is_found_until_it_is_of_age() {
    let mut bench = Bench::new(Learning::default());
    assert_eq!(bench.lookup(1), None);
    assert_eq!(bench.learn(1, A), Ok(Learned::New));
    bench.now += Duration::from_millis(299_900);
    assert_eq!(bench.lookup(1), Some(A));
    bench.now += Duration::from_millis(100);
    assert_eq!(bench.lookup(1), None);
    assert_eq!(bench.dump(), []);
}

#[test]
fn hearing_a_host_again_keeps_it() {
    let mut bench = Bench::new(Learning::default());
    bench.learn(1, A).unwrap();
    bench.wait(299);
    assert_eq!(bench.learn(1, A), Ok(Learned::Known));
    bench.wait(299);
    assert!(bench.table.refresh(&1, A, bench.now));
    bench.wait(299);
    assert_eq!(bench.lookup(1), Some(A));
}

#[test]
fn refresh_neither_learns_nor_moves_nor_revives() {
    let mut bench = Bench::new(Learning::default());
    assert!(!bench.table.refresh(&1, A, bench.now));
    bench.learn(1, A).unwrap();
    assert!(!bench.table.refresh(&1, B, bench.now));
    assert_eq!(bench.lookup(1), Some(A));
    bench.wait(300);
    assert!(!bench.table.refresh(&1, A, bench.now));
    assert_eq!(bench.lookup(1), None);
}

#[test]
fn a_full_table_refuses_the_newcomer_and_evicts_nobody() {
    let mut bench = Bench::new(limits(3, 2, 2));
    for (key, place) in [(1, A), (2, A), (3, LOCAL)] {
        assert_eq!(bench.learn(key, place), Ok(Learned::New));
    }
    assert_eq!(bench.learn(4, A), Err(DropReason::PeerTableFull));
    assert_eq!(bench.learn(4, B), Err(DropReason::NetworkTableFull));
    assert_eq!(bench.learn(4, LOCAL), Err(DropReason::NetworkTableFull));
    assert_eq!(bench.table.refusals(), 3);
    assert_eq!([1, 2, 3, 4].map(|key| bench.lookup(key)), [Some(A), Some(A), Some(LOCAL), None]);
    assert_eq!(bench.learn(1, A), Ok(Learned::Known));
}

#[test]
fn our_own_device_has_a_limit_of_its_own() {
    let mut bench = Bench::new(limits(10, 2, 1));
    bench.learn(1, LOCAL).unwrap();
    assert_eq!(bench.learn(2, LOCAL), Err(DropReason::LocalTableFull));
    assert_eq!(bench.learn(2, A), Ok(Learned::New));
}

#[test]
fn an_entry_does_not_move_to_a_full_place() {
    let mut bench = Bench::new(limits(10, 1, 10));
    bench.learn(1, A).unwrap();
    bench.learn(2, B).unwrap();
    assert_eq!(bench.learn(1, B), Err(DropReason::PeerTableFull));
    assert_eq!(bench.lookup(1), Some(A));
    assert_eq!(bench.learn(1, LOCAL), Ok(Learned::Moved));
    assert_eq!(bench.learn(3, A), Ok(Learned::New));
}

#[test]
fn a_move_is_counted_and_takes_the_entry_along() {
    let mut bench = Bench::new(Learning::default());
    bench.learn(1, A).unwrap();
    assert_eq!(bench.learn(1, B), Ok(Learned::Moved));
    assert_eq!(bench.lookup(1), Some(B));
    assert_eq!(bench.table.moves(), 1);
    assert_eq!((bench.table.len_of(A), bench.table.len_of(B)), (0, 1));
    assert_eq!(bench.dump()[0].moves, 1);
}

#[test]
fn an_entry_that_moves_too_often_is_held_where_it_is() {
    let mut bench = Bench::new(Learning::default());
    bench.learn(1, A).unwrap();
    for place in [B, A, B, A, B] {
        assert_eq!(bench.learn(1, place), Ok(Learned::Moved));
    }
    assert_eq!(bench.learn(1, A), Err(DropReason::MoveHeldDown));
    bench.wait(29);
    assert_eq!(bench.learn(1, A), Err(DropReason::MoveHeldDown));
    assert_eq!(bench.learn(1, LOCAL), Err(DropReason::MoveHeldDown));
    assert_eq!(bench.learn(1, B), Ok(Learned::Known));
    assert_eq!(bench.lookup(1), Some(B));
    assert!(bench.dump()[0].is_held);
}

#[test]
fn after_the_hold_an_entry_moves_again() {
    let mut bench = Bench::new(Learning { move_limit: 1, ..Learning::default() });
    bench.learn(1, A).unwrap();
    bench.learn(1, B).unwrap();
    assert_eq!(bench.learn(1, A), Err(DropReason::MoveHeldDown));
    bench.wait(30);
    assert!(!bench.dump()[0].is_held);
    assert_eq!(bench.learn(1, A), Ok(Learned::Moved));
    assert_eq!(bench.learn(1, B), Err(DropReason::MoveHeldDown));
}

#[test]
fn moves_in_another_window_do_not_add_up() {
    let mut bench = Bench::new(Learning { move_limit: 2, ..Learning::default() });
    bench.learn(1, A).unwrap();
    for _ in 0..20 {
        assert_eq!(bench.learn(1, B), Ok(Learned::Moved));
        assert_eq!(bench.learn(1, A), Ok(Learned::Moved));
        bench.wait(10);
    }
}

#[test]
fn move_limit_zero_lets_nothing_move() {
    let mut bench = Bench::new(Learning { move_limit: 0, ..Learning::default() });
    bench.learn(1, A).unwrap();
    for _ in 0..10 {
        assert_eq!(bench.learn(1, B), Err(DropReason::MoveHeldDown));
        bench.wait(29);
    }
    assert_eq!(bench.lookup(1), Some(A));
}

#[test]
fn a_held_entry_whose_host_is_gone_ages_out() {
    let mut bench =
        Bench::new(Learning { move_limit: 0, age: Duration::from_secs(5), ..Learning::default() });
    bench.learn(1, A).unwrap();
    assert_eq!(bench.learn(1, B), Err(DropReason::MoveHeldDown));
    bench.wait(5);
    assert_eq!(bench.learn(1, B), Ok(Learned::New));
}

#[test]
fn a_static_entry_neither_ages_nor_moves() {
    let mut bench = Bench::new(Learning::default());
    bench.table.insert_static(1, A, bench.now).unwrap();
    bench.wait(100_000);
    bench.table.sweep(bench.now, usize::MAX);
    assert_eq!(bench.lookup(1), Some(A));
    assert_eq!(bench.learn(1, B), Err(DropReason::StaticSource));
    assert_eq!(bench.learn(1, A), Ok(Learned::Known));
    assert!(bench.dump()[0].is_static);
}

#[test]
fn a_static_entry_replaces_what_was_learned_and_is_not_counted_against_its_limits() {
    let mut bench = Bench::new(limits(2, 1, 1));
    bench.learn(1, A).unwrap();
    bench.table.insert_static(1, B, bench.now).unwrap();
    bench.table.insert_static(2, B, bench.now).unwrap();
    assert_eq!(bench.table.insert_static(3, B, bench.now), Err(DropReason::NetworkTableFull));
    bench.table.insert_static(2, A, bench.now).unwrap();
    assert_eq!([1, 2].map(|key| bench.lookup(key)), [Some(B), Some(A)]);
    assert_eq!(bench.learn(3, A), Ok(Learned::New));
    assert_eq!(bench.learn(4, B), Ok(Learned::New));
    assert_eq!(bench.table.len(), 4);
}

#[test]
fn only_static_entries_are_removed_by_hand() {
    let mut bench = Bench::new(Learning::default());
    bench.learn(1, A).unwrap();
    bench.table.insert_static(2, A, bench.now).unwrap();
    assert!(!bench.table.remove_static(&1));
    assert!(bench.table.remove_static(&2));
    assert!(!bench.table.remove_static(&2));
    assert_eq!([1, 2].map(|key| bench.lookup(key)), [Some(A), None]);
}

#[test]
fn a_forgotten_peer_takes_all_its_entries_along_at_once() {
    let mut bench = Bench::new(limits(4, 4, 4));
    for key in 0..3 {
        bench.learn(key, A).unwrap();
    }
    bench.learn(3, B).unwrap();
    bench.table.insert_static(9, A, bench.now).unwrap();
    bench.table.forget_peer(peer_of(A));
    assert_eq!([0, 1, 2, 9].map(|key| bench.lookup(key)), [None; 4]);
    assert_eq!((bench.table.len(), bench.table.len_of(A)), (1, 0));
    assert_eq!(bench.dump().len(), 1);
    assert_eq!(bench.learn(0, B), Ok(Learned::New));
    assert_eq!(bench.table.sweep(bench.now, usize::MAX), 3);
}

#[test]
fn a_peer_that_comes_back_finds_nothing_of_what_it_had() {
    let mut bench = Bench::new(limits(4, 2, 2));
    for back in [A, Place::Peer(PeerId::new(1, 1))] {
        bench.learn(1, A).unwrap();
        bench.learn(2, A).unwrap();
        bench.table.forget_peer(peer_of(A));
        assert_eq!(bench.learn(3, back), Ok(Learned::New));
        assert_eq!([1, 2, 3].map(|key| bench.lookup(key)), [None, None, Some(back)]);
        bench.table.forget_peer(peer_of(back));
    }
}

#[test]
fn a_new_generation_of_a_slot_replaces_the_former_one() {
    let mut bench = Bench::new(Learning::default());
    let next = Place::Peer(PeerId::new(1, 1));
    bench.learn(1, A).unwrap();
    bench.learn(2, next).unwrap();
    assert_eq!((bench.lookup(1), bench.lookup(2)), (None, Some(next)));
    bench.table.forget_peer(peer_of(A));
    assert_eq!(bench.lookup(2), Some(next));
}

#[test]
fn sweeps_reclaim_what_is_expired_within_their_budget() {
    let mut bench = Bench::new(limits(100_000, 100_000, 10));
    for key in 0..10_000 {
        bench.learn(key, A).unwrap();
    }
    bench.wait(300);
    assert!(bench.table.sweep(bench.now, 1) <= 128);
    let mut calls = 1;
    while !bench.table.is_empty() {
        bench.table.sweep(bench.now, 1024);
        calls += 1;
    }
    assert!(calls <= 10_000 * 3 / 1024, "{calls} calls");
    assert!(bench.table.entries.slots() < 10_000, "memory was not given back");
}

#[test]
fn what_is_expired_makes_room_once_it_is_swept() {
    let mut bench = Bench::new(limits(2, 2, 2));
    bench.learn(1, A).unwrap();
    bench.learn(2, A).unwrap();
    bench.wait(300);
    bench.table.sweep(bench.now, 128);
    assert_eq!(bench.learn(3, A), Ok(Learned::New));
    assert_eq!(bench.learn(1, A), Ok(Learned::New));
    assert_eq!(bench.learn(2, A), Err(DropReason::PeerTableFull));
}

#[test]
fn many_entries_are_all_found_and_dumped_once() {
    let mut bench = Bench::new(limits(50_000, 50_000, 50_000));
    for key in 0..50_000 {
        bench.learn(key * 0x1_0001, [LOCAL, A, B][key as usize % 3]).unwrap();
    }
    assert!((0..50_000).all(|key| bench.lookup(key * 0x1_0001).is_some()));
    assert_eq!(bench.lookup(1), None);
    let keys: Vec<u64> = bench.dump().iter().map(|entry| entry.key).collect();
    assert_eq!(keys, (0..50_000).map(|key| key * 0x1_0001).collect::<Vec<_>>());
}

#[test]
fn a_dump_gives_each_entry_once_while_the_table_grows_and_shrinks() {
    let mut bench = Bench::new(limits(100_000, 100_000, 100_000));
    for key in 0..2_000 {
        bench.table.insert_static(key, A, bench.now).unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor = Some(0);
    let mut other = 1_000_000;
    while let Some(from) = cursor {
        let page = bench.table.entries(from, 50, bench.now);
        seen.extend(page.entries.iter().map(|entry| entry.key).filter(|key| *key < 1_000_000));
        cursor = page.next;
        for _ in 0..500 {
            other += 1;
            bench.learn(other, B).unwrap();
        }
        if from % 3 == 0 {
            bench.table.forget_peer(peer_of(B));
            bench.table.sweep(bench.now, usize::MAX);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..2_000).collect::<Vec<_>>());
}

/// A key whose hash an attacker chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Colliding(u64);

impl Hash for Colliding {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        0_u64.hash(hasher);
    }
}

#[test]
fn colliding_addresses_are_refused_and_take_no_more_than_their_page() {
    let now = Instant::now();
    let mut table = Table::new(limits(10_000, 10_000, 10_000), now, 7);
    let refused = (0..10_000)
        .filter(|key| table.learn(Colliding(*key), A, now) == Err(DropReason::NetworkTableFull))
        .count();
    assert_eq!(refused, 10_000 - page::FULL);
    assert!(table.entries.slots() <= 16 * SLOTS);
    assert_eq!(table.lookup(&Colliding(0), now), Some(A));
    table.forget_peer(peer_of(A));
    assert_eq!(table.learn(Colliding(9_999), B, now), Ok(Learned::New));
}

#[test]
fn time_before_the_epoch_is_its_beginning() {
    let epoch = Instant::now() + Duration::from_secs(1000);
    let mut table = Table::new(Learning::default(), epoch, 7);
    let now = epoch - Duration::from_secs(900);
    table.learn(1_u64, A, now).unwrap();
    assert_eq!(table.lookup(&1, epoch), Some(A));
    assert_eq!(table.lookup(&1, epoch + Duration::from_secs(300)), None);
}

#[test]
fn an_age_below_a_tick_is_one_tick() {
    let mut bench = Bench::new(Learning { age: Duration::ZERO, ..Learning::default() });
    bench.learn(1, A).unwrap();
    assert_eq!(bench.lookup(1), Some(A));
    bench.now += Duration::from_millis(100);
    assert_eq!(bench.lookup(1), None);
}
