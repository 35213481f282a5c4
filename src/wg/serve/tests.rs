use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::wg::uapi::{REQUEST_LEN_MAX, Set, Snapshot};

/// Remembers the port.
#[derive(Default)]
struct Fake {
    port: Mutex<u16>,
    changes: AtomicUsize,
}

impl Interface for Fake {
    fn get(&self) -> Snapshot {
        let listen_port = *self.port.lock().unwrap();
        assert_ne!(listen_port, 666, "a fault of the interface");
        Snapshot { listen_port, ..Snapshot::default() }
    }

    fn set(&self, change: Set) -> Result<(), Errno> {
        self.changes.fetch_add(1, Ordering::Relaxed);
        match change.listen_port {
            Some(1) => return Err(Errno::EADDRINUSE),
            Some(port) => *self.port.lock().unwrap() = port,
            None => {}
        }
        Ok(())
    }
}

/// Runs a test against a server.
fn with_server<F: Future<Output = ()>>(limits: Limits, test: impl FnOnce(Client) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wg0.sock");
        let fake = Arc::new(Fake::default());
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(serve(listener, Arc::clone(&fake) as Arc<_>, limits));
        let client = Client { path, fake };
        timeout(Duration::from_secs(20), test(client)).await.unwrap();
        server.abort();
    });
}

struct Client {
    path: std::path::PathBuf,
    fake: Arc<Fake>,
}

impl Client {
    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }
}

/// Sends a request and gives the answer, which ends with a blank line or the connection.
async fn ask(stream: &mut UnixStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    answer(stream).await
}

async fn answer(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\n\n") {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(text).unwrap()
}

async fn is_closed(stream: &mut UnixStream) -> bool {
    stream.read(&mut [0]).await.map_or(true, |len| len == 0)
}

#[test]
fn several_requests_are_answered_on_one_connection() {
    with_server(Limits::default(), async |client| {
        let mut stream = client.connect().await;
        assert_eq!(ask(&mut stream, "get=1\n\n").await, "errno=0\n\n");
        assert_eq!(ask(&mut stream, "set=1\nlisten_port=5\n\n").await, "errno=0\n\n");
        assert_eq!(ask(&mut stream, "get=1\n\nget=1\n\n").await, "listen_port=5\nerrno=0\n\n");
        assert_eq!(answer(&mut stream).await, "listen_port=5\nerrno=0\n\n");
    });
}

#[test]
fn refused_change_is_told_and_the_connection_stays() {
    with_server(Limits::default(), async |client| {
        let mut stream = client.connect().await;
        for (lines, errno) in [
            ("listen_port=9\nlisten_port=x\n", Errno::EINVAL),
            ("listen_port\n", Errno::EPROTO),
            ("listen_port=1\n", Errno::EADDRINUSE),
        ] {
            let expected = format!("errno=-{}\n\n", errno as i32);
            assert_eq!(ask(&mut stream, &format!("set=1\n{lines}\n")).await, expected);
        }
        assert_eq!(ask(&mut stream, "get=1\n\n").await, "errno=0\n\n");
        assert_eq!(client.fake.changes.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn change_without_its_end_never_happens() {
    with_server(Limits::default(), async |client| {
        let mut stream = client.connect().await;
        stream.write_all(b"set=1\nlisten_port=5\n").await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(is_closed(&mut stream).await);
        assert_eq!(client.fake.changes.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn what_is_no_request_ends_the_connection() {
    with_server(Limits::default(), async |client| {
        for (text, expected) in [("what\n", ""), ("get=1\nx", "errno=-22\n\n")] {
            let mut stream = client.connect().await;
            assert_eq!(ask(&mut stream, text).await, expected);
            assert!(is_closed(&mut stream).await);
        }
    });
}

#[test]
fn request_that_is_too_long_is_refused() {
    with_server(Limits::default(), async |client| {
        let mut stream = client.connect().await;
        stream.write_all(b"set=1\n").await.unwrap();
        let line = format!("{}\n", "x".repeat(1023)).repeat(64);
        // The server stops reading at some point, and says so.
        for _ in 0..=REQUEST_LEN_MAX / line.len() {
            if stream.write_all(line.as_bytes()).await.is_err() {
                break;
            }
        }
        assert_eq!(answer(&mut stream).await, "errno=-90\n\n");
    });
}

#[test]
fn slow_client_loses_its_connection_and_its_place() {
    let short = Duration::from_millis(30);
    let limits = Limits { connections: 1, request_time: short, ..Limits::default() };
    with_server(limits, async |client| {
        let mut slow = client.connect().await;
        slow.write_all(b"set=1\n").await.unwrap();
        let mut next = client.connect().await;
        assert_eq!(ask(&mut next, "get=1\n\n").await, "errno=0\n\n");
        assert!(is_closed(&mut slow).await);
    });
    let limits = Limits { connections: 1, idle_time: short, ..Limits::default() };
    with_server(limits, async |client| {
        let mut idle = client.connect().await;
        let mut next = client.connect().await;
        assert_eq!(ask(&mut next, "get=1\n\n").await, "errno=0\n\n");
        assert!(is_closed(&mut idle).await);
    });
}

#[test]
fn fault_of_the_interface_is_answered() {
    with_server(Limits::default(), async |client| {
        let mut stream = client.connect().await;
        ask(&mut stream, "set=1\nlisten_port=666\n\n").await;
        assert_eq!(ask(&mut stream, "get=1\n\n").await, "errno=-55\n\n");
    });
}
