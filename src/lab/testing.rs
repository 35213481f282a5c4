//! For tests: hosts, where this machine can make them, and a wire between two.

use super::{End, Host, LabError, connect};
use crate::sys::testing::skip;

/// Makes a host. `None` where this machine cannot: then the test has nothing to say.
pub(crate) fn host(name: &str) -> Option<Host> {
    match Host::new(name) {
        Err(error @ LabError::NetworkNamespace { .. }) => {
            skip(&error.to_string());
            None
        }
        made => Some(made.unwrap()),
    }
}

/// Makes two hosts with a wire between them: `wire0` in both, with 192.0.2.1 and 2001:db8::1 in
/// the first, 192.0.2.2 and 2001:db8::2 in the second.
pub(crate) fn wired_hosts(mtu: u32) -> Option<[Host; 2]> {
    let hosts = [host("left")?, host("right")?];
    let addresses = [1, 2].map(|n| {
        [format!("192.0.2.{n}/24"), format!("2001:db8::{n}/64")].map(|text| text.parse().unwrap())
    });
    let end = |n: usize| End { host: &hosts[n], interface: "wire0", addresses: &addresses[n] };
    connect(end(0), end(1), mtu).unwrap();
    Some(hosts)
}
