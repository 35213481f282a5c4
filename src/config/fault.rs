//! What is wrong with a file, and where.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::Range;

/// Values longer than this many characters are cut in messages.
const VALUE_CHARS_MAX: usize = 60;

/// A run of so many hex digits is rather a key than a path: 16 bytes.
const HEX_KEY_CHARS_MIN: usize = 32;

/// Why a file gives no configuration. Displayed, it is one line for each fault.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigErrors {
    /// The file cannot be read.
    Unreadable {
        /// The file's name.
        file: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The file has been read and judged.
    Faulty {
        /// The file's name.
        file: String,
        /// All faults, sorted by position; never empty.
        faults: Vec<Fault>,
    },
}

/// One fault of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key with its path, such as `network[0].vni`; empty where the text is not TOML.
    pub key: String,
    /// The value as it stands in the file, cut to one short line; none for tables, for missing keys
    /// and for keys that sound like secrets.
    pub value: Option<String>,
    /// What is wrong: mostly "expected …".
    pub message: String,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, faults) = match self {
            ConfigErrors::Unreadable { file, error } => return write!(f, "{file}: {error}"),
            ConfigErrors::Faulty { file, faults } => (file, faults),
        };
        for (i, fault) in faults.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{file}:{fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        match (self.key.as_str(), &self.value) {
            ("", _) => {}
            (key, None) => write!(f, "{key}: ")?,
            (key, Some(value)) => write!(f, "{key} = {value}: ")?,
        }
        f.write_str(&self.message)
    }
}

impl ConfigErrors {
    /// Reports the syntax errors of a text, the first of each line.
    pub(super) fn not_toml(file: &str, text: &str, errors: &[toml::de::Error]) -> Self {
        let lines = Lines::new(text);
        let fault = |error: &toml::de::Error| {
            let (line, column) = lines.position(error.span().map_or(text.len(), |s| s.start));
            let message = format!("not TOML: {}", error.message().trim_end());
            Fault { line, column, key: String::new(), value: None, message }
        };
        let mut faults: Vec<Fault> = errors.iter().map(fault).collect();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults.dedup_by_key(|fault| fault.line);
        ConfigErrors::Faulty { file: file.to_owned(), faults }
    }

    /// Reports the first byte that is not UTF-8.
    pub(super) fn not_utf8(file: String, bytes: &[u8], at: usize) -> Self {
        let (line, column) = Lines::new(&String::from_utf8_lossy(&bytes[..at])).position(at);
        let message = "not TOML: expected UTF-8".to_owned();
        let fault = Fault { line, column, key: String::new(), value: None, message };
        ConfigErrors::Faulty { file, faults: vec![fault] }
    }
}

/// The faults found so far in one text.
pub(super) struct Faults<'a> {
    text: &'a str,
    /// The faults, each with its byte in the text.
    found: RefCell<Vec<(usize, Fault)>>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, found: RefCell::default() }
    }

    /// Reports a fault at a place of the text; `value` is the place of the value to show.
    pub(super) fn report(
        &self,
        at: usize,
        key: String,
        value: Option<Range<usize>>,
        message: Cow<'_, str>,
    ) {
        let value = value.map(|range| self.slice(range));
        let value = value.filter(|value| !is_secret(&key, value)).map(one_line);
        let fault = Fault { line: 0, column: 0, key, value, message: message.into_owned() };
        self.found.borrow_mut().push((at, fault));
    }

    /// Gives a part of the text.
    pub(super) fn slice(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    /// Gives what was read if there was no fault.
    pub(super) fn into_result<T>(self, file: &str, read: T) -> Result<T, ConfigErrors> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return Ok(read);
        }
        found.sort();
        found.dedup();
        let lines = Lines::new(self.text);
        let faults = found.into_iter().map(|(at, fault)| {
            let (line, column) = lines.position(at);
            Fault { line, column, ..fault }
        });
        Err(ConfigErrors::Faulty { file: file.to_owned(), faults: faults.collect() })
    }
}

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Self { text, starts: std::iter::once(0).chain(starts).collect() }
    }

    /// Gives line and column, both from 1, of a byte of the text.
    fn position(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|&start| start <= at).max(1);
        let before = self.text.get(self.starts[line - 1]..at).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(VALUE_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// Whether a value is better not shown in a log: a misplaced private key is still a private key.
fn is_secret(key: &str, value: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).to_ascii_lowercase();
    if last == "public_key" || last.ends_with("_secs") {
        return false;
    }
    if last.ends_with("_file") {
        return is_key_like(value);
    }
    ["key", "secret", "passw", "token"].iter().any(|word| last.contains(word))
}

/// Whether a value that should be a path looks like what should be in the file: base64 with its
/// padding, hex, or several lines.
fn is_key_like(value: &str) -> bool {
    let mut runs = value.split(|c: char| !c.is_ascii_hexdigit());
    value.contains(['=', '\n', '\\']) || runs.any(|run| run.len() >= HEX_KEY_CHARS_MIN)
}
