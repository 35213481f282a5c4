//! The API and clients that are wrong, slow, greedy or many.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use tunctl::api::report::FdbPage;
use tunctl::api::{Answer, Limits, Query};

use crate::fake::{FakeDaemon, answer};

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn connection_takes_one_question_after_another() {
    let daemon = FakeDaemon::start();
    let mut client = Client::connect(&daemon);

    assert_eq!(client.ask(r#"{"query":"status"}"#)["ok"]["name"], "site-a");
    assert_eq!(client.ask(r#"{"query":"drops"}"#)["ok"]["total"], 7);
}

#[test]
fn what_is_not_a_question_is_answered_by_an_error_and_the_connection_goes_on() {
    let daemon = FakeDaemon::start();
    let mut client = Client::connect(&daemon);

    let wrong = [
        "",
        "garbage",
        "[]",
        "\u{0}\u{7f}",
        r#"{"query":"reboot"}"#,
        r#"{"query":"fdb"}"#,
        r#"{"query":"fdb","network":"office","cursor":-1}"#,
        r#"{"query":"fdb","network":"office","page":1}"#,
    ];
    for question in wrong {
        let answer = client.ask(question);
        let error = answer["error"].as_str().unwrap();
        assert!(error.starts_with("not a question: "), "{question}: {error}");
    }
    client.send(b"\xff\xfe\n");
    assert!(client.receive()["error"].is_string());
    assert_eq!(
        client.ask(r#"{"query":"fdb","network":"x\n"}"#),
        json!({ "error": "no network is named \"x\n\"" })
    );
    assert_eq!(client.ask(r#"{"query":"drops"}"#)["ok"]["total"], 7);
}

#[test]
fn part_of_a_table_has_no_more_entries_than_its_limit() {
    let daemon = FakeDaemon::start();
    let mut client = Client::connect(&daemon);

    let question = r#"{"query":"fdb","network":"office","max":4000000000}"#;
    let page: FdbPage = serde_json::from_value(client.ask(question)["ok"].take()).unwrap();
    assert_eq!((page.entries.len(), page.next), (512, Some(512)));

    let question = r#"{"query":"fdb","network":"office","cursor":1198,"max":1}"#;
    let page: FdbPage = serde_json::from_value(client.ask(question)["ok"].take()).unwrap();
    assert_eq!((page.entries.len(), page.next), (1, Some(1199)));
}

#[test]
fn question_that_is_too_long_ends_the_connection_with_an_error() {
    let daemon = FakeDaemon::start();
    let mut client = Client::connect(&daemon);

    client.send(&vec![b'x'; 4096]);

    assert_eq!(client.receive(), json!({ "error": "the question is longer than 4096 bytes" }));
    assert!(client.is_ended());
}

#[test]
fn client_that_does_not_finish_its_question_is_cut_off() {
    let daemon = FakeDaemon::with(quick(), Box::new(answer));
    let mut client = Client::connect(&daemon);

    client.send(br#"{"query":"#);

    assert!(client.is_ended());
}

#[test]
fn client_that_does_not_take_its_answer_is_cut_off() {
    let daemon = FakeDaemon::with(quick(), Box::new(longer_than_a_socket_buffer));
    let client = Client::connect(&daemon);

    client.send(b"{\"query\":\"peers\"}\n");

    assert!(client.is_hung_up());
}

#[test]
fn client_too_many_is_told_so_and_there_is_room_again_when_one_leaves() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let daemon = FakeDaemon::with(limits, Box::new(answer));
    let mut clients = [Client::connect(&daemon), Client::connect(&daemon)];
    for client in &mut clients {
        assert!(client.ask(r#"{"query":"drops"}"#)["ok"].is_object());
    }

    let mut third = Client::connect(&daemon);
    assert_eq!(third.receive(), json!({ "error": "2 clients are connected already" }));
    assert!(third.is_ended());

    drop(clients);
    let deadline = Instant::now() + PATIENCE;
    while Client::connect(&daemon).try_ask(r#"{"query":"drops"}"#).is_err() {
        assert!(Instant::now() < deadline, "there is no room again");
    }
}

#[test]
fn client_that_only_waits_keeps_nobody_else_waiting() {
    let daemon = FakeDaemon::start();
    let mut silent = Client::connect(&daemon);
    silent.send(br#"{"query":"#);

    let mut other = Client::connect(&daemon);
    assert!(other.ask(r#"{"query":"drops"}"#)["ok"].is_object());

    silent.send(b"\"drops\"}\n");
    assert!(silent.receive()["ok"].is_object());
}

#[test]
fn last_question_may_lack_its_newline() {
    let daemon = FakeDaemon::start();
    let mut client = Client::connect(&daemon);

    client.send(br#"{"query":"drops"}"#);
    client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();

    assert!(client.receive()["ok"].is_object());
    assert!(client.is_ended());
}

/// Limits that are met at once by whoever does not play along.
fn quick() -> Limits {
    let time = Duration::from_millis(20);
    Limits { question_time: time, answer_time: time, ..Limits::default() }
}

fn longer_than_a_socket_buffer(query: &Query) -> Answer {
    match answer(query) {
        Answer::Peers(peers) => Answer::Peers(peers.into_iter().cycle().take(20_000).collect()),
        other => other,
    }
}

/// A client that says what it is told to say.
struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    fn connect(daemon: &FakeDaemon) -> Self {
        let stream = UnixStream::connect(daemon.path()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn send(&self, bytes: &[u8]) {
        self.stream.get_ref().write_all(bytes).unwrap();
    }

    #[track_caller]
    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[track_caller]
    fn ask(&mut self, question: &str) -> Value {
        self.send(format!("{question}\n").as_bytes());
        self.receive()
    }

    /// Asks a daemon that may refuse the connection.
    fn try_ask(mut self, question: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{question}\n").as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.starts_with(r#"{"ok""#) { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    }

    /// Waits for the end of the connection; nothing more may arrive.
    fn is_ended(&mut self) -> bool {
        match self.stream.read(&mut [0; 64]) {
            Ok(len) => len == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Waits for the end of the connection without reading.
    fn is_hung_up(&self) -> bool {
        let mut ready = [PollFd::new(self.stream.get_ref().as_fd(), PollFlags::empty())];
        let timeout = PollTimeout::try_from(PATIENCE).unwrap();
        poll(&mut ready, timeout).unwrap();
        ready[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
    }
}
