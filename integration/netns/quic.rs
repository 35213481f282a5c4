//! Two nodes with QUIC between them, each end a daemon of ours.

use std::net::SocketAddr;
use std::time::SystemTime;

use tunctl::transport::quic::certificate::read_certificates;
use tunctl::transport::quic::issue::{Authority, Dates, Issued, self_signed};

use crate::daemon::{Config, Daemon};
use crate::pair::{Kind, Pair, VNI, overlay};
use crate::place::{Family, Node, two_nodes};

/// The UDP port of every end.
pub const PORT: u16 = 4433;

fn dates() -> Dates {
    Dates { now: SystemTime::now(), days: 90 }
}

/// Makes a certificate that is good now.
#[track_caller]
pub fn certificate(name: &str) -> Issued {
    self_signed(name, dates()).expect("a certificate is made")
}

/// An authority that both ends trust, and what it has revoked.
pub struct Trusted {
    authority: Authority,
    certificate: String,
    pub list: String,
}

impl Trusted {
    #[track_caller]
    fn new() -> Self {
        let (authority, issued) = Authority::generate("test", dates()).expect("an authority");
        let other = authority.issue("other", dates()).expect("a certificate");
        let list = revoked(&authority, &other, None);
        Self { authority, certificate: issued.certificate, list }
    }

    /// Gives the list with one certificate more.
    #[track_caller]
    pub fn revoke(&self, issued: &Issued) -> String {
        revoked(&self.authority, issued, Some(self.list.as_bytes()))
    }
}

#[track_caller]
fn revoked(authority: &Authority, issued: &Issued, former: Option<&[u8]>) -> String {
    let certificate = read_certificates(issued.certificate.as_bytes()).expect("a certificate");
    authority.revoke(&certificate[0], former, SystemTime::now()).expect("a list")
}

/// A tunnel to make.
pub struct Plan {
    pub family: Family,
    pub kinds: [Kind; 2],
    /// Which ends dial.
    pub dials: [bool; 2],
    pub certificates: [Issued; 2],
    /// Who has issued them, if they are not known by their fingerprints.
    pub trusted: Option<Trusted>,
}

impl Plan {
    /// Plans a tunnel where both ends dial.
    pub fn new(family: Family, kind: Kind) -> Self {
        let certificates = ["left", "right"].map(certificate);
        Self { family, kinds: [kind; 2], dials: [true; 2], certificates, trusted: None }
    }

    /// Has an authority issue the certificates.
    #[track_caller]
    pub fn with_authority(family: Family, kind: Kind) -> Self {
        let trusted = Trusted::new();
        let issue = || trusted.authority.issue("far", dates()).expect("a certificate");
        let certificates = [issue(), issue()];
        Self { certificates, trusted: Some(trusted), ..Self::new(family, kind) }
    }

    /// Makes it between two nodes on one wire.
    #[track_caller]
    pub fn make(&self) -> Pair {
        let nodes = two_nodes(self.family);
        let daemons = [0, 1].map(|end| {
            let config = self.config(&nodes, end);
            Some(Daemon::start(&nodes[end], &config))
        });
        Pair { nodes, kinds: self.kinds, daemons, programs: vec![] }
    }

    /// Gives the configuration of an end.
    pub fn config(&self, nodes: &[Node; 2], end: usize) -> Config {
        let (node, far) = (&nodes[end], 1 - end);
        let mut table = format!(
            "[quic]\nlisten = \"{}\"\ncertificate_file = \"crt\"\nprivate_key_file = \"pem\"\n",
            SocketAddr::new(node.address, PORT)
        );
        let mut peer = String::from("[[peer]]\nname = \"far\"\ntransport = \"quic\"\n");
        let mut files = vec![];
        if let Some(trusted) = &self.trusted {
            table += "ca_file = \"ca\"\ncrl_file = \"crl\"\n";
            files = vec![("ca", &trusted.certificate), ("crl", &trusted.list)];
        } else {
            let fingerprint = self.certificates[far].fingerprint;
            peer += &format!("certificate_sha256 = \"{fingerprint}\"\n");
        }
        if self.dials[end] {
            let endpoint = SocketAddr::new(nodes[far].address, PORT);
            peer += &format!("endpoint = \"{endpoint}\"\n");
        }
        let device = if self.kinds[end] == Kind::Tun {
            let [v4, v6] = overlay(far);
            peer += &format!("allowed_ips = [\"{v4}/32\", \"{v6}/128\"]\n");
            "tun"
        } else {
            "tap"
        };
        let [v4, v6] = overlay(end);
        let addresses = format!("addresses = [\"{v4}/24\", \"{v6}/64\"]");
        let own = &self.certificates[end];
        let config = Config::bare(node).secret("crt", &own.certificate).secret("pem", &own.key);
        let add = |config: Config, (name, text): (&str, &String)| config.secret(name, text);
        let config = files.into_iter().fold(config, add);
        config
            .tables(&table)
            .network(device, self.kinds[end].interface(), VNI, &addresses)
            .tables(&peer)
    }
}
