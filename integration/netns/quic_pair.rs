//! Two nodes with QUIC between them.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use tunctl::transport::quic::Fingerprint;

use crate::certificates::{Authority, Paper, Validity};
use crate::daemon::{Config, Daemon};
use crate::pair::{Kind, Pair, VNI, overlay};
use crate::place::{Family, Node, two_nodes};
use crate::wait;

/// The UDP port of every end.
pub const PORT: u16 = 4433;

/// The names that the ends' certificates have.
pub const NAMES: [&str; 2] = ["a", "b"];

/// One end of a tunnel to make.
#[derive(Clone, Debug)]
pub struct End {
    /// [`Kind::Tun`] or [`Kind::Tap`].
    pub kind: Kind,
    /// Whether it knows where the other end is; if not, the other has to dial.
    pub dials: bool,
    pub own: Paper,
    /// Certificates of authorities that it trusts, in PEM.
    pub trusts: String,
    /// The other end's certificate, if it takes that and no other.
    pub pin: Option<Fingerprint>,
    /// Certificates that are revoked, in PEM.
    pub revocations: Option<String>,
    /// Whether it listens on any address of both families.
    pub listens_on_any: bool,
    /// Further keys of our table `quic`, and of our table `peer`.
    pub table: String,
    pub peer: String,
}

/// A tunnel to make.
pub struct Plan {
    pub family: Family,
    pub authority: Authority,
    pub ends: [End; 2],
}

impl Plan {
    /// Plans a tunnel where each end knows where the other is, and both have one authority.
    pub fn new(family: Family, kind: Kind) -> Self {
        let authority = Authority::new();
        let end = |number: usize| End {
            kind,
            dials: true,
            own: authority.issue(NAMES[number], Validity::Now),
            trusts: authority.certificate(),
            pin: None,
            revocations: None,
            listens_on_any: false,
            table: String::new(),
            peer: String::new(),
        };
        let ends = [end(0), end(1)];
        Self { family, authority, ends }
    }

    /// Has each end make its own certificate, and know the other's: nobody else is trusted.
    pub fn pinned(mut self) -> Self {
        let papers = NAMES.map(Paper::by_us);
        let pins = papers.each_ref().map(|(_, fingerprint)| *fingerprint);
        for ((end, (own, _)), pin) in self.ends.iter_mut().zip(papers).zip(pins.iter().rev()) {
            (end.own, end.pin) = (own, Some(*pin));
        }
        self
    }

    /// Has one end dial: the other does not know where it is.
    pub fn dialled_by(mut self, end: usize) -> Self {
        self.ends[1 - end].dials = false;
        self
    }

    /// Changes one end.
    pub fn end(mut self, end: usize, change: impl FnOnce(&mut End)) -> Self {
        change(&mut self.ends[end]);
        self
    }

    /// Makes the tunnel between two nodes on one wire, and waits until it is up.
    #[track_caller]
    pub fn make(&self) -> Pair {
        let pair = self.launch(two_nodes(self.family), None);
        until_up(&pair);
        pair
    }

    /// Starts both ends.
    #[track_caller]
    pub fn launch(&self, nodes: [Node; 2], proxies: Option<[IpAddr; 2]>) -> Pair {
        let far = proxies.unwrap_or([nodes[1].address, nodes[0].address]);
        let daemons = [0, 1].map(|number| {
            let config = self.config(&nodes[number], number, far[number]);
            Some(Daemon::start(&nodes[number], &config))
        });
        let kinds = self.ends.each_ref().map(|end| end.kind);
        Pair { kinds, nodes, daemons, programs: vec![] }
    }

    /// Gives the configuration of an end, whose peer is at an address.
    pub fn config(&self, node: &Node, number: usize, far: IpAddr) -> Config {
        let end = &self.ends[number];
        let mut table =
            String::from("[quic]\ncertificate_file = \"crt\"\nprivate_key_file = \"key\"\n");
        if end.pin.is_none() {
            table += "ca_file = \"ca\"\n";
        }
        if end.revocations.is_some() {
            table += "crl_file = \"crl\"\n";
        }
        let any: IpAddr = [0; 16].into();
        let listen = if end.listens_on_any { any } else { node.address };
        table += &format!("listen = \"{}\"\n", SocketAddr::new(listen, PORT));
        let name = NAMES[1 - number];
        let mut peer = format!("[[peer]]\nname = \"{name}\"\ntransport = \"quic\"\n");
        if let Some(pin) = end.pin {
            peer += &format!("certificate_sha256 = \"{pin}\"\n");
        }
        if end.dials {
            peer += &format!("endpoint = \"{}\"\n", SocketAddr::new(far, PORT));
        }
        let device = match end.kind {
            Kind::Tap => "tap",
            _ => {
                let [v4, v6] = overlay(1 - number);
                peer += &format!("allowed_ips = [\"{v4}/32\", \"{v6}/128\"]\n");
                "tun"
            }
        };
        let [v4, v6] = overlay(number);
        let addresses = format!("addresses = [\"{v4}/24\", \"{v6}/64\"]");
        Config::bare(node)
            .secret("crt", &end.own.certificate)
            .secret("key", &end.own.key)
            .secret("ca", &end.trusts)
            .secret("crl", end.revocations.as_deref().unwrap_or_default())
            .tables(&format!("{table}{}", end.table))
            .network(device, end.kind.interface(), VNI, &addresses)
            .tables(&format!("{peer}{}", end.peer))
    }
}

/// Gives what a daemon says of its peer.
#[track_caller]
pub fn peer(pair: &Pair, end: usize) -> Value {
    pair.daemons[end].as_ref().expect("ours").query("peers")[0].take()
}

/// Whether an end says that its peer is there.
#[track_caller]
pub fn is_up(pair: &Pair, end: usize) -> bool {
    peer(pair, end)["last_handshake_secs"].is_u64()
}

/// Waits until both ends say that the other is there.
#[track_caller]
pub fn until_up(pair: &Pair) {
    for end in [0, 1] {
        wait::until_true("both ends have a connection", || is_up(pair, end));
    }
}
