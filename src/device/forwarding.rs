//! Whether the host forwards IPv4 packets that it gets from a device.

use std::fs;

/// Where the kernel says it, for each interface (`Documentation/networking/ip-sysctl.rst`).
const CONF: &str = "/proc/sys/net/ipv4/conf";

/// Whether packets from a device may go on to another one. Where that cannot be found out, they
/// may. What a bridge takes away before is not looked at.
pub fn may_forward(device: &str) -> bool {
    ["all", device].iter().any(|name| is_on(&format!("{CONF}/{name}/forwarding")))
}

fn is_on(path: &str) -> bool {
    !fs::read_to_string(path).is_ok_and(|text| text.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_found_out_is_taken_as_forwarding() {
        assert!(may_forward("no-such-device"));
        assert!(is_on("/proc/no/such/file"));
    }
}
