//! How often an entry moved, and whether it is held. Only entries that moved have such a record.

use super::Bounds;
use super::page::Value;

/// The moves of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moves {
    /// The ticks at which the window began, or at which the hold ends.
    since: u32,
    /// In the entry's life; stays at the largest number.
    pub(super) total: u16,
    /// In the window.
    recent: u8,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Moving,
    Held,
}

/// The entry moved too often, and is held.
#[derive(Debug)]
pub(super) struct Held;

const _: () = assert!(size_of::<Moves>() == 8);

impl Value for Moves {
    const FREE: Self = Self { since: 0, total: 0, recent: 0, state: State::Free };

    #[inline]
    fn is_free(&self) -> bool {
        self.state == State::Free
    }
}

impl Moves {
    /// The record of an entry that has not moved yet.
    pub(super) const NONE: Self = Self { state: State::Moving, ..Self::FREE };

    pub(super) fn is_held(self, tick: u32) -> bool {
        self.state == State::Held && tick < self.since
    }

    /// Counts a move of an entry that is not held, or holds it.
    pub(super) fn count(&mut self, bounds: &Bounds, tick: u32) -> Result<(), Held> {
        let is_over = tick.saturating_sub(self.since) >= bounds.move_window;
        if self.state == State::Held || self.recent == 0 || is_over {
            *self = Self { since: tick, recent: 0, state: State::Moving, ..*self };
        }
        if self.recent >= bounds.move_limit {
            self.since = tick.saturating_add(bounds.hold_down);
            self.state = State::Held;
            return Err(Held);
        }
        self.recent += 1;
        self.total = self.total.saturating_add(1);
        Ok(())
    }
}
