//! `tunctl pubkey`: the public key of the private key on standard input.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

use super::{Failure, unless_reader_left};
use crate::transport::wireguard::{KeyError, PrivateKey};

/// The longest input, bytes: a key, and white space around it.
const INPUT_LEN_MAX: usize = 256;

/// Reads a private key and prints its public key.
pub(super) fn run() -> Result<(), Failure> {
    let mut input = Zeroizing::new(Vec::with_capacity(INPUT_LEN_MAX + 1));
    let mut stdin = io::stdin().lock().take(INPUT_LEN_MAX as u64 + 1);
    stdin
        .read_to_end(&mut input)
        .map_err(|error| Failure::failed(format!("standard input: {error}")))?;
    let public = public_of(&input);
    let public = public.map_err(|error| Failure::failed(format!("standard input: {error}")))?;
    unless_reader_left(writeln!(io::stdout(), "{public}")).map_err(Failure::failed)
}

fn public_of(input: &[u8]) -> Result<String, KeyError> {
    let text = std::str::from_utf8(input).map_err(|_| KeyError::NotBase64)?;
    let key: PrivateKey = text.trim().parse()?;
    Ok(key.public().to_string())
}
