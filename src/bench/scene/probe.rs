//! Finding out whether a tunnel carries packets, both ways.

use std::io;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::traffic::Route;

/// How long a tunnel may take to carry the first packets: the rivals shake hands first.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long one try waits.
const TRY: Duration = Duration::from_millis(100);

/// Sends UDP packets until one came to the right host and its answer to the left one. Before each
/// it asks `check` whether there is any sense in it.
///
/// # Errors
///
/// The outer error is that of `check`, the inner one says that nothing came.
pub(super) fn wait_until_it_carries<E>(
    route: Route<'_>,
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<io::Result<()>, E> {
    let (near, far) = match sockets(route) {
        Ok(sockets) => sockets,
        Err(error) => return Ok(Err(error)),
    };
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        check()?;
        if carries(&near, &far).unwrap_or(false) {
            return Ok(Ok(()));
        }
    }
    let text = format!("nothing came back within {} s", PATIENCE.as_secs());
    Ok(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
}

fn sockets(route: Route<'_>) -> io::Result<(UdpSocket, UdpSocket)> {
    let far = route.to.run(|| UdpSocket::bind((route.address, 0)))?;
    let near = route.from.run(|| UdpSocket::bind("0.0.0.0:0"))?;
    far.set_read_timeout(Some(TRY))?;
    near.set_read_timeout(Some(TRY))?;
    Ok((near, far))
}

/// Tries once; an error is that of a tunnel that is not yet up.
fn carries(near: &UdpSocket, far: &UdpSocket) -> io::Result<bool> {
    let target = far.local_addr()?;
    let mut buffer = [0; 64];
    if let Err(error) = near.send_to(b"there", target) {
        thread::park_timeout(TRY);
        return Err(error);
    }
    let (_, source) = far.recv_from(&mut buffer)?;
    far.send_to(b"back", source)?;
    let (len, from) = near.recv_from(&mut buffer)?;
    Ok(&buffer[..len] == b"back" && from == target)
}
