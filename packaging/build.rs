//! Tells the program which commit it is built from, for `tunctl bench`.
//!
//! In optimised builds only: others would be built anew after each commit, for figures that say
//! nothing. Without git, or outside of a repository of our own, the commit is unknown.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=packaging/build.rs");
    if env::var("PROFILE").as_deref() != Ok("release") || !is_our_repository() {
        return;
    }
    // What changes when a commit is made or checked out, and what makes it differ from the commit.
    let marks = ["HEAD", "logs/HEAD"].map(|name| git(&["rev-parse", "--git-path", name]));
    let sources = ["src", "config", "Cargo.toml", "Cargo.lock"].map(|name| Some(name.to_owned()));
    for path in marks.into_iter().chain(sources).flatten() {
        // One that is not there would be a change each time.
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    if let Some(commit) = git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]) {
        println!("cargo:rustc-env=TUNCTL_COMMIT={commit}");
    }
}

/// Whether the repository is that of this package, not one that the package was copied into.
fn is_our_repository() -> bool {
    let top = git(&["rev-parse", "--show-toplevel"]).map(|path| Path::new(&path).canonicalize());
    let here = env::var("CARGO_MANIFEST_DIR").map(|path| Path::new(&path).canonicalize());
    matches!((top, here), (Some(Ok(top)), Ok(Ok(here))) if top == here)
}

/// Gives the one line that git prints.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}
