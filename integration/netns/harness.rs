//! Runs the cases: names, filters, what each needs, at most two at a time, a limit on the time.
//!
//! A case whose name begins with `measure_` runs only where a filter asks for measurements, and one
//! that begins with `long_` only where a filter asks for what takes long.
//!
//! A harness of our own, because hosts without root need a user namespace, which only a process
//! with one thread can enter, and because a skipped case must say so.

use std::any::Any;
use std::collections::BTreeMap;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::process::{ExitCode, exit};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::need::Need;
use crate::place::Family;

/// No case may take longer, unless it says so: the whole run ends.
const CASE_LIMIT: Duration = Duration::from_secs(180);

/// Begin the names of cases that are not for every run, and the filters that ask for them.
const ON_DEMAND: [&str; 2] = ["measure_", "long_"];

/// Cases that are mostly waiting run beside one another, as many as this.
const TOGETHER: usize = 2;

/// A test: its name states the rule.
pub struct Case {
    name: String,
    needs: Vec<Need>,
    alone: bool,
    limit: Duration,
    run: Box<dyn Fn() + Send + Sync>,
}

impl Case {
    pub fn new(name: &str, run: impl Fn() + Send + Sync + 'static) -> Self {
        let run = Box::new(run);
        Self { name: name.into(), needs: vec![], alone: false, limit: CASE_LIMIT, run }
    }

    /// Makes a case for each address family of the underlay.
    pub fn over_both(name: &str, run: impl Fn(Family) + Send + Sync + Copy + 'static) -> Vec<Self> {
        [Family::V4, Family::V6]
            .map(|family| Self::new(&format!("{name}::over_{family}"), move || run(family)))
            .into()
    }

    /// Names what the case needs beyond hosts and a TUN device.
    pub fn needs(mut self, needs: &[Need]) -> Self {
        self.needs.extend(needs);
        self
    }

    /// Runs the case with no other beside it: it measures, or it loads both processors.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Gives the case more time, or less.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

/// Applies a change to each case of several groups.
pub fn each(
    groups: impl IntoIterator<Item = Vec<Case>>,
    change: impl Fn(Case) -> Case,
) -> Vec<Case> {
    groups.into_iter().flatten().map(change).collect()
}

/// The part of libtest's command line that is of use here; other flags are ignored.
struct Arguments {
    filters: Vec<String>,
    skips: Vec<String>,
    is_exact: bool,
    lists: bool,
    together: usize,
}

impl Arguments {
    fn parse() -> Self {
        let mut parsed = Self {
            filters: vec![],
            skips: vec![],
            is_exact: false,
            lists: false,
            together: TOGETHER,
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--list" => parsed.lists = true,
                "--exact" => parsed.is_exact = true,
                "--skip" => parsed.skips.extend(words.next()),
                "--test-threads" => {
                    parsed.together = words.next().and_then(|n| n.parse().ok()).unwrap_or(TOGETHER);
                }
                "--format" | "--color" | "--logfile" | "-Z" => drop(words.next()),
                flag if flag.starts_with('-') => {}
                _ => parsed.filters.push(word),
            }
        }
        parsed
    }

    fn selects(&self, name: &str) -> bool {
        let matches = |pattern: &String| match self.is_exact {
            true => name == pattern,
            false => name.contains(pattern.as_str()),
        };
        let demand = ON_DEMAND.iter().find(|prefix| name.starts_with(**prefix));
        let asks = |filter: &&String| demand.is_none_or(|prefix| filter.starts_with(prefix));
        let has_no_filter = self.filters.is_empty() && demand.is_none();
        (has_no_filter || self.filters.iter().filter(asks).any(matches))
            && !self.skips.iter().any(matches)
    }
}

#[derive(Default)]
struct Tally {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

/// The cases that run, and until when they may.
static RUNNING: LazyLock<Mutex<BTreeMap<String, Instant>>> = LazyLock::new(Mutex::default);

/// Prints a figure that a case has measured, under `--nocapture`.
pub fn note(text: &str) {
    if env::args().any(|word| word == "--nocapture") {
        println!("  note {}: {text}", thread::current().name().unwrap_or("?"));
    }
}

/// Runs the cases that the command line selects.
pub fn run(mut cases: Vec<Case>) -> ExitCode {
    let arguments = Arguments::parse();
    cases.retain(|case| arguments.selects(&case.name));
    if arguments.lists {
        cases.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    // Before the first thread: without root this enters a user namespace.
    let lack = tunctl::lab::enter().err().map(|error| error.to_string());
    println!("\nrunning {} tests", cases.len());
    thread::spawn(watch);
    let started = Instant::now();
    let tally = Mutex::new(Tally::default());
    let (alone, together): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.alone);
    run_each(together, arguments.together, lack.as_deref(), &tally);
    run_each(alone, 1, lack.as_deref(), &tally);
    let tally = tally.into_inner().unwrap();
    tally.failed.iter().for_each(|name| println!("failed: {name}"));
    println!(
        "\ntest result: {}. {} passed; {} failed; {} skipped; finished in {:.2}s\n",
        if tally.failed.is_empty() { "ok" } else { "FAILED" },
        tally.passed,
        tally.failed.len(),
        tally.skipped,
        started.elapsed().as_secs_f64(),
    );
    if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_each(cases: Vec<Case>, together: usize, lack: Option<&str>, tally: &Mutex<Tally>) {
    let queue = Mutex::new(cases.into_iter());
    let next = || queue.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..together.max(1) {
            scope.spawn(|| {
                while let Some(case) = next() {
                    run_one(&case, lack, tally);
                }
            });
        }
    });
}

fn run_one(case: &Case, lack: Option<&str>, tally: &Mutex<Tally>) {
    let name = &case.name;
    let lack = lack.map(String::from).or_else(|| Need::first_lack(&case.needs));
    if let Some(reason) = lack {
        println!("SKIPPED {name}: {reason}");
        let mut tally = tally.lock().unwrap();
        match env::var_os("TUNCTL_NO_SKIP").is_some_and(|value| value == "1") {
            true => tally.failed.push(format!("{name} (skipped, and TUNCTL_NO_SKIP=1)")),
            false => tally.skipped += 1,
        }
        return;
    }
    let started = Instant::now();
    RUNNING.lock().unwrap().insert(name.clone(), started + case.limit);
    let result = thread::scope(|scope| {
        let body = || panic::catch_unwind(AssertUnwindSafe(&case.run));
        let thread = thread::Builder::new().name(name.clone()).spawn_scoped(scope, body);
        thread.expect("room for a thread").join().expect("panics are caught inside")
    });
    RUNNING.lock().unwrap().remove(name);
    let seconds = started.elapsed().as_secs_f64();
    let mut tally = tally.lock().unwrap();
    match result {
        Ok(()) => {
            println!("test {name} ... ok ({seconds:.1}s)");
            tally.passed += 1;
        }
        Err(panic) => {
            println!("test {name} ... FAILED ({seconds:.1}s): {}", message(&*panic));
            tally.failed.push(name.clone());
        }
    }
}

/// Ends the run when a case takes too long: processes and namespaces end with it.
fn watch() {
    loop {
        thread::park_timeout(Duration::from_secs(1));
        let late = RUNNING
            .lock()
            .unwrap()
            .iter()
            .find(|(_, deadline)| Instant::now() > **deadline)
            .map(|(name, _)| name.clone());
        if let Some(name) = late {
            println!("test {name} ... FAILED: not done in time");
            exit(101);
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()))
        .unwrap_or_else(|| "panic without a text".into())
}
