//! Two nodes with WireGuard between them, each end ours or another program.

use std::net::{IpAddr, SocketAddr};

use crate::daemon::{Config, Daemon};
use crate::kernel;
use crate::pair::{Kind, Pair, VNI, overlay};
use crate::place::{Family, Node, ping, run, two_nodes};
use crate::program::{Brand, Program};

/// The UDP port of every end.
pub const PORT: u16 = 51_820;

/// A private key and its public one.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    pub private: &'static str,
    pub public: &'static str,
}

/// The keys of both ends.
const KEYS: [Keys; 2] = [
    Keys {
        private: "AEALUqZwQMykXeaBaWWv5tS++sXWDg3M364IUY3NQmI=",
        public: "R5gXh4gwPqx/ITWJMFWCoo7GNvBeT3dkreuLgjw4eXo=",
    },
    Keys {
        private: "0DH9KR1x9yhjO/PloJuRyOP7OXmoMag12ea4Mvm2U2U=",
        public: "C3s6OaSQxKHqZYgvw3Inv/3ruscxCDd4+wCW7RY1bys=",
    },
];

/// The keys of somebody else.
pub const STRANGER: Keys = Keys {
    private: "uCcJ0RIXXAYLJi48NgWLw/Lox9ZDCW3PszXwQXaTdU0=",
    public: "pNF8FHLaPaJhOS8xTXbJqiEw/cgx04S9KuuJCRq4WCE=",
};

/// A preshared key, and another.
pub const PRESHARED: &str = "SYxUeUMYT33qqLgFjQen2VP/YuNujlEdQpF4P7FGW+s=";
pub const OTHER_PRESHARED: &str = "tYGmBdUYPiBbOMF4OUUDRxx3/eDln0PK9hFEFKSvGiU=";

/// Who stands at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// Our daemon with a TUN.
    Tun,
    /// Our daemon with a TAP.
    Tap,
    /// Another program, for IP packets.
    Program(Brand),
    /// wireguard-go with the kernel's VXLAN device over it.
    VxlanOverWireguardGo,
}

impl Speaker {
    fn kind(self) -> Kind {
        match self {
            Self::Tun => Kind::Tun,
            Self::Tap => Kind::Tap,
            Self::Program(brand) => Kind::Program(brand.name()),
            Self::VxlanOverWireguardGo => Kind::Kernel { options: "", features: "" },
        }
    }

    fn has_frames(self) -> bool {
        matches!(self, Self::Tap | Self::VxlanOverWireguardGo)
    }
}

/// One end of a tunnel to make.
#[derive(Clone, Debug)]
pub struct End {
    pub speaker: Speaker,
    /// Whether it knows where the other end is; if not, the other has to begin.
    pub knows_endpoint: bool,
    pub own: Keys,
    /// The public key that it takes for the other end's.
    pub far: &'static str,
    pub preshared: Option<&'static str>,
    /// Whether it listens on any address of both families, as by default.
    pub listens_on_any: bool,
    /// Further keys of our table `wireguard`, and of our table `peer`.
    pub table: String,
    pub peer: String,
}

/// A tunnel to make.
#[derive(Clone, Debug)]
pub struct Plan {
    pub family: Family,
    /// The family of the addresses inside WireGuard that VXLAN goes between.
    pub tunnel: Family,
    pub ends: [End; 2],
}

impl Plan {
    /// Plans a tunnel where each end knows the other's key and endpoint.
    pub fn new(family: Family, speakers: [Speaker; 2]) -> Self {
        let end = |number: usize| End {
            speaker: speakers[number],
            knows_endpoint: true,
            own: KEYS[number],
            far: KEYS[1 - number].public,
            preshared: None,
            listens_on_any: false,
            table: String::new(),
            peer: String::new(),
        };
        Self { family, tunnel: Family::V4, ends: [end(0), end(1)] }
    }

    /// Has one end begin: the other does not know where it is.
    pub fn begun_by(mut self, end: usize) -> Self {
        self.ends[1 - end].knows_endpoint = false;
        self
    }

    /// Has both ends share a key.
    pub fn preshared(self) -> Self {
        self.each(|end| end.preshared = Some(PRESHARED))
    }

    /// Changes both ends.
    pub fn each(mut self, change: impl Fn(&mut End)) -> Self {
        self.ends.iter_mut().for_each(change);
        self
    }

    /// Changes one end.
    pub fn end(mut self, end: usize, change: impl FnOnce(&mut End)) -> Self {
        change(&mut self.ends[end]);
        self
    }

    /// Makes the tunnel between two nodes on one wire, and has the end that begins ping the other.
    #[track_caller]
    pub fn make(&self) -> Pair {
        let pair = self.launch(two_nodes(self.family), None);
        self.begin(&pair);
        pair
    }

    /// Has the end that begins ping the other.
    #[track_caller]
    pub fn begin(&self, pair: &Pair) {
        let from = usize::from(!self.ends[0].knows_endpoint);
        ping(pair.host(from), overlay(1 - from)[0], "");
    }

    /// Starts both ends: first the one that does not begin.
    #[track_caller]
    pub fn launch(&self, nodes: [Node; 2], proxies: Option<[IpAddr; 2]>) -> Pair {
        let far = proxies.unwrap_or([nodes[1].address, nodes[0].address]);
        let mut pair = Pair {
            kinds: self.ends.each_ref().map(|end| end.speaker.kind()),
            nodes,
            daemons: [None, None],
            programs: vec![],
        };
        let first = usize::from(self.ends[0].knows_endpoint);
        for number in [first, 1 - first] {
            let (node, end) = (&pair.nodes[number], &self.ends[number]);
            let endpoint = SocketAddr::new(far[number], PORT);
            let endpoint = end.knows_endpoint.then_some(endpoint);
            match end.speaker {
                Speaker::Tun | Speaker::Tap => {
                    let config = self.config(node, number, endpoint);
                    pair.daemons[number] = Some(Daemon::start(node, &config));
                }
                Speaker::Program(brand) => {
                    let nets = networks(number);
                    let program = self.program(node, brand, number, endpoint, nets);
                    pair.programs.push(program);
                }
                Speaker::VxlanOverWireguardGo => {
                    let program = self.vxlan_over_program(node, number, endpoint);
                    pair.programs.push(program);
                }
            }
        }
        pair
    }

    /// Gives the configuration of an end that is ours.
    pub fn config(&self, node: &Node, number: usize, endpoint: Option<SocketAddr>) -> Config {
        let end = &self.ends[number];
        let mut table = String::from("[wireguard]\nprivate_key_file = \"key\"\n");
        if !end.listens_on_any {
            table += &format!("listen = \"{}\"\n", SocketAddr::new(node.address, PORT));
        }
        let mut peer = format!(
            "[[peer]]\nname = \"far\"\ntransport = \"wireguard\"\npublic_key = \"{}\"\n",
            end.far
        );
        if let Some(endpoint) = endpoint {
            peer += &format!("endpoint = \"{endpoint}\"\n");
        }
        let device = if end.speaker.has_frames() {
            table += &format!("tunnel_ip = \"{}\"\n", self.tunnel_ip(number));
            peer += &format!("tunnel_ip = \"{}\"\n", self.tunnel_ip(1 - number));
            "tap"
        } else {
            let [v4, v6] = overlay(1 - number);
            peer += &format!("allowed_ips = [\"{v4}/32\", \"{v6}/128\"]\n");
            "tun"
        };
        if end.preshared.is_some() {
            peer += "preshared_key_file = \"psk\"\n";
        }
        let [v4, v6] = networks(number);
        let addresses = format!("addresses = [\"{v4}\", \"{v6}\"]");
        Config::bare(node)
            .secret("key", end.own.private)
            .secret("psk", end.preshared.unwrap_or_default())
            .tables(&format!("{table}{}", end.table))
            .network(device, end.speaker.kind().interface(), VNI, &addresses)
            .tables(&format!("{peer}{}", end.peer))
    }

    /// Starts another program and gives its interface addresses.
    #[track_caller]
    fn program(
        &self,
        node: &Node,
        brand: Brand,
        number: usize,
        endpoint: Option<SocketAddr>,
        addresses: [String; 2],
    ) -> Program {
        let end = &self.ends[number];
        let allowed = match end.speaker.has_frames() {
            true => self.tunnel_ip(1 - number).to_string(),
            false => overlay(1 - number).map(|address| address.to_string()).join(","),
        };
        let mut text = format!(
            "[Interface]\nListenPort = {PORT}\nPrivateKey = {}\n\
             [Peer]\nPublicKey = {}\nAllowedIPs = {allowed}\n{}\n",
            end.own.private, end.far, end.peer
        );
        if let Some(key) = end.preshared {
            text += &format!("PresharedKey = {key}\n");
        }
        if let Some(endpoint) = endpoint {
            text += &format!("Endpoint = {endpoint}\n");
        }
        let program = Program::start(node, brand, &text);
        set_up(node, program.interface(), &addresses);
        program
    }

    #[track_caller]
    fn vxlan_over_program(
        &self,
        node: &Node,
        number: usize,
        endpoint: Option<SocketAddr>,
    ) -> Program {
        let [own, far] = [number, 1 - number].map(|end| self.tunnel_ip(end));
        let address = format!("{own}/{}", if own.is_ipv4() { 24 } else { 64 });
        let program =
            self.program(node, Brand::WireguardGo, number, endpoint, [address, String::new()]);
        let (device, under) = (kernel::DEVICE, program.interface());
        node.ip(&format!(
            "link add {device} type vxlan id {VNI} dstport 4789 local {own} dev {under}"
        ));
        set_up(node, device, &networks(number));
        let flood = format!("fdb append 00:00:00:00:00:00 dev {device} dst {far}");
        run(&node.host, "bridge", &flood);
        program
    }

    fn tunnel_ip(&self, number: usize) -> IpAddr {
        let number = number as u8 + 1;
        match self.tunnel {
            Family::V4 => [10, 255, 0, number].into(),
            Family::V6 => [0xfd00, 255, 0, 0, 0, 0, 0, number.into()].into(),
        }
    }
}

/// The overlay addresses of an end with their prefix lengths.
fn networks(number: usize) -> [String; 2] {
    let [v4, v6] = overlay(number);
    [format!("{v4}/24"), format!("{v6}/64")]
}

#[track_caller]
fn set_up(node: &Node, interface: &str, addresses: &[String]) {
    for address in addresses.iter().filter(|address| !address.is_empty()) {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        node.ip(&format!("addr add {address} dev {interface} {nodad}"));
    }
    node.ip(&format!("link set {interface} up"));
}
