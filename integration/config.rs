//! The configuration as its users meet it: the samples, and files that are wrong.
//!
//! `integration/wrong` holds a file for each kind of fault. The comments at its end are the messages
//! that it must get, all of them and in this order: `#! LINE:COLUMN: KEY = VALUE: MESSAGE`.

// Clippy's exception for tests does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tunctl::config::{self, Config, ConfigErrors};

#[path = "config/key_files.rs"]
mod key_files;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
const WRONG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/wrong");

/// Files with wrong content that the directory must have at least.
const WRONG_FILES_MIN: usize = 20;

#[test]
fn each_wrong_file_gets_exactly_its_messages() {
    let files = toml_files(WRONG);
    assert!(files.len() >= WRONG_FILES_MIN, "only {} files in {WRONG}", files.len());
    let mut differing = Vec::new();
    for path in &files {
        let expected = expected_messages(path);
        assert!(!expected.is_empty(), "{} states no message", path.display());
        let found: Vec<String> = match config::load(path) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
        };
        if found != expected {
            differing.push(format!("expected {expected:#?}\nfound {found:#?}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = config::load(Path::new("/nonexistent/site.toml")).unwrap_err().to_string();
    assert_eq!(message, "/nonexistent/site.toml: No such file or directory (os error 2)");
}

#[test]
fn a_file_that_is_not_utf8_is_refused_at_the_first_such_byte() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"name = 'a'\n# \xc3\xa9 \xff\n").unwrap();
    let message = config::load(file.path()).unwrap_err().to_string();
    assert_eq!(message, format!("{}:2:5: not TOML: expected UTF-8", file.path().display()));
}

#[test]
fn a_file_without_end_is_refused() {
    let errors = config::load(Path::new("/dev/zero")).unwrap_err();
    assert!(matches!(errors, ConfigErrors::Unreadable { .. }), "{errors}");
    assert_eq!(errors.to_string(), "/dev/zero: larger than 16 MiB");
}

#[test]
fn all_samples_are_sound() {
    let files = toml_files(SAMPLES);
    assert!(files.len() >= 4, "samples are missing in {SAMPLES}");
    for path in files {
        config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    }
}

#[test]
fn files_in_the_readme_are_sound() {
    let readme = fs::read_to_string(Path::new(SAMPLES).with_file_name("README.md")).unwrap();
    let blocks: Vec<_> = readme.split("```toml\n").skip(1).collect();
    assert!(!blocks.is_empty(), "the first tunnel is missing in README.md");
    for block in blocks {
        let (text, _) = block.split_once("```").unwrap();
        config::parse("README.md", text).unwrap_or_else(|errors| panic!("{errors}\nin\n{text}"));
    }
}

#[test]
fn stated_defaults_are_the_defaults() {
    let text = reference();
    let without = read(&text);
    let defaults = commented_lines(&text, "# ");
    assert!(defaults.len() >= 30, "the reference states its defaults as `# key = value`");
    for (line, key, _) in &defaults {
        assert_eq!(read(&uncomment(&text, *line, "# ")), without, "the stated default of {key}");
    }
}

#[test]
fn examples_of_the_reference_are_sound_and_no_defaults() {
    let text = reference();
    let without = read(&text);
    let examples = commented_lines(&text, "#: ");
    assert!(!examples.is_empty(), "the reference has examples as `#: key = value`");
    for (line, key, _) in &examples {
        assert_ne!(read(&uncomment(&text, *line, "#: ")), without, "the example of {key}");
    }
}

#[test]
fn the_reference_has_every_key() {
    let text = reference();
    for (head, table) in [
        ("# The daemon's name", None),
        ("[underlay]", Some("underlay")),
        ("[offload]", Some("offload")),
        ("[vxlan]", Some("vxlan")),
        ("[wireguard]", Some("wireguard")),
        ("[quic]", Some("quic")),
        ("[[network]]", Some("network")),
        ("[[peer]]", Some("peer")),
        ("[[peer]]\nname = \"site-c\"", Some("peer")),
        ("[[peer]]\nname = \"site-d\"", Some("peer")),
    ] {
        let known = known_keys(&text, head);
        assert!(known.len() > 2, "{known:?}");
        for key in known {
            let is_stated = match table {
                None => text.contains(&format!("[{key}]")) || text.contains(&format!("{key} = ")),
                Some(_) => section_of(&text, head).contains(&format!("{key} = ")),
            };
            assert!(is_stated, "{table:?} has no {key:?} in the reference");
        }
    }
}

/// The lines `#! …` of a file, as messages about it.
fn expected_messages(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let stated = text.lines().filter_map(|line| line.strip_prefix("#! "));
    stated.map(|message| format!("{}:{message}", path.display())).collect()
}

fn toml_files(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<_> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
    files.into_iter().collect()
}

/// The reference with a fixed name: its default is the host's.
fn reference() -> String {
    fs::read_to_string(Path::new(SAMPLES).join("reference.toml")).unwrap()
}

fn read(text: &str) -> Config {
    config::parse("reference.toml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The lines `MARK key = value`: number, key, value.
fn commented_lines<'t>(text: &'t str, mark: &str) -> Vec<(usize, &'t str, &'t str)> {
    let key = |key: &str| key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let lines = text.lines().enumerate().filter_map(|(i, line)| {
        let (k, value) = line.strip_prefix(mark)?.split_once(" = ")?;
        key(k).then_some((i, k, value))
    });
    lines.collect()
}

fn uncomment(text: &str, number: usize, mark: &str) -> String {
    let lines = text.lines().enumerate().map(|(i, line)| match line.strip_prefix(mark) {
        Some(stated) if i == number => stated,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The text from a line on up to the next table.
fn section_of<'t>(text: &'t str, head: &str) -> &'t str {
    let start = text.find(&format!("\n{head}")).unwrap() + 1;
    let end = text[start + 1..].find("\n[").map_or(text.len(), |end| start + 1 + end);
    &text[start..end]
}

/// The keys that a table may have, as the message about an unknown key lists them.
fn known_keys(text: &str, head: &str) -> Vec<String> {
    let at = text.find(&format!("\n{head}")).unwrap() + 1;
    let line_end = at + text[at..].find('\n').unwrap();
    let wrong = format!("{}\nqqqqqqqqqqqq = 1\n{}", &text[..line_end], &text[line_end..]);
    let message = config::parse("f", &wrong).unwrap_err().to_string();
    let (_, list) = message.split_once("expected one of ").unwrap();
    list.split(", ").map(str::to_owned).collect()
}

/// What needs the program itself.
mod program {
    use std::process::{Command, Output};

    use super::*;

    /// The name of every daemon in the wrong files whose name is not the fault.
    const API_SOCKET: &str = "/run/tunctl/wrong-files.sock";

    #[test]
    fn check_prints_the_messages_and_exits_with_2() {
        for path in toml_files(WRONG) {
            let output = tunctl(&["check", path.to_str().unwrap()]);
            assert_refused(&path, &output);
        }
    }

    #[test]
    fn check_exits_with_0_on_a_sound_file() {
        let directory = tempfile::tempdir().unwrap();
        for sample in toml_files(SAMPLES) {
            let path = key_files::with_keys(&sample, directory.path());
            let output = tunctl(&["check", path.to_str().unwrap()]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{}: {stderr}", path.display());
        }
    }

    #[test]
    fn check_exits_with_2_on_a_file_that_is_not_there() {
        let output = tunctl(&["check", "/nonexistent/site.toml"]);
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("/nonexistent/site.toml: No such file"), "{stderr}");
    }

    #[test]
    fn run_prints_the_messages_exits_with_2_and_creates_nothing() {
        let links = links();
        for path in toml_files(WRONG) {
            let output = tunctl(&["run", "--config", path.to_str().unwrap()]);
            assert_refused(&path, &output);
            assert_eq!(self::links(), links, "{} made a device", path.display());
            assert!(!Path::new(API_SOCKET).exists(), "{} made {API_SOCKET}", path.display());
        }
    }

    fn tunctl(arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tunctl")).args(arguments).output().unwrap()
    }

    /// Exit status 2, the file's messages on standard error, nothing on standard output.
    fn assert_refused(path: &Path, output: &Output) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{}: {stderr}", path.display());
        for message in expected_messages(path) {
            assert!(stderr.contains(&message), "expected {message:?}\nfound {stderr}");
        }
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{}", path.display());
    }

    /// The links of this network namespace that a wrong file could have made.
    fn links() -> BTreeSet<String> {
        let table = fs::read_to_string("/proc/self/net/dev").unwrap();
        let names = table.lines().filter_map(|line| line.split_once(':'));
        names
            .map(|(name, _)| name.trim().to_owned())
            .filter(|name| name.contains("wrong"))
            .collect()
    }
}
