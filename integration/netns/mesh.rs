//! Three nodes with a TAP each, which all know one another.

use std::net::SocketAddr;

use crate::certificates::{Authority, Validity};
use crate::daemon::{Config, Daemon};
use crate::frames::{self, Frames};
use crate::pair::VNI;
use crate::place::{Family, Node, three_nodes};
use crate::quic_pair::PORT;
use crate::wait;

/// The names that the nodes have to one another.
const NAMES: [&str; 3] = ["node0", "node1", "node2"];

/// The nodes, and a daemon on each.
pub struct Mesh {
    pub nodes: [Node; 3],
    daemons: Vec<Daemon>,
}

impl Mesh {
    /// Joins the nodes by VXLAN; `tables` go into the configurations of the daemons.
    #[track_caller]
    pub fn new(family: Family, tables: &str) -> Self {
        Self::made(three_nodes(family), |nodes, end| {
            let config = with_network(Config::new(&nodes[end]), end).tables(tables);
            others(end)
                .fold(config, |config, other| config.peer(NAMES[other], nodes[other].address, ""))
        })
    }

    /// Joins the nodes by QUIC, and waits until they are.
    #[track_caller]
    pub fn over_quic(family: Family) -> Self {
        let authority = Authority::new();
        let mesh = Self::made(three_nodes(family), |nodes, end| {
            let own = authority.issue(NAMES[end], Validity::Now);
            let listen = SocketAddr::new(nodes[end].address, PORT);
            let config = Config::bare(&nodes[end])
                .secret("crt", &own.certificate)
                .secret("key", &own.key)
                .secret("ca", &authority.certificate())
                .tables(&format!(
                    "[quic]\nlisten = \"{listen}\"\ncertificate_file = \"crt\"\n\
                     private_key_file = \"key\"\nca_file = \"ca\""
                ));
            others(end).fold(with_network(config, end), |config, other| {
                let endpoint = SocketAddr::new(nodes[other].address, PORT);
                config.tables(&format!(
                    "[[peer]]\nname = \"{}\"\ntransport = \"quic\"\nendpoint = \"{endpoint}\"",
                    NAMES[other]
                ))
            })
        });
        for daemon in &mesh.daemons {
            wait::until_true("both other nodes are there", || {
                let peers = daemon.query("peers");
                let peers = peers.as_array().expect("a list");
                peers.iter().filter(|peer| peer["last_handshake_secs"].is_u64()).count() == 2
            });
        }
        mesh
    }

    #[track_caller]
    fn made(nodes: [Node; 3], config: impl Fn(&[Node; 3], usize) -> Config) -> Self {
        let daemons = (0..3).map(|end| Daemon::start(&nodes[end], &config(&nodes, end)));
        Self { daemons: daemons.collect(), nodes: nodes.clone() }
    }

    pub fn frames(&self) -> [Frames; 3] {
        self.nodes.each_ref().map(|node| Frames::open(&node.host, "tap0"))
    }

    pub fn mac(&self, end: usize) -> [u8; 6] {
        frames::mac(&self.nodes[end].host, "tap0")
    }
}

fn others(end: usize) -> impl Iterator<Item = usize> {
    (0..3).filter(move |other| *other != end)
}

fn with_network(config: Config, end: usize) -> Config {
    let number = end + 1;
    let addresses = format!("addresses = [\"10.9.0.{number}/24\", \"fd00:9::{number}/64\"]");
    config.network("tap", "tap0", VNI, &addresses)
}
