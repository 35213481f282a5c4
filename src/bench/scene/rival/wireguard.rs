//! Programs that speak WireGuard and are configured over its cross-platform control socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use super::{End, LOOK, PATIENCE};
use crate::bench::BenchError;
use crate::bench::case::Case;
use crate::lab::Process;

/// Where all these programs have their control sockets.
const SOCKETS: &str = "/var/run/wireguard";

/// The UDP port.
const PORT: u16 = 51_820;

/// A private and its public key, as the control socket takes them.
struct Keys {
    private: &'static str,
    public: &'static str,
}

/// Those of RFC 7748, section 6.1.
const LEFT: Keys = Keys {
    private: "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    public: "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
};
const RIGHT: Keys = Keys {
    private: "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    public: "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
};

/// Completes the command that starts a program in the foreground.
pub(super) fn prepare(command: &mut Command, case: Case, end: &End<'_>) {
    if case == Case::WireguardGo {
        command.arg(end.interface).env("WG_PROCESS_FOREGROUND", "1").env("LOG_LEVEL", "error");
    } else {
        command.args(["--foreground", "--disable-drop-privileges", "--verbosity", "error"]);
        command.arg(end.interface);
    }
}

/// Tells a program its key and its peer.
pub(super) fn configure(end: &End<'_>, process: &mut Process) -> Result<(), BenchError> {
    let (own, other) = if end.is_left { (LEFT, RIGHT) } else { (RIGHT, LEFT) };
    let request = format!(
        "set=1\n\
         private_key={}\n\
         listen_port={PORT}\n\
         public_key={}\n\
         endpoint={}:{PORT}\n\
         allowed_ip={}/32\n\n",
        own.private, other.public, end.far.underlay, end.far.overlay,
    );
    let path = Path::new(SOCKETS).join(format!("{}.sock", end.interface));
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask(&path, &request) {
            Ok(answer) if answer.lines().any(|line| line == "errno=0") => return Ok(()),
            Ok(answer) => return Err(process.fault(format!("answered {answer:?}")).into()),
            Err(source) if Instant::now() > deadline => {
                return Err(BenchError::step(format!("configure {}", path.display()), source));
            }
            Err(_) => {
                process.check()?;
                thread::park_timeout(LOOK);
            }
        }
    }
}

/// Sends a request and gives the answer, which an empty line ends.
fn ask(path: &Path, request: &str) -> io::Result<String> {
    let mut socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\n\n") && answer.len() < 4096 {
        match socket.read(&mut byte)? {
            0 => break,
            _ => answer.push(byte[0]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
