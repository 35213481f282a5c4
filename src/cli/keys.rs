//! What `--help` says of the JSON that a verb prints: its keys.

/// Puts under each list of keys where to read more.
macro_rules! keys {
    ($($line:literal)+) => {
        concat!(
            "JSON: ",
            $($line, "\n",)+
            "Keys are added, never renamed or removed. Their meaning and units are in the documentation\n",
            "of tunctl::api::report (cargo doc --open)."
        )
    };
}

pub(super) const STATUS: &str = keys!(
    "{ name, version, pid, uptime_secs, networks, underlay, drops_total, worker }"
    "  networks: [{ name, vni, device, interface, mtu, addresses, peers, entries, max_entries,"
    "    device_offload: { gso, uso, csum, gro, refused },"
    "    sent_packets, sent_bytes, received_packets, received_bytes, received_bad_checksums }]"
    "  underlay: [{ address, carrier, gso, gro, refused, receive_buffer_bytes, send_buffer_bytes }]"
    "  worker: { threads, waits, would_block, device_reads, device_read_packets, device_writes,"
    "    device_written_packets, receives, received_datagrams, sends, sent_datagrams }"
);

pub(super) const PEERS: &str = keys!(
    "[{ name, transport, endpoint, local, path_mtu, networks, entries, sent_packets, sent_bytes,"
    "  received_packets, received_bytes, last_received_secs, drops }]"
    "local and last_received_secs are null until something arrived."
);

pub(super) const FDB: &str = keys!(
    "[{ network, vlan, mac or ip, place, static, idle_secs, moves }]"
    "place is \"local\" or a peer's name; vlan is 0 for untagged frames; idle_secs is null for static"
    "entries. Entries that come or go while the tables are printed may be missing or there twice."
);

pub(super) const ROUTES: &str = keys!("[{ network, prefix, peers, shared }]");

pub(super) const DROPS: &str = keys!(
    "{ total, reasons, networks: [{ name, reasons }], peers: [{ name, reasons }] }"
    "  reasons: [{ reason, packets, explanation }]"
);
