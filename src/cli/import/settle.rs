//! What `wg` does with a file by the order of its lines, and what tunctl has no place for.

use std::collections::HashSet;

use ipnet::IpNet;

use super::quick::{LeftOut, OnLine, Peer};

/// Takes multicast prefixes out: nothing is sent from them, and tunctl has no routes to them.
pub(super) fn leave_multicast_out(peers: &mut [Peer], left_out: &mut Vec<LeftOut>) {
    for peer in peers {
        peer.allowed_ips.retain(|prefix| {
            let is_host = !prefix.value.network().is_multicast();
            if !is_host {
                left_out.push(of_prefix(prefix, "tunctl takes no multicast addresses".to_owned()));
            }
            is_host
        });
    }
}

/// Gives a prefix that several peers list to the last of them, as `wg` does.
pub(super) fn give_prefixes_to_the_last(peers: &mut [Peer], left_out: &mut Vec<LeftOut>) {
    let mut of_later: HashSet<IpNet> = HashSet::new();
    for peer in peers.iter_mut().rev() {
        peer.allowed_ips.retain(|prefix| {
            let is_free = !of_later.contains(&prefix.value);
            if !is_free {
                left_out.push(of_prefix(prefix, "a later peer has it".to_owned()));
            }
            is_free
        });
        of_later.extend(peer.allowed_ips.iter().map(|prefix| prefix.value));
    }
}

/// Takes peers without prefixes out: nothing goes to them or comes from them.
pub(super) fn leave_idle_peers_out(peers: &mut Vec<Peer>, left_out: &mut Vec<LeftOut>) {
    peers.retain(|peer| {
        let is_idle = peer.allowed_ips.is_empty();
        if is_idle {
            left_out.push(LeftOut {
                line: peer.line,
                key: "[Peer]".to_owned(),
                value: None,
                why: "without AllowedIPs nothing goes to it or comes from it".to_owned(),
            });
        }
        !is_idle
    });
}

fn of_prefix(prefix: &OnLine<IpNet>, why: String) -> LeftOut {
    let value = Some(prefix.value.to_string());
    LeftOut { line: prefix.line, key: "AllowedIPs".to_owned(), value, why }
}
