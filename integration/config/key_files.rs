//! The key files that a configuration names.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tunctl::config;
use tunctl::transport::quic::issue::{Authority, Dates, Issued, self_signed};

/// A key pair (RFC 7748 section 6.1, clamped), and another public key.
const PRIVATE: &str = "cAdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LGo=";
const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
const OTHER: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

/// A key (PKCS #1) that is too short for TLS; it protects nothing.
const RSA_1024: &str = "\
MIICXAIBAAKBgQDh6eryAltmKLvjfGx46B+CFwOlj624DkTNG7yilObTtECYNeuY\n\
/BMPbNMj7Cd0bLq2ZiidFom+KnBysdD7TruDVozdp+tRdrGbgynn/v7BECKSHgqi\n\
/uYX8R7KvGTV/x310uRWLyinXn+SVNJO9JvQmK4TNg+PsPDa2aosUJY1xQIDAQAB\n\
AoGBAIBm1IuivVIuOsRMVtbNkAL/k6oJJMKlEYPGjQuXOC8Bl2kr1HGKbEbrIoKb\n\
Wb15gxHitJi8U6PLOUhnOpFrqXUl5JATALkNKGE9DBUk1A7U6y1Jy3mzSwS55zCw\n\
mThpBfUQXKHyC3v0zHylbDspuAE7kI0jKoSOd1p5IJDXw4bBAkEA/y68mcyMbl/g\n\
fbkENwZ9+byppMI2Zy7QwJJwg3UMz7nBUmDldKHnKnfEWDr5NZ+PO6sfb+ntqHhx\n\
sKjSJZepFQJBAOKjLdWdUNLI+3vjom+5LF3aZ7+3M4mPZxmYF/+zouANAs21lo0W\n\
lPxoLU+rNqsNsQ3TfdyRaXpfJ3YG6ZPgJfECQExEKKQCyVnXl92bZVIYw5/XLhCK\n\
5v2RtVxIqA3x9sFCsC+xvAJOvSspHmqMPZ00MffQXhXxoVD/pmL5Ic2QdT0CQFoh\n\
SOYN5QmeshyH356Mxq8gX2gn5FANfpP4H3sqJljx8655S8EaPO/QQkzPqzMFg+ca\n\
t5ATKB5pXxkaEKQlXRECQFQiLVH5yObAQVIIlv1K2UZ6LNTBxH7TjXMboNlJ3H69\n\
68YI6AZ91svA61XlR2aryeiLLrp1XYit4l9wqmFwB60=";

#[test]
fn keys_come_with_the_configuration_in_the_order_of_the_peers() {
    let site = Site::new();
    site.write("a.key", PRIVATE, 0o600);
    site.write("b.psk", OTHER, 0o400);
    let file = site.config("a.key", &[(OTHER, None), (&key(7), Some("b.psk"))]);

    let (config, keys) = config::load_with_keys(&file).unwrap();

    let keys = keys.unwrap();
    assert_eq!(keys.private.public().to_string(), PUBLIC);
    let preshared: Vec<_> =
        keys.preshared.iter().map(|key| Some(key.as_ref()?.to_base64().to_string())).collect();
    assert_eq!(preshared, [None, Some(OTHER.to_owned())]);
    // Relative paths start where the file is.
    assert_eq!(config.wireguard.unwrap().private_key_file, site.path("a.key"));
}

#[test]
fn key_files_are_not_read_where_only_the_file_is_asked_for() {
    let site = Site::new();
    assert!(config::load(&site.config("missing.key", &[(OTHER, None)])).is_ok());
}

#[test]
fn all_that_is_wrong_with_key_files_is_told_at_once() {
    let site = Site::new();
    site.write("a.key", PRIVATE, 0o640);
    site.write("b.psk", "not a key", 0o600);
    let file =
        site.config("a.key", &[(OTHER, Some("b.psk")), (&key(7), Some("c.psk")), (OTHER, None)]);
    let expected = [
        "4:20: wireguard.private_key_file = \"a.key\": mode 0640: expected a file that \
         only its owner can use (chmod 600)",
        "14:22: peer[0].preshared_key_file = \"b.psk\": expected a key: 32 bytes as 44 \
         characters of base64",
        "21:22: peer[1].preshared_key_file = \"c.psk\": No such file or directory (os \
         error 2)",
        "27:14: peer[2].public_key = \"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\": expected \
         another key than that of peer[0]: it is all that tells peers apart",
    ];
    let expected = expected.map(|line| format!("{}:{line}", file.display()));

    let errors = config::load_with_keys(&file).unwrap_err().to_string();
    assert_eq!(errors.lines().collect::<Vec<_>>(), expected);

    let expected: String = expected.iter().map(|line| format!("tunctl: {line}\n")).collect();
    for verb in [&["check"][..], &["run", "--config"]] {
        let tunctl = env!("CARGO_BIN_EXE_tunctl");
        let output = Command::new(tunctl).args(verb).arg(&file).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected, "{verb:?}");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
    }
}

#[test]
fn our_own_public_key_is_no_peers() {
    let site = Site::new();
    site.write("a.key", PRIVATE, 0o600);
    let file = site.config("a.key", &[(PUBLIC, None)]);
    let errors = config::load_with_keys(&file).unwrap_err().to_string();
    let expected = format!(
        "{}:13:14: peer[0].public_key = \"{PUBLIC}\": expected the peer's public key: this is our \
         own, that of wireguard.private_key_file",
        file.display()
    );
    assert_eq!(errors, expected);
}

#[test]
fn key_in_place_of_a_path_is_refused_and_not_shown() {
    let site = Site::new();
    let hex = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
    for misplaced in [PRIVATE, hex] {
        let file = site.config(misplaced, &[(OTHER, Some(misplaced))]);
        let errors = config::load_with_keys(&file).unwrap_err().to_string();
        assert_eq!(errors.matches("; this is the key itself").count(), 2, "{errors}");
        assert!(!errors.contains(misplaced), "{errors}");
    }
}

#[test]
fn all_that_is_wrong_with_quics_files_is_told_at_once() {
    let site = Site::new();
    let (a, b) = (made(), made());
    let quic = |certificate: &str, rest: &str| {
        let text = format!(
            "name = \"wrong-files\"\n[quic]\nprivate_key_file = \"a.pem\"\n\
             certificate_file = \"{certificate}\"\n{rest}\n\
             [[network]]\nname = \"wrong-b\"\nvni = 42\ndevice = \"tap\"\n\
             [[peer]]\nname = \"b\"\ntransport = \"quic\"\n\
             certificate_sha256 = \"{}\"\n",
            b.fingerprint
        );
        site.write("site.toml", &text, 0o644);
        match config::load_with_keys(&site.path("site.toml")) {
            Ok(_) => Vec::new(),
            Err(errors) => {
                let directory = format!("{}/", site.0.path().display());
                errors.to_string().lines().map(|line| line.replace(&directory, "")).collect()
            }
        }
    };
    site.write("a.crt", &a.certificate, 0o644);
    site.write("a.pem", &a.key, 0o600);
    site.write("b.crt", &b.certificate, 0o644);
    let dates = Dates { now: SystemTime::now(), days: 30 };
    let (ca, root) = Authority::generate("tunnels", dates).unwrap();
    let (other, _) = Authority::generate("tunnels", dates).unwrap();
    site.write("ca.crt", &root.certificate, 0o644);
    let revoked = |ca: &Authority| {
        let issued = ca.issue("c", dates).unwrap();
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        ca.revoke(&certificate, None, SystemTime::now()).unwrap()
    };
    site.write("ca.crl", &revoked(&ca), 0o644);
    site.write("other.crl", &revoked(&other), 0o644);
    site.write("broken.crl", "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n", 0o644);
    let both = |ca: &str, crl: &str| format!("ca_file = \"{ca}\"\ncrl_file = \"{crl}\"");

    assert_eq!(quic("a.crt", ""), [""; 0]);
    assert_eq!(quic("a.crt", &both("ca.crt", "ca.crl")), [""; 0]);
    assert_eq!(
        quic("b.crt", &both("ca.crt", "other.crl")),
        [
            "site.toml:4:20: quic.certificate_file = \"b.crt\": expected the certificate of the key in \
         quic.private_key_file, a.pem",
            "site.toml:6:12: quic.crl_file = \"other.crl\": list number 1 of the file was not \
         signed by an authority in ca_file",
        ]
    );
    assert_eq!(
        quic("a.crt", &both("ca.crt", "broken.crl")),
        ["site.toml:6:12: quic.crl_file = \"broken.crl\": list number 1 of the file is no \
         certificate revocation list of version 2",]
    );
    fs::set_permissions(site.path("a.pem"), Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        quic("a.pem", &both("missing.crt", "a.crt")),
        [
            "site.toml:3:20: quic.private_key_file = \"a.pem\": mode 0640: expected a file that \
         only its owner can use (chmod 600)",
            "site.toml:4:20: quic.certificate_file = \"a.pem\": expected a PEM certificate, \
         -----BEGIN CERTIFICATE-----",
            "site.toml:5:11: quic.ca_file = \"missing.crt\": No such file or directory (os \
         error 2)",
            "site.toml:6:12: quic.crl_file = \"a.crt\": expected a PEM certificate revocation \
         list, -----BEGIN X509 CRL-----",
        ]
    );
}

#[test]
fn key_that_cannot_be_used_is_told_from_one_that_cannot_be_read() {
    let site = Site::with_quic(&made(), "");
    let passphrase = "the key has a passphrase: expected a PEM private key without one";
    let unusable = "expected a key of ECDSA (P-256, P-384, P-521), of Ed25519, or of RSA with 2048 \
                    bits or more";
    let broken = "expected PEM: its base64 is broken";
    let none = "expected a PEM private key, -----BEGIN PRIVATE KEY-----";
    let pem = |label: &str, content: &str| {
        format!("-----BEGIN {label}-----\n{content}\n-----END {label}-----\n")
    };
    let headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,996DCB9F15BAFB38\n\nAAAA";
    for (key, expected) in [
        (pem("EC PRIVATE KEY", headers), passphrase),
        (pem("RSA PRIVATE KEY", &headers.replace('\n', "\r\n")), passphrase),
        (pem("ENCRYPTED PRIVATE KEY", "AAAA"), passphrase),
        (pem("RSA PRIVATE KEY", RSA_1024), unusable),
        (pem("PRIVATE KEY", "Proc-Type: none"), broken),
        ("a key".to_owned(), none),
    ] {
        site.write("a.pem", &key, 0o600);
        let errors = config::load_with_keys(&site.file()).unwrap_err().to_string();
        let place = format!("{}:3:20: quic.private_key_file", site.file().display());
        assert_eq!(errors, format!("{place} = \"a.pem\": {expected}"), "{key}");
    }
}

#[test]
fn certificate_that_cannot_be_used_today_is_a_fault_for_check_alone() {
    let noon = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * day + 43_200);
    let today = "expected one that can be used today";
    for (now, days, expected) in [
        (noon(18_262), 366, format!("expired on 2021-01-01: {today}")),
        (noon(43_830), 30, format!("can be used from 2090-01-01 only: {today}")),
        (SystemTime::now(), 30, String::new()),
    ] {
        let own = self_signed("site-a", Dates { now, days }).unwrap();
        let site = Site::with_quic(&own, "");

        let output = site.check();

        let place = format!("tunctl: {}:4:20: quic.certificate_file", site.file().display());
        let (code, message) = match expected.as_str() {
            "" => (0, String::new()),
            expected => (2, format!("{place} = \"a.crt\": {expected}\n")),
        };
        assert_eq!(String::from_utf8_lossy(&output.stderr), message);
        assert_eq!(output.status.code(), Some(code));
        assert!(config::load_with_keys(&site.file()).is_ok());
    }
}

#[test]
fn certificate_of_an_authority_is_ours_only_where_no_authority_is_asked() {
    let (_, root) =
        Authority::generate("tunnels", Dates { now: SystemTime::now(), days: 30 }).unwrap();
    let site = Site::with_quic(&root, "ca_file = \"a.crt\"\n");
    let errors = config::load_with_keys(&site.file()).unwrap_err().to_string();
    let expected = "quic.certificate_file = \"a.crt\": is an authority's: expected one that it has \
                    issued (tunctl gencert NAME --ca DIR)";
    assert_eq!(errors, format!("{}:4:20: {expected}", site.file().display()));

    // Such are those that openssl makes for itself: peers know them by their fingerprints.
    let site = Site::with_quic(&root, "");
    assert_eq!(site.check().status.code(), Some(0));
}

#[test]
fn our_own_certificate_is_no_peers() {
    let site = Site::new();
    let own = made();
    site.write("a.crt", &own.certificate, 0o644);
    site.write("a.pem", &own.key, 0o600);
    let text = format!(
        "name = \"wrong-files\"\n[quic]\nprivate_key_file = \"a.pem\"\n\
         certificate_file = \"a.crt\"\n[[network]]\nname = \"wrong-b\"\nvni = 42\n\
         device = \"tap\"\n[[peer]]\nname = \"b\"\ntransport = \"quic\"\n\
         certificate_sha256 = \"{}\"\n",
        own.fingerprint
    );
    site.write("site.toml", &text, 0o644);
    let errors = config::load_with_keys(&site.path("site.toml")).unwrap_err().to_string();
    let expected = "expected that of the peer's certificate: this is our own, that of \
                    quic.certificate_file";
    assert!(errors.contains(":12:22: peer[0].certificate_sha256"), "{errors}");
    assert!(errors.ends_with(expected), "{errors}");
}

/// A directory with a configuration and its keys.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A configuration with this certificate; `rest` are more lines of its table.
    fn with_quic(own: &Issued, rest: &str) -> Self {
        let site = Self::new();
        site.write("a.crt", &own.certificate, 0o644);
        site.write("a.pem", &own.key, 0o600);
        let text = format!(
            "name = \"wrong-files\"\n[quic]\nprivate_key_file = \"a.pem\"\n\
             certificate_file = \"a.crt\"\n{rest}[[network]]\nname = \"wrong-b\"\nvni = 42\n\
             device = \"tap\"\n"
        );
        site.write("site.toml", &text, 0o644);
        site
    }

    fn file(&self) -> PathBuf {
        self.path("site.toml")
    }

    fn check(&self) -> Output {
        let tunctl = env!("CARGO_BIN_EXE_tunctl");
        Command::new(tunctl).arg("check").arg(self.file()).output().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str, mode: u32) {
        write(&self.path(name), content, mode);
    }

    /// Writes a configuration; each peer has a public key, and maybe a file with a preshared one.
    fn config(&self, private: &str, peers: &[(&str, Option<&str>)]) -> PathBuf {
        let mut text = format!(
            "name = \"wrong-files\"\n\n[wireguard]\nprivate_key_file = \"{private}\"\n\
             [[network]]\nname = \"wrong-b\"\nvni = 42\ndevice = \"tun\"\n"
        );
        for (i, (public, preshared)) in peers.iter().enumerate() {
            let preshared = preshared.map(|file| format!("preshared_key_file = \"{file}\"\n"));
            text += &format!(
                "\n[[peer]]\nname = \"p{i}\"\ntransport = \"wireguard\"\n\
                 public_key = \"{public}\"\n{}allowed_ips = [\"10.9.0.{i}\"]\n",
                preshared.unwrap_or_default()
            );
        }
        self.write("site.toml", &text, 0o644);
        self.path("site.toml")
    }
}

/// Copies a sample to a directory, together with the files of keys and certificates that it names.
pub fn with_keys(sample: &Path, directory: &Path) -> PathBuf {
    let text = fs::read_to_string(sample).unwrap();
    let copy = directory.join(sample.file_name().unwrap());
    fs::write(&copy, text.replace("/etc/tunctl/", "")).unwrap();
    let files = text.lines().filter_map(|line| line.split_once("_file = \"/etc/tunctl/"));
    let ends = made();
    for (kind, file) in files {
        let path = directory.join(file.trim_end_matches('"'));
        match kind {
            "certificate" | "ca" => write(&path, &ends.certificate, 0o644),
            _ if file.ends_with(".pem\"") => write(&path, &ends.key, 0o600),
            _ => write(&path, &key(1), 0o600),
        }
    }
    copy
}

/// A certificate and its key.
fn made() -> Issued {
    self_signed("site-a", Dates { now: SystemTime::now(), days: 30 }).unwrap()
}

fn write(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Some key.
fn key(first: u8) -> String {
    let mut bytes = [1; 32];
    bytes[0] = first;
    tunctl::transport::wireguard::PublicKey::from_bytes(bytes).to_string()
}
