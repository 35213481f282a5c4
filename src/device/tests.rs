use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;

use super::setup::{self, Setup};
use super::*;
use crate::sys::fault::{self, Point};
use crate::sys::poll::{Poller, Wake};
use crate::sys::testing::{eventually, in_another_namespace, ip, ip_output, with_devices};

const NO_OFFLOAD: VnetBytes = [0; 10];

fn spec(name: &str, kind: Kind) -> DeviceSpec {
    DeviceSpec { name: name.into(), kind, gso: Switch::Auto, is_multi_queue: false }
}

/// Opens; waits until who had it before has closed it.
fn open(spec: &DeviceSpec) -> Device {
    eventually(|| match Device::open(spec) {
        Err(DeviceError::Busy { .. }) => None,
        result => Some(result.unwrap()),
    })
}

fn is_there(name: &str) -> bool {
    crate::sys::link::index(name).is_some()
}

fn error_of(spec: &DeviceSpec) -> String {
    Device::open(spec).err().unwrap().to_string()
}

/// Sets a device up in the calling thread's namespace.
fn set_up(name: &str, addresses: &[&str]) {
    let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        let setup = Setup { mtu: Some(1400), addresses: &addresses, ..Setup::default() };
        setup::apply(&handle, name, &setup).await.unwrap();
    });
}

/// Reads until a packet satisfies the test.
fn read_until(device: &mut Device, mut is_it: impl FnMut(&VnetBytes, &[u8]) -> bool) {
    let mut poller = Poller::new().unwrap();
    poller.add(&*device, 0).unwrap();
    let mut buffer = vec![0; 66_000];
    loop {
        while let Some((vnet, len)) = device.read(&mut buffer).unwrap() {
            if is_it(&vnet, &buffer[..len]) {
                return;
            }
        }
        let ready = poller.wait(Some(std::time::Duration::from_secs(5))).unwrap();
        assert_ne!(ready, 0, "a packet comes");
    }
}

#[test]
fn device_has_its_offloads_and_vanishes_when_it_is_dropped() {
    with_devices(|| {
        for kind in [Kind::Tun, Kind::Tap] {
            let device = open(&spec("dev0", kind));
            assert_eq!(device.name(), "dev0");
            assert_eq!(Some(device.index()), crate::sys::link::index("dev0"));
            assert!(!device.was_there());
            let offloads = device.offloads().clone();
            let all = DeviceOffloads { tso: true, uso: true, csum: true, refused: None };
            assert_eq!(offloads, all);
            drop(device);
            eventually(|| (!is_there("dev0")).then_some(()));
        }
    });
}

#[test]
fn persistent_device_is_used_and_left_in_place() {
    with_devices(|| {
        for (kind, mode) in [(Kind::Tun, "tun"), (Kind::Tap, "tap")] {
            ip(&format!("tuntap add name old0 mode {mode}"));
            let device = open(&spec("old0", kind));
            assert!(device.was_there());
            assert!(device.offloads().tso);
            assert_eq!(
                error_of(&spec("old0", kind)),
                "interface old0: busy, another process has it open"
            );
            drop(device);
            assert!(open(&spec("old0", kind)).was_there());
            ip("link del old0");
        }
    });
}

#[test]
fn name_of_something_else_is_refused_and_named() {
    with_devices(|| {
        ip("tuntap add name old0 mode tap");
        ip("link add br0 type bridge");
        ip("tuntap add name many0 mode tap multi_queue");
        for (name, expected) in [
            ("old0", "interface old0: exists and is a tap device, not a tun device"),
            ("br0", "interface br0: exists and is a bridge interface, not a tun device"),
            ("lo", "interface lo: exists and is another interface, not a tun device"),
            ("", "interface name \"\": not a name"),
            ("sixteen-bytes-xx", "interface name \"sixteen-bytes-xx\": longer than 15 bytes"),
            ("a%d", "interface name \"a%d\": contains a blank, '/', ':' or '%'"),
        ] {
            assert_eq!(error_of(&spec(name, Kind::Tun)), expected);
        }
        assert_eq!(
            error_of(&spec("many0", Kind::Tap)),
            "interface many0: exists with several queues (multi_queue), make it without"
        );
    });
}

#[test]
fn refused_offloads_are_left_out_and_said() {
    with_devices(|| {
        fault::set_for_thread(Point::TunOffloadUso, Some(Errno::EINVAL));
        let without_uso = open(&spec("dev0", Kind::Tun)).offloads().clone();
        let mut demanding = spec("dev0", Kind::Tun);
        demanding.gso = Switch::On;
        assert!(open(&demanding).offloads().tso, "UDP alone is no refusal");
        fault::set_for_thread(Point::TunOffload, Some(Errno::EINVAL));
        let without_any = open(&spec("dev0", Kind::Tun)).offloads().clone();
        let error = eventually(|| Some(error_of(&demanding)).filter(|e| !e.contains("busy")));
        fault::set_for_thread(Point::TunOffload, None);
        fault::set_for_thread(Point::TunOffloadUso, None);

        assert!(without_uso.tso && !without_uso.uso);
        assert!(without_uso.refused.unwrap().starts_with("TUNSETOFFLOAD 0x67: "));
        assert!(!without_any.tso && !without_any.csum);
        assert!(without_any.refused.is_some());
        assert!(
            error.starts_with("interface dev0: device_gso is on, but the kernel refuses it: "),
            "{error}"
        );
        let off = DeviceSpec { gso: Switch::Off, ..spec("dev0", Kind::Tun) };
        assert_eq!(*open(&off).offloads(), DeviceOffloads::default());
    });
}

#[test]
fn udp_gso_packet_crosses_unsegmented_both_ways() {
    with_devices(|| {
        let mut device = open(&spec("tun0", Kind::Tun));
        set_up("tun0", &["10.9.0.1/24"]);
        let socket = UdpSocket::bind("10.9.0.1:7000").unwrap();
        let payload: Vec<u8> = (0..4000_u32).map(|i| (i / 3) as u8).collect();

        // Outbound: three datagrams sent in one call are read in one packet.
        socket.connect("10.9.0.2:7000").unwrap();
        let mut envelope = crate::sys::datagram::Envelope::new("10.9.0.2:7000".parse().unwrap());
        envelope.set_segment(1300);
        let slices = [io::IoSlice::new(&payload[..3900])];
        crate::sys::datagram::send(socket.as_fd(), &mut envelope, &slices).unwrap();
        let mut packet = (NO_OFFLOAD, Vec::new());
        read_until(&mut device, |vnet, bytes| {
            packet = (*vnet, bytes.to_vec());
            bytes.len() == 28 + 3900
        });
        assert_eq!(packet.0[1], 5, "VIRTIO_NET_HDR_GSO_UDP_L4");
        assert_eq!(u16::from_ne_bytes([packet.0[4], packet.0[5]]), 1300);
        assert_eq!(packet.1[28..], payload[..3900]);

        // Inbound: the same packet sent back is three datagrams again.
        let (vnet, mut bytes) = packet;
        let (source, destination) = bytes[12..20].split_at_mut(4);
        source.swap_with_slice(destination);
        let mut memory = Memory::new(1);
        let whole = memory.slot(0).part(0, bytes.len());
        memory.bytes_mut(whole).copy_from_slice(&bytes);
        let pieces = [whole.part(0, 28), whole.part(28, 2000), whole.part(2028, 1900)];
        device.write(vnet, &pieces, &memory).unwrap();
        let mut datagram = [0; 2000];
        for expected in payload[..3900].chunks(1300) {
            let len = socket.recv(&mut datagram).unwrap();
            assert_eq!(datagram[..len], *expected);
        }
    });
}

#[test]
fn gone_and_down_devices_are_told_apart() {
    with_devices(|| {
        let mut device = open(&spec("tun0", Kind::Tun));
        let mut memory = Memory::new(1);
        let pieces = [memory.slot(0).part(0, 40)];
        memory.bytes_mut(pieces[0])[0] = 0x45;
        let error = device.write(NO_OFFLOAD, &pieces, &memory).unwrap_err();
        assert!(is_down(&error) && !is_gone(&error), "{error}");
        assert!(device.read(&mut [0; 100]).unwrap().is_none());
        let mut poller = Poller::new().unwrap();
        poller.add(&device, 3).unwrap();
        ip("link del tun0");
        assert_eq!(poller.wait(None).unwrap(), 1);
        let error = device.read(&mut [0; 100]).unwrap_err();
        assert!(is_gone(&error) && !is_down(&error), "{error}");
        let error = device.write(NO_OFFLOAD, &pieces, &memory).unwrap_err();
        assert!(is_gone(&error), "{error}");
    });
}

#[test]
fn tun_says_nothing_by_itself() {
    with_devices(|| {
        let mut device = open(&spec("tun0", Kind::Tun));
        set_up("tun0", &["10.9.0.1/24", "fd00:9::1/64"]);
        assert!(!ip_output("-6 addr show dev tun0").contains("fe80"));
        // What it sends first is what it is made to send: no router solicitation before it.
        let socket = UdpSocket::bind("[fd00:9::1]:0").unwrap();
        socket.send_to(b"first", "[fd00:9::2]:7").unwrap();
        read_until(&mut device, |_, bytes| {
            let next_header = bytes[6];
            assert_ne!(next_header, 58, "no ICMPv6 by itself");
            bytes.ends_with(b"first")
        });
    });
}

/// Two hosts whose devices are joined by copying packets, offload header and all.
fn transfer_between(kind: Kind, address: impl Fn(u8) -> String, peer: &str) -> Traffic {
    let peer: IpAddr = peer.parse().unwrap();
    const LEN: usize = 8 << 20;
    let (devices_in, devices_out) = mpsc::channel();
    let stop = Wake::new().unwrap();
    let mut traffic = Traffic::default();
    std::thread::scope(|scope| {
        let host = |number: u8, role: fn(TcpRole)| {
            let (devices, address, stop) = (devices_in.clone(), address(number), &stop);
            scope.spawn(move || {
                in_another_namespace(|| {
                    let device = open(&spec("dev0", kind));
                    set_up("dev0", &[&address]);
                    let listener = TcpListener::bind(format!("{}:7000", bracketed(&address)));
                    devices.send(device).unwrap();
                    role(TcpRole { listener: listener.unwrap(), peer, len: LEN });
                    stop.set();
                });
            });
        };
        host(1, |role| {
            let mut stream = TcpStream::connect((role.peer, 7000)).unwrap();
            stream.write_all(&vec![7; role.len]).unwrap();
            // Held open until the other end has read everything and closed.
            let _ = stream.read(&mut [0]);
        });
        host(2, |role| {
            let (mut stream, _) = role.listener.accept().unwrap();
            let mut left = role.len;
            let mut buffer = vec![0; 1 << 16];
            while left > 0 {
                let len = stream.read(&mut buffer).unwrap();
                assert!(len > 0 && buffer[..len].iter().all(|byte| *byte == 7));
                left -= len;
            }
        });
        drop(devices_in);
        let devices = [devices_out.recv().unwrap(), devices_out.recv().unwrap()];
        traffic = shuttle(devices, &stop);
    });
    traffic
}

struct TcpRole {
    listener: TcpListener,
    peer: IpAddr,
    len: usize,
}

#[derive(Debug, Default)]
struct Traffic {
    gso_packets: usize,
    longest: usize,
}

fn bracketed(address: &str) -> String {
    let ip: IpAddr = address.split('/').next().unwrap().parse().unwrap();
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

fn shuttle(mut devices: [Device; 2], stop: &Wake) -> Traffic {
    let mut poller = Poller::new().unwrap();
    poller.add(&devices[0], 0).unwrap();
    poller.add(&devices[1], 1).unwrap();
    poller.add(stop, 2).unwrap();
    let mut memory = Memory::new(1);
    let slot = memory.slot(0);
    let mut traffic = Traffic::default();
    loop {
        poller.wait(None).unwrap();
        let ready: Vec<_> = poller.ready().collect();
        for from in 0..2 {
            while let Some((vnet, len)) = devices[from].read(memory.bytes_mut(slot)).unwrap() {
                traffic.gso_packets += usize::from(vnet[1] != 0);
                traffic.longest = traffic.longest.max(len);
                // A host that has finished takes its device down with its namespace.
                let _ = devices[1 - from].write(vnet, &[slot.part(0, len)], &memory);
            }
        }
        if ready.contains(&2) {
            return traffic;
        }
    }
}

#[test]
fn tcp_crosses_in_gso_packets_on_tun_and_tap_and_both_families() {
    with_devices(|| {
        for kind in [Kind::Tun, Kind::Tap] {
            let v4 = transfer_between(kind, |n| format!("10.9.0.{n}/24"), "10.9.0.2");
            let v6 = transfer_between(kind, |n| format!("fd00:9::{n}/64"), "fd00:9::2");
            for traffic in [v4, v6] {
                assert!(traffic.gso_packets > 50, "{traffic:?}");
                assert!(traffic.longest > 30_000, "{traffic:?}");
            }
        }
    });
}

#[test]
fn memory_twin_reads_what_is_put_in_and_keeps_what_is_written() {
    let mut device = MemDevice::default();
    device.to_read.push_back(([1; 10], vec![5; 300]));
    let mut memory = Memory::new(1);
    let slot = memory.slot(0);
    assert_eq!(device.read(memory.bytes_mut(slot)).unwrap(), Some(([1; 10], 300)));
    assert_eq!(device.read(memory.bytes_mut(slot)).unwrap(), None);
    device.write([2; 10], &[slot.part(298, 2), slot.part(0, 1)], &memory).unwrap();
    assert_eq!(device.written, [([2; 10], vec![5; 3])]);
}

#[test]
fn killed_daemon_leaves_no_device() {
    // The kernel's own rule, which the daemon relies on: closing the last descriptor is enough.
    with_devices(|| {
        let device = open(&spec("tun0", Kind::Tun));
        set_up("tun0", &["10.9.0.1/24"]);
        assert!(is_there("tun0"));
        drop(device);
        eventually(|| (!is_there("tun0")).then_some(()));
        assert_eq!(ip_output("route"), "");
    });
}
