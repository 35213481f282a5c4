//! Where a datagram goes that needs no more than an address, or a name that has one, and a port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The longest host name and the longest of its labels, characters (RFC 1035 section 2.3.4).
const NAME_LEN_MAX: usize = 253;
const LABEL_LEN_MAX: usize = 63;

/// An address and a port, or a host name that is to be resolved and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPort {
    /// An address, never an IPv4 address in IPv6 form.
    Address(SocketAddr),
    /// A host name, and the port.
    Name(String, u16),
}

/// The text is neither an address nor a host name with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAHostPort;

impl FromStr for HostPort {
    type Err = NotAHostPort;

    fn from_str(text: &str) -> Result<Self, NotAHostPort> {
        if let Ok(socket) = text.parse() {
            return canonical(socket).map(Self::Address).ok_or(NotAHostPort);
        }
        let (name, port) = text.rsplit_once(':').ok_or(NotAHostPort)?;
        let is_number = port.chars().all(|c| c.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_number && *port != 0);
        match port {
            Some(port) if is_host_name(name) => Ok(Self::Name(name.to_owned(), port)),
            Some(_) | None => Err(NotAHostPort),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPort::Address(address) => address.fmt(f),
            HostPort::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// Gives the address as it is compared; none if it has no port, or has a scope, which another
/// start of the system may number otherwise.
pub(super) fn canonical(socket: SocketAddr) -> Option<SocketAddr> {
    let has_scope = matches!(socket, SocketAddr::V6(v6) if v6.scope_id() != 0);
    let address: IpAddr = socket.ip().to_canonical();
    (socket.port() != 0 && !has_scope).then(|| SocketAddr::new(address, socket.port()))
}

/// Whether the text is a host name (RFC 1123 section 2.1). What ends in a number is a mistyped
/// address; underscores are in use.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_label = |label: &str| {
        (1..=LABEL_LEN_MAX).contains(&label.len())
            && label.chars().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= NAME_LEN_MAX
        && name.split('.').all(is_label)
        && !last.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_read_with_their_port() {
        let name = |name: &str, port| Ok(HostPort::Name(name.to_owned(), port));
        let address = |text: &str| Ok(HostPort::Address(text.parse().unwrap()));
        for (text, expected) in [
            ("192.0.2.2:51820", address("192.0.2.2:51820")),
            ("[2001:db8::2]:1", address("[2001:db8::2]:1")),
            ("[::ffff:192.0.2.2]:65535", address("192.0.2.2:65535")),
            ("site-b.example:51820", name("site-b.example", 51_820)),
            ("site-b:51820", name("site-b", 51_820)),
            ("4.example.:1", name("4.example.", 1)),
        ] {
            let read = text.parse::<HostPort>();
            assert_eq!(read, expected, "{text}");
            let again = read.map(|read| read.to_string()).unwrap_or_default();
            assert_eq!(again.parse::<HostPort>(), expected, "{again}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            ":",
            ":51820",
            "192.0.2.2",
            "192.0.2.2:0",
            "192.0.2.2:65536",
            "192.0.2.256:51820",
            "2001:db8::2:51820",
            "[fe80::1%2]:51820",
            "site-b.example",
            "site-b.example:",
            "site-b.example:0",
            "site-b.example:+1",
            "site-b.example:65536",
            "site..example:1",
            "-site.example:1",
            "site b:1",
            "10:51820",
            "s\u{ee}te.example:1",
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(NotAHostPort), "{text:?}");
        }
        let label = "a".repeat(64);
        assert_eq!(format!("{label}:1").parse::<HostPort>(), Err(NotAHostPort));
        let long = format!("{}a:1", "abc.".repeat(64));
        assert_eq!(long.parse::<HostPort>(), Err(NotAHostPort));
    }
}
