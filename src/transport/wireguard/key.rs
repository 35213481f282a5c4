//! Keys: 32 bytes each, written as 44 characters of base64 (as `wg` does) or as 64 hex digits (as
//! WireGuard's UAPI protocol does).
//!
//! What is secret is zeroed when it is dropped and has no `Display`; its `Debug` shows nothing of it.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use boringtun::x25519;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// The length of every key, bytes (RFC 7748 section 5).
const LEN: usize = 32;

/// The length of a key in base64, characters: 32 bytes and one of padding.
const BASE64_LEN: usize = 44;

/// Why a text is no key. It says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text has another form.
    #[error("expected a key: 32 bytes as 44 characters of base64")]
    NotBase64,
    /// The text has another form.
    #[error("expected a key: 32 bytes as 64 hex digits")]
    NotHex,
    /// The key of zeros, which means "none" wherever WireGuard takes a key.
    #[error("expected a key: this one is all zeros, which means none")]
    Zero,
}

/// The kernel gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the kernel gives no random bytes")]
pub struct NoRandomness;

/// An X25519 private key, clamped (RFC 7748 section 5); never all zeros.
#[derive(ZeroizeOnDrop)]
pub struct PrivateKey([u8; LEN]);

impl PrivateKey {
    /// Makes a new key of the kernel's random bytes: all that this room asks anybody for.
    ///
    /// # Errors
    ///
    /// The kernel has none.
    pub fn generate() -> Result<Self, NoRandomness> {
        random().map(|bytes| Self::clamped(&bytes))
    }

    /// Takes the bytes of a key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Zero`].
    pub fn from_bytes(bytes: &[u8; LEN]) -> Result<Self, KeyError> {
        not_zero(bytes).map(Self::clamped)
    }

    fn clamped(bytes: &[u8; LEN]) -> Self {
        let mut key = Self(*bytes);
        key.0[0] &= 0xf8;
        key.0[31] = key.0[31] & 0x7f | 0x40;
        key
    }

    /// Gives the public key that belongs to this one.
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519::PublicKey::from(&self.to_secret()).to_bytes())
    }

    /// Gives the key as the handshake takes it.
    pub fn to_secret(&self) -> x25519::StaticSecret {
        x25519::StaticSecret::from(self.0)
    }
}

/// An X25519 public key: who a peer is. Displayed as `wg` prints it.
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

    /// Gives the key as the handshake takes it.
    pub fn to_x25519(self) -> x25519::PublicKey {
        x25519::PublicKey::from(self.0)
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

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        not_zero(&*decode_base64(text)?).copied().map(Self)
    }
}

impl From<x25519::PublicKey> for PublicKey {
    fn from(key: x25519::PublicKey) -> Self {
        Self(key.to_bytes())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A secret that both ends of a tunnel have beside their keys; never all zeros.
#[derive(Clone, ZeroizeOnDrop)]
pub struct PresharedKey([u8; LEN]);

impl PresharedKey {
    /// Makes a new key of the kernel's random bytes.
    ///
    /// # Errors
    ///
    /// The kernel has none.
    pub fn generate() -> Result<Self, NoRandomness> {
        random().map(|bytes| Self(*bytes))
    }

    /// Takes the bytes of a key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Zero`].
    pub fn from_bytes(bytes: &[u8; LEN]) -> Result<Self, KeyError> {
        not_zero(bytes).copied().map(Self)
    }
}

/// Gives a secret key its texts, and none where it could be seen by accident.
macro_rules! secret {
    ($Key:ident) => {
        impl $Key {
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

            /// Writes the key as `wg` does.
            pub fn to_base64(&self) -> Zeroizing<String> {
                Zeroizing::new(STANDARD.encode(self.0))
            }

            /// Writes the key as 64 hex digits.
            pub fn to_hex(&self) -> Zeroizing<String> {
                Zeroizing::new(encode_hex(&self.0))
            }
        }

        impl FromStr for $Key {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, KeyError> {
                Self::from_bytes(&*decode_base64(text)?)
            }
        }

        impl fmt::Debug for $Key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($Key), "(..)"))
            }
        }
    };
}

secret!(PrivateKey);
secret!(PresharedKey);

fn random() -> Result<Zeroizing<[u8; LEN]>, NoRandomness> {
    let mut bytes = Zeroizing::new([0; LEN]);
    SystemRandom::new().fill(bytes.as_mut()).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

fn not_zero(bytes: &[u8; LEN]) -> Result<&[u8; LEN], KeyError> {
    if *bytes == [0; LEN] { Err(KeyError::Zero) } else { Ok(bytes) }
}

/// Reads exactly 44 characters, of which the last is the padding; bits that no byte takes are zero.
fn decode_base64(text: &str) -> Result<Zeroizing<[u8; LEN]>, KeyError> {
    // What the decoder may fill: it counts the padding as a byte.
    let mut decoded = Zeroizing::new([0; LEN + 1]);
    let mut key = Zeroizing::new([0; LEN]);
    if text.len() != BASE64_LEN {
        return Err(KeyError::NotBase64);
    }
    match STANDARD.decode_slice(text, decoded.as_mut()) {
        Ok(LEN) => {
            key.copy_from_slice(&decoded[..LEN]);
            Ok(key)
        }
        Ok(_) | Err(_) => Err(KeyError::NotBase64),
    }
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
mod tests;
