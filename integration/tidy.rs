//! The rules of the source tree that neither the compiler nor clippy checks: which room may import
//! which, where `unsafe` may stand, how long a file may be, and what must not be left behind.

// Clippy's exception for tests does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tunctl::drops::DropReason;

/// The rooms by level. A room may import rooms of lower levels only; rooms of one level do not know
/// each other. `sys` stands beside: it imports none, and only some may import it.
const LEVELS: &[&[&str]] = &[
    &["buffer", "drops", "peer"],
    &["frame"],
    &["offload", "forward", "transport"],
    &["node"],
    &["device", "socket", "config", "api"],
    &["lab", "daemon"],
    &["bench", "wg"],
    &["cli"],
    &["main", "lib"],
];

/// The rooms that may import `sys`.
const USERS_OF_SYS: &[&str] = &["frame", "device", "socket", "daemon", "lab", "bench", "wg"];

/// The longest file, in lines without tests.
const FILE_LINES_MAX: usize = 500;

/// Names that say nothing about what is in a module.
const NAMELESS: &[&str] = &["utils", "util", "common", "types", "helpers", "prelude", "misc"];

/// Words about how the project is made. They say nothing to its users.
const WORKSHOP_WORDS: &[&str] =
    &["issue", "issues", "session", "sessions", "colleague", "colleagues", "agent", "agents"];

/// One source file.
struct Source {
    /// The path from the root of the package.
    path: String,
    /// The text without comments and without the content of strings, line by line as it was.
    code: String,
    /// The text as it is.
    text: String,
}

#[test]
fn rooms_import_lower_rooms_only() {
    let mut faults = Vec::new();
    for source in sources(&["src"]) {
        let room = room_of(&source.path);
        for (line, imported) in imports(&source.code) {
            if let Err(rule) = may_import(&room, &imported) {
                faults.push(format!("{}:{line}: {room} imports {imported}: {rule}", source.path));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_room_has_a_level_and_a_place_on_the_map() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut faults = Vec::new();
    for source in sources(&["src"]) {
        let room = room_of(&source.path);
        if room != "sys" && level_of(&room).is_none() {
            faults.push(format!("{}: {room} has no level in integration/tidy.rs", source.path));
        }
        if !map.contains(&format!("`{room}")) && room != "lib" {
            faults.push(format!("{}: {room} is not in ARCHITECTURE.md", source.path));
        }
    }
    faults.dedup();
    assert_none(&faults);
}

#[test]
fn rooms_do_not_reach_out_by_super() {
    let mut faults = Vec::new();
    for source in sources(&["src"]) {
        let depth = source.path.matches('/').count();
        let is_border = depth == 1 || (depth == 2 && source.path.ends_with("/mod.rs"));
        for (i, line) in source.code.lines().enumerate() {
            let is_out = is_border && line.starts_with("use super::");
            if is_out || line.contains("super::super::super") {
                faults.push(format!("{}:{}: {line}", source.path, i + 1));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn unsafe_code_is_in_sys_only() {
    let places = |source: &Source| !source.path.starts_with("src/sys/");
    assert_none(&lines_with(&["src", "integration", "benches"], places, |line| {
        words(line).any(|word| word == "unsafe")
    }));
}

#[test]
fn nothing_is_left_undone() {
    assert_none(&lines_with(
        &["src", "integration", "benches"],
        |_| true,
        |line| {
            ["todo!", "unimplemented!", "dbg!", "#[ignore"].iter().any(|mark| line.contains(mark))
        },
    ));
}

#[test]
fn only_tests_import_by_star() {
    assert_none(&lines_with(
        &["src"],
        |source| !is_test_file(&source.path),
        |line| {
            // What is indented is in a module inside the file: its tests.
            line.starts_with("use ") && line.contains("::*")
        },
    ));
}

#[test]
fn files_are_short() {
    let files = sources(&["src"]);
    let lengths = files.iter().filter(|source| !is_test_file(&source.path)).map(|source| {
        let tests = source.text.find("#[cfg(test)]\nmod ").unwrap_or(source.text.len());
        (source.text[..tests].lines().count(), &source.path)
    });
    let long = lengths.filter(|(lines, _)| *lines > FILE_LINES_MAX);
    assert_none(&long.map(|(lines, path)| format!("{path}: {lines} lines")).collect::<Vec<_>>());
}

#[test]
fn modules_have_names_that_say_something() {
    let files = sources(&["src", "integration", "benches"]);
    let nameless =
        |source: &&Source| source.path.split(['/', '.']).any(|part| NAMELESS.contains(&part));
    assert_none(&files.iter().filter(nameless).map(|s| s.path.clone()).collect::<Vec<_>>());
}

#[test]
fn every_file_says_what_it_is() {
    let files = sources(&["src", "integration", "benches"]);
    let silent = |source: &&Source| !is_test_file(&source.path) && !source.text.starts_with("//!");
    assert_none(&files.iter().filter(silent).map(|s| s.path.clone()).collect::<Vec<_>>());
}

#[test]
fn every_drop_reason_is_given_somewhere() {
    let files = sources(&["src"]);
    let is_given = |reason: &DropReason| {
        let name = format!("DropReason::{reason:?}");
        let uses = files.iter().filter(|source| source.path != "src/drops.rs");
        uses.flat_map(|source| source.code.match_indices(&name).map(|(i, _)| &source.code[i..]))
            .any(|rest| !rest[name.len()..].starts_with(is_word_char))
    };
    let unused: Vec<String> =
        DropReason::ALL.iter().filter(|r| !is_given(r)).map(|r| r.name().to_owned()).collect();
    assert_none(&unused);
}

#[test]
fn documents_speak_to_users() {
    let mut faults = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap().to_lowercase();
        for (i, line) in text.lines().enumerate() {
            for word in words(line).filter(|word| WORKSHOP_WORDS.contains(word)) {
                faults.push(format!("{}:{}: {word}", path.display(), i + 1));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn the_stripper_leaves_code_and_line_numbers() {
    let text =
        "a /* b /* c */ d */ e // f\n\"g\\\" // h\" i r#\"j\" k\"# 'l' '\"' 'm b\"n\" '\\''\no";
    let code = strip(text);
    let squeezed: Vec<_> = code.lines().map(|l| l.replace(' ', "")).collect();
    assert_eq!(squeezed, ["ae", "\"\"i\"\"''''\'mb\"\"''", "o"]);
}

#[test]
fn imports_are_found_in_every_form() {
    let code = "use crate::frame::Mac;\nuse crate::{buffer::{Piece, x}, peer};\n\
                fn f() { crate::drops::g(); }\nuse super::y;\nuse crate::{\n    node::A,\n};\n";
    let found: Vec<_> = imports(code).into_iter().map(|(_, room)| room).collect();
    assert_eq!(found, ["frame", "buffer", "peer", "drops", "node"]);
}

fn may_import(room: &str, imported: &str) -> Result<(), &'static str> {
    if room == imported || (room == "main" && imported == "lib") {
        return Ok(());
    }
    if room == "sys" {
        return Err("sys imports no room");
    }
    if imported == "sys" {
        let is_user = USERS_OF_SYS.contains(&room);
        return if is_user { Ok(()) } else { Err("only some rooms may (USERS_OF_SYS)") };
    }
    match (level_of(room), level_of(imported)) {
        (Some(upper), Some(lower)) if upper > lower => Ok(()),
        (Some(_), Some(_)) => Err("it is not below"),
        (_, None) => Err("no such room"),
        (None, _) => Err("the room has no level"),
    }
}

fn level_of(room: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&room))
}

/// `src/frame/tcp.rs` is in room `frame`, `src/drops.rs` is room `drops`.
fn room_of(path: &str) -> String {
    let inside = path.strip_prefix("src/").unwrap();
    inside.split('/').next().unwrap().trim_end_matches(".rs").to_owned()
}

/// The rooms that a text names after `crate::`, with their lines.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        if code[..at].ends_with(is_word_char) || code[..at].ends_with('$') {
            continue;
        }
        let line = code[..at].lines().count().max(1);
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(heads_of(group).into_iter().map(|head| (line, head))),
            None => found.push((line, head_of(rest))),
        }
    }
    found
}

/// The first word of each item of a braced group.
fn heads_of(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut is_start) = (0, true);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            c if is_start && is_word_char(c) => {
                heads.push(head_of(&group[i..]));
                is_start = false;
            }
            _ => {}
        }
    }
    heads
}

fn head_of(text: &str) -> String {
    text.chars().take_while(|&c| is_word_char(c)).collect()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c| !is_word_char(c))
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The lines of code, with their places, that some of the sources should not have.
fn lines_with(
    directories: &[&str],
    is_judged: impl Fn(&Source) -> bool,
    is_fault: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources(directories).iter().filter(|source| is_judged(source)) {
        for (i, line) in source.code.lines().enumerate().filter(|(_, line)| is_fault(line)) {
            faults.push(format!("{}:{}: {}", source.path, i + 1, line.trim()));
        }
    }
    faults
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(directories: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for directory in directories {
        collect(&root().join(directory), &mut paths);
    }
    let rust = paths.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs"));
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        Source { path, code: strip(&text), text }
    };
    rust.map(source).collect()
}

/// What users read: the documents at the root, the samples, the packaging.
fn documents() -> Vec<PathBuf> {
    let entries = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "md")).collect();
    collect(&root().join("config"), &mut paths);
    collect(&root().join("packaging"), &mut paths);
    paths.sort();
    paths
}

/// Adds the files below a directory, sorted; a directory that is not there has none.
fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let by_name: BTreeMap<_, _> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), entry.path()))
        .collect();
    for path in by_name.into_values() {
        if path.is_dir() { collect(&path, paths) } else { paths.push(path) }
    }
}

/// Takes comments and the content of literals out of Rust code; lines stay where they are.
fn strip(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let len = skipped_len(rest, &code);
        if len == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (skipped, after) = rest.split_at(len);
        let quote = if c == '\'' { "''" } else { "\"\"" };
        code.push_str(if c == '/' { " " } else { quote });
        code.extend(skipped.chars().filter(|&c| c == '\n'));
        rest = after;
    }
    code
}

/// The length of the comment or literal that the text begins with; 0 if it begins with code.
fn skipped_len(text: &str, before: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment_len(text);
    }
    let is_prefix = !before.ends_with(is_word_char);
    if is_prefix && let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let end = format!("\"{}", &raw[..hashes]);
        let body = &raw[hashes..];
        if let Some(content) = body.strip_prefix('"') {
            let found = content.find(&end);
            return found.map_or(text.len(), |at| 1 + hashes + 1 + at + end.len());
        }
    }
    match text.as_bytes()[0] {
        b'"' => 1 + quoted_len(&text[1..], '"'),
        b'\'' => char_len(text),
        _ => 0,
    }
}

fn block_comment_len(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => depth += 1,
            Some(b"*/") => depth -= 1,
            Some(_) => {
                at += 1;
                continue;
            }
            None => break,
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length up to and with the closing quote.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return i + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal; 0 if the quote begins a lifetime.
fn char_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => 1 + quoted_len(&text[1..], '\''),
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 0,
    }
}

/// With this feature a handshake would wait for ever: the clock stands still.
#[test]
fn program_has_a_clock_that_goes() {
    const { assert!(!cfg!(feature = "virtual-time")) };
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    assert!(manifest["features"].get("default").is_none(), "nothing is on by default");
}
