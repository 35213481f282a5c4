//! Two nodes with QUIC between them, each end a daemon of ours.

use std::net::SocketAddr;
use std::time::SystemTime;

use tunctl::transport::quic::issue::{Dates, Issued, self_signed};

use crate::daemon::{Config, Daemon};
use crate::pair::{Kind, Pair, VNI, overlay};
use crate::place::{Family, Node, two_nodes};

/// The UDP port of every end.
pub const PORT: u16 = 4433;

/// Makes a certificate that is good now.
#[track_caller]
pub fn certificate(name: &str) -> Issued {
    let dates = Dates { now: SystemTime::now(), days: 90 };
    self_signed(name, dates).expect("a certificate is made")
}

/// A tunnel to make.
pub struct Plan {
    pub family: Family,
    pub kinds: [Kind; 2],
    /// Which ends dial.
    pub dials: [bool; 2],
    pub certificates: [Issued; 2],
}

impl Plan {
    /// Plans a tunnel where both ends dial.
    pub fn new(family: Family, kind: Kind) -> Self {
        let certificates = ["left", "right"].map(certificate);
        Self { family, kinds: [kind; 2], dials: [true; 2], certificates }
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
        let table = format!(
            "[quic]\nlisten = \"{}\"\ncertificate_file = \"crt\"\nprivate_key_file = \"pem\"\n",
            SocketAddr::new(node.address, PORT)
        );
        let mut peer = format!(
            "[[peer]]\nname = \"far\"\ntransport = \"quic\"\ncertificate_sha256 = \"{}\"\n",
            self.certificates[far].fingerprint
        );
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
        Config::bare(node)
            .secret("crt", &own.certificate)
            .secret("pem", &own.key)
            .tables(&table)
            .network(device, self.kinds[end].interface(), VNI, &addresses)
            .tables(&peer)
    }
}
