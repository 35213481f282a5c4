//! Wrong usage, said in one line; help and version, said as asked.

use std::io::{self, Write};

use clap::error::ErrorKind;

use super::{Failure, unless_reader_left};

/// Prints help or version where that was asked for; else gives the fault.
pub(super) fn answer(error: &clap::Error) -> Result<(), Failure> {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            unless_reader_left(write!(io::stdout(), "{text}")).map_err(Failure::failed)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = write!(io::stderr(), "{text}");
            Err(Failure::wrong(""))
        }
        _ => Err(Failure::wrong(one_line(&text.to_string()))),
    }
}

/// Takes from clap's message what is wrong and its tips; the usage lines are in the help.
fn one_line(message: &str) -> String {
    let paragraphs = message.split("\n\n").map(joined);
    let said: Vec<_> = paragraphs
        .take_while(|paragraph| !paragraph.starts_with("Usage:"))
        .filter(|paragraph| !paragraph.is_empty() && !paragraph.starts_with("For more"))
        .collect();
    let said = said.join("; ");
    format!("{} (try --help)", said.strip_prefix("error: ").unwrap_or(&said))
}

fn joined(paragraph: &str) -> String {
    let words: Vec<_> = paragraph.split_whitespace().collect();
    words.join(" ")
}
