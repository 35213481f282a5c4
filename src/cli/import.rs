//! `tunctl import`: what a file of wg-quick means, as our configuration.
//!
//! The output has no key in it: it refers to files, which the user makes by the commands that are
//! printed, or `--write-keys` makes.

mod convert;
mod quick;
mod settle;
mod value;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use self::convert::{Import, Key};
use super::{Failure, unless_reader_left};
use crate::config::{self, key_file};
use crate::transport::wireguard::PresharedKey;

/// The largest file that is read: tens of thousands of peers.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The longest name of a network.
const NAME_CHARS_MAX: usize = 32;

/// Where the keys are where nobody says so.
const KEY_DIRECTORY: &str = "/etc/tunctl";

pub(super) const HELP: &str = "\
The configuration goes to standard output, what it leaves out (DNS, PostUp, ...) to standard error and \
into comments. No key is in it: it refers to files, which --write-keys makes.";

/// The arguments of `tunctl import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The file, such as /etc/wireguard/wg0.conf
    file: PathBuf,
    /// The name of the daemon, its network and its interface [default: the file's, without .conf]
    #[arg(long)]
    name: Option<String>,
    /// Write the keys into files in this directory, with mode 0600; none is overwritten, and one
    /// that has its key already counts as written
    #[arg(long, value_name = "DIR")]
    write_keys: Option<PathBuf>,
}

/// Reads the file, and prints the configuration.
pub(super) fn run(args: &ImportArgs) -> Result<(), Failure> {
    let file = args.file.display().to_string();
    let text = read(&args.file).map_err(|error| Failure::wrong(format!("{file}: {error}")))?;
    let quick = quick::parse(&file, &text).map_err(Failure::wrong)?;
    let name = args.name.clone().unwrap_or_else(|| name_of(&args.file));
    let directory = key_directory(args)?;
    let import = convert::convert(&quick, &name, &directory, &file);
    config::parse("its configuration", &import.text).map_err(|errors| {
        Failure::wrong(format!("{file} means what tunctl does not take\n{errors}"))
    })?;
    let written = match &args.write_keys {
        Some(_) => write_keys(&import.keys)?,
        None => Vec::new(),
    };
    tell(args, &import, &written);
    let mut stdout = io::stdout().lock();
    unless_reader_left(stdout.write_all(import.text.as_bytes())).map_err(Failure::failed)
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
    }
    // A comment may be in any encoding.
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Gives the file's name without its ending, with dashes for what a name must not have.
fn name_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name = stem.chars().map(|c| if plain(c) { c } else { '-' });
    name.take(NAME_CHARS_MAX).collect()
}

/// Where the keys are, or will be; the path goes into the output, so it is text.
fn key_directory(args: &ImportArgs) -> Result<PathBuf, Failure> {
    let Some(directory) = &args.write_keys else { return Ok(KEY_DIRECTORY.into()) };
    let fault = |error: &str| {
        let path = directory.display();
        Failure::failed(format!("--write-keys {path}: {error}"))
    };
    let expected = "expected a directory, which tunctl does not make";
    let path =
        fs::canonicalize(directory).map_err(|error| fault(&format!("{error}; {expected}")))?;
    if !path.is_dir() {
        return Err(fault(expected));
    }
    if path.to_str().is_none() {
        return Err(fault("expected a path in UTF-8"));
    }
    Ok(path)
}

/// Has all keys in their files, or writes none. Gives those that it wrote: the others were there.
fn write_keys(keys: &[Key]) -> Result<Vec<&Key>, Failure> {
    let mut written: Vec<&Key> = Vec::new();
    for key in keys {
        let fault = match write_key(key) {
            Ok(()) => {
                written.push(key);
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match judge_there(key) {
                Ok(()) => continue,
                Err(fault) => fault,
            },
            Err(error) => format!("{}: {error}: no key was written", key.path.display()),
        };
        for key in written {
            let _ = fs::remove_file(&key.path);
        }
        return Err(Failure::failed(fault));
    }
    Ok(written)
}

fn write_key(key: &Key) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key.path)?;
    let written = file.write_all(key.base64.as_bytes()).and_then(|()| file.write_all(b"\n"));
    written.and_then(|()| file.sync_all()).inspect_err(|_| drop(fs::remove_file(&key.path)))
}

/// Takes a file that is there if it has the key, whichever kind of key that is, and is as safe as
/// one that we had written.
fn judge_there(key: &Key) -> Result<(), String> {
    let nothing = "nothing is overwritten, nothing was written";
    let there = key_file::read::<PresharedKey>(&key.path);
    let there = there.map_err(|error| format!("{error}; it is there already: {nothing}"))?;
    if *there.to_base64() == *key.base64 {
        return Ok(());
    }
    Err(format!("{}: is there already with another key: {nothing}", key.path.display()))
}

/// Says what is left to do; `written` are the keys that are in new files.
fn tell(args: &ImportArgs, import: &Import, written: &[&Key]) {
    let file = args.file.display();
    let mut lines: Vec<_> =
        import.notes.iter().map(|note| format!("tunctl: {file}: {note}")).collect();
    if args.write_keys.is_some() {
        lines.extend(written.iter().map(|key| format!("tunctl: wrote {}", key.path.display())));
    } else if !import.keys.is_empty() {
        lines.push(
            "tunctl: no key is in the output; this makes the files that it names:".to_owned(),
        );
        lines.push(format!("  mkdir -p {KEY_DIRECTORY}"));
        lines.extend(import.keys.iter().map(|key| format!("  {}", command(&args.file, key))));
    }
    let mut stderr = io::stderr().lock();
    for line in lines {
        // Where standard error is closed nobody listens.
        let _ = writeln!(stderr, "{line}");
    }
}

/// Gives the command that copies a key's line into its file, which must not be there.
fn command(file: &Path, key: &Key) -> String {
    let script = "s/#.*//;s/^[^=]*=[[:space:]]*//;s/[[:space:]]*$//;p;";
    let (from, to) = (shell_word(file), shell_word(&key.path));
    format!("(umask 077; set -C; sed -n '{}{{{script}}}' {from} > {to})", key.line)
}

/// Quotes a path so that it is one word, and no option.
fn shell_word(path: &Path) -> String {
    let path = path.display().to_string();
    let path = if path.starts_with('-') { format!("./{path}") } else { path };
    format!("'{}'", path.replace('\'', r"'\''"))
}
