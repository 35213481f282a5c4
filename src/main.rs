//! The `tunctl` program: everything is in the library.

fn main() {}
