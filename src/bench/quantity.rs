//! What is told of a measurement: each figure's key, and how people read it.

/// A figure of a measurement. Its key is stable, and ends in the unit where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// Payload bits a second at the receivers, after the warm-up.
    BitsPerSec,
    /// Jain's index of the streams' rates: 1 = all alike, 1/streams = one has everything.
    Fairness,
    /// TCP segments sent again.
    Retransmits,
    /// Processor time of the daemons for a gigabyte (10^9 bytes) of payload, seconds.
    DaemonCpuSecsPerGb,
    /// Busy time of all cores for a gigabyte of payload, seconds: the traffic's own, too.
    MachineCpuSecsPerGb,
    /// System calls of the daemons' workers for a gigabyte of payload.
    SyscallsPerGb,
    /// TCP segments in a read from the sending daemon's device, mean.
    SegmentsPerDeviceRead,
    /// Datagrams in a send call of the sending daemon, mean.
    DatagramsPerSend,
    /// Datagrams in a receive call of the receiving daemon, mean.
    DatagramsPerReceive,
    /// TCP segments in a write to the receiving daemon's device, mean.
    SegmentsPerDeviceWrite,
    /// Bytes of a packet on the wire, left to right, mean.
    WirePacketBytes,
    /// Packets of the MTU that a packet on the wire stands for, mean: its bytes by theirs.
    PacketsPerWirePacket,
    /// Packets a second that reached the receiver.
    ReceivedPps,
    /// Packets a second that the sender gave to its kernel.
    SentPps,
    /// The share of them that did not arrive, 0 to 1.
    LostShare,
    /// Packets that crossed and found the receiving socket full: many say that the receiver was
    /// measured, not the way to it.
    Overrun,
    /// Send calls that the kernel refused (ENOBUFS and the like).
    Refused,
    /// Packets that came twice or out of order.
    Disordered,
    /// Processor time of the daemons for a received packet, µs.
    DaemonCpuUsPerPacket,
    /// Busy time of all cores for a received packet, µs.
    MachineCpuUsPerPacket,
    /// Rates that were tried to find the highest without loss.
    Steps,
    /// Half the time of request and response, µs: half of them took no longer.
    P50Us,
    /// Half the time of request and response, µs: 99 % of them took no longer.
    P99Us,
    /// Half the time of request and response, µs: 99.9 % of them took no longer.
    P999Us,
    /// Requests that were answered.
    Answered,
    /// Requests that were not answered.
    Lost,
    /// TCP bits a second with two peers and an empty table.
    SmallBitsPerSec,
    /// TCP bits a second with many peers and a full table.
    LargeBitsPerSec,
    /// The second as a share of the first.
    LargeToSmall,
    /// Packets a second to one destination.
    OnePps,
    /// Packets a second to many destinations.
    ManyPps,
    /// The second as a share of the first.
    ManyToOne,
}

/// What has to be there to tell a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The traffic alone.
    Traffic,
    /// A process that carries the packets.
    AnyDaemon,
    /// A daemon of ours, with its counters.
    Ours,
    /// A daemon of ours at the sending end.
    OursLeft,
    /// A daemon of ours at the receiving end.
    OursRight,
}

impl Quantity {
    /// Gives the key in the JSON report.
    pub fn key(self) -> &'static str {
        match self {
            Self::BitsPerSec => "bits_per_sec",
            Self::Fairness => "fairness",
            Self::Retransmits => "retransmits",
            Self::DaemonCpuSecsPerGb => "daemon_cpu_secs_per_gb",
            Self::MachineCpuSecsPerGb => "machine_cpu_secs_per_gb",
            Self::SyscallsPerGb => "syscalls_per_gb",
            Self::SegmentsPerDeviceRead => "segments_per_device_read",
            Self::DatagramsPerSend => "datagrams_per_send",
            Self::DatagramsPerReceive => "datagrams_per_receive",
            Self::SegmentsPerDeviceWrite => "segments_per_device_write",
            Self::WirePacketBytes => "wire_packet_bytes",
            Self::PacketsPerWirePacket => "packets_per_wire_packet",
            Self::ReceivedPps => "received_pps",
            Self::SentPps => "sent_pps",
            Self::LostShare => "lost_share",
            Self::Overrun => "overrun",
            Self::Refused => "refused",
            Self::Disordered => "disordered",
            Self::DaemonCpuUsPerPacket => "daemon_cpu_us_per_packet",
            Self::MachineCpuUsPerPacket => "machine_cpu_us_per_packet",
            Self::Steps => "steps",
            Self::P50Us => "p50_us",
            Self::P99Us => "p99_us",
            Self::P999Us => "p999_us",
            Self::Answered => "answered",
            Self::Lost => "lost",
            Self::SmallBitsPerSec => "small_bits_per_sec",
            Self::LargeBitsPerSec => "large_bits_per_sec",
            Self::LargeToSmall => "large_to_small",
            Self::OnePps => "one_pps",
            Self::ManyPps => "many_pps",
            Self::ManyToOne => "many_to_one",
        }
    }

    /// Gives what has to be there to tell it.
    pub fn source(self) -> Source {
        match self {
            Self::DaemonCpuSecsPerGb | Self::DaemonCpuUsPerPacket => Source::AnyDaemon,
            Self::SyscallsPerGb => Source::Ours,
            Self::SegmentsPerDeviceRead | Self::DatagramsPerSend => Source::OursLeft,
            Self::DatagramsPerReceive | Self::SegmentsPerDeviceWrite => Source::OursRight,
            Self::BitsPerSec
            | Self::Fairness
            | Self::Retransmits
            | Self::MachineCpuSecsPerGb
            | Self::WirePacketBytes
            | Self::PacketsPerWirePacket
            | Self::ReceivedPps
            | Self::SentPps
            | Self::LostShare
            | Self::Overrun
            | Self::Refused
            | Self::Disordered
            | Self::MachineCpuUsPerPacket
            | Self::Steps
            | Self::P50Us
            | Self::P99Us
            | Self::P999Us
            | Self::Answered
            | Self::Lost
            | Self::SmallBitsPerSec
            | Self::LargeBitsPerSec
            | Self::LargeToSmall
            | Self::OnePps
            | Self::ManyPps
            | Self::ManyToOne => Source::Traffic,
        }
    }
}
