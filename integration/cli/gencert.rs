//! Certificates: what `gencert` makes, that the configuration takes it, and what it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::program::{Ended, ended, program};

struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().canonicalize().unwrap().join(name).display().to_string()
    }

    fn gencert(&self, line: &str) -> Ended {
        let words = line.split_whitespace();
        ended(program().current_dir(self.0.path()).arg("gencert").args(words))
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Checks a configuration of the tables that were printed, with a network.
    fn check(&self, tables: &str) -> Ended {
        let network = "[[network]]\nname = \"office\"\nvni = 42\ndevice = \"tap\"\n";
        let file = self.path("site.toml");
        fs::write(&file, format!("name = \"site\"\n{tables}\n{network}")).unwrap();
        ended(program().args(["check", &file]))
    }
}

fn made(ended: &Ended) -> &str {
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    &ended.stdout
}

/// The tables that a text has after a comment.
fn tables_after<'t>(text: &'t str, comment: &str) -> &'t str {
    let (_, tables) = text.split_once(comment).unwrap_or_else(|| panic!("{comment} in {text}"));
    tables.split("\n\n#").next().unwrap()
}

fn sound(ended: &Ended) {
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[test]
fn two_self_signed_ends_are_a_configuration_each() {
    let site = Site::new();
    let [a, b] = ["site-a", "site-b"].map(|name| made(&site.gencert(name)).to_owned());
    assert_eq!(site.files(), ["site-a.crt", "site-a.pem", "site-b.crt", "site-b.pem"]);
    assert_eq!([site.mode("site-a.pem"), site.mode("site-a.crt")], [0o600, 0o644]);
    let own = tables_after(&a, "# For site-a itself; nobody else should have ");
    let own = own.split_once(":\n").unwrap().1;
    let peer = tables_after(&b, "# For its peers:\n");
    sound(&site.check(&format!("{own}\n{peer}")));
    // All that is printed is TOML.
    assert!(a.parse::<toml::Table>().is_ok() && b.parse::<toml::Table>().is_ok(), "{a}{b}");

    // Our own fingerprint is no peer's.
    let ours = tables_after(&a, "# For its peers:\n");
    let ended = site.check(&format!("{own}\n{ours}"));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("peer[0].certificate_sha256"), "{}", ended.stderr);
    assert!(ended.stderr.contains("this is our own"), "{}", ended.stderr);
}

#[test]
fn authority_issues_and_revokes() {
    let site = Site::new();
    let authority = made(&site.gencert("--make-ca keys")).to_owned();
    assert_eq!([site.mode("keys/ca.pem"), site.mode("keys/ca.crt")], [0o600, 0o644]);
    let a = made(&site.gencert("site-a --ca keys --out made/here")).to_owned();
    let b = made(&site.gencert("site-b --ca keys")).to_owned();
    let own = tables_after(&a, "# For site-a itself; nobody else should have ");
    let own = own.split_once(":\n").unwrap().1;
    let peer = tables_after(&b, "# For its peers, with the same ca_file under [quic]:\n");
    assert!(a.parse::<toml::Table>().is_ok() && b.parse::<toml::Table>().is_ok(), "{a}{b}");
    sound(&site.check(&format!("{own}\n{peer}")));
    let ca_file = authority.lines().last().unwrap();
    assert_eq!(ca_file, format!("ca_file = \"{}\"", site.path("keys/ca.crt")));
    assert!(own.contains(ca_file), "{own}");

    let revoked = made(&site.gencert("--revoke site-b.crt --ca keys")).to_owned();
    let crl_file = revoked.lines().last().unwrap();
    sound(&site.check(&format!("{own}\n{crl_file}\n{peer}")));
    // What is for a table that is there already is not printed as another one.
    for (text, key) in [(&authority, "ca_file"), (&revoked, "crl_file")] {
        let keys: Vec<_> = text.parse::<toml::Table>().unwrap().into_iter().collect();
        assert!(matches!(&keys[..], [(only, _)] if only == key), "{text}");
    }
    let first = fs::read(site.path("keys/ca.crl")).unwrap();
    let again = site.gencert("--revoke site-b.crt --ca keys");
    assert_eq!(
        (again.code, again.stderr.as_str()),
        (Some(1), "tunctl: site-b.crt: the certificate is revoked already\n")
    );
    assert_eq!(fs::read(site.path("keys/ca.crl")).unwrap(), first);
    made(&site.gencert("--revoke made/here/site-a.crt --ca keys"));
    assert!(fs::read(site.path("keys/ca.crl")).unwrap().len() > first.len());
    assert_eq!(fs::read_dir(site.path("keys")).unwrap().count(), 3);

    // The list of one authority is not one of another.
    made(&site.gencert("--make-ca others"));
    made(&site.gencert("site-c --ca others"));
    let foreign = site.gencert("--revoke site-c.crt --ca keys");
    assert_eq!(
        (foreign.code, foreign.stderr.as_str()),
        (Some(1), "tunctl: site-c.crt: the certificate is not of this authority\n")
    );
    let others = own.replace("keys/ca.crt", "others/ca.crt");
    let ended = site.check(&format!("{others}\n{crl_file}\n{peer}"));
    assert_eq!(ended.code, Some(2));
    let expected =
        "ca.crl\": list number 1 of the file was not signed by an authority in ca_file\n";
    assert!(ended.stderr.ends_with(expected), "{}", ended.stderr);
}

#[test]
fn nothing_is_overwritten() {
    let site = Site::new();
    made(&site.gencert("site-a"));
    made(&site.gencert("--make-ca ."));
    let content = |name: &str| fs::read(site.path(name)).unwrap();
    let names = ["site-a.crt", "site-a.pem", "ca.crt", "ca.pem"];
    let before = names.map(content);
    for (line, path) in
        [("site-a", "site-a.crt"), ("site-a --ca .", "site-a.crt"), ("--make-ca .", "ca.crt")]
    {
        let ended = site.gencert(line);
        let expected =
            format!("tunctl: {} is there already: nothing is overwritten\n", site.path(path));
        assert_eq!((ended.code, ended.stderr), (Some(1), expected), "{line}");
    }
    assert_eq!(names.map(content), before);
    // Nor is a key whose certificate has gone, and no half is left.
    fs::remove_file(site.path("site-a.crt")).unwrap();
    let ended = site.gencert("site-a");
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("site-a.pem is there already"), "{}", ended.stderr);
    assert_eq!(site.files(), ["ca.crt", "ca.pem", "site-a.pem"]);
}

#[test]
fn name_that_no_certificate_can_have_is_refused_and_nothing_is_made() {
    let site = Site::new();
    let long = "a".repeat(65);
    for name in ["a..b", "-a", "10.9.0.1", "a/b", "é", "*.example", "a.", &long] {
        let ended = ended(program().current_dir(site.0.path()).args(["gencert", "--", name]));
        let expected = format!(
            "tunctl: {name:?} cannot be a name in a certificate: expected a DNS name, of 1 to 63 \
             letters, digits, dashes and underscores between dots, 64 characters at most, and not a \
             number at its end\n"
        );
        assert_eq!((ended.code, ended.stderr), (Some(2), expected));
    }
    assert_eq!(site.files(), [""; 0]);
}

#[test]
fn authority_that_cannot_be_used_is_named() {
    let site = Site::new();
    let ended = site.gencert("site-a --ca missing");
    let expected = "tunctl: missing/ca.crt: No such file or directory (os error 2)\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), expected));
    made(&site.gencert("--make-ca one"));
    made(&site.gencert("--make-ca two"));
    fs::copy(site.path("one/ca.crt"), site.path("two/ca.crt")).unwrap();
    let ended = site.gencert("site-a --ca two");
    let expected = "tunctl: two: the certificate does not belong to the private key\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), expected));
    fs::set_permissions(site.path("one/ca.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let ended = site.gencert("site-a --ca one");
    let expected = "tunctl: one/ca.pem: mode 0644: expected a file that only its owner can use \
                    (chmod 600)\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), expected));
    assert!(!Path::new(&site.path("site-a.pem")).exists());
}

#[test]
fn openssl_reads_what_is_made() {
    if Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let site = Site::new();
    made(&site.gencert("--make-ca keys --days 100"));
    let printed = made(&site.gencert("site-a --ca keys --days 30")).to_owned();
    made(&site.gencert("--revoke site-a.crt --ca keys"));
    let openssl = |line: &str| {
        ended(Command::new("openssl").current_dir(site.0.path()).args(line.split_whitespace()))
    };
    let verified = openssl("verify -CAfile keys/ca.crt -purpose sslserver site-a.crt");
    assert_eq!(verified.stdout, "site-a.crt: OK\n", "{verified:?}");
    let text = openssl("x509 -in site-a.crt -noout -text").stdout;
    assert!(text.contains("DNS:site-a") && text.contains("prime256v1"), "{text}");
    let checked = openssl("verify -CAfile keys/ca.crt -CRLfile keys/ca.crl -crl_check site-a.crt");
    assert!(checked.stderr.contains("certificate revoked"), "{checked:?}");
    let fingerprint = openssl("x509 -in site-a.crt -noout -fingerprint -sha256").stdout;
    let fingerprint = fingerprint.trim().split_once('=').unwrap().1.replace(':', "");
    assert!(printed.contains(&fingerprint.to_lowercase()), "{fingerprint} in {printed}");
}
