//! A test aid: makes the kernel refuse offloads that it has.
//!
//! `TUNCTL_FAULT=udp_segment:EIO,tunsetoffload:EINVAL` is read once, at the first use, and warned
//! about in the log. Without the variable nothing here has an effect.

use std::sync::OnceLock;

use nix::errno::Errno;

/// A place where a system call can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// `sendmsg` with a UDP_SEGMENT control message.
    UdpSegment,
    /// `setsockopt` with UDP_GRO.
    UdpGro,
    /// TUNSETOFFLOAD with anything but an empty mask.
    TunOffload,
    /// TUNSETOFFLOAD with UDP segmentation in the mask (kernels before 6.2).
    TunOffloadUso,
    /// A write to a device of a packet larger than IP has a length for.
    TunWriteBig,
}

impl Point {
    const ALL: [Point; 5] = [
        Point::UdpSegment,
        Point::UdpGro,
        Point::TunOffload,
        Point::TunOffloadUso,
        Point::TunWriteBig,
    ];

    /// The name in `TUNCTL_FAULT`.
    pub const fn name(self) -> &'static str {
        match self {
            Point::UdpSegment => "udp_segment",
            Point::UdpGro => "udp_gro",
            Point::TunOffload => "tunsetoffload",
            Point::TunOffloadUso => "tunsetoffload_uso",
            Point::TunWriteBig => "tun_write_big",
        }
    }
}

/// The faults that are on: an error number for each point, 0 for none.
type Faults = [i32; Point::ALL.len()];

/// Fails with the error that the test aid sets for a point.
pub(crate) fn check(point: Point) -> nix::Result<()> {
    #[cfg(test)]
    if let Some(errno) = test_override(point) {
        return Err(errno);
    }
    match active()[point as usize] {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

fn active() -> &'static Faults {
    static FAULTS: OnceLock<Faults> = OnceLock::new();
    FAULTS.get_or_init(|| {
        let Ok(text) = std::env::var("TUNCTL_FAULT") else {
            return Faults::default();
        };
        match parse(&text) {
            Ok(faults) => {
                tracing::warn!(faults = %text, "TUNCTL_FAULT is set: system calls fail on purpose");
                faults
            }
            Err(part) => {
                tracing::error!(faults = %text, %part, "TUNCTL_FAULT is not understood: ignored");
                Faults::default()
            }
        }
    })
}

/// Parses `point:ERRNO,point:ERRNO`; the error is the part that is not understood.
fn parse(text: &str) -> Result<Faults, String> {
    let mut faults = Faults::default();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, errno) = part.split_once(':').ok_or(part)?;
        let point = Point::ALL.into_iter().find(|point| point.name() == name).ok_or(part)?;
        faults[point as usize] = errno_named(errno).ok_or(part)? as i32;
    }
    Ok(faults)
}

fn errno_named(name: &str) -> Option<Errno> {
    (1..=133).map(Errno::from_raw).find(|errno| format!("{errno:?}") == name)
}

#[cfg(test)]
thread_local! {
    static OVERRIDE: std::cell::Cell<Faults> = const { std::cell::Cell::new([0; Point::ALL.len()]) };
}

#[cfg(test)]
fn test_override(point: Point) -> Option<Errno> {
    match OVERRIDE.get()[point as usize] {
        0 => None,
        errno => Some(Errno::from_raw(errno)),
    }
}

/// Sets (or with `None` clears) a fault for the calling thread only.
#[cfg(test)]
pub(crate) fn set_for_thread(point: Point, errno: Option<Errno>) {
    let mut faults = OVERRIDE.get();
    faults[point as usize] = errno.map_or(0, |errno| errno as i32);
    OVERRIDE.set(faults);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_pairs_of_point_and_error() {
        let faults = parse("udp_segment:EIO, tunsetoffload:EINVAL").unwrap();
        assert_eq!(faults[Point::UdpSegment as usize], libc::EIO);
        assert_eq!(faults[Point::TunOffload as usize], libc::EINVAL);
        assert_eq!(faults[Point::UdpGro as usize], 0);
    }

    #[test]
    fn part_that_is_not_understood_is_named() {
        assert_eq!(parse("udp_segment:EIO,nonsense:EIO").unwrap_err(), "nonsense:EIO");
        assert_eq!(parse("udp_gro:EWHAT").unwrap_err(), "udp_gro:EWHAT");
        assert_eq!(parse("udp_gro").unwrap_err(), "udp_gro");
    }

    #[test]
    fn thread_fault_fails_the_point_and_no_other() {
        set_for_thread(Point::UdpGro, Some(Errno::ENOPROTOOPT));
        assert_eq!(check(Point::UdpGro), Err(Errno::ENOPROTOOPT));
        assert_eq!(check(Point::UdpSegment), Ok(()));
        set_for_thread(Point::UdpGro, None);
        assert_eq!(check(Point::UdpGro), Ok(()));
    }
}
