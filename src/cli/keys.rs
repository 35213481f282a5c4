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
    "    device_offload: { gso, uso, csum, gro, big_tcp, refused },"
    "    sent_packets, sent_bytes, received_packets, received_bytes, received_bad_checksums }]"
    "  underlay: [{ address, carrier, gso, gro, refused, receive_buffer_bytes, send_buffer_bytes }]"
    "  worker: { threads, waits, would_block, device_reads, device_read_packets, device_writes,"
    "    device_written_packets, device_big_writes, receives, received_datagrams, sends,"
    "    sent_datagrams }"
);

pub(super) const PEERS: &str = keys!(
    "[{ name, transport, public_key, endpoint, last_handshake_secs, local, path_mtu, networks,"
    "  entries, sent_packets, sent_bytes, received_packets, received_bytes, last_received_secs,"
    "  drops, quic }]"
    "  quic: { dialled, certificate_sha256, certificate_expires, group, cipher, rtt_us, window_bytes,"
    "    lost_packets }"
    "local and last_received_secs are null until something arrived; public_key is of wireguard peers,"
    "last_handshake_secs of these and of quic peers; quic is null without a connection."
    "certificate_expires is in seconds since 1970."
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

pub(super) const BENCH: &str = concat!(
    "Cases: raw (no tunnel), kernel-vxlan, vxlan-tap, vxlan-tun, vxlan-tap-to-kernel,\n",
    "kernel-to-vxlan-tap, wireguard-tun, wireguard-tap, quic-tun, quic-tap; and where these programs\n",
    "are installed wireguard-go, boringtun-cli, gotatun, vpncloud, openvpn.\n",
    "Measures: tcp-N (N streams), udp-64 (one flow, 64 bytes, as fast as it goes), udp-mixed (64 flows,\n",
    "64 to 1400 bytes), udp-64-lossless and udp-mixed-lossless (the highest rate with at most 0.1 %\n",
    "lost), rtt and rtt-loaded (half the time of request and response, idle and beside a TCP stream);\n",
    "of vxlan-tap also table (a million learned MACs) and spread (10 000 destinations).\n",
    "\n",
    "JSON: { tunctl, machine, settings, started_unix_secs, announced_secs, took_secs, repeated_groups,\n",
    "  left_out_samples, roofline, cases, missing, samples }\n",
    "  tunctl: { version, commit, optimized }\n",
    "  machine: { cpu, cores, kernel, load_average }\n",
    "  settings: { underlay, mtu, congestion, set, secs, rounds, measures }\n",
    "  roofline (null without --roofline): { underlay, run_bytes, run_segments, terms, limits }\n",
    "  cases: [{ name, kind, encrypted, resident_bytes, drops: { REASON: packets },\n",
    "    limit: { device, cipher, gbit, woken_gbit, bound, share: { median, min, max } },\n",
    "    measures: { MEASURE: { rounds, disturbed_rounds, figures: { KEY: { median, min, max,\n",
    "      to_raw: { median, min, max }, to_kernel_vxlan: { median, min, max } } } } } }]\n",
    "  missing: [{ case, measure, figures, reason }]: why something above is null\n",
    "  samples: [{ round, attempt, measure, case, counted, fault, values: { KEY: value },\n",
    "    usage: { wall_secs, machine_cpu_secs, daemon_cpu_secs, steal_secs, foreign_cpu_secs,\n",
    "      disturbed } }]\n",
    "Keys are added, never renamed or removed. Their meaning and units, and the keys of each measure's\n",
    "figures, are in the documentation of tunctl::bench::report (cargo doc --open).\n",
    "\n",
    "Exit codes: 0 all was measured, 1 something could not be, 2 wrong usage."
);
