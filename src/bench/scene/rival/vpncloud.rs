//! VpnCloud with a tun device and AES-256-GCM.

use std::process::Command;

use ipnet::Ipv4Net;

use super::End;
use crate::bench::BenchError;
use crate::bench::scene::wire::INTERFACE;
use crate::lab;

/// The UDP port.
const PORT: u16 = 3210;

/// Completes the command that starts the program, and makes the host one that it can start on.
pub(super) fn prepare(command: &mut Command, end: &End<'_>) -> Result<(), BenchError> {
    let (near, far) = (end.near.underlay, end.far.underlay);
    command.args(["--type", "tun", "--device", end.interface, "--mode", "router"]);
    command.args(["--listen", &format!("{near}:{PORT}"), "--peer", &format!("{far}:{PORT}")]);
    command.args(["--claim", &format!("{}/32", end.near.overlay), "--no-auto-claim"]);
    command.args(["--password", "tunctl bench", "--algorithm", "aes256", "--no-port-forwarding"]);
    // It asks for the address of the host's default route and ends if there is none.
    lab::add_route(&end.near.host, INTERFACE, Ipv4Net::default().into(), far.into())?;
    Ok(())
}
