//! The offload features of network interfaces, as `ethtool -k` lists and `ethtool -K` sets them.
//!
//! The kernel's interface is in `include/uapi/linux/ethtool.h`. All calls are about the interfaces
//! of the calling thread's network namespace.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::link::{SIOCETHTOOL, request_for};

const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;

/// The set of strings that has the names of the features.
const ETH_SS_FEATURES: u32 = 4;

/// Bytes of one string.
const STRING_LEN: usize = 32;

/// The most features that are asked for: Linux 6.18 has 62.
const FEATURES_MAX: usize = 1024;

/// An offload feature of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The kernel's name, such as `tx-udp-segmentation`.
    pub name: String,
    /// Whether it is in use.
    pub is_active: bool,
    /// Whether it can be switched.
    pub is_changeable: bool,
}

/// Gives all features that the kernel knows, for an interface.
///
/// # Errors
///
/// `ENODEV` if there is no such interface.
pub fn features(interface: &str) -> io::Result<Vec<Feature>> {
    let names = names(interface)?;
    let words = names.len().div_ceil(32);
    let mut block = vec![0; 2 + words * 4];
    block[0] = ETHTOOL_GFEATURES;
    block[1] = words as u32;
    ask(interface, &mut block)?;
    let bit = |index: usize, column: usize| {
        let word = block.get(2 + index / 32 * 4 + column).copied().unwrap_or(0);
        word & (1 << (index % 32)) != 0
    };
    // The columns: available, requested, active, never changed.
    let feature = |(index, name)| Feature {
        name,
        is_active: bit(index, 2),
        is_changeable: bit(index, 0) && !bit(index, 3),
    };
    Ok(names.into_iter().enumerate().map(feature).filter(|f| !f.name.is_empty()).collect())
}

/// Switches features that `chosen` gives a wish for; gives those that are not as wished for
/// afterwards. One feature may depend on another, and what a device cannot switch stays as it is.
///
/// # Errors
///
/// `ENODEV` if there is no such interface, `EPERM` without CAP_NET_ADMIN over its namespace.
pub fn set_features(
    interface: &str,
    chosen: impl Fn(&str) -> Option<bool>,
) -> io::Result<Vec<Feature>> {
    let names = names(interface)?;
    let words = names.len().div_ceil(32);
    let mut block = vec![0; 2 + words * 2];
    block[0] = ETHTOOL_SFEATURES;
    block[1] = words as u32;
    let before = features(interface)?;
    for (index, name) in names.iter().enumerate() {
        // The kernel refuses the whole call if it names a feature that cannot be switched.
        let is_changeable = before.iter().any(|f| f.name == *name && f.is_changeable);
        let (Some(wish), true) = (chosen(name), is_changeable) else { continue };
        let (word, mask) = (2 + index / 32 * 2, 1 << (index % 32));
        block[word] |= mask;
        block[word + 1] |= if wish { mask } else { 0 };
    }
    ask(interface, &mut block)?;
    let mut after = features(interface)?;
    after.retain(|feature| chosen(&feature.name).is_some_and(|wish| wish != feature.is_active));
    Ok(after)
}

/// Gives the names of the features, by their numbers; a number without a feature has no name.
fn names(interface: &str) -> io::Result<Vec<String>> {
    // cmd, reserved, a 64-bit mask, then a count for each bit of the mask.
    let mut block = vec![ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
    write_u64(&mut block[2..4], 1 << ETH_SS_FEATURES);
    ask(interface, &mut block)?;
    let count = block[4] as usize;
    if count > FEATURES_MAX {
        return Err(io::Error::other(format!("the kernel has {count} features")));
    }
    // cmd, set, count, then the strings. The kernel writes as many as it has just said.
    let mut block = vec![0; 3 + count * STRING_LEN / 4];
    block[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count as u32]);
    ask(interface, &mut block)?;
    let bytes: Vec<u8> = block[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let name = |field: &[u8]| {
        let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    };
    Ok(bytes.chunks_exact(STRING_LEN).map(name).collect())
}

fn write_u64(words: &mut [u32], value: u64) {
    for (word, bytes) in words.iter_mut().zip(value.to_ne_bytes().chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
}

/// Makes one ETHTOOL call; `block` is the command, and room for what the command answers.
fn ask(interface: &str, block: &mut [u32]) -> io::Result<()> {
    let mut request = request_for(interface).ok_or(Errno::ENODEV)?;
    request.ifr_ifru.ifru_data = block.as_mut_ptr().cast();
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the descriptor is open, `request` is a complete ifreq whose data points to `block`,
    // and both live until the call is over. The kernel writes what the command answers: as many
    // words as `block` says it has (GFEATURES), one count for the one bit of the mask (GSSET_INFO),
    // the strings (GSTRINGS), whose number is a constant of the running kernel that `names` asks
    // for before it makes room for them, or nothing (SFEATURES).
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    // SFEATURES answers with a positive number where a feature was left as it was.
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{in_network_namespace, ip};

    fn is_active(interface: &str, name: &str) -> bool {
        let features = features(interface).unwrap();
        features.iter().find(|feature| feature.name == name).unwrap().is_active
    }

    #[test]
    fn feature_is_switched_off_and_on_again() {
        in_network_namespace(|| {
            ip("link add v0 type veth peer name v1");
            for wish in [false, true] {
                let chosen = |name: &str| (name == "tx-udp-segmentation").then_some(wish);
                assert_eq!(set_features("v0", chosen).unwrap(), []);
                assert_eq!(is_active("v0", "tx-udp-segmentation"), wish);
                assert!(is_active("v1", "tx-udp-segmentation"));
            }
        });
    }

    #[test]
    fn feature_that_stays_is_given_back() {
        in_network_namespace(|| {
            let left = set_features("lo", |name| (name == "loopback").then_some(false)).unwrap();
            assert_eq!(left.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["loopback"]);
            assert!(left[0].is_active && !left[0].is_changeable);
        });
    }

    #[test]
    fn interface_that_is_not_there_is_an_error() {
        in_network_namespace(|| {
            let error = features("nowhere").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
            assert!(features("a-name-that-is-too-long").is_err());
        });
    }
}
