//! Where a transport listens: an address with its port.

use std::net::SocketAddr;

use super::host_port;
use super::section::Section;
use super::underlay::is_own_address;

/// Reads `listen` of a transport that has one port.
pub(super) fn read(table: &mut Section<'_>, example: &str, default: SocketAddr) -> SocketAddr {
    let expected = format!("expected an address with its port, such as \"{example}\"");
    let Some(listen) = table.parsed::<SocketAddr>("listen", &expected) else { return default };
    let Some(listen) = host_port::canonical(listen) else {
        table.fault("listen", expected);
        return default;
    };
    if !is_own_address(listen.ip()) {
        let expected = "expected an address of this host, or \"[::]\" or \"0.0.0.0\", with a port";
        table.fault("listen", expected);
    }
    listen
}
