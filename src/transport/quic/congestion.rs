//! Who says how fast a connection may send.
//!
//! A tunnel's datagrams are not sent again: what is lost is lost to the traffic inside, whose own
//! congestion control judges it. The one around it is there for the others on the path. Where it
//! takes each loss of a bad wire for a full queue, it keeps back what the traffic inside would send.

mod signs;

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{
    BbrConfig, Controller, ControllerFactory, CubicConfig, NewRenoConfig,
};

use signs::Signs;

/// Bytes that may be under way before the first answer: a full send.
const INITIAL_WINDOW: u64 = 64 * 1024;

/// Who says how fast a connection may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// CUBIC for what is congestion: losses where the queue on the path is long, many losses, and
    /// marks (ECN). A few losses where it is short are those of a bad wire.
    #[default]
    Tolerant,
    /// CUBIC (RFC 9438): each loss is congestion, as for TCP.
    Cubic,
    /// BBR.
    Bbr,
    /// NewReno (RFC 9002 section 7).
    NewReno,
    /// Always as many bytes under way, whatever is lost: only where the path is ours alone.
    Fixed {
        /// How many.
        window_bytes: u64,
    },
}

impl Congestion {
    pub(super) fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Tolerant => Arc::new(TolerantFactory),
            Self::Cubic => Arc::new(cubic()),
            Self::Bbr => {
                let mut config = BbrConfig::default();
                config.initial_window(INITIAL_WINDOW);
                Arc::new(config)
            }
            Self::NewReno => {
                let mut config = NewRenoConfig::default();
                config.initial_window(INITIAL_WINDOW);
                Arc::new(config)
            }
            Self::Fixed { window_bytes } => Arc::new(Fixed { window_bytes }),
        }
    }
}

fn cubic() -> CubicConfig {
    let mut config = CubicConfig::default();
    config.initial_window(INITIAL_WINDOW);
    config
}

struct TolerantFactory;

impl ControllerFactory for TolerantFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = Arc::new(cubic()).build(now, current_mtu);
        Box::new(Tolerant { cubic, signs: Signs::new(now, current_mtu) })
    }
}

/// CUBIC that hears of losses only where they are signs of congestion.
struct Tolerant {
    cubic: Box<dyn Controller>,
    signs: Signs,
}

impl Controller for Tolerant {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.signs.note_arrived(now, sent, bytes);
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        let is_mark = lost_bytes == 0;
        if self.signs.are_of_congestion(lost_bytes) || is_persistent_congestion || is_mark {
            self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.signs.set_mtu(new_mtu);
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.cubic.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { cubic: self.cubic.clone_box(), signs: self.signs.clone() })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// A window that stays as it is.
#[derive(Clone)]
struct Fixed {
    window_bytes: u64,
}

impl ControllerFactory for Fixed {
    fn build(self: Arc<Self>, _now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Self::clone(&self))
    }
}

impl Controller for Fixed {
    fn on_congestion_event(
        &mut self,
        _now: Instant,
        _sent: Instant,
        _is_persistent_congestion: bool,
        _lost_bytes: u64,
    ) {
    }

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        self.window_bytes
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.window_bytes
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
