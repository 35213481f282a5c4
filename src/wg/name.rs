//! Names of interfaces.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The longest name, bytes (`IFNAMSIZ` without its NUL).
const LEN_MAX: usize = 15;

/// Why a text is no name of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is nothing.
    #[error("the name of the interface is empty")]
    Empty,
    /// It is too long.
    #[error("the name of the interface has {len} bytes, expected at most {LEN_MAX}")]
    TooLong {
        /// Its length, bytes.
        len: usize,
    },
    /// The kernel takes no such name.
    #[error("\"{0}\" is not the name of an interface")]
    Reserved(String),
    /// The kernel takes no such character, or takes it for something else.
    #[error("{0:?} cannot be in the name of an interface")]
    Character(char),
}

/// The name of an interface, which is also part of the name of its socket: the kernel's rules
/// (`dev_valid_name`), and no `%`, which it would replace by a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Gives the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_wrong = |c: char| c.is_whitespace() || c.is_control() || "/:%".contains(c);
        match text {
            "" => Err(NameError::Empty),
            "." | ".." => Err(NameError::Reserved(text.into())),
            _ if text.len() > LEN_MAX => Err(NameError::TooLong { len: text.len() }),
            _ => match text.chars().find(|c| is_wrong(*c)) {
                Some(c) => Err(NameError::Character(c)),
                None => Ok(Self(text.into())),
            },
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_kernel_are_names() {
        for name in ["w", "wg0", "wg-home_2.x", "fifteen-letters", "...", "ü"] {
            assert_eq!(name.parse::<InterfaceName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn fault_of_a_name_is_told() {
        for (name, message) in [
            ("", "the name of the interface is empty"),
            ("sixteen-letters-", "the name of the interface has 16 bytes, expected at most 15"),
            ("..", "\"..\" is not the name of an interface"),
            ("a/b", "'/' cannot be in the name of an interface"),
            ("a b", "' ' cannot be in the name of an interface"),
            ("a\n", "'\\n' cannot be in the name of an interface"),
            ("wg%d", "'%' cannot be in the name of an interface"),
            ("a\0", "'\\0' cannot be in the name of an interface"),
        ] {
            assert_eq!(name.parse::<InterfaceName>().unwrap_err().to_string(), message);
        }
    }
}
