//! The model: what the terms allow. Pure.
//!
//! A run of full segments passes four stages: the sender's program and its TCP, the left daemon, the
//! right daemon, the receiver's program. A daemon is one thread. What comes back is one
//! acknowledgement for each run. Nobody waits, nobody wakes anybody, no run is short: so fast it
//! could be. What the machine does for one run, it can do on all its cores at once, but no stage is
//! faster than itself.

use std::fmt;

use serde::Serialize;

use super::stopwatch::Cost;
use crate::bench::load::{MSS, SEGMENTS};
use crate::device::Kind;

/// Payload of a run, bytes: 44 segments in a tunnel over 1500 bytes.
pub const RUN_LEN: usize = SEGMENTS * MSS;

/// What a term is measured with where it is not a run: a packet with little in it.
pub const SMALL_LEN: usize = 64;

/// What a daemon's half of the way costs, for one kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct DeviceTerms {
    /// Reading a GSO packet of [`RUN_LEN`] bytes of payload.
    pub read_run: Cost,
    /// Reading a packet of [`SMALL_LEN`] bytes of payload.
    pub read_one: Cost,
    /// Writing a GSO packet, up to where TCP would take it.
    pub write_run: Cost,
    /// Writing a small packet.
    pub write_one: Cost,
    /// Our own work for a GSO packet from device to underlay: table, headers, checksums.
    pub outbound_run: Cost,
    /// Our own work for a run from underlay to device.
    pub inbound_run: Cost,
    /// Our own work for an acknowledgement, there and back.
    pub acknowledgement: Cost,
}

/// What crossing the underlay costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct UnderlayTerms {
    /// Sending a run in one call (UDP_SEGMENT), with all that the kernel does until it can be
    /// received.
    pub send_run: Cost,
    /// Receiving it (UDP_GRO).
    pub receive_run: Cost,
    /// Sending a small datagram.
    pub send_one: Cost,
    /// Receiving it.
    pub receive_one: Cost,
}

/// What an AEAD costs for one full segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AeadTerms {
    /// Encrypting.
    pub seal: Cost,
    /// Checking and decrypting.
    pub open: Cost,
}

/// What two programs and their TCP cost for a run, with its acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ApplicationTerms {
    /// Writing.
    pub write: Cost,
    /// Reading.
    pub read: Cost,
}

/// Everything that is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Terms {
    /// One system call that does nothing.
    pub system_call: Cost,
    /// Waking a thread that waits, until it runs.
    pub wake_up: Cost,
    /// The checksum of a full segment; it is part of our own work.
    pub checksum: Cost,
    /// With a TUN device.
    pub tun: DeviceTerms,
    /// With a TAP device.
    pub tap: DeviceTerms,
    /// Between the daemons.
    pub underlay: UnderlayTerms,
    /// The programs at both ends, over a wire that carries aggregates as devices do.
    pub application: ApplicationTerms,
    /// The programs at both ends, directly over the underlay.
    pub raw: ApplicationTerms,
    /// AES-128-GCM.
    pub aes_128_gcm: AeadTerms,
    /// ChaCha20-Poly1305.
    pub chacha20_poly1305: AeadTerms,
    /// How many times the work of one busy core the machine does with up to four.
    pub cores: f64,
}

/// What the datagrams are encrypted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cipher {
    /// Nothing: VXLAN.
    None,
    /// AES-128-GCM.
    #[serde(rename = "aes-128-gcm")]
    Aes128Gcm,
    /// ChaCha20-Poly1305.
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

/// What keeps a limit from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// All cores are busy.
    Cores,
    /// The sender's program is.
    Sender,
    /// The left daemon is.
    LeftDaemon,
    /// The right daemon is.
    RightDaemon,
    /// The receiver's program is.
    Receiver,
}

/// How fast one TCP stream could be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limit {
    /// The device, `tun` or `tap`; `none` for two programs without a tunnel.
    pub device: &'static str,
    /// What the datagrams are encrypted with.
    pub cipher: Cipher,
    /// If nobody ever waits: Gbit/s of payload.
    pub gbit: f64,
    /// If each stage sleeps before each run and is woken: Gbit/s of payload.
    pub woken_gbit: f64,
    /// What keeps `gbit` from being higher.
    pub bound: Bound,
}

/// What one stage does for a run, nanoseconds.
type Stages = [f64; 4];

impl Cipher {
    /// All.
    pub const ALL: [Self; 3] = [Self::None, Self::Aes128Gcm, Self::ChaCha20Poly1305];

    /// The word that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Aes128Gcm => "aes-128-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cores => "the cores",
            Self::Sender => "the sender",
            Self::LeftDaemon => "the left daemon",
            Self::RightDaemon => "the right daemon",
            Self::Receiver => "the receiver",
        })
    }
}

impl Limit {
    /// Gives what part of the limit `gbit` is.
    pub fn share(&self, gbit: f64) -> f64 {
        gbit / self.gbit
    }
}

impl Terms {
    /// Gives the limit of a tunnel.
    pub fn limit(&self, kind: Kind, cipher: Cipher) -> Limit {
        self.limit_of(kind.name(), cipher, self.stages(kind, cipher))
    }

    /// Gives the limit of two programs without a tunnel.
    pub fn raw_limit(&self) -> Limit {
        let stages = [self.raw.write.best_ns, 0.0, 0.0, self.raw.read.best_ns];
        self.limit_of("none", Cipher::None, stages)
    }

    /// Gives every cost with a name for it, in the order of a run's way.
    pub fn list(&self) -> Vec<(&'static str, Cost)> {
        vec![
            ("system call", self.system_call),
            ("wake-up of a thread", self.wake_up),
            ("checksum of a segment", self.checksum),
            ("program and TCP, write a run", self.application.write),
            ("program and TCP, read a run", self.application.read),
            ("the same over the underlay, write", self.raw.write),
            ("the same over the underlay, read", self.raw.read),
            ("tun, read a GSO packet", self.tun.read_run),
            ("tap, read a GSO packet", self.tap.read_run),
            ("tun, our work outbound, a GSO packet", self.tun.outbound_run),
            ("tap, our work outbound, a GSO packet", self.tap.outbound_run),
            ("AES-128-GCM, seal a segment", self.aes_128_gcm.seal),
            ("AES-128-GCM, open a segment", self.aes_128_gcm.open),
            ("ChaCha20-Poly1305, seal a segment", self.chacha20_poly1305.seal),
            ("ChaCha20-Poly1305, open a segment", self.chacha20_poly1305.open),
            ("underlay, send a run", self.underlay.send_run),
            ("underlay, receive a run", self.underlay.receive_run),
            ("tun, our work inbound, a run", self.tun.inbound_run),
            ("tap, our work inbound, a run", self.tap.inbound_run),
            ("tun, write a GSO packet", self.tun.write_run),
            ("tap, write a GSO packet", self.tap.write_run),
            ("tun, read a small packet", self.tun.read_one),
            ("tap, read a small packet", self.tap.read_one),
            ("tun, our work for an acknowledgement", self.tun.acknowledgement),
            ("tap, our work for an acknowledgement", self.tap.acknowledgement),
            ("underlay, send a small datagram", self.underlay.send_one),
            ("underlay, receive a small datagram", self.underlay.receive_one),
            ("tun, write a small packet", self.tun.write_one),
            ("tap, write a small packet", self.tap.write_one),
        ]
    }

    fn stages(&self, kind: Kind, cipher: Cipher) -> Stages {
        let device = match kind {
            Kind::Tun => &self.tun,
            Kind::Tap => &self.tap,
        };
        let aead = match cipher {
            Cipher::None => AeadTerms::default(),
            Cipher::Aes128Gcm => self.aes_128_gcm,
            Cipher::ChaCha20Poly1305 => self.chacha20_poly1305,
        };
        let (underlay, segments) = (&self.underlay, SEGMENTS as f64);
        let outbound = device.read_run.best_ns
            + device.outbound_run.best_ns
            + segments * aead.seal.best_ns
            + underlay.send_run.best_ns;
        let inbound = underlay.receive_run.best_ns
            + segments * aead.open.best_ns
            + device.inbound_run.best_ns
            + device.write_run.best_ns;
        // The acknowledgement comes the other way; its encryption is left out.
        let own = device.acknowledgement.best_ns / 2.0;
        let taken = underlay.receive_one.best_ns + own + device.write_one.best_ns;
        let given = device.read_one.best_ns + own + underlay.send_one.best_ns;
        [
            self.application.write.best_ns,
            outbound + taken,
            inbound + given,
            self.application.read.best_ns,
        ]
    }

    fn limit_of(&self, device: &'static str, cipher: Cipher, stages: Stages) -> Limit {
        const BOUNDS: [Bound; 4] =
            [Bound::Sender, Bound::LeftDaemon, Bound::RightDaemon, Bound::Receiver];
        let bits = (RUN_LEN * 8) as f64;
        let slowest = |stages: Stages| {
            let shared = (stages.iter().sum::<f64>() / self.cores, Bound::Cores);
            let alone = stages.into_iter().zip(BOUNDS);
            alone.fold(shared, |slowest, stage| if stage.0 > slowest.0 { stage } else { slowest })
        };
        let wake = self.wake_up.best_ns;
        let woken = stages.map(|stage| if stage > 0.0 { stage + wake } else { 0.0 });
        let (time_ns, bound) = slowest(stages);
        let (woken_ns, _) = slowest(woken);
        Limit { device, cipher, gbit: bits / time_ns, woken_gbit: bits / woken_ns, bound }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(best_ns: f64) -> Cost {
        Cost { best_ns, median_ns: best_ns }
    }

    fn terms(cores: f64) -> Terms {
        let device = DeviceTerms {
            read_run: cost(3000.0),
            read_one: cost(300.0),
            write_run: cost(4000.0),
            write_one: cost(500.0),
            outbound_run: cost(2500.0),
            inbound_run: cost(5000.0),
            acknowledgement: cost(200.0),
        };
        Terms {
            wake_up: cost(2000.0),
            tun: device,
            tap: DeviceTerms { inbound_run: cost(6000.0), ..device },
            underlay: UnderlayTerms {
                send_run: cost(5000.0),
                receive_run: cost(3000.0),
                send_one: cost(800.0),
                receive_one: cost(400.0),
            },
            application: ApplicationTerms { write: cost(5000.0), read: cost(4000.0) },
            raw: ApplicationTerms { write: cost(6000.0), read: cost(4000.0) },
            chacha20_poly1305: AeadTerms { seal: cost(700.0), open: cost(700.0) },
            cores,
            ..Terms::default()
        }
    }

    const BITS: f64 = (RUN_LEN * 8) as f64;

    #[test]
    fn all_work_is_shared_by_the_cores() {
        let limit = terms(2.0).limit(Kind::Tun, Cipher::None);
        // 5000 + 10 500 + 1000 + 12 000 + 1200 + 4000 on two cores
        assert!((limit.gbit - BITS / 16_850.0).abs() < 1e-9, "{limit:?}");
        assert!((limit.woken_gbit - BITS / 20_850.0).abs() < 1e-9, "{limit:?}");
        assert_eq!(limit.bound, Bound::Cores);
        assert!((limit.share(limit.gbit / 2.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn with_many_cores_the_slowest_stage_is_the_limit() {
        let limit = terms(4.0).limit(Kind::Tun, Cipher::None);
        assert_eq!(limit.bound, Bound::RightDaemon);
        assert!((limit.gbit - BITS / 13_200.0).abs() < 1e-9, "{limit:?}");
        assert!(terms(4.0).limit(Kind::Tap, Cipher::None).gbit < limit.gbit);
    }

    #[test]
    fn a_cipher_costs_each_daemon_every_segment() {
        let limit = terms(2.0).limit(Kind::Tun, Cipher::ChaCha20Poly1305);
        assert!((limit.gbit - BITS / (16_850.0 + 44.0 * 700.0)).abs() < 1e-9, "{limit:?}");
    }

    #[test]
    fn without_a_tunnel_there_are_two_stages() {
        let limit = terms(2.0).raw_limit();
        assert_eq!(limit.bound, Bound::Sender);
        assert!((limit.gbit - BITS / 6000.0).abs() < 1e-9, "{limit:?}");
    }
}
