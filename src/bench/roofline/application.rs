//! Two programs with a TCP connection between them, and what the machine does on all its cores.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use socket2::SockRef;

use super::model::{ApplicationTerms, RUN_LEN};
use super::stopwatch::Stopwatch;
use crate::bench::scene::wire::Site;
use crate::bench::traffic::Over;

/// The most stages that a run passes: more cores have nothing to do.
const CORES_MAX: usize = 4;

/// How long the cores work.
const TIME: Duration = Duration::from_millis(600);

/// What writing and reading a run costs, on one core.
pub(super) fn measure(watch: &Stopwatch<'_>, sites: &[Site; 2]) -> io::Result<ApplicationTerms> {
    let mut stream = Stream::connect(sites)?;
    let [write, read] = watch.costs(|laps| {
        laps.time(0, || stream.write())?;
        laps.time(1, || stream.read())?;
        Ok(())
    })?;
    Ok(ApplicationTerms { write: write.times(RUN_LEN as f64), read: read.times(RUN_LEN as f64) })
}

/// How many times the work of one core all of them do at once: less than there are, where cores
/// share what they compute with.
pub(super) fn cores(watch: &Stopwatch<'_>, sites: &[Site; 2]) -> io::Result<f64> {
    let count = thread::available_parallelism()?.get().min(CORES_MAX);
    let alone = pace(watch, sites, 1)?;
    let together = pace(watch, sites, count)?;
    Ok((count as f64 * together / alone).clamp(1.0, count as f64))
}

/// Bytes that a thread moves in a second of processor time while so many do, each through a
/// connection of its own. What other programs take from the cores does not count.
fn pace(watch: &Stopwatch<'_>, sites: &[Site; 2], threads: usize) -> io::Result<f64> {
    let streams: io::Result<Vec<_>> = (0..threads).map(|_| Stream::connect(sites)).collect();
    let over = Over::default();
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for mut stream in streams? {
            let over = &over;
            let work = move || {
                let (mut bytes, begin) = (0, processor_time()?);
                while !over.is_set() {
                    stream.write()?;
                    bytes += stream.read()?;
                }
                let spent = processor_time()?.saturating_sub(begin);
                io::Result::Ok(bytes as f64 / spent.as_secs_f64())
            };
            workers.push(thread::Builder::new().name("core".into()).spawn_scoped(scope, work)?);
        }
        let waited = over.wait(TIME, watch.stop());
        over.set();
        let paces = workers.into_iter().map(|worker| {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        });
        let sum: f64 = paces.sum::<io::Result<f64>>()?;
        waited?;
        Ok(sum / threads as f64)
    })
}

/// The processor time of this thread.
fn processor_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// Both ends of a connection, in the hands of one thread.
struct Stream {
    near: TcpStream,
    far: TcpStream,
    out: Vec<u8>,
    back: Vec<u8>,
}

impl Stream {
    fn connect([left, right]: &[Site; 2]) -> io::Result<Self> {
        let listener = right.host.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
        let port = listener.local_addr()?.port();
        let near = left.host.run(|| TcpStream::connect((right.underlay, port)))?;
        let (far, _) = listener.accept()?;
        for stream in [&near, &far] {
            stream.set_nonblocking(true)?;
            // What is the default elsewhere; one that paces would be measured pacing.
            let _ = SockRef::from(stream).set_tcp_congestion(b"cubic");
        }
        Ok(Self { near, far, out: vec![0xa5; RUN_LEN], back: vec![0; 2 * RUN_LEN] })
    }

    /// Writes a run, or as much as there is room for; gives its bytes.
    fn write(&mut self) -> io::Result<usize> {
        passed(self.near.write(&self.out))
    }

    /// Reads what has arrived; gives its bytes.
    fn read(&mut self) -> io::Result<usize> {
        let mut len = 0;
        loop {
            match passed(self.far.read(&mut self.back))? {
                0 => return Ok(len),
                more => len += more,
            }
        }
    }
}

fn passed(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
