//! Raw Ethernet on an interface: AF_PACKET sockets that send and receive whole frames.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockType, bind, recvmsg,
    sendmsg, setsockopt,
};
use nix::sys::time::TimeSpec;
use nix::{setsockopt_impl, sockopt_impl};
use std::os::fd::AsFd;
use tunctl::lab::Host;

sockopt_impl!(PacketAuxdata, SetOnly, libc::SOL_PACKET, libc::PACKET_AUXDATA, bool);
sockopt_impl!(PacketIgnoreOutgoing, SetOnly, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, bool);
sockopt_impl!(PacketVnetHeader, SetOnly, libc::SOL_PACKET, libc::PACKET_VNET_HDR, bool);

/// How long a frame may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// `struct tpacket_auxdata` of linux/if_packet.h: offsets of what is read of it.
mod auxdata {
    use std::ops::Range;

    pub const STATUS: Range<usize> = 0..4;
    pub const VLAN_TCI: Range<usize> = 16..18;
    pub const VLAN_TPID: Range<usize> = 18..20;
    pub const STATUS_VLAN_VALID: u32 = 1 << 4;
    pub const STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
}

/// Every frame of one interface.
pub struct Frames {
    socket: OwnedFd,
    interface: String,
}

impl Frames {
    /// Opens an interface of a host.
    pub fn open(host: &Host, interface: &str) -> Self {
        let socket = host.run(|| {
            let protocol = nix::sys::socket::SockProtocol::EthAll;
            let flags = SockFlag::SOCK_CLOEXEC;
            let socket =
                nix::sys::socket::socket(AddressFamily::Packet, SockType::Raw, flags, protocol)
                    .unwrap();
            setsockopt(&socket, PacketAuxdata, &true).unwrap();
            bind(socket.as_raw_fd(), &link_address(interface)).unwrap();
            socket
        });
        let frames = Self { socket, interface: interface.into() };
        frames.drain();
        frames
    }

    /// Opens an interface of a host for what arrives there, and not what leaves.
    pub fn arriving(host: &Host, interface: &str) -> Self {
        let frames = Self::open(host, interface);
        setsockopt(&frames.socket, PacketIgnoreOutgoing, &true).unwrap();
        frames.drain();
        frames
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) {
        let sent = sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(frame)],
            &[],
            MsgFlags::empty(),
            None,
        );
        assert_eq!(sent, Ok(frame.len()), "a frame on {}", self.interface);
    }

    /// Sends one GSO frame behind a `virtio_net_hdr`; no other frames can be sent after that.
    pub fn send_gso(&self, vnet_header: [u8; 10], frame: &[u8]) {
        setsockopt(&self.socket, PacketVnetHeader, &true).unwrap();
        let pieces = [IoSlice::new(&vnet_header), IoSlice::new(frame)];
        let sent = sendmsg::<()>(self.socket.as_raw_fd(), &pieces, &[], MsgFlags::empty(), None);
        assert_eq!(sent, Ok(10 + frame.len()), "a GSO frame on {}", self.interface);
    }

    /// Gives the next frame that `wanted` takes, others are passed over.
    ///
    /// # Panics
    ///
    /// Panics if none comes.
    #[track_caller]
    pub fn expect(&self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(frame) = self.next_within(left) else {
                panic!("{what}: no such frame on {}", self.interface)
            };
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Gives every frame up to and without the first that `fence` takes.
    ///
    /// # Panics
    ///
    /// Panics if the fence does not come.
    #[track_caller]
    pub fn until(&self, fence: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        let mut frames = vec![];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_within(left) {
                Some(frame) if fence(&frame) => return frames,
                Some(frame) => frames.push(frame),
                None => panic!("the last frame did not come on {}", self.interface),
            }
        }
    }

    /// Forgets what has come so far.
    pub fn drain(&self) {
        while self.next_within(Duration::ZERO).is_some() {}
    }

    /// Gives the next frame, if one comes in time.
    pub fn next_within(&self, patience: Duration) -> Option<Vec<u8>> {
        let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        if ppoll(&mut ready, Some(TimeSpec::from_duration(patience)), None).unwrap() == 0 {
            return None;
        }
        Some(self.receive())
    }

    /// Receives one frame with its VLAN tag, which the kernel hands over beside the frame.
    fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 70_000];
        let mut control = nix::cmsg_space!([u8; 20]);
        let mut pieces = [IoSliceMut::new(&mut buffer)];
        let fd = self.socket.as_raw_fd();
        let message =
            recvmsg::<()>(fd, &mut pieces, Some(&mut control), MsgFlags::empty()).unwrap();
        let tag = message.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::Unknown(unknown) => tag_of(&unknown.data_bytes),
            _ => None,
        });
        let len = message.bytes;
        buffer.truncate(len);
        if let Some(tag) = tag {
            buffer.splice(12..12, tag);
        }
        buffer
    }
}

fn tag_of(data: &[u8]) -> Option<[u8; 4]> {
    let status = u32::from_ne_bytes(data.get(auxdata::STATUS)?.try_into().ok()?);
    let half = |range| data.get(range).map(|b: &[u8]| u16::from_ne_bytes([b[0], b[1]]));
    if status & auxdata::STATUS_VLAN_VALID == 0 {
        return None;
    }
    let tpid = match status & auxdata::STATUS_VLAN_TPID_VALID {
        0 => 0x8100,
        _ => half(auxdata::VLAN_TPID)?,
    };
    let [a, b] = tpid.to_be_bytes();
    let [c, d] = half(auxdata::VLAN_TCI)?.to_be_bytes();
    Some([a, b, c, d])
}

/// Gives what a packet socket is bound to, for an interface of the host that this runs in.
pub fn link_address(interface: &str) -> LinkAddr {
    getifaddrs()
        .unwrap()
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .unwrap_or_else(|| panic!("no interface {interface}"))
}

/// Gives the MAC address of an interface.
pub fn mac(host: &Host, interface: &str) -> [u8; 6] {
    host.run(|| link_address(interface)).addr().expect("an Ethernet interface")
}

/// Builds an Ethernet frame; `tags` go between the addresses and the EtherType.
pub fn ethernet(
    to: [u8; 6],
    from: [u8; 6],
    tags: &[u8],
    ethertype: u16,
    payload: &[u8],
) -> Vec<u8> {
    [&to, &from, tags, &ethertype.to_be_bytes(), payload].concat()
}
