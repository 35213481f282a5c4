//! The `tunctl` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tunctl::cli::main(std::env::args_os())
}
