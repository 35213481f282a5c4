//! What a measurement cost: processor time, memory, and whether somebody else was in the way.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};

/// Steal time beyond this share of all cores' time disturbs.
const STEAL_MAX: f64 = 0.02;

/// Foreign processes' time beyond this share of all cores' time disturbs.
const FOREIGN_MAX: f64 = 0.05;

/// A kernel thread, in the flags of a process (PF_KTHREAD in `include/linux/sched.h`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Processor time from a start to an end.
#[derive(Debug)]
pub struct Meter {
    started: Instant,
    machine: Machine,
    /// Each daemon with the time that it had used.
    daemons: Vec<(u32, u64)>,
    foreign_ticks: u64,
}

/// What was used between start and end. Resolution: 10 ms for each process or core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// The time that passed.
    pub wall: Duration,
    /// Cores of the machine.
    pub cores: u32,
    /// Busy time of all cores, interrupts and the kernel's threads too; without steal time.
    pub machine_cpu: Duration,
    /// Time of the daemons, all threads, user and system.
    pub daemon_cpu: Duration,
    /// Time that the hypervisor gave to others although there was work, all cores.
    pub steal: Duration,
    /// Time of processes that are not ours: neither this one, nor its descendants, nor kernel
    /// threads. Those that nobody can see from here (other containers) are not in it.
    pub foreign_cpu: Duration,
}

impl Meter {
    /// Starts.
    ///
    /// # Errors
    ///
    /// Says which process or file cannot be read.
    pub fn start(daemons: &[u32]) -> io::Result<Self> {
        let foreign_ticks = foreign_ticks()?;
        let daemons = daemons.iter().map(|pid| Ok((*pid, daemon_ticks(*pid)?)));
        let daemons = daemons.collect::<io::Result<_>>()?;
        Ok(Self { daemons, foreign_ticks, machine: Machine::now()?, started: Instant::now() })
    }

    /// Ends.
    ///
    /// # Errors
    ///
    /// As [`Meter::start`]; a daemon that ended meanwhile is an error.
    pub fn stop(self) -> io::Result<Usage> {
        let wall = self.started.elapsed();
        let machine = Machine::now()?;
        let used = |(pid, before): &(u32, u64)| Ok(daemon_ticks(*pid)?.saturating_sub(*before));
        let daemon_ticks: u64 = self.daemons.iter().map(used).sum::<io::Result<_>>()?;
        let foreign_ticks = foreign_ticks()?.saturating_sub(self.foreign_ticks);
        let time = ticks_to_time(ticks_per_sec()?);
        Ok(Usage {
            wall,
            cores: machine.cores,
            machine_cpu: time(machine.busy.saturating_sub(self.machine.busy)),
            daemon_cpu: time(daemon_ticks),
            steal: time(machine.steal.saturating_sub(self.machine.steal)),
            foreign_cpu: time(foreign_ticks),
        })
    }
}

impl Usage {
    /// Whether somebody else had so much of the machine that the measurement is in doubt: more than
    /// 2 % of all cores' time by steal, or more than 5 % by foreign processes.
    pub fn is_disturbed(&self) -> bool {
        let all = self.wall.as_secs_f64() * f64::from(self.cores);
        self.steal.as_secs_f64() > STEAL_MAX * all
            || self.foreign_cpu.as_secs_f64() > FOREIGN_MAX * all
    }
}

/// Gives the memory of a process that is resident (VmRSS), bytes.
///
/// # Errors
///
/// Fails if there is no such process.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = read(&path)?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| unreadable(&path))
}

/// Ticks of all cores since the machine started.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Machine {
    busy: u64,
    steal: u64,
    cores: u32,
}

impl Machine {
    fn now() -> io::Result<Self> {
        let path = "/proc/stat";
        Self::parse(&read(path)?).ok_or_else(|| unreadable(path))
    }

    /// Reads `/proc/stat` (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal;
    /// guest time is in user time.
    fn parse(text: &str) -> Option<Self> {
        let all = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = all.split_whitespace().map_while(|n| n.parse().ok()).collect();
        let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks[..] else {
            return None;
        };
        let is_core = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
        let cores = text.lines().filter(is_core).count() as u32;
        Some(Self { busy: user + nice + system + irq + softirq, steal, cores })
    }
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Process {
    parent: u32,
    is_kernel_thread: bool,
    /// User and system time, all threads.
    own_ticks: u64,
    /// The same of its children that ended and were waited for, and of theirs.
    reaped_ticks: u64,
}

impl Process {
    /// Reads `/proc/PID/stat` (proc_pid_stat(5)). The name, in parentheses, may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The state, the first here, is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        // A child's time may be given as -1 on some kernels; then it is unknown.
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            is_kernel_thread: field(9)? & KERNEL_THREAD != 0,
            own_ticks: field(14)? + field(15)?,
            reaped_ticks: field(16).unwrap_or(0) + field(17).unwrap_or(0),
        })
    }
}

fn daemon_ticks(pid: u32) -> io::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    Process::parse(&read(&path)?).map(|process| process.own_ticks).ok_or_else(|| unreadable(&path))
}

/// Gives the time of all processes that are not ours. What a process used stays in the sum when it
/// ends: its parent's time of ended children grows by it.
fn foreign_ticks() -> io::Result<u64> {
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that ended meanwhile is no process.
        let text = fs::read_to_string(format!("/proc/{pid}/stat"));
        if let Some(process) = text.ok().and_then(|text| Process::parse(&text)) {
            processes.insert(pid, process);
        }
    }
    Ok(foreign(&processes, std::process::id()))
}

fn foreign(processes: &HashMap<u32, Process>, ours: u32) -> u64 {
    let is_foreign = |(pid, process): &(&u32, &Process)| {
        !process.is_kernel_thread && !descends(processes, **pid, ours)
    };
    let ticks = |(_, process): (&u32, &Process)| process.own_ticks + process.reaped_ticks;
    processes.iter().filter(is_foreign).map(ticks).sum()
}

/// Whether a process is another, or a child of it, or a child's child.
fn descends(processes: &HashMap<u32, Process>, pid: u32, ancestor: u32) -> bool {
    let parent = |pid: &u32| processes.get(pid).map(|process| process.parent);
    // The table was not read in one moment: a limit ends what may look like a circle.
    std::iter::successors(Some(pid), parent).take(processes.len()).any(|pid| pid == ancestor)
}

fn ticks_per_sec() -> io::Result<u64> {
    let ticks = sysconf(SysconfVar::CLK_TCK)?;
    ticks.and_then(|ticks| u64::try_from(ticks).ok()).ok_or_else(|| unreadable("_SC_CLK_TCK"))
}

fn ticks_to_time(per_sec: u64) -> impl Fn(u64) -> Duration {
    move |ticks| Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / per_sec.max(1)))
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not as expected"))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn usage(steal_ms: u64, foreign_ms: u64) -> Usage {
        Usage {
            wall: Duration::from_secs(1),
            cores: 2,
            machine_cpu: Duration::ZERO,
            daemon_cpu: Duration::ZERO,
            steal: Duration::from_millis(steal_ms),
            foreign_cpu: Duration::from_millis(foreign_ms),
        }
    }

    /// A process that works until it is dropped.
    struct Worker(Child);

    impl Worker {
        fn start() -> Self {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            Self(command.spawn().unwrap())
        }
    }

    impl Drop for Worker {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn disturbed_is_beyond_two_percent_steal_or_five_percent_foreign() {
        assert!(!usage(40, 100).is_disturbed());
        assert!(usage(41, 0).is_disturbed());
        assert!(usage(0, 101).is_disturbed());
    }

    #[test]
    fn busy_is_neither_idle_nor_waiting_nor_stolen() {
        let text = "cpu  1 2 4 800 1600 8 16 32 64 128\ncpu0 0 0 0 0 0 0 0 0 0 0\n\
                    cpu1 0 0 0 0 0 0 0 0 0 0\nintr 5\n";
        assert_eq!(Machine::parse(text), Some(Machine { busy: 31, steal: 32, cores: 2 }));
        assert_eq!(Machine::parse("cpu  1 2 3\n"), None);
        assert_eq!(Machine::parse(""), None);
    }

    #[test]
    fn process_name_may_hold_anything() {
        let text = "7 (a) R 9 (b) S 42 7 7 0 -1 2129984 1 2 3 4 100 20 3 -1 20 0 1 0 5";
        let process = Process::parse(text);
        let expected =
            Process { parent: 42, is_kernel_thread: true, own_ticks: 120, reaped_ticks: 3 };
        assert_eq!(process, Some(expected));
        assert_eq!(Process::parse("7 (a) R 9"), None);
    }

    #[test]
    fn foreign_is_neither_ours_nor_our_descendants_nor_the_kernels() {
        let process = |parent, is_kernel_thread, own_ticks| Process {
            parent,
            is_kernel_thread,
            own_ticks,
            reaped_ticks: 1000,
        };
        let table = [
            (1, process(0, false, 1)),
            (2, process(0, true, 2)),
            (3, process(2, true, 4)),
            (10, process(1, false, 8)),
            (11, process(10, false, 16)),
            (12, process(11, false, 32)),
            (20, process(1, false, 64)),
        ];
        assert_eq!(foreign(&HashMap::from(table), 10), 2065);
    }

    #[test]
    fn circle_of_parents_has_an_end() {
        let process =
            |parent| Process { parent, is_kernel_thread: false, own_ticks: 1, reaped_ticks: 0 };
        let table = HashMap::from([(5, process(6)), (6, process(5))]);
        assert_eq!(foreign(&table, 1), 2);
    }

    #[test]
    fn working_daemon_is_measured() {
        let worker = Worker::start();
        let pid = worker.0.id();
        // Until it has used ten ticks; how long that takes is the machine's affair.
        let before = daemon_ticks(pid).unwrap();
        let meter = Meter::start(&[pid]).unwrap();
        while daemon_ticks(pid).unwrap() < before + 10 {
            std::thread::yield_now();
        }
        let usage = meter.stop().unwrap();
        assert!(usage.daemon_cpu >= Duration::from_millis(90), "{usage:?}");
        assert!(usage.cores > 0 && usage.machine_cpu > Duration::ZERO, "{usage:?}");
        assert!(resident_bytes(pid).unwrap() > 0);
    }

    #[test]
    fn daemon_that_is_gone_is_an_error_with_its_number() {
        let worker = Worker::start();
        let pid = worker.0.id();
        let meter = Meter::start(&[pid]).unwrap();
        drop(worker);
        let error = meter.stop().unwrap_err();
        assert!(error.to_string().contains(&pid.to_string()), "{error}");
        assert!(resident_bytes(pid).is_err());
    }
}
