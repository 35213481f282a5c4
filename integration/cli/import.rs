//! Files of wg-quick as configurations.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tunctl::config::{self, Routes};

use crate::program::{Ended, ended, program};

const PRIVATE: &str = "cAdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LGo=";
const PRESHARED: &str = "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";
const PUBLIC: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

/// A site with everything that wg-quick knows.
const SITE: &str = "\
[Interface]
# Name = site-a
PrivateKey = cAdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LGo= # ours
Address = 10.9.0.1/24, fd00:9::1/64
ListenPort = 51821
MTU = 1420
Table = auto
DNS = 1.1.1.1
PostUp = iptables -A FORWARD -i %i -j ACCEPT
SaveConfig = false

[Peer]
PublicKey = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=
PresharedKey = XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=
AllowedIPs = 10.9.0.2/32, 192.168.20.0/24
Endpoint = site-b.example:51820
PersistentKeepalive = 25
";

const SITE_TOML: &str = "\
# What FILE, a file of wg-quick, means to tunctl.
#
# Left out:
#   line 8: DNS = 1.1.1.1: set it by the means of the system
#   line 9: PostUp = iptables -A FORWARD -i %i -j ACCEPT: tunctl runs no commands; a service that does can go with it
#   line 10: SaveConfig = false: tunctl never writes its file

name = \"wg0\"

[wireguard]
listen = \"[::]:51821\"
private_key_file = \"/etc/tunctl/wg0.key\"

[[network]]
name = \"wg0\"
# WireGuard has no place for the number.
vni = 1
device = \"tun\"
interface = \"wg0\"
addresses = [\"10.9.0.1/24\", \"fd00:9::1/64\"]
mtu = 1420
routes = \"auto\"

# [Peer] on line 12.
[[peer]]
name = \"peer-1\"
transport = \"wireguard\"
endpoint = \"site-b.example:51820\"
public_key = \"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\"
preshared_key_file = \"/etc/tunctl/wg0-peer-1.psk\"
persistent_keepalive = 25
allowed_ips = [\"10.9.0.2/32\", \"192.168.20.0/24\"]
";

#[test]
fn file_is_printed_as_configuration_without_keys() {
    let directory = tempfile::tempdir().unwrap();

    let (file, ended) = import(&directory, "wg0.conf", SITE, &[]);

    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, SITE_TOML.replace("FILE", &file));
    let lines: Vec<_> = ended.stderr.lines().collect();
    let service = "tunctl runs no commands; a service that does can go with it";
    let expected = [
        format!("tunctl: {file}: line 8: DNS is left out: set it by the means of the system"),
        format!("tunctl: {file}: line 9: PostUp is left out: {service}"),
        format!("tunctl: {file}: line 10: SaveConfig is left out: tunctl never writes its file"),
        "tunctl: no key is in the output; this makes the files that it names:".to_owned(),
        "  mkdir -p /etc/tunctl".to_owned(),
    ];
    assert_eq!(lines[..5], expected);
    assert_eq!(lines.len(), 7);
    for secret in [PRIVATE, PRESHARED] {
        assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret));
    }
    config::parse("f", &ended.stdout).unwrap_or_else(|errors| panic!("{errors}"));
}

#[test]
fn printed_commands_make_the_key_files() {
    let directory = tempfile::tempdir().unwrap();
    let (_, ended) = import(&directory, "it's a site.conf", SITE, &["--name", "wg0"]);
    let keys = directory.path().join("keys");
    let commands: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("  ")).collect();
    let script = commands.join("\n").replace("/etc/tunctl", keys.to_str().unwrap());

    let run = || Command::new("sh").args(["-e", "-c", &script]).output().unwrap();
    let output = run();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_keys(&keys);
    assert!(!run().status.success(), "files are overwritten");
}

#[test]
fn keys_are_written_on_request_and_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    fs::create_dir(&keys).unwrap();
    let options = ["--write-keys", keys.to_str().unwrap()];

    let (file, ended) = import(&directory, "wg0.conf", SITE, &options);

    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_keys(&keys);
    let own = keys.join("wg0.key");
    assert!(ended.stderr.ends_with(&format!(
        "tunctl: wrote {}\ntunctl: wrote {}\n",
        own.display(),
        keys.join("wg0-peer-1.psk").display()
    )));
    let sound = directory.path().join("wg0.toml");
    fs::write(&sound, &ended.stdout).unwrap();
    let (_, read) = config::load_with_keys(&sound).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(*read.unwrap().private.to_base64(), PRIVATE);

    // Files that have their keys are as good as written.
    let again = || self::ended(program().arg("import").arg(&file).args(options));
    let second = again();
    assert_eq!((second.code, &second.stdout), (Some(0), &ended.stdout), "{}", second.stderr);
    assert!(!second.stderr.contains("wrote"), "{}", second.stderr);
    assert_keys(&keys);

    // The second file has another key, or is none: the first is not written either.
    let there = keys.join("wg0-peer-1.psk");
    let nothing = "nothing is overwritten, nothing was written";
    let path = there.display();
    for (text, mode, message) in [
        (PRIVATE, 0o600, format!("{path}: is there already with another key: {nothing}")),
        (
            PRESHARED,
            0o644,
            format!(
                "{path}: mode 0644: expected a file that only its owner can use (chmod 600); it is \
                 there already: {nothing}"
            ),
        ),
    ] {
        let _ = fs::remove_file(&own);
        fs::write(&there, text).unwrap();
        fs::set_permissions(&there, fs::Permissions::from_mode(mode)).unwrap();
        let refused = again();
        let message = format!("tunctl: {message}\n");
        assert_eq!((refused.code, refused.stdout.as_str(), refused.stderr), (Some(1), "", message));
        assert_eq!(fs::read_to_string(&there).unwrap(), text);
        assert!(!own.exists());
    }
}

#[test]
fn directory_for_keys_that_is_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("keys");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let expected = "expected a directory, which tunctl does not make";
    for (path, fault) in [
        (&missing, format!("No such file or directory (os error 2); {expected}")),
        (&file, expected.to_owned()),
    ] {
        let options = ["--write-keys", path.to_str().unwrap()];
        let (_, ended) = import(&directory, "wg0.conf", SITE, &options);
        let message = format!("tunctl: --write-keys {}: {fault}\n", path.display());
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr), (Some(1), "", message));
    }
    assert!(!missing.exists());
}

#[test]
fn default_route_gets_the_table_and_the_mark_of_wg_quick() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "[Interface]\nPrivateKey = {PRIVATE}\nAddress = 10.9.0.2\n[Peer]\nPublicKey = {PUBLIC}\n\
         AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = [2001:db8::2]:51820\n"
    );
    let (file, ended) = import(&directory, "wg0.conf", &text, &[]);
    let config = config::parse("f", &ended.stdout).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.underlay.fwmark, Some(51_820));
    assert_eq!(config.networks[0].routes, Routes::Table(51_820));
    let note = format!(
        "tunctl: {file}: the default route is in table 51820, which wg-quick makes the system use; \
         with tunctl do it beforehand: \
         ip -4 rule add not fwmark 51820 table 51820; \
         ip -4 rule add table main suppress_prefixlength 0; \
         ip -6 rule add not fwmark 51820 table 51820; \
         ip -6 rule add table main suppress_prefixlength 0; \
         sysctl -w net.ipv4.conf.all.src_valid_mark=1\n"
    );
    assert!(ended.stderr.starts_with(&note), "{}", ended.stderr);

    for (table, routes) in [("off", Routes::Off), ("main", Routes::Auto), ("7", Routes::Table(7))] {
        let text = text.replace("[Peer]", &format!("Table = {table}\n[Peer]"));
        let (_, ended) = import(&directory, "wg0.conf", &text, &[]);
        let config = config::parse("f", &ended.stdout).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((config.networks[0].routes, config.underlay.fwmark), (routes, None));
    }
}

#[test]
fn name_is_the_files_or_the_given_one() {
    let directory = tempfile::tempdir().unwrap();
    for (file, options, name, interface) in [
        ("wg0.conf", &[][..], "wg0", "wg0"),
        ("my site.conf", &[], "my-site", "my-site"),
        ("a-very-long-name-of-a-site.conf", &[], "a-very-long-name-of-a-site", "tun-a-very-long"),
        ("x.conf", &["--name", "office"], "office", "office"),
    ] {
        let (_, ended) = import(&directory, file, SITE, options);
        let config = config::parse("f", &ended.stdout).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((config.name.as_str(), config.networks[0].name.as_str()), (name, name));
        assert_eq!(config.networks[0].interface, interface);
    }
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let (file, ended) =
        import(&directory, "a.conf", "[Interface]\nMTU = x\nPort = 1\n[Peer]\n", &[]);
    let known = "Address, DNS, FwMark, ListenPort, MTU, PostDown, PostUp, PreDown, PreUp, \
                 PrivateKey, SaveConfig, Table";
    let expected = format!(
        "tunctl: {file}:2:7: MTU = x: expected a number from 576 to 65485\n\
         tunctl: {file}:3:8: Port = 1: unknown key: expected one of {known}\n\
         tunctl: {file}:4:1: PublicKey: missing: expected the peer's PublicKey\n"
    );
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr), (Some(2), "", expected));

    // What only the whole says: the peer's address is our own.
    let text = format!(
        "[Interface]\nAddress = 10.9.0.1\n[Peer]\nPublicKey = {PUBLIC}\nAllowedIPs = 10.9.0.1\n"
    );
    let (file, ended) = import(&directory, "a.conf", &text, &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines[0], format!("tunctl: {file} means what tunctl does not take"));
    assert!(lines[1].ends_with("expected prefixes without 10.9.0.1, our own"), "{}", lines[1]);
}

#[test]
fn missing_private_key_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (file, ended) = import(&directory, "a.conf", "[Interface]\n", &[]);
    let note = format!("tunctl: {file}: there is no PrivateKey: put it into /etc/tunctl/a.key\n");
    assert_eq!((ended.code, ended.stderr), (Some(0), note));
}

#[test]
fn file_that_cannot_be_read_is_told() {
    let ended = ended(program().args(["import", "/missing/wg0.conf"]));
    let message = "tunctl: /missing/wg0.conf: No such file or directory (os error 2)\n";
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(2), "", message));
}

/// Writes a file and imports it; gives its path too.
fn import(directory: &TempDir, name: &str, text: &str, options: &[&str]) -> (String, Ended) {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    let ended = ended(program().arg("import").arg(&path).args(options));
    (path.display().to_string(), ended)
}

/// Both keys are in their files, which only their owner can use.
fn assert_keys(directory: &Path) {
    for (file, key) in [("wg0.key", PRIVATE), ("wg0-peer-1.psk", PRESHARED)] {
        let path = directory.join(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{key}\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
