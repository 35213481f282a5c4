//! `tunctl gencert`: certificates for QUIC, an authority that issues them, and its revocation list.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{ArgGroup, Args};

use super::{Failure, unless_reader_left};
use crate::config;
use crate::transport::quic::Validity;
use crate::transport::quic::certificate::read_certificates;
use crate::transport::quic::issue::{self, Authority, Dates, IssueError, Issued};

/// For how long a certificate can be used, days: as long as public authorities ever gave.
const DAYS: u32 = 825;

/// For how long an authority can be used, days.
const AUTHORITY_DAYS: u32 = 3650;

/// The most of either, days: a hundred years.
const DAYS_MAX: i64 = 36_525;

/// The common name of an authority. Only people read it.
const AUTHORITY_NAME: &str = "tunctl authority";

/// The files of an authority, in its directory.
const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.pem";
const CA_LIST: &str = "ca.crl";

pub(super) const HELP: &str = "\
Examples:
  tunctl gencert site-a                   site-a.crt and site-a.pem; peers know it by its
                                          certificate_sha256, nobody has to vouch for it
  tunctl gencert --make-ca DIR            an authority: ca.crt for every peer, ca.pem for nobody
  tunctl gencert site-a --ca DIR          by this authority: peers know it by its name
  tunctl gencert --revoke CERT --ca DIR   adds it to ca.crl, the crl_file of every peer

Nothing that is there is overwritten, but for ca.crl. Keys are ECDSA (P-256), without a passphrase.
What goes to standard output are parts of configurations, each for where the comment above it says.";

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["name", "make_ca", "revoke"]))]
pub(super) struct GencertArgs {
    /// The name in the certificate: that of the [[peer]] at the others; a DNS name
    name: Option<String>,
    /// The directory of the authority that issues or revokes [default: the certificate issues itself]
    #[arg(long, value_name = "DIR", conflicts_with = "make_ca")]
    ca: Option<PathBuf>,
    /// Make an authority in this directory, which is made too
    #[arg(long, value_name = "DIR")]
    make_ca: Option<PathBuf>,
    /// Revoke the certificate in this file
    #[arg(long, value_name = "CERT", requires = "ca", conflicts_with_all = ["days", "out"])]
    revoke: Option<PathBuf>,
    /// For how many days it can be used [default: 825, an authority 3650]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
    days: Option<u32>,
    /// The directory that the files go to, which is made too [default: this one]
    #[arg(long, value_name = "DIR", conflicts_with = "make_ca")]
    out: Option<PathBuf>,
}

/// Makes what the arguments ask for, and says what to do with it.
pub(super) fn run(args: &GencertArgs) -> Result<(), Failure> {
    let text = match args {
        GencertArgs { make_ca: Some(directory), .. } => make_authority(directory, args.days)?,
        GencertArgs { revoke: Some(file), ca: Some(ca), .. } => revoke(file, ca)?,
        GencertArgs { name: Some(name), .. } => make_certificate(name, args)?,
        _ => return Err(Failure::wrong("expected NAME, --make-ca or --revoke")),
    };
    unless_reader_left(io::stdout().write_all(text.as_bytes())).map_err(Failure::failed)
}

fn dates(days: u32) -> Dates {
    Dates { now: SystemTime::now(), days }
}

fn make_certificate(name: &str, args: &GencertArgs) -> Result<String, Failure> {
    if !issue::is_name(name) {
        return Err(Failure::wrong(IssueError::NotAName(name.to_owned())));
    }
    let dates = dates(args.days.unwrap_or(DAYS));
    let authority = args.ca.as_deref().map(open_authority).transpose()?;
    let issued = match &authority {
        Some(authority) => authority.issue(name, dates),
        None => issue::self_signed(name, dates),
    };
    let issued = issued.map_err(Failure::failed)?;
    let directory = absolute(args.out.as_deref().unwrap_or(Path::new(".")))?;
    let certificate = directory.join(format!("{name}.crt"));
    let key = directory.join(format!("{name}.pem"));
    write_both(&directory, (&certificate, &key), &issued)?;

    let mut text = format!(
        "# Made {} and {}, which can be used until {}.\n\n\
         # For {name} itself; nobody else should have {}:\n\
         [quic]\ncertificate_file = {}\nprivate_key_file = {}\n",
        certificate.display(),
        key.display(),
        last_day(&issued),
        key.display(),
        quoted(&certificate),
        quoted(&key),
    );
    let peer = format!("[[peer]]\nname = \"{name}\"\ntransport = \"quic\"\n");
    let fingerprint = issued.fingerprint;
    match &args.ca {
        Some(ca) => {
            let ca = quoted(&absolute(ca)?.join(CA_CERTIFICATE));
            text += &format!(
                "ca_file = {ca}\n\n\
                 # For its peers, with the same ca_file under [quic]:\n{peer}\
                 # Or, without any authority:\n# certificate_sha256 = \"{fingerprint}\"\n"
            );
        }
        None => {
            text += &format!("\n# For its peers:\n{peer}certificate_sha256 = \"{fingerprint}\"\n");
        }
    }
    Ok(text)
}

fn make_authority(directory: &Path, days: Option<u32>) -> Result<String, Failure> {
    let directory = absolute(directory)?;
    let (certificate, key) = (directory.join(CA_CERTIFICATE), directory.join(CA_KEY));
    let made = Authority::generate(AUTHORITY_NAME, dates(days.unwrap_or(AUTHORITY_DAYS)));
    let (_, issued) = made.map_err(Failure::failed)?;
    write_both(&directory, (&certificate, &key), &issued)?;
    Ok(format!(
        "# Made {} and {}, which can be used until {}.\n\
         # Whoever has {} can be any peer: it is for `tunctl gencert NAME --ca` only.\n\n\
         # For every end, with a copy of the file, under [quic] (NAME --ca prints it too):\n\
         ca_file = {}\n",
        certificate.display(),
        key.display(),
        last_day(&issued),
        key.display(),
        quoted(&certificate),
    ))
}

fn revoke(file: &Path, ca: &Path) -> Result<String, Failure> {
    let ca = absolute(ca)?;
    let authority = open_authority(&ca)?;
    let at = |error: IssueError| Failure::failed(format!("{}: {error}", file.display()));
    let text = config::quic_file::read_pem(file).map_err(Failure::failed)?;
    let certificates = read_certificates(&text).map_err(|error| at(error.into()))?;
    let own = certificates.first().ok_or_else(|| at(IssueError::NotIssued))?;
    let list = ca.join(CA_LIST);
    let former = match list.symlink_metadata() {
        Ok(_) => Some(config::quic_file::read_list_pem(&list).map_err(Failure::failed)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(not_written(&list, &error)),
    };
    let former = former.as_ref().map(|text| text.as_slice());
    let revoked = authority.revoke(own, former, SystemTime::now()).map_err(at)?;
    replace(&list, &revoked)?;
    Ok(format!(
        "# {} is revoked by {}.\n\n\
         # For every end, with a copy of the file, under [quic], beside ca_file:\n\
         crl_file = {}\n",
        file.display(),
        list.display(),
        quoted(&list),
    ))
}

fn open_authority(directory: &Path) -> Result<Authority, Failure> {
    let (certificate, key) = (directory.join(CA_CERTIFICATE), directory.join(CA_KEY));
    let certificate_pem = config::quic_file::read_pem(&certificate).map_err(Failure::failed)?;
    let key_pem = config::quic_file::read_key_pem(&key).map_err(Failure::failed)?;
    Authority::from_pem(&certificate_pem, &key_pem)
        .map_err(|error| Failure::failed(format!("{}: {error}", directory.display())))
}

/// Writes a key and then its certificate, or neither.
fn write_both(
    directory: &Path,
    (certificate, key): (&Path, &Path),
    issued: &Issued,
) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| not_written(directory, &error))?;
    // Neither may be there: a certificate that is left has a key somewhere.
    if certificate.symlink_metadata().is_ok() {
        return Err(not_written(certificate, &io::ErrorKind::AlreadyExists.into()));
    }
    create(key, 0o600, &issued.key)?;
    create(certificate, 0o644, &issued.certificate).inspect_err(|_| {
        // What was made a moment ago is of no use to anybody.
        let _ = fs::remove_file(key);
    })
}

fn create(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = opened.map_err(|error| not_written(path, &error))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        not_written(path, &error)
    })
}

/// Writes a file so that whoever reads it has the former or the new one, whole.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let next = path.with_extension("crl.new");
    // Left by a run that was cut off.
    let _ = fs::remove_file(&next);
    create(&next, 0o644, text)?;
    fs::rename(&next, path).map_err(|error| {
        let _ = fs::remove_file(&next);
        not_written(path, &error)
    })
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Failure::failed(format!("{path} is there already: nothing is overwritten"));
    }
    Failure::failed(format!("cannot write {path}: {error}"))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(path);
    path.map_err(|error| Failure::failed(format!("cannot find this directory: {error}")))
}

/// Gives the path as a TOML string.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

fn last_day(issued: &Issued) -> String {
    let certificates = read_certificates(issued.certificate.as_bytes()).unwrap_or_default();
    let validity = certificates.first().and_then(Validity::of);
    validity.map(Validity::last_day).unwrap_or_default()
}
