//! The rules for names: of daemons, networks and peers, and of network interfaces.

use std::fs;

use super::section::Section;

/// The longest name of a network.
pub(super) const NETWORK_CHARS_MAX: usize = 32;

/// The longest name of a host: what the kernel takes as a host name.
pub(super) const HOST_CHARS_MAX: usize = 64;

/// The longest name of an interface: `IFNAMSIZ` (linux/if.h) without the final zero.
pub(super) const INTERFACE_BYTES_MAX: usize = 15;

/// Reads `name`, by default the name of this host.
pub(super) fn read_host(root: &mut Section<'_>) -> String {
    if root.has("name") {
        return read(root, "name", HOST_CHARS_MAX);
    }
    let _: Option<String> = root.value("name", "");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim_end().to_owned();
    if !is_name(&host, HOST_CHARS_MAX) {
        let expected = expected(HOST_CHARS_MAX);
        root.fault("name", format!("missing: {expected}; the host name {host:?} is none"));
    }
    host
}

/// Reads a required name.
pub(super) fn read(section: &mut Section<'_>, key: &'static str, chars_max: usize) -> String {
    let expected = expected(chars_max);
    section.missing(key, &expected);
    let name: String = section.value(key, &expected).unwrap_or_default();
    if section.is_sound(key) && !is_name(&name, chars_max) {
        section.fault(key, expected);
    }
    name
}

fn expected(chars_max: usize) -> String {
    format!("expected a name of 1 to {chars_max} letters, digits, dots, dashes and underscores")
}

fn is_name(name: &str, chars_max: usize) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=chars_max).contains(&name.len()) && name.chars().all(plain) && name != "." && name != ".."
}

/// Reads the name of an interface.
pub(super) fn read_interface(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    const EXPECTED: &str = "expected an interface name: 1 to 15 bytes without space, '/', ':' \
                            and '%', and not \".\", \"..\", \"all\", \"default\" or \"lo\"";
    let name: String = section.value(key, EXPECTED)?;
    if is_interface(&name) {
        return Some(name);
    }
    section.fault(key, EXPECTED);
    None
}

/// Whether the kernel takes the name as it is (`dev_valid_name`, and no `%d` template), and it is
/// no name that means something else (`/proc/sys/net/ipv4/conf` has "all" and "default").
fn is_interface(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
    (1..=INTERFACE_BYTES_MAX).contains(&name.len())
        && !name.chars().any(bad)
        && !matches!(name, "." | ".." | "all" | "default" | "lo")
}
