//! Opening the sockets, and following an interface that is replaced.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::answering;
use super::probe::Probe;
use super::{Listener, Runs, Sender, Senders, Sent, SocketSpec, Switch, Underlay};
use crate::sys::datagram::ReceiveBatch;
use crate::sys::link;
use crate::sys::slices::Slices;
use crate::sys::udp::{self, Family, PORT_CLASSES, Refused};
use crate::transport::Carrier;

/// The range of the sending sockets' ports (RFC 7348 section 4: 49152 to 65535).
const SOURCE_PORT_FIRST: u16 = 49_152;
const SOURCE_PORT_COUNT: u16 = u16::MAX - SOURCE_PORT_FIRST + 1;

/// Why the sockets cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// A port cannot be listened on.
    #[error("port {port} on {ip}: {}", BindCause(cause))]
    Listen {
        /// The address.
        ip: IpAddr,
        /// The port.
        port: u16,
        /// The kernel's error.
        cause: io::Error,
    },
    /// No port to send from.
    #[error("source port in 49152-65535 on {ip}: {}", BindCause(cause))]
    SourcePort {
        /// The address.
        ip: IpAddr,
        /// The kernel's error.
        cause: io::Error,
    },
    /// Both carriers have the same port.
    #[error("port {port} is given both for VXLAN and for VXLAN-GPE")]
    SamePort {
        /// The port.
        port: u16,
    },
    /// The kernel refuses a setting.
    #[error("{key} {value}: {}", SettingCause { key, cause })]
    Setting {
        /// Which one.
        key: &'static str,
        /// Its value.
        value: String,
        /// The kernel's error.
        cause: io::Error,
    },
    /// The kernel refuses an offload that the configuration insists on.
    #[error("{key} is on, but the kernel refuses it: {cause}")]
    Offload {
        /// Which one.
        key: &'static str,
        /// The kernel's error.
        cause: io::Error,
    },
}

struct BindCause<'a>(&'a io::Error);

impl fmt::Display for BindCause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EADDRINUSE) => {
                f.write_str("address in use (a kernel vxlan device or another daemon holds it)")
            }
            Some(Errno::EACCES) => f.write_str("not permitted, CAP_NET_BIND_SERVICE is needed"),
            Some(Errno::EINVAL) => {
                f.write_str("invalid address (a link-local one needs bind_device)")
            }
            _ => self.0.fmt(f),
        }
    }
}

struct SettingCause<'a> {
    key: &'static str,
    cause: &'a io::Error,
}

impl fmt::Display for SettingCause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM) if self.key == "fwmark" => {
                f.write_str("not permitted, CAP_NET_ADMIN is needed")
            }
            Some(Errno::EPERM) => f.write_str("not permitted, CAP_NET_RAW is needed"),
            Some(Errno::ENODEV) => f.write_str("no such interface"),
            Some(Errno::EAFNOSUPPORT) => f.write_str("the kernel lacks this address family"),
            _ => self.cause.fmt(f),
        }
    }
}

/// Gives a closure that turns a kernel error into one about a setting.
pub(super) fn setting(
    key: &'static str,
    value: impl fmt::Display,
) -> impl FnOnce(io::Error) -> SocketError {
    move |cause| SocketError::Setting { key, value: value.to_string(), cause }
}

/// Opens all sockets.
pub(super) fn open(spec: &SocketSpec) -> Result<Underlay, SocketError> {
    if let (Some(port), true) = (spec.port, spec.port == spec.gpe_port) {
        return Err(SocketError::SamePort { port });
    }
    let mut underlay = without_sockets(spec);
    if spec.port.is_some() || spec.gpe_port.is_some() {
        each_family(spec.listen, |ip| open_clear(&mut underlay, ip))?;
    }
    for carrier in [Carrier::WireGuard, Carrier::Quic] {
        let Some(at) = spec.secured(carrier) else { continue };
        each_family(at.ip(), |ip| {
            // Any port is one port for both families.
            let port = answering::port(&underlay, carrier).max(at.port());
            answering::open(&mut underlay, carrier, ip, port)
        })?;
    }
    report_buffers(&underlay);
    Ok(underlay)
}

/// Opens for an address, and for `::` for every address of both families.
fn each_family(
    listen: IpAddr,
    mut open: impl FnMut(IpAddr) -> Result<(), SocketError>,
) -> Result<(), SocketError> {
    let is_all = listen.is_ipv6() && listen.is_unspecified();
    match open(listen) {
        Err(SocketError::Setting { key: "listen", cause, .. }) if is_all => {
            tracing::warn!(%cause, "no IPv6 on this machine: the underlay is IPv4 only");
        }
        result => result?,
    }
    match is_all {
        true => open(Ipv4Addr::UNSPECIFIED.into()),
        false => Ok(()),
    }
}

fn without_sockets(spec: &SocketSpec) -> Underlay {
    Underlay {
        spec: spec.clone(),
        listeners: Vec::new(),
        senders: Vec::new(),
        answering: Vec::new(),
        probes: Vec::new(),
        bound_index: spec.bind_device.as_deref().and_then(link::index),
        batch: ReceiveBatch::default(),
        slices: Slices::default(),
        may_wait: true,
        sent: Sent::default(),
    }
}

/// Opens listening sockets beside those of another; see [`Underlay::open_sibling`].
pub(super) fn open_sibling(first: &Underlay) -> Result<Underlay, SocketError> {
    let mut underlay = without_sockets(&first.spec);
    let share = |socket: &Socket| socket.try_clone().map_err(setting("listen", first.spec.listen));
    for listener in &first.listeners {
        let address = address_of(&listener.socket, listener.family);
        let (ip, port) = (address.ip(), address.port());
        // What the kernel refused once is not asked for again.
        let gro = if listener.gro { first.spec.gro } else { Switch::Off };
        let spec = SocketSpec { gro, ..first.spec.clone() };
        let opened = open_listener(&spec, ip, port, listener.carrier)?;
        let opened = Listener { refused: listener.refused.clone(), ..opened };
        if let Some(senders) = answering::of(first, listener) {
            let runs = Arc::clone(&senders.runs);
            let sends = answering::sending_half(&underlay.spec, &opened, runs)?;
            underlay.answering.push((listener.carrier, sends));
        }
        underlay.listeners.push(opened);
    }
    for senders in &first.senders {
        let shared = senders.sockets.iter().map(|sender| {
            Ok(Sender { socket: share(&sender.socket)?, send_buffer: sender.send_buffer })
        });
        underlay.senders.push(Senders {
            family: senders.family,
            sockets: shared.collect::<Result<_, _>>()?,
            runs: Arc::clone(&senders.runs),
        });
    }
    for probe in &first.probes {
        // Looking up a path connects it: nothing to share.
        underlay.probes.push(Probe::open(&first.spec, probe.family)?);
    }
    Ok(underlay)
}

/// Has siblings share by the source port; see [`Underlay::share_with`].
///
/// Not what is sealed: all of a peer's datagrams come from one port, which most peers have in
/// common. The kernel's own hash, which is by their addresses too, tells those apart.
pub(super) fn share(underlay: &Underlay, siblings: u8) {
    let is_clear = |listener: &&Listener| underlay.spec.secured(listener.carrier).is_none();
    for Listener { socket, family, .. } in underlay.listeners.iter().filter(is_clear) {
        if let Err(cause) = udp::share_by_source_port(socket.as_fd(), *family, siblings) {
            let option = "SO_ATTACH_REUSEPORT_CBPF";
            tracing::info!(%cause, "the kernel refuses {option}: workers share by its own hash");
        }
    }
}

/// Says so if the process has no right to buffers beyond the system's limit.
fn report_buffers(underlay: &Underlay) {
    let (wanted, largest) = (underlay.spec.receive_buffer_bytes, usize::MAX);
    let granted = underlay.listeners.iter().map(|listener| listener.receive_buffer);
    let granted = granted.min().unwrap_or(largest);
    if granted < wanted {
        tracing::info!(wanted, granted, "receive buffers are smaller (net.core.rmem_max)");
    }
    let wanted = underlay.spec.send_buffer_bytes;
    let senders = underlay.senders.iter().flat_map(|senders| &senders.sockets);
    let granted = senders.map(|sender| sender.send_buffer).min().unwrap_or(largest);
    if granted < wanted {
        tracing::info!(wanted, granted, "send buffers are smaller (net.core.wmem_max)");
    }
}

fn open_clear(underlay: &mut Underlay, ip: IpAddr) -> Result<(), SocketError> {
    let spec = underlay.spec.clone();
    let carriers = [(spec.port, Carrier::Vxlan), (spec.gpe_port, Carrier::VxlanGpe)];
    for (port, carrier) in carriers {
        if let Some(port) = port {
            check_free(&spec, ip, port)?;
            underlay.listeners.push(open_listener(&spec, ip, port, carrier)?);
        }
    }
    underlay.senders.push(open_senders(&spec, ip)?);
    open_probe(underlay, ip)
}

pub(super) fn open_probe(underlay: &mut Underlay, ip: IpAddr) -> Result<(), SocketError> {
    let family = Family::of(ip);
    if underlay.probes.iter().all(|probe| probe.family != family) {
        underlay.probes.push(Probe::open(&underlay.spec, family)?);
    }
    Ok(())
}

/// Fails if the port is taken: sockets that share one do not find that out when they are bound, if
/// the other process is ours too.
pub(super) fn check_free(spec: &SocketSpec, ip: IpAddr, port: u16) -> Result<(), SocketError> {
    if !spec.has_siblings || spec.is_own_port || port == 0 {
        return Ok(());
    }
    let socket = open_socket(spec, Family::of(ip))?;
    let address = local_address(spec, ip, port);
    match socket.bind(&address.into()) {
        Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {
            Err(SocketError::Listen { ip, port, cause })
        }
        _ => Ok(()),
    }
}

pub(super) fn open_listener(
    spec: &SocketSpec,
    ip: IpAddr,
    port: u16,
    carrier: Carrier,
) -> Result<Listener, SocketError> {
    let family = Family::of(ip);
    let socket = open_socket(spec, family)?;
    let fd = socket.as_fd();
    udp::set_receive_details(fd, family).map_err(setting("receiving details on", ip))?;
    if carrier == Carrier::Quic {
        // The kernel remembers for ten minutes that a path was narrow (mtu_expires).
        udp::set_dont_fragment(fd, family, Refused::AboveInterface)
            .map_err(setting("IP_MTU_DISCOVER on", ip))?;
    }
    if family == Family::V6 {
        udp::set_zero_checksum_accepted(fd).map_err(setting("UDP_NO_CHECK6_RX on", ip))?;
    }
    let bytes = spec.receive_buffer_bytes;
    let receive_buffer =
        udp::set_receive_buffer(fd, bytes).map_err(setting("receive_buffer_bytes", bytes))?;
    let (gro, refused) = agree(spec.gro, "udp_gro", "UDP_GRO", || udp::set_gro(fd))?;
    let listen = |cause| SocketError::Listen { ip, port, cause };
    if spec.has_siblings {
        socket.set_reuse_port(true).map_err(setting("SO_REUSEPORT on", ip))?;
    }
    bind(&socket, spec, ip, port).map_err(listen)?;
    Ok(Listener { socket, family, carrier, gro, refused, receive_buffer })
}

fn open_senders(spec: &SocketSpec, ip: IpAddr) -> Result<Senders, SocketError> {
    let family = Family::of(ip);
    let sockets = (0..spec.source_ports.max(1))
        .map(|lane| open_sender(spec, ip, lane))
        .collect::<Result<Vec<_>, _>>()?;
    let runs = agree_on_runs(spec, &sockets[0].socket)?;
    Ok(Senders { family, sockets, runs })
}

pub(super) fn agree_on_runs(spec: &SocketSpec, socket: &Socket) -> Result<Arc<Runs>, SocketError> {
    let fd = socket.as_fd();
    let (gso, refused) = agree(spec.gso, "udp_gso", "UDP_SEGMENT", || udp::check_segment(fd))?;
    let runs = Runs { gso: AtomicBool::new(gso), refused: OnceLock::new() };
    if let Some(refused) = refused {
        let _ = runs.refused.set(refused);
    }
    Ok(Arc::new(runs))
}

fn open_sender(spec: &SocketSpec, ip: IpAddr, lane: u8) -> Result<Sender, SocketError> {
    let socket = open_socket(spec, Family::of(ip))?;
    let fd = socket.as_fd();
    // Nobody has reason to send to its port, and nobody reads what comes there.
    udp::set_receive_nothing(fd).map_err(setting("SO_ATTACH_FILTER on", ip))?;
    let _ = socket.set_recv_buffer_size(0);
    let bytes = spec.send_buffer_bytes;
    let send_buffer =
        udp::set_send_buffer(fd, bytes).map_err(setting("send_buffer_bytes", bytes))?;
    bind_source_port(&socket, spec, ip, lane)
        .map_err(|cause| SocketError::SourcePort { ip, cause })?;
    Ok(Sender { socket, send_buffer })
}

/// Opens a socket with what all have in common. Its checksums are on, as they are by default.
pub(super) fn open_socket(spec: &SocketSpec, family: Family) -> Result<Socket, SocketError> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))
        .map_err(setting("listen", spec.listen))?;
    let fd = socket.as_fd();
    if family == Family::V6 {
        socket.set_only_v6(true).map_err(setting("IPV6_V6ONLY on", spec.listen))?;
    }
    if let Some(mark) = spec.fwmark {
        socket.set_mark(mark).map_err(setting("fwmark", mark))?;
    }
    if let Some(name) = &spec.bind_device {
        socket.bind_device(Some(name.as_bytes())).map_err(setting("bind_device", name))?;
    }
    udp::set_dont_fragment(fd, family, Refused::AbovePath)
        .map_err(setting("IP_MTU_DISCOVER on", spec.listen))?;
    udp::set_hop_limit(fd, family, spec.ttl).map_err(setting("ttl", spec.ttl))?;
    Ok(socket)
}

/// Turns an offload on as the switch says; gives whether it is on, and what was refused.
fn agree(
    switch: Switch,
    key: &'static str,
    option: &str,
    set: impl FnOnce() -> io::Result<()>,
) -> Result<(bool, Option<String>), SocketError> {
    if switch == Switch::Off {
        return Ok((false, None));
    }
    match (set(), switch) {
        (Ok(()), _) => Ok((true, None)),
        (Err(cause), Switch::On) => Err(SocketError::Offload { key, cause }),
        (Err(cause), Switch::Auto | Switch::Off) => {
            tracing::warn!(%cause, "the kernel refuses {option}: {key} is off");
            Ok((false, Some(format!("{option}: {cause}"))))
        }
    }
}

/// Binds a socket, even to an address that is not there yet.
///
/// Such a socket works as soon as the address comes, and again after it went and came. The price
/// is that an address that is never to come is a warning and not an error.
fn bind(socket: &Socket, spec: &SocketSpec, ip: IpAddr, port: u16) -> io::Result<()> {
    let address = local_address(spec, ip, port);
    match socket.bind(&address.into()) {
        Err(cause) if cause.raw_os_error() == Some(Errno::EADDRNOTAVAIL as i32) => {
            match Family::of(ip) {
                Family::V4 => socket.set_freebind_v4(true)?,
                Family::V6 => socket.set_freebind_v6(true)?,
            }
            socket.bind(&address.into())?;
            tracing::warn!(%address, "no interface has this address yet: waiting for it");
            Ok(())
        }
        result => result,
    }
}

/// Binds to any free port of the range, beginning at a random one of the lane's class: the lanes then
/// differ in what a receiver shares them by ([`udp::share_by_source_port`]).
fn bind_source_port(socket: &Socket, spec: &SocketSpec, ip: IpAddr, lane: u8) -> io::Result<()> {
    let random = (RandomState::new().build_hasher().finish() % u64::from(SOURCE_PORT_COUNT)) as u16;
    let start = random / PORT_CLASSES * PORT_CLASSES + u16::from(lane);
    // All ports of the class, then all of the next.
    let of_class = |first| (first..SOURCE_PORT_COUNT).step_by(PORT_CLASSES.into());
    for offset in (0..PORT_CLASSES).flat_map(of_class) {
        let port = SOURCE_PORT_FIRST + (start + offset) % SOURCE_PORT_COUNT;
        match bind(socket, spec, ip, port) {
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    Err(Errno::EADDRINUSE.into())
}

/// Gives the address to bind to; a link-local one with the interface that it is meant for.
fn local_address(spec: &SocketSpec, ip: IpAddr, port: u16) -> SocketAddr {
    match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            let scope_id = spec.bind_device.as_deref().and_then(link::index).unwrap_or(0);
            SocketAddrV6::new(v6, port, 0, scope_id).into()
        }
        ip => SocketAddr::new(ip, port),
    }
}

/// Binds all sockets to the interface that has the name now, if it is another than before.
pub(super) fn follow_device(underlay: &mut Underlay) -> io::Result<()> {
    let Some(name) = underlay.spec.bind_device.as_deref() else {
        return Ok(());
    };
    let index = link::index(name);
    if index.is_none() || index == underlay.bound_index {
        return Ok(());
    }
    let listeners = underlay.listeners.iter().map(|listener| &listener.socket);
    let senders = underlay.senders.iter().flat_map(|senders| &senders.sockets);
    let probes = underlay.probes.iter().map(|probe| &probe.socket);
    for socket in listeners.chain(senders.map(|sender| &sender.socket)).chain(probes) {
        socket.bind_device(Some(name.as_bytes()))?;
    }
    underlay.bound_index = index;
    tracing::info!(interface = name, "the underlay interface was replaced: bound to the new one");
    Ok(())
}

pub(super) fn address_of(socket: &Socket, family: Family) -> SocketAddr {
    let unspecified = match family {
        Family::V4 => SocketAddr::from(([0; 4], 0)),
        Family::V6 => SocketAddr::from(([0; 16], 0)),
    };
    socket.local_addr().ok().and_then(|address| address.as_socket()).unwrap_or(unspecified)
}
