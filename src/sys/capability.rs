//! Gives up capabilities (capabilities(7)).

use std::io;

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h: two words of 32 bits for each set.
const VERSION: u32 = 0x2008_0522;

/// A capability that a thread may keep; the numbers are those of linux/capability.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Ports below 1024.
    NetBindService = 10,
    /// Devices, routes, and sockets with a mark.
    NetAdmin = 12,
    /// Sockets that are bound to an interface again.
    NetRaw = 13,
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops every capability of this thread but `kept`, for good: nothing that it executes gets one
/// back. Threads that it starts later have the same; those that run already are not touched. A
/// capability that the thread does not have is not gained.
///
/// # Errors
///
/// What the kernel says; then the thread may have all that it had.
pub fn keep_only(kept: &[Capability]) -> io::Result<()> {
    let mask = kept.iter().fold(0_u64, |mask, &capability| mask | 1 << capability as u8);
    let mut sets = read()?;
    for (word, sets) in sets.iter_mut().enumerate() {
        let mask = (mask >> (32 * word)) as u32;
        sets.permitted &= mask;
        sets.effective &= mask;
        sets.inheritable = 0;
    }
    nix::sys::prctl::set_no_new_privs()?;
    write(&sets)
}

fn read() -> io::Result<[Sets; 2]> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: capget(2) reads and writes one header and, with version 3, writes two `Sets`; both
    // have the kernel's layout (`repr(C)`, all fields 32 bits) and live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    if result == 0 { Ok(sets) } else { Err(io::Error::last_os_error()) }
}

fn write(sets: &[Sets; 2]) -> io::Result<()> {
    let mut header = Header { version: VERSION, pid: 0 };
    // SAFETY: capset(2) reads and writes one header and, with version 3, reads two `Sets`; both
    // have the kernel's layout (`repr(C)`, all fields 32 bits) and live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    #[test]
    fn nothing_but_what_is_kept_remains() {
        // Capabilities belong to a thread: this one is thrown away.
        thread::spawn(|| {
            let before = field("CapPrm");
            let net_admin = 1 << Capability::NetAdmin as u8;

            keep_only(&[Capability::NetAdmin]).unwrap();
            assert_eq!(field("CapPrm"), before & net_admin);
            assert_eq!(field("CapEff") & !net_admin, 0);
            assert_eq!(field("CapInh"), 0);
            assert_eq!(field("NoNewPrivs"), 1);

            keep_only(&[]).unwrap();
            assert_eq!((field("CapPrm"), field("CapEff")), (0, 0));
        })
        .join()
        .unwrap();
    }

    fn field(name: &str) -> u64 {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let (_, value) = line.split_once(':').unwrap();
        u64::from_str_radix(value.trim(), 16).unwrap()
    }
}
