//! Keys: 32 bytes each, written as 64 hex digits.
//!
//! What is secret is zeroed when it is dropped, and its `Debug` shows nothing of it.

use std::fmt;

use thiserror::Error;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// The length of every key, bytes (RFC 7748 section 5).
const LEN: usize = 32;

/// Why a text is no key. It says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text has another form.
    #[error("expected a key: 32 bytes as 64 hex digits")]
    NotHex,
    /// The key of zeros, which means "none" wherever WireGuard takes a key.
    #[error("expected a key: this one is all zeros, which means none")]
    Zero,
}

/// An X25519 private key, clamped (RFC 7748 section 5); never all zeros.
#[derive(ZeroizeOnDrop)]
pub struct PrivateKey([u8; LEN]);

impl PrivateKey {
    /// Takes the bytes of a key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Zero`].
    pub fn from_bytes(bytes: &[u8; LEN]) -> Result<Self, KeyError> {
        let mut key = Self(*not_zero(bytes)?);
        key.0[0] &= 0xf8;
        key.0[31] = key.0[31] & 0x7f | 0x40;
        Ok(key)
    }

    /// Reads a key of 64 hex digits.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&*decode_hex(text)?)
    }

    /// Gives the bytes.
    pub fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// Writes the key as 64 hex digits.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(encode_hex(&self.0))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// An X25519 public key: who a peer is; never all zeros where it comes from a text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; LEN]);

impl PublicKey {
    /// Takes the bytes of a key, whatever they are.
    pub const fn from_bytes(bytes: [u8; LEN]) -> Self {
        Self(bytes)
    }

    /// Reads a key of 64 hex digits.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        not_zero(&*decode_hex(text)?).copied().map(Self)
    }

    /// Gives the bytes.
    pub const fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// Writes the key as 64 hex digits.
    pub fn to_hex(&self) -> String {
        encode_hex(&self.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_hex())
    }
}

/// A secret that both ends of a tunnel have beside their keys; never all zeros.
#[derive(ZeroizeOnDrop)]
pub struct PresharedKey([u8; LEN]);

impl PresharedKey {
    /// Takes the bytes of a key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Zero`].
    pub fn from_bytes(bytes: &[u8; LEN]) -> Result<Self, KeyError> {
        not_zero(bytes).copied().map(Self)
    }

    /// Reads a key of 64 hex digits.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&*decode_hex(text)?)
    }

    /// Gives the bytes.
    pub fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// Writes the key as 64 hex digits.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(encode_hex(&self.0))
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(..)")
    }
}

fn not_zero(bytes: &[u8; LEN]) -> Result<&[u8; LEN], KeyError> {
    if *bytes == [0; LEN] { Err(KeyError::Zero) } else { Ok(bytes) }
}

fn decode_hex(text: &str) -> Result<Zeroizing<[u8; LEN]>, KeyError> {
    let mut key = Zeroizing::new([0; LEN]);
    let (digits, []) = text.as_bytes().as_chunks::<2>() else { return Err(KeyError::NotHex) };
    if digits.len() != LEN {
        return Err(KeyError::NotHex);
    }
    for (byte, [high, low]) in key.iter_mut().zip(digits) {
        let digit = |digit: &u8| char::from(*digit).to_digit(16).ok_or(KeyError::NotHex);
        *byte = (digit(high)? << 4 | digit(low)?) as u8;
    }
    Ok(key)
}

fn encode_hex(bytes: &[u8; LEN]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    let mut text = String::with_capacity(2 * LEN);
    text.extend(digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_in_both_cases_and_written_in_lower_case() {
        let key = PublicKey::from_hex(&"Ab".repeat(LEN)).unwrap();
        assert_eq!(key, PublicKey::from_bytes([0xab; LEN]));
        assert_eq!(key.to_hex(), "ab".repeat(LEN));
    }

    #[test]
    fn text_of_another_form_is_no_key() {
        for text in
            ["", "ab", &"ab".repeat(31), &"ab".repeat(33), &"+1".repeat(LEN), &"é".repeat(LEN)]
        {
            assert_eq!(PublicKey::from_hex(text), Err(KeyError::NotHex), "{text}");
        }
    }

    #[test]
    fn zero_is_no_key() {
        let zero = "0".repeat(2 * LEN);
        assert_eq!(PublicKey::from_hex(&zero), Err(KeyError::Zero));
        assert_eq!(PrivateKey::from_hex(&zero).unwrap_err(), KeyError::Zero);
        assert_eq!(PresharedKey::from_hex(&zero).unwrap_err(), KeyError::Zero);
    }

    #[test]
    fn private_key_is_clamped_and_shown_nowhere() {
        let key = PrivateKey::from_bytes(&[0xff; LEN]).unwrap();
        assert_eq!((key.as_bytes()[0], key.as_bytes()[31]), (0xf8, 0x7f));
        assert_eq!(format!("{key:?}"), "PrivateKey(..)");
    }
}
