//! The kernel's release.

use nix::sys::utsname::uname;

/// Gives the release as the kernel says it, such as `6.1.0-18-amd64`.
pub fn release() -> String {
    uname().map_or_else(|_| String::new(), |name| name.release().to_string_lossy().into_owned())
}

/// Whether a release is this version or a later one. One that is not understood is not.
pub fn is_at_least(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= version,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        let cases = [
            ("6.3.0", true),
            ("6.3", true),
            ("6.18.44-fc-v669", true),
            ("7.0.0-rc1", true),
            ("6.2.16", false),
            ("5.15.0-91-generic", false),
            ("6", false),
            ("", false),
            ("linux", false),
        ];
        for (release, expected) in cases {
            assert_eq!(is_at_least(release, (6, 3)), expected, "{release}");
        }
        assert!(is_at_least(&release(), (2, 6)), "{}", release());
    }
}
