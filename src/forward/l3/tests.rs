//! The rules of an L3 network.

use super::*;
use crate::forward::FloodRate;

const US: Ingress = Ingress::Device;
const A: PeerId = PeerId::new(1, 0);
const B: PeerId = PeerId::new(2, 0);
const C: PeerId = PeerId::new(3, 0);
const FROM_A: Ingress = Ingress::Peer(A);
const FROM_B: Ingress = Ingress::Peer(B);

struct Net {
    l3: L3Network,
    now: Instant,
}

impl Net {
    /// A has 10.1/16, B has 10.2/16, and both share 10.9/16; we are 10.0.0.1 and 10.9.0.1.
    fn new(relay: bool) -> Self {
        let now = Instant::now();
        let flood = FloodRate { rate_pps: 10, burst: 10 };
        let rules = Rules { relay, flood, ..Rules::default() };
        let own = ["10.0.0.1/24", "10.9.0.1/32", "fd00::1/64"].map(|net| net.parse().unwrap());
        let mut l3 = L3Network::new(&rules, &own, now, 7);
        for peer in [A, B, C] {
            l3.add_peer(peer);
        }
        l3.set_routes(routes(&[
            ("10.1.0.0/16", A),
            ("fd00:1::/32", A),
            ("10.2.0.0/16", B),
            ("10.9.0.0/16", A),
            ("10.9.0.0/16", B),
        ]));
        Self { l3, now }
    }

    /// Where groups are routed by prefix: A has 224.0.0.0/4 and ff00::/8 besides 10.1/16.
    fn with_routed_groups() -> Self {
        let now = Instant::now();
        let rules = Rules { routes_groups: true, ..Rules::default() };
        let mut l3 = L3Network::new(&rules, &[], now, 7);
        l3.add_peer(A);
        l3.add_peer(B);
        l3.set_routes(routes(&[("224.0.0.0/4", A), ("ff00::/8", A), ("10.2.0.0/16", B)]));
        Self { l3, now }
    }

    fn learn(&mut self, source: &str, ingress: Ingress) -> Result<(), DropReason> {
        self.l3.learn(source.parse().unwrap(), ingress, self.now)
    }

    fn verdict(&mut self, destination: &str, ingress: Ingress) -> Verdict {
        self.l3.verdict(destination.parse().unwrap(), ingress, 1, self.now)
    }

    /// Asserts that a packet is for all who share 10.9/16.
    fn assert_flooded_to_share(&mut self, destination: &str, ingress: Ingress) {
        let Verdict::FloodShared(share) = self.verdict(destination, ingress) else {
            panic!("not flooded to those who share the prefix");
        };
        assert_eq!(self.l3.sharing(share), [A, B]);
    }
}

fn routes(prefixes: &[(&str, PeerId)]) -> Routes {
    let prefixes: Vec<_> =
        prefixes.iter().map(|(net, peer)| (net.parse().unwrap(), *peer)).collect();
    Routes::new(&prefixes)
}

#[test]
fn from_the_device_the_longest_prefix_decides() {
    let mut net = Net::new(false);
    assert_eq!(net.verdict("10.1.2.3", US), Verdict::Peer(A));
    assert_eq!(net.verdict("fd00:1::2", US), Verdict::Peer(A));
    assert_eq!(net.verdict("10.2.2.3", US), Verdict::Peer(B));
    assert_eq!(net.verdict("10.3.2.3", US), Verdict::Drop(DropReason::NoRoute));
    assert_eq!(net.verdict("10.0.0.1", US), Verdict::Drop(DropReason::SameSide));
}

#[test]
fn a_host_in_a_shared_prefix_is_learned_moves_and_ages_out() {
    let mut net = Net::new(false);
    net.assert_flooded_to_share("10.9.0.7", US);
    net.learn("10.9.0.7", FROM_A).unwrap();
    assert_eq!(net.verdict("10.9.0.7", US), Verdict::Peer(A));
    net.learn("10.9.0.7", FROM_B).unwrap();
    assert_eq!(net.verdict("10.9.0.7", US), Verdict::Peer(B));
    net.now += std::time::Duration::from_secs(300);
    net.assert_flooded_to_share("10.9.0.7", US);
}

#[test]
fn a_host_in_a_shared_prefix_may_be_behind_us() {
    let mut net = Net::new(false);
    net.learn("10.9.0.7", US).unwrap();
    assert_eq!(net.verdict("10.9.0.7", US), Verdict::Drop(DropReason::SameSide));
    assert_eq!(net.verdict("10.9.0.7", FROM_A), Verdict::Device);
}

#[test]
fn only_shared_prefixes_are_learned() {
    let mut net = Net::new(false);
    net.learn("10.1.0.7", FROM_A).unwrap();
    net.learn("10.0.0.1", US).unwrap();
    net.learn("10.9.0.1", US).unwrap();
    net.learn("192.0.2.1", US).unwrap();
    assert!(net.l3.hosts().is_empty());
}

#[test]
fn a_peer_may_send_only_from_what_is_routed_to_it() {
    let mut net = Net::new(false);
    let refused = Err(DropReason::SourceNotAllowed);
    assert_eq!(net.learn("10.1.0.7", FROM_A), Ok(()));
    assert_eq!(net.learn("10.1.0.7", FROM_B), refused);
    assert_eq!(net.learn("10.9.0.7", Ingress::Peer(C)), refused);
    assert_eq!(net.learn("192.0.2.1", FROM_A), refused);
    assert_eq!(net.learn("fe80::1", FROM_A), refused);
    assert_eq!(net.learn("::", FROM_A), refused);
    assert_eq!(net.learn("10.9.0.1", FROM_A), refused, "our own address");
    assert!(net.l3.hosts().is_empty());
}

#[test]
fn a_packet_without_source_address_teaches_nothing() {
    let mut net = Net::new(false);
    net.l3.set_routes(routes(&[("::/0", A), ("::/0", B), ("0.0.0.0/0", A), ("0.0.0.0/0", B)]));
    for source in ["::", "0.0.0.0"] {
        net.learn(source, FROM_A).unwrap();
        net.learn(source, US).unwrap();
    }
    assert!(net.l3.hosts().is_empty());
    net.learn("fe80::1", FROM_A).unwrap();
    assert_eq!(net.l3.hosts().len(), 1);
}

#[test]
fn groups_are_no_sources() {
    let mut net = Net::new(false);
    for source in ["224.0.0.1", "255.255.255.255", "10.0.0.255", "ff02::1"] {
        for ingress in [US, FROM_A] {
            assert_eq!(net.learn(source, ingress), Err(DropReason::SourceInvalid));
        }
    }
}

#[test]
fn groups_go_to_all_peers_and_from_a_peer_to_us() {
    let groups = ["224.0.0.5", "255.255.255.255", "10.0.0.255", "ff02::fb"];
    let (mut net, mut hub) = (Net::new(false), Net::new(true));
    for group in groups {
        assert_eq!(net.verdict(group, US), Verdict::Flood { device: false });
        assert_eq!(net.verdict(group, FROM_A), Verdict::Device);
        assert_eq!(hub.verdict(group, FROM_A), Verdict::Flood { device: true });
    }
}

#[test]
fn floods_are_limited_for_each_source() {
    let mut net = Net::new(false);
    for at in 0..10 {
        let destination = ["10.9.0.7", "224.0.0.5"][at % 2];
        assert!(!matches!(net.verdict(destination, US), Verdict::Drop(_)));
    }
    assert_eq!(net.verdict("10.9.0.7", US), Verdict::Drop(DropReason::FloodLimited));
    assert_eq!(net.verdict("224.0.0.5", US), Verdict::Drop(DropReason::FloodLimited));
    assert_eq!(net.verdict("10.1.0.7", US), Verdict::Peer(A));
    assert_eq!(net.verdict("224.0.0.5", FROM_A), Verdict::Device);
}

#[test]
fn from_a_peer_everything_is_for_us_unless_we_relay() {
    let mut net = Net::new(false);
    net.learn("10.9.0.7", FROM_B).unwrap();
    for destination in ["10.0.0.1", "10.2.0.1", "10.9.0.7", "10.9.0.8", "192.0.2.1"] {
        assert_eq!(net.verdict(destination, FROM_A), Verdict::Device);
    }
}

#[test]
fn a_relay_passes_on_what_another_peer_has() {
    let mut net = Net::new(true);
    assert_eq!(net.verdict("10.2.0.1", FROM_A), Verdict::Peer(B));
    assert_eq!(net.verdict("10.1.0.1", FROM_A), Verdict::Device);
    assert_eq!(net.verdict("10.0.0.1", FROM_A), Verdict::Device);
    assert_eq!(net.verdict("10.9.0.1", FROM_A), Verdict::Device);
    assert_eq!(net.verdict("192.0.2.1", FROM_A), Verdict::Device);
    net.assert_flooded_to_share("10.9.0.7", FROM_A);
    net.learn("10.9.0.7", FROM_B).unwrap();
    assert_eq!(net.verdict("10.9.0.7", FROM_A), Verdict::Peer(B));
    assert_eq!(net.verdict("10.9.0.7", FROM_B), Verdict::Device);
}

#[test]
fn without_peers_groups_go_nowhere() {
    let mut net = Net::new(false);
    for peer in [A, B, C] {
        net.l3.forget_peer(peer);
    }
    assert_eq!(net.verdict("224.0.0.5", US), Verdict::Drop(DropReason::NoPeers));
}

#[test]
fn a_removed_peer_has_no_routes_and_no_hosts() {
    let mut net = Net::new(false);
    net.learn("10.9.0.7", FROM_A).unwrap();
    net.l3.forget_peer(A);
    assert_eq!(net.verdict("10.1.2.3", US), Verdict::Drop(DropReason::NoRoute));
    net.assert_flooded_to_share("10.9.0.7", US);
    let mut hub = Net::new(true);
    hub.l3.forget_peer(B);
    assert_eq!(hub.verdict("10.2.0.1", FROM_A), Verdict::Device);
}

#[test]
fn a_host_is_not_believed_behind_a_peer_that_no_longer_shares_its_prefix() {
    let mut net = Net::new(false);
    net.learn("10.9.0.7", FROM_A).unwrap();
    net.l3.set_routes(routes(&[("10.9.0.0/16", C), ("10.9.0.0/16", B)]));
    assert!(matches!(net.verdict("10.9.0.7", US), Verdict::FloodShared(_)));
}

#[test]
fn own_address_is_here_whatever_the_routes_say() {
    let net = Net::new(false);
    let place = |address: &str| net.l3.place_of(address.parse().unwrap(), net.now);
    assert_eq!(place("10.9.0.1"), Some(Place::Local));
    assert_eq!(place("10.0.0.1"), Some(Place::Local));
    assert_eq!(place("10.1.0.1"), Some(Place::Peer(A)));
}

#[test]
fn group_goes_to_whom_its_prefix_belongs_where_groups_are_routed() {
    let mut net = Net::with_routed_groups();
    for group in ["224.0.0.251", "239.255.255.250", "ff02::fb"] {
        assert_eq!(net.verdict(group, US), Verdict::Peer(A), "{group}");
        assert_eq!(net.verdict(group, FROM_B), Verdict::Device, "{group}");
    }
    assert_eq!(net.verdict("255.255.255.255", US), Verdict::Drop(DropReason::NoRoute));
    assert_eq!(net.learn("224.0.0.251", FROM_A), Err(DropReason::SourceInvalid));
}
