//! What a case needs of the machine, and how its absence is told.

use std::env;
use std::process::{Command, Stdio};

use tunctl::lab::{self, Host};

/// What the kernel's VXLAN device as the other end takes, and the programs that set it up.
pub const KERNEL_VXLAN: &[Need] = &[
    Need::Program("ip"),
    Need::Program("bridge"),
    Need::Program("ethtool"),
    Need::Program("ping"),
    Need::Link("vxlan"),
];

/// What two daemons of ours take, and the programs that look at them.
pub const OURS: &[Need] = &[Need::Tun, Need::Program("ip"), Need::Program("ping")];

/// Something that a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// `/dev/net/tun`.
    Tun,
    /// An external program, found by PATH.
    Program(&'static str),
    /// A device type of `ip link add`.
    Link(&'static str),
    /// Root outside of any user namespace, to become somebody else.
    Root,
    /// `/dev/net/tun` for everybody, and user namespaces for everybody.
    OrdinaryUser,
}

impl Need {
    /// Gives the reason why the first unmet need is not met.
    pub fn first_lack(needs: &[Self]) -> Option<String> {
        Host::new("probe")
            .err()
            .map(|error| error.to_string())
            .or_else(|| needs.iter().find_map(|need| need.lack()))
    }

    fn lack(self) -> Option<String> {
        match self {
            Self::Tun => lab::check_tun().err().map(|error| error.to_string()),
            Self::Program(name) => {
                let found = env::var_os("PATH")
                    .is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(name).exists()));
                (!found).then(|| format!("the program {name} is not installed"))
            }
            Self::Link(kind) => Self::Program("ip").lack().or_else(|| link_lack(kind)),
            Self::Root => (!is_real_root()).then(|| "not root".into()),
            Self::OrdinaryUser => Self::Root.lack().or_else(ordinary_user_lack),
        }
    }
}

fn link_lack(kind: &str) -> Option<String> {
    let host = Host::new("probe").ok()?;
    let mut command = Command::new("ip");
    command.args(["link", "add", "probe", "type", kind]);
    if kind == "vxlan" {
        command.args(["id", "1", "dstport", "4789"]);
    }
    let done = host
        .spawn(command.stderr(Stdio::null()))
        .map(|mut child| child.wait().is_ok_and(|status| status.success()));
    (!done.unwrap_or(false)).then(|| format!("the kernel makes no {kind} device"))
}

fn is_real_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    nix::unistd::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn ordinary_user_lack() -> Option<String> {
    use std::os::unix::fs::PermissionsExt;

    let mode = std::fs::metadata("/dev/net/tun").ok()?.permissions().mode() & 0o777;
    (mode & 0o006 != 0o006)
        .then(|| format!("/dev/net/tun has mode {mode:04o}; `chmod 0666 /dev/net/tun` as root"))
}
