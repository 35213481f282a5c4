//! What can be measured of a case, by name.

use std::fmt;
use std::str::FromStr;

use super::case::Case;
use super::quantity::Quantity;

/// The streams of the measure whose number can be chosen.
pub const STREAMS: u32 = 8;

/// The most streams at once: each has a thread and a socket at both ends.
pub const STREAMS_MAX: u32 = 128;

/// A measurement that is made of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// `tcp-N`: this many TCP streams at once.
    Tcp(u32),
    /// UDP packets of one flow or of many.
    Udp(Packets, Pace),
    /// `rtt`: request and response with nothing beside them.
    Rtt,
    /// `rtt-loaded`: request and response beside one TCP stream.
    RttLoaded,
    /// `table`: one TCP stream with two peers, and with a full table.
    Table,
    /// `spread`: UDP packets to one destination, and to many.
    Spread,
}

/// Which UDP packets are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packets {
    /// `udp-64`: one flow of 64 bytes payload.
    Small,
    /// `udp-mixed`: 64 flows of 64, 200 and 1400 bytes payload.
    Mixed,
}

/// How fast UDP packets are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pace {
    /// As fast as the sender can: what arrives is counted.
    Overload,
    /// `-lossless`: the highest rate at which at most one packet in 1000 is lost.
    Lossless,
}

/// A name that is no measure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no measure \"{name}\"; there are {}", names(&Measure::ALL))]
pub struct UnknownMeasure {
    name: String,
}

impl Measure {
    /// All measures. Of `tcp-N` the two that are usual.
    pub const ALL: [Self; 10] = [
        Self::Tcp(1),
        Self::Tcp(STREAMS),
        Self::Udp(Packets::Small, Pace::Overload),
        Self::Udp(Packets::Small, Pace::Lossless),
        Self::Udp(Packets::Mixed, Pace::Overload),
        Self::Udp(Packets::Mixed, Pace::Lossless),
        Self::Rtt,
        Self::RttLoaded,
        Self::Table,
        Self::Spread,
    ];

    /// What is measured where nothing else is asked for.
    pub const DEFAULT: [Self; 4] =
        [Self::Tcp(1), Self::Tcp(STREAMS), Self::Udp(Packets::Small, Pace::Overload), Self::Rtt];

    /// Gives all measures that every case has.
    pub fn full() -> Vec<Self> {
        Self::ALL.into_iter().filter(|measure| !measure.is_of_scale()).collect()
    }

    /// Whether it tries how the daemon bears large tables; only `vxlan-tap` has these.
    pub fn is_of_scale(self) -> bool {
        matches!(self, Self::Table | Self::Spread)
    }

    /// Whether it can be made of `case`.
    pub fn applies_to(self, case: Case) -> bool {
        !self.is_of_scale() || case == Case::VxlanTap
    }

    /// Gives what is told of it, the most important first.
    pub fn quantities(self) -> &'static [Quantity] {
        match self {
            Self::Tcp(_) => &[
                Quantity::BitsPerSec,
                Quantity::Fairness,
                Quantity::Retransmits,
                Quantity::DaemonCpuSecsPerGb,
                Quantity::MachineCpuSecsPerGb,
                Quantity::SyscallsPerGb,
                Quantity::SegmentsPerDeviceRead,
                Quantity::DatagramsPerSend,
                Quantity::DatagramsPerReceive,
                Quantity::SegmentsPerDeviceWrite,
                Quantity::WirePacketBytes,
                Quantity::PacketsPerWirePacket,
            ],
            Self::Udp(_, Pace::Overload) => &[
                Quantity::ReceivedPps,
                Quantity::SentPps,
                Quantity::LostShare,
                Quantity::Overrun,
                Quantity::Refused,
                Quantity::Disordered,
                Quantity::DaemonCpuUsPerPacket,
                Quantity::MachineCpuUsPerPacket,
            ],
            Self::Udp(_, Pace::Lossless) => &[Quantity::ReceivedPps, Quantity::Steps],
            Self::Rtt => &[
                Quantity::P50Us,
                Quantity::P99Us,
                Quantity::P999Us,
                Quantity::Answered,
                Quantity::Lost,
            ],
            Self::RttLoaded => &[
                Quantity::P50Us,
                Quantity::P99Us,
                Quantity::P999Us,
                Quantity::Answered,
                Quantity::Lost,
                Quantity::BitsPerSec,
            ],
            Self::Table => {
                &[Quantity::LargeToSmall, Quantity::SmallBitsPerSec, Quantity::LargeBitsPerSec]
            }
            Self::Spread => &[Quantity::ManyToOne, Quantity::OnePps, Quantity::ManyPps],
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(streams) => write!(f, "tcp-{streams}"),
            Self::Udp(packets, pace) => {
                let packets = match packets {
                    Packets::Small => "udp-64",
                    Packets::Mixed => "udp-mixed",
                };
                let pace = match pace {
                    Pace::Overload => "",
                    Pace::Lossless => "-lossless",
                };
                write!(f, "{packets}{pace}")
            }
            Self::Rtt => f.write_str("rtt"),
            Self::RttLoaded => f.write_str("rtt-loaded"),
            Self::Table => f.write_str("table"),
            Self::Spread => f.write_str("spread"),
        }
    }
}

impl FromStr for Measure {
    type Err = UnknownMeasure;

    fn from_str(name: &str) -> Result<Self, UnknownMeasure> {
        let streams = name.strip_prefix("tcp-").and_then(|number| number.parse().ok());
        let tcp = streams.filter(|streams| (1..=STREAMS_MAX).contains(streams)).map(Self::Tcp);
        let mut known = tcp.into_iter().chain(Self::ALL);
        known
            .find(|measure| measure.to_string() == name)
            .ok_or_else(|| UnknownMeasure { name: name.to_owned() })
    }
}

/// Gives the names of measures, for a message.
fn names(measures: &[Measure]) -> String {
    let names: Vec<_> = measures.iter().map(Measure::to_string).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for measure in Measure::ALL.into_iter().chain([Measure::Tcp(3), Measure::Tcp(128)]) {
            assert_eq!(measure.to_string().parse(), Ok(measure));
        }
    }

    #[test]
    fn unknown_name_is_answered_by_the_known_ones() {
        for name in ["", "tcp", "tcp-0", "tcp-129", "tcp--1", "tcp-+1", "tcp-01", "udp-65", "RTT"] {
            let error = name.parse::<Measure>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "there is no measure \"{name}\"; there are tcp-1, tcp-8, udp-64, \
                     udp-64-lossless, udp-mixed, udp-mixed-lossless, rtt, rtt-loaded, table, spread"
                )
            );
        }
    }

    #[test]
    fn full_has_all_but_scale() {
        let full = Measure::full();
        assert_eq!(full.len(), 8);
        assert!(Measure::DEFAULT.iter().all(|measure| full.contains(measure)));
        assert!(full.iter().all(|measure| measure.applies_to(Case::Raw)));
        assert!(!Measure::Table.applies_to(Case::VxlanTun));
        assert!(Measure::Table.applies_to(Case::VxlanTap));
    }

    #[test]
    fn keys_differ_within_a_measure() {
        for measure in Measure::ALL {
            let mut keys: Vec<_> = measure.quantities().iter().map(|q| q.key()).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), measure.quantities().len(), "{measure}");
        }
    }
}
