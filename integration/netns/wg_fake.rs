//! An interface that remembers what it is told and moves no packet, and the program around it.

use std::ffi::OsString;
use std::future::pending;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::Parser;
use ipnet::IpNet;
use nix::errno::Errno;
use tunctl::device::{Device, DeviceSpec, Kind, Switch};
use tunctl::transport::wireguard::{PresharedKey, PrivateKey, PublicKey};
use tunctl::wg::uapi::{AllowedIp, PeerSet, PeerSnapshot, Set, Snapshot};
use tunctl::wg::{self, Arguments, Interface, Started};

/// The name of an interface whose packets nobody moves.
pub const BROKEN: &str = "wgp-broken";

/// The interface.
#[derive(Default)]
pub struct Fake {
    state: Mutex<State>,
    /// It is there as long as this.
    _device: Option<Device>,
}

#[derive(Default)]
struct State {
    private_key: Option<PrivateKey>,
    listen_port: u16,
    fwmark: u32,
    peers: Vec<Peer>,
}

struct Peer {
    public_key: PublicKey,
    preshared_key: Option<PresharedKey>,
    endpoint: Option<SocketAddr>,
    keepalive: u16,
    allowed_ips: Vec<IpNet>,
}

impl Interface for Fake {
    fn get(&self) -> Snapshot {
        let state = self.state.lock().unwrap();
        Snapshot {
            private_key: state.private_key.as_ref().and_then(|key| again(key.as_bytes())),
            listen_port: state.listen_port,
            fwmark: state.fwmark,
            peers: state.peers.iter().map(Peer::snapshot).collect(),
        }
    }

    fn set(&self, change: Set) -> Result<(), Errno> {
        if change.listen_port == Some(1) {
            return Err(Errno::EADDRINUSE);
        }
        let mut state = self.state.lock().unwrap();
        if let Some(key) = change.private_key {
            state.private_key = key;
        }
        state.listen_port = change.listen_port.unwrap_or(state.listen_port);
        state.fwmark = change.fwmark.unwrap_or(state.fwmark);
        if change.replace_peers {
            state.peers.clear();
        }
        change.peers.into_iter().for_each(|change| state.set_peer(change));
        Ok(())
    }
}

fn again(bytes: &[u8; 32]) -> Option<PrivateKey> {
    PrivateKey::from_bytes(bytes).ok()
}

impl State {
    fn set_peer(&mut self, change: PeerSet) {
        let key = change.public_key;
        if change.remove {
            return self.peers.retain(|peer| peer.public_key != key);
        }
        if !self.peers.iter().any(|peer| peer.public_key == key) {
            if change.update_only {
                return;
            }
            self.peers.push(Peer {
                public_key: key,
                preshared_key: None,
                endpoint: None,
                keepalive: 0,
                allowed_ips: vec![],
            });
        }
        for net in &change.allowed_ips {
            let (AllowedIp::Add(net) | AllowedIp::Remove(net)) = net;
            self.peers.iter_mut().for_each(|peer| peer.allowed_ips.retain(|other| other != net));
        }
        let peer = self.peers.iter_mut().find(|peer| peer.public_key == key).unwrap();
        if let Some(key) = change.preshared_key {
            peer.preshared_key = key;
        }
        peer.endpoint = change.endpoint.or(peer.endpoint);
        peer.keepalive = change.persistent_keepalive_interval.unwrap_or(peer.keepalive);
        if change.replace_allowed_ips {
            peer.allowed_ips.clear();
        }
        peer.allowed_ips.extend(change.allowed_ips.iter().filter_map(|change| match change {
            AllowedIp::Add(net) => Some(net),
            AllowedIp::Remove(_) => None,
        }));
    }
}

impl Peer {
    fn snapshot(&self) -> PeerSnapshot {
        let preshared_key = self.preshared_key.as_ref();
        PeerSnapshot {
            public_key: self.public_key,
            preshared_key: preshared_key
                .and_then(|key| PresharedKey::from_bytes(key.as_bytes()).ok()),
            endpoint: self.endpoint,
            last_handshake: None,
            tx_bytes: 0,
            rx_bytes: 0,
            persistent_keepalive_interval: self.keepalive,
            allowed_ips: self.allowed_ips.clone(),
        }
    }
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
}

/// The program, with this interface behind it.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Program::try_parse_from(words) {
        Ok(program) => program.arguments,
        Err(error) => {
            eprint!("{error}");
            return ExitCode::from(2);
        }
    };
    let run =
        wg::run(&arguments, |start| -> Result<Started, Box<dyn std::error::Error + Send + Sync>> {
            if let Some(device) = start.device {
                let (interface, ended) = (Arc::new(Fake::default()), Box::pin(pending()));
                return Ok(Started { interface, device, ended });
            }
            let made = Device::open(&DeviceSpec {
                name: start.name.to_string(),
                kind: Kind::Tun,
                gso: Switch::Auto,
                is_multi_queue: false,
            })?;
            let device = made.as_fd().try_clone_to_owned()?;
            let fake = Fake { _device: Some(made), ..Fake::default() };
            let is_broken = start.name.as_str() == BROKEN;
            let ended = Box::pin(async move {
                if !is_broken {
                    pending().await
                }
            });
            Ok(Started { interface: Arc::new(fake), device, ended })
        });
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tunctl: {error}");
            ExitCode::FAILURE
        }
    }
}
