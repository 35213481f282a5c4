//! Siblings share what comes by its source port.

use super::*;
use crate::sys::udp::PORT_CLASSES;

/// Lanes of the sender: one of each class.
const LANES: u16 = PORT_CLASSES;
/// The port of the siblings.
const FAR: u16 = 4791;

/// Receives one datagram at whichever sibling it comes to; gives that sibling and the source port.
fn receive(siblings: &mut [Underlay], memory: &mut Memory) -> (usize, u16) {
    let mut poller = Poller::new().unwrap();
    for (sibling, underlay) in siblings.iter().enumerate() {
        for (listener, fd, _) in underlay.listeners() {
            poller.add(fd, (sibling << 8 | listener) as u64).unwrap();
        }
    }
    assert_eq!(poller.wait(Some(Duration::from_secs(5))).unwrap(), 1, "at one of them");
    let token = poller.ready().next().unwrap() as usize;
    let (sibling, mut received) = (token >> 8, Vec::new());
    siblings[sibling].receive(token & 0xff, memory, 1..2, &mut received).unwrap();
    (sibling, received[0].from.port())
}

#[test]
fn lanes_of_a_sender_are_shared_evenly_by_siblings() {
    in_network_namespace(|| {
        for (ip, count) in [("127.0.0.1", 2), ("127.0.0.1", 3), ("::1", 2), ("::1", 4)] {
            let lanes = SocketSpec { source_ports: LANES as u8, ..spec("::") };
            let there = SocketSpec { port: Some(FAR), gpe_port: None, ..lanes.clone() };
            let mut bench = Bench::open(&SocketSpec { port: None, ..lanes });
            let mut siblings = vec![open(&SocketSpec { has_siblings: true, ..there })];
            for _ in 1..count {
                siblings.push(siblings[0].open_sibling().unwrap());
            }
            siblings[0].share_with(count);
            for lane in 0..LANES {
                let transmit = bench.transmit(local(ip, FAR), 2, 60, 50);
                bench.send(&Transmit { entropy: lane, ..transmit }).unwrap();
                let (sibling, port) = receive(&mut siblings, &mut bench.memory);
                assert_eq!(port % LANES, lane, "{ip}: {port}");
                assert_eq!(sibling, usize::from(lane) % siblings.len(), "{ip}: {port}");
            }
        }
    });
}
