//! The table against a naive model: random operations, equal answers.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const PEERS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Learn(u64, Who),
    Refresh(u64, Who),
    InsertStatic(u64, Who),
    RemoveStatic(u64),
    /// Forgets a peer; the next one in its slot has the next generation, or the same one.
    Forget {
        slot: usize,
        same: bool,
    },
    Wait {
        ticks: u32,
    },
    Sweep {
        budget: usize,
    },
    SweepAll,
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Local,
    Peer(usize),
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![1 => Just(Who::Local), 3 => (0..PEERS).prop_map(Who::Peer)]
}

fn op(keys: u64) -> impl Strategy<Value = Op> {
    prop_oneof![
        40 => (0..keys, who()).prop_map(|(key, who)| Op::Learn(key, who)),
        5 => (0..keys, who()).prop_map(|(key, who)| Op::Refresh(key, who)),
        2 => (0..keys, who()).prop_map(|(key, who)| Op::InsertStatic(key, who)),
        2 => (0..keys).prop_map(Op::RemoveStatic),
        1 => (0..PEERS, any::<bool>()).prop_map(|(slot, same)| Op::Forget { slot, same }),
        6 => (0..40_u32).prop_map(|ticks| Op::Wait { ticks }),
        2 => (0..1000_usize).prop_map(|budget| Op::Sweep { budget }),
        1 => Just(Op::SweepAll),
    ]
}

fn learning() -> impl Strategy<Value = Learning> {
    (1..40_u32, 1..20_u32, 1..20_u32, 0..4_u8, 0..30_u32, 0..60_u32).prop_map(
        |(network, per_peer, local, move_limit, window, hold)| Learning {
            age: TICK * 50,
            limits: Limits { network, per_peer, local },
            move_limit,
            move_window: TICK * window,
            hold_down: TICK * hold,
        },
    )
}

const TICK: Duration = Duration::from_millis(100);

/// What an entry is, in full width.
#[derive(Clone, Debug)]
struct Known {
    place: Place,
    is_static: bool,
    seen: u64,
    /// The ticks of the moves in the window that began with the first of them.
    window: Vec<u64>,
    held_until: Option<u64>,
}

/// Says what the table must say. Entries that are expired stay in `expired` until a whole sweep.
struct Model {
    learning: Learning,
    tick: u64,
    known: HashMap<u64, Known>,
    expired: HashMap<u64, Place>,
    generations: [u16; PEERS],
}

impl Model {
    fn new(learning: Learning) -> Self {
        let (known, expired) = (HashMap::new(), HashMap::new());
        Self { learning, tick: 0, known, expired, generations: [0; PEERS] }
    }

    fn place(&self, who: Who) -> Place {
        match who {
            Who::Local => Place::Local,
            Who::Peer(slot) => Place::Peer(PeerId::new(slot, self.generations[slot])),
        }
    }

    fn wait(&mut self, ticks: u32) {
        self.tick += u64::from(ticks);
        let (tick, expired) = (self.tick, &mut self.expired);
        self.known.retain(|key, known| {
            let stays = known.is_static || known.seen + 50 > tick;
            if !stays {
                expired.insert(*key, known.place);
            }
            stays
        });
    }

    fn forget(&mut self, place: Place) {
        self.known.retain(|_, known| known.place != place);
        self.expired.retain(|_, of| *of != place);
    }

    fn refresh(&mut self, key: u64, place: Place) -> bool {
        let tick = self.tick;
        let known = self.known.get_mut(&key).filter(|known| known.place == place);
        known.map(|known| known.seen = tick).is_some()
    }

    /// The answers that are right: two where it depends on what was swept.
    fn may_answer(&self, key: u64, place: Place) -> Vec<Result<Learned, DropReason>> {
        let Some(known) = self.known.get(&key) else { return self.may_admit(key, place) };
        if known.place == place {
            return vec![Ok(Learned::Known)];
        }
        if known.is_static {
            return vec![Err(DropReason::StaticSource)];
        }
        if known.held_until.is_some_and(|until| self.tick < until) {
            return vec![Err(DropReason::MoveHeldDown)];
        }
        let moved = if self.recent(known).len() >= usize::from(self.learning.move_limit) {
            Err(DropReason::MoveHeldDown)
        } else {
            Ok(Learned::Moved)
        };
        self.with_room(key, place, moved)
    }

    fn may_admit(&self, key: u64, place: Place) -> Vec<Result<Learned, DropReason>> {
        let limit = self.learning.limits.network as usize;
        let (least, most) = self.count(key, |_| true);
        let full = Err(DropReason::NetworkTableFull);
        let mut answers = Vec::new();
        if least < limit {
            answers.extend(self.with_room(key, place, Ok(Learned::New)));
        }
        if most >= limit {
            answers.extend(self.with_room(key, place, full));
        }
        answers
    }

    /// `answer`, unless the place is full; both if that depends on what was swept.
    fn with_room(
        &self,
        key: u64,
        place: Place,
        answer: Result<Learned, DropReason>,
    ) -> Vec<Result<Learned, DropReason>> {
        let (limit, reason) = match place {
            Place::Local => (self.learning.limits.local, DropReason::LocalTableFull),
            Place::Peer(_) => (self.learning.limits.per_peer, DropReason::PeerTableFull),
        };
        let (least, most) = self.count(key, |of| of == place);
        let mut answers = Vec::new();
        if least < limit as usize {
            answers.push(answer);
        }
        if most >= limit as usize {
            answers.push(Err(reason));
        }
        answers
    }

    /// Learned entries: the visible ones, and those with what may not be swept yet.
    fn count(&self, key: u64, is_counted: impl Fn(Place) -> bool) -> (usize, usize) {
        let known = self.known.values().filter(|known| !known.is_static && is_counted(known.place));
        let least = known.count();
        let expired = self.expired.iter().filter(|(of, place)| **of != key && is_counted(**place));
        (least, least + expired.count())
    }

    fn recent<'a>(&self, known: &'a Known) -> &'a [u64] {
        let window = u64::from(self.window());
        match known.window.first() {
            Some(first) if self.tick - first < window => &known.window,
            _ => &[],
        }
    }

    fn window(&self) -> u32 {
        self.learning.move_window.as_millis() as u32 / 100
    }

    /// Does what the table answered.
    fn learned(&mut self, key: u64, place: Place, answer: Result<Learned, DropReason>) {
        self.expired.remove(&key);
        let (tick, hold) = (self.tick, self.learning.hold_down.as_millis() as u64 / 100);
        match answer {
            Ok(Learned::New) => {
                let (window, held_until) = (Vec::new(), None);
                let known = Known { place, is_static: false, seen: tick, window, held_until };
                self.known.insert(key, known);
            }
            Ok(Learned::Known) => {
                self.refresh(key, place);
            }
            Ok(Learned::Moved) => {
                let mut window = self.recent(&self.known[&key]).to_vec();
                window.push(tick);
                let held_until = None;
                let known = Known { place, is_static: false, seen: tick, window, held_until };
                self.known.insert(key, known);
            }
            Err(DropReason::MoveHeldDown) => {
                let known = self.known.get_mut(&key).unwrap();
                if known.held_until.is_none_or(|until| until <= tick) {
                    known.held_until = Some(tick + hold);
                    known.window.clear();
                }
            }
            Err(_) => {}
        }
    }

    fn insert_static(&mut self, key: u64, place: Place) -> Result<(), DropReason> {
        let others = self.known.iter().filter(|(of, known)| **of != key && known.is_static);
        if others.count() >= self.learning.limits.network as usize {
            return Err(DropReason::NetworkTableFull);
        }
        self.expired.remove(&key);
        let (window, held_until) = (Vec::new(), None);
        let known = Known { place, is_static: true, seen: self.tick, window, held_until };
        self.known.insert(key, known);
        Ok(())
    }

    fn remove_static(&mut self, key: u64) -> bool {
        let is_static = self.known.get(&key).is_some_and(|known| known.is_static);
        if is_static {
            self.known.remove(&key);
        }
        is_static
    }
}

/// The table and the model side by side.
struct Pair {
    bench: Bench,
    model: Model,
}

impl Pair {
    fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let Self { bench, model } = self;
        match *op {
            Op::Learn(key, who) => {
                let place = model.place(who);
                let answer = bench.learn(key, place);
                let right = model.may_answer(key, place);
                prop_assert!(right.contains(&answer), "{:?} is none of {:?}", answer, right);
                model.learned(key, place, answer);
            }
            Op::Refresh(key, who) => {
                let place = model.place(who);
                let answer = bench.table.refresh(&key, place, bench.now);
                prop_assert_eq!(answer, model.refresh(key, place));
            }
            Op::InsertStatic(key, who) => {
                let place = model.place(who);
                let answer = bench.table.insert_static(key, place, bench.now);
                prop_assert_eq!(answer, model.insert_static(key, place));
            }
            Op::RemoveStatic(key) => {
                prop_assert_eq!(bench.table.remove_static(&key), model.remove_static(key));
            }
            Op::Forget { slot, same } => {
                let place = model.place(Who::Peer(slot));
                bench.table.forget_peer(peer_of(place));
                model.forget(place);
                model.generations[slot] += u16::from(!same);
            }
            Op::Wait { ticks } => {
                bench.now += TICK * ticks;
                model.wait(ticks);
            }
            Op::Sweep { budget } => {
                bench.table.sweep(bench.now, budget);
            }
            Op::SweepAll => {
                bench.table.sweep(bench.now, usize::MAX);
                model.expired.clear();
            }
        }
        Ok(())
    }

    fn compare(&self, keys: u64) -> Result<(), TestCaseError> {
        let Self { bench, model } = self;
        for key in 0..keys {
            let place = model.known.get(&key).map(|known| known.place);
            prop_assert_eq!(bench.lookup(key), place, "key {}", key);
        }
        let len = bench.table.len();
        let most = model.known.len() + model.expired.len();
        prop_assert!((model.known.len()..=most).contains(&len), "{} entries", len);
        Ok(())
    }

    fn compare_dump(&self) -> Result<(), TestCaseError> {
        let dump = self.bench.dump();
        prop_assert_eq!(dump.len(), self.model.known.len());
        for view in dump {
            let known = &self.model.known[&view.key];
            let tick = self.model.tick;
            prop_assert_eq!(view.place, known.place);
            prop_assert_eq!(view.is_static, known.is_static);
            prop_assert_eq!(view.is_held, known.held_until.is_some_and(|until| tick < until));
            prop_assert_eq!(view.idle, TICK * (tick - known.seen) as u32);
        }
        Ok(())
    }
}

fn run(learning: Learning, keys: u64, ops: &[Op]) -> Result<(), TestCaseError> {
    let mut pair = Pair { bench: Bench::new(learning), model: Model::new(learning) };
    for op in ops {
        pair.step(op)?;
        pair.compare(keys)?;
    }
    pair.compare_dump()
}

proptest! {
    #[test]
    fn the_table_answers_as_a_naive_one(
        learning in learning(),
        ops in prop::collection::vec(op(24), 1..200),
    ) {
        run(learning, 24, &ops)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// With many keys pages split, merge and reclaim.
    #[test]
    fn a_large_table_answers_as_a_naive_one(
        network in 100..3000_u32,
        steps in prop::collection::vec((op(4000), 0..4000_u64, 1..400_u64), 1..30),
    ) {
        let limits = Limits { network, per_peer: network, local: network };
        let learning = Learning { limits, age: TICK * 50, ..Learning::default() };
        let mut pair = Pair { bench: Bench::new(learning), model: Model::new(learning) };
        for (op, first, count) in steps {
            for key in first..first + count {
                pair.step(&Op::Learn(key % 4000, Who::Peer(key as usize % PEERS)))?;
            }
            pair.step(&op)?;
            pair.compare(4000)?;
        }
        pair.compare_dump()?;
    }
}
