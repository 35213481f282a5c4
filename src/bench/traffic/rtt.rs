//! Requests and responses by UDP, one at a time.

use std::io;
use std::net::UdpSocket;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::stamp::Stamp;
use super::udp::connected;
use super::{GLANCE, Over, PATIENCE, Route, Stop, check, context, is_timeout, join};

/// Payload of a request and of its response, bytes.
const PAYLOAD_LEN: usize = 64;

/// A response that takes longer is lost.
const LOST: Duration = Duration::from_millis(200);

/// Half the time from request to response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RttFigure {
    /// Responses that came.
    pub count: u64,
    /// The median, µs; 0 if no response came.
    pub p50_us: f64,
    /// What 99 % stay within, µs.
    pub p99_us: f64,
    /// What 99.9 % stay within, µs.
    pub p999_us: f64,
    /// Requests without a response within 200 ms.
    pub lost: u64,
}

/// Sends requests of 64 bytes for a time, each after the response to the one before.
///
/// Both ends wait in the receive call, as most programs do: the time that it takes to wake them is
/// part of the figure.
///
/// # Errors
///
/// Says if no response comes for 5 s before the measurement.
pub fn rtt(route: Route<'_>, time: Duration, stop: Stop<'_>) -> io::Result<RttFigure> {
    let Route { from, to, address } = route;
    let path = format!("UDP from {} to {address} in {} and back", from.name(), to.name());
    let far = to.run(|| UdpSocket::bind((address, 0))).map_err(context(path.clone()))?;
    far.set_read_timeout(Some(GLANCE))?;
    far.set_write_timeout(Some(GLANCE))?;
    let target = far.local_addr()?;
    let near = from.run(|| connected(target)).map_err(context(path.clone()))?;
    let over = Over::default();
    thread::scope(|scope| {
        let respond = || over.ended(respond(&far, &over));
        let responder = Builder::new().name("udp respond".into()).spawn_scoped(scope, respond)?;
        // A thread of its own: the calling one asks `stop`, which is work.
        let ask = || {
            let mut asker = Asker { socket: &near, number: 0, over: &over };
            let asked = asker.open_way(&path).and_then(|()| asker.measure(time));
            over.ended(asked.map(Some))
        };
        let asker = Builder::new().name("udp ask".into()).spawn_scoped(scope, ask);
        let asked = asker.and_then(|asker| {
            let watched = watch(|| asker.is_finished(), stop);
            if watched.is_err() {
                over.set();
            }
            let asked = join(asker);
            watched.and(asked)
        });
        over.set();
        let responded = join(responder);
        let figure = asked?;
        responded?;
        figure.ok_or_else(|| io::ErrorKind::Interrupted.into())
    })
}

/// Asks `stop` until the work is finished.
fn watch(is_finished: impl Fn() -> bool, stop: Stop<'_>) -> io::Result<()> {
    while !is_finished() {
        check(stop)?;
        thread::sleep(GLANCE);
    }
    Ok(())
}

fn respond(socket: &UdpSocket, over: &Over) -> io::Result<()> {
    let mut buffer = [0; 2 * PAYLOAD_LEN];
    while !over.is_set() {
        let answered = socket
            .recv_from(&mut buffer)
            .and_then(|(len, from)| socket.send_to(&buffer[..len], from));
        match answered {
            Ok(_) => {}
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The end that sends requests.
struct Asker<'a> {
    socket: &'a UdpSocket,
    number: u64,
    over: &'a Over,
}

impl Asker<'_> {
    /// Asks without counting until a response comes: neighbours are asked for by then.
    fn open_way(&mut self, path: &str) -> io::Result<()> {
        let start = Instant::now();
        while !self.over.is_set() && start.elapsed() < PATIENCE {
            if self.ask(GLANCE)?.is_some() {
                return Ok(());
            }
        }
        let silent = format!("{path}: no response within {} s", PATIENCE.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, silent))
    }

    fn measure(&mut self, time: Duration) -> io::Result<RttFigure> {
        // 1 ns to 10 s, three digits: every response that is not lost fits.
        let mut halves =
            Histogram::<u64>::new_with_bounds(1, 10_000_000_000, 3).map_err(io::Error::other)?;
        let mut lost = 0;
        let start = Instant::now();
        while !self.over.is_set() && start.elapsed() < time {
            match self.ask(LOST)? {
                Some(trip) => halves.saturating_record((trip.as_nanos() / 2) as u64),
                None => lost += 1,
            }
        }
        let micros = |quantile| halves.value_at_quantile(quantile) as f64 / 1000.0;
        Ok(RttFigure {
            count: halves.len(),
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            p999_us: micros(0.999),
            lost,
        })
    }

    /// Sends a request and gives the time until its response; `None` if that takes too long.
    fn ask(&mut self, patience: Duration) -> io::Result<Option<Duration>> {
        let stamp = Stamp { flow: 0, number: self.number };
        self.number += 1;
        let mut buffer = [0; PAYLOAD_LEN];
        stamp.emit(&mut buffer);
        let start = Instant::now();
        if let Err(error) = self.socket.send(&buffer)
            && !is_soft(&error)
        {
            return Err(error);
        }
        while !self.over.is_set() && start.elapsed() < patience {
            match self.socket.recv(&mut buffer) {
                Ok(_) if Stamp::parse(&buffer) == Some(stamp) => return Ok(Some(start.elapsed())),
                // A response that had been given up.
                Ok(_) => {}
                Err(error) if is_soft(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Whether the request is lost, or not answered yet, and the next may be answered.
fn is_soft(error: &io::Error) -> bool {
    is_timeout(error) || super::volley::is_refusal(error)
}
