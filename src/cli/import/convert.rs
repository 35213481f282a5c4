//! A file of wg-quick as our configuration. Keys are referred to by files.

use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};

use toml::Value;
use zeroize::Zeroizing;

use super::quick::{Interface, Peer, Quick, Table};

/// The longest name of an interface: `IFNAMSIZ` (linux/if.h) without the final zero.
const INTERFACE_LEN_MAX: usize = 15;

/// The mark and the table that wg-quick takes for default routes.
const DEFAULT_ROUTE_MARK: u32 = 51_820;

/// What a file means.
pub(super) struct Import {
    /// The configuration.
    pub(super) text: String,
    /// The keys that it refers to.
    pub(super) keys: Vec<Key>,
    /// What the user has to see to.
    pub(super) notes: Vec<String>,
}

/// A key, where it should be, and where it is.
pub(super) struct Key {
    pub(super) path: PathBuf,
    pub(super) base64: Zeroizing<String>,
    pub(super) line: usize,
}

/// Gives the configuration of a daemon named `name`, with its keys in `directory`; `source` is the
/// name of the file.
pub(super) fn convert(quick: &Quick, name: &str, directory: &Path, source: &str) -> Import {
    let mut import = Import { text: String::new(), keys: Vec::new(), notes: Vec::new() };
    import.head(quick, name, source);
    let rules = Rules::of(quick);
    if let Some(mark) = quick.interface.fwmark.or(rules.as_ref().map(|rules| rules.mark)) {
        import.line(format_args!("\n[underlay]\nfwmark = 0x{mark:x}"));
    }
    import.wireguard(&quick.interface, name, directory);
    import.network(&quick.interface, name, rules.as_ref());
    for (number, peer) in (1..).zip(&quick.peers) {
        import.peer(peer, &format!("peer-{number}"), name, directory);
    }
    import.notes.extend(rules.iter().map(Rules::note));
    import
}

impl Import {
    fn line(&mut self, line: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn head(&mut self, quick: &Quick, name: &str, source: &str) {
        let source = source.replace(char::is_control, " ");
        self.line(format_args!("# What {source}, a file of wg-quick, means to tunctl."));
        if !quick.left_out.is_empty() {
            self.line("#\n# Left out:");
        }
        for left_out in &quick.left_out {
            let value = left_out.value.as_ref().map(|v| format!(" = {v}")).unwrap_or_default();
            let (line, key, why) = (left_out.line, &left_out.key, &left_out.why);
            self.line(format_args!("#   line {line}: {key}{value}: {why}"));
            self.notes.push(format!("line {line}: {key} is left out: {why}"));
        }
        self.line(format_args!("\nname = {}", quoted(name)));
    }

    fn wireguard(&mut self, interface: &Interface, name: &str, directory: &Path) {
        self.line("\n[wireguard]");
        match interface.listen_port {
            Some(port) => self.line(format_args!("listen = \"[::]:{port}\"")),
            None => self.line(
                "# Without ListenPort wg takes any free port; this is the default.\n\
                               listen = \"[::]:51820\"",
            ),
        }
        let path = directory.join(format!("{name}.key"));
        self.line(format_args!("private_key_file = {}", quoted(&path.display())));
        match &interface.private_key {
            Some(key) => {
                self.keys.push(Key { path, base64: key.value.to_base64(), line: key.line });
            }
            None => {
                self.notes.push(format!("there is no PrivateKey: put it into {}", path.display()))
            }
        }
    }

    fn network(&mut self, interface: &Interface, name: &str, rules: Option<&Rules>) {
        self.line(format_args!("\n[[network]]\nname = {}", quoted(name)));
        self.line("# WireGuard has no place for the number.\nvni = 1\ndevice = \"tun\"");
        if name.len() <= INTERFACE_LEN_MAX {
            self.line(format_args!("interface = {}", quoted(name)));
        }
        if !interface.addresses.is_empty() {
            self.line(format_args!("addresses = {}", list(&interface.addresses)));
        }
        if let Some(mtu) = interface.mtu {
            self.line(format_args!("mtu = {mtu}"));
        }
        match (interface.table, rules) {
            (Table::Off, _) => self.line("routes = \"off\""),
            (Table::Number(table), _) => self.line(format_args!("routes = {table}")),
            (Table::Auto, Some(rules)) => self.line(format_args!("routes = {}", rules.mark)),
            (Table::Auto | Table::Main, _) => self.line("routes = \"auto\""),
        }
    }

    fn peer(&mut self, peer: &Peer, own_name: &str, name: &str, directory: &Path) {
        self.line(format_args!("\n# [Peer] on line {}.\n[[peer]]", peer.line));
        self.line(format_args!("name = {}\ntransport = \"wireguard\"", quoted(own_name)));
        if let Some(endpoint) = &peer.endpoint {
            self.line(format_args!("endpoint = {}", quoted(endpoint)));
        }
        if let Some(key) = peer.public_key {
            self.line(format_args!("public_key = {}", quoted(&key)));
        }
        if let Some(key) = &peer.preshared_key {
            let path = directory.join(format!("{name}-{own_name}.psk"));
            self.line(format_args!("preshared_key_file = {}", quoted(&path.display())));
            self.keys.push(Key { path, base64: key.value.to_base64(), line: key.line });
        }
        if peer.keepalive_secs != 0 {
            self.line(format_args!("persistent_keepalive = {}", peer.keepalive_secs));
        }
        let prefixes: Vec<_> = peer.allowed_ips.iter().map(|prefix| prefix.value).collect();
        self.line(format_args!("allowed_ips = {}", list(&prefixes)));
    }
}

/// The rules by which wg-quick lets a default route lead into the tunnel.
struct Rules {
    mark: u32,
    families: Vec<&'static str>,
}

impl Rules {
    fn of(quick: &Quick) -> Option<Self> {
        let prefixes = quick.peers.iter().flat_map(|peer| &peer.allowed_ips);
        let mut defaults: Vec<_> = prefixes
            .filter(|prefix| prefix.value.prefix_len() == 0)
            .map(|prefix| if prefix.value.addr().is_ipv4() { "-4" } else { "-6" })
            .collect();
        defaults.sort_unstable();
        defaults.dedup();
        let is_auto = quick.interface.table == Table::Auto;
        let mark = quick.interface.fwmark.unwrap_or(DEFAULT_ROUTE_MARK);
        (is_auto && !defaults.is_empty()).then_some(Self { mark, families: defaults })
    }

    fn note(&self) -> String {
        let mark = self.mark;
        let rules = self.families.iter().map(|family| {
            format!(
                "ip {family} rule add not fwmark {mark} table {mark}; \
                 ip {family} rule add table main suppress_prefixlength 0"
            )
        });
        let rules: Vec<_> = rules.collect();
        format!(
            "the default route is in table {mark}, which wg-quick makes the system use; with \
             tunctl do it beforehand: {}; sysctl -w net.ipv4.conf.all.src_valid_mark=1",
            rules.join("; ")
        )
    }
}

fn quoted(value: &(impl Display + ?Sized)) -> String {
    Value::String(value.to_string()).to_string()
}

fn list(items: &[impl Display]) -> String {
    let items: Vec<_> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}
