use std::net::IpAddr;
use std::time::Duration;

use crate::peer::Vni;

use super::*;

const SITE: &str = r#"
name = "site-a"

[underlay]
fwmark = 0x33
bind_device = "eth0"

[vxlan]
listen = "192.0.2.1"

[[network]]
name = "office"
vni = 42
device = "tap"
addresses = ["10.9.0.1/24", "fd00:9::1/64"]
mtu = "auto"
routes = "auto"
static_entries = [
    { mac = "02:00:00:00:00:02", vlan = 7, peer = "site-b" },
    { mac = "02:00:00:00:00:03" },
]

[[network]]
name = "routed"
vni = 42
device = "tun"
mtu = 1400
routes = 51

[[peer]]
name = "site-b"
transport = "vxlan"
endpoint = "192.0.2.2"
networks = ["office"]
allowed_macs = ["02:00:00:00:00:02"]

[[peer]]
name = "site-c"
transport = "vxlan"
endpoint = "192.0.2.3"
allowed_ips = ["10.9.0.77/24", "10.8.0.1"]
"#;

fn site() -> Config {
    parse("site.toml", SITE).unwrap_or_else(|errors| panic!("{errors}"))
}

fn faults(text: &str) -> Vec<String> {
    match parse("f", text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn a_file_is_read_into_settings() {
    let config = site();
    assert_eq!(config.name, "site-a");
    assert_eq!(config.underlay.fwmark, Some(0x33));
    assert_eq!(config.underlay.bind_device.as_deref(), Some("eth0"));
    let office = &config.networks[0];
    assert_eq!(Some(office.vni), Vni::new(42));
    assert_eq!(office.addresses[1].to_string(), "fd00:9::1/64");
    assert_eq!(office.interface, "tap-office");
    let entry = |mac, vlan, peer| StaticEntry { mac: Mac([2, 0, 0, 0, 0, mac]), vlan, peer };
    assert_eq!(office.static_entries, [entry(2, 7, Some(0)), entry(3, 0, None)]);
    let routed = config.network(NetworkId(1));
    assert_eq!((routed.mtu, routed.routes), (Some(1400), Routes::Table(51)));
    assert_eq!(config.peers[0].networks, [NetworkId(0)]);
}

#[test]
fn a_peer_is_in_all_networks_by_default() {
    assert_eq!(site().peers[1].networks, [NetworkId(0), NetworkId(1)]);
}

#[test]
fn host_bits_of_allowed_ips_are_cleared_and_a_bare_address_is_a_host() {
    let prefixes: Vec<_> = site().peers[1].allowed_ips.iter().map(ToString::to_string).collect();
    assert_eq!(prefixes, ["10.8.0.1/32", "10.9.0.0/24"]);
}

#[test]
fn absent_keys_stand_at_their_defaults() {
    let text = "name = 'a'\n[vxlan]\n[[network]]\nname = 'n'\nvni = 0\ndevice = 'tap'\n";
    let config = parse("f", text).unwrap();
    assert_eq!(config.underlay, Underlay::default());
    assert_eq!(config.offload, Offload::default());
    assert_eq!(config.vxlan, Some(Vxlan::default()));
    let network = &config.networks[0];
    assert_eq!((network.mtu, network.routes, network.relay), (None, Routes::Auto, false));
    assert_eq!(network.learning.ageing, Duration::from_secs(300));
}

#[test]
fn a_default_share_is_cut_to_the_table() {
    let text = "name = 'a'\n[vxlan]\n[[network]]\nname = 'n'\nvni = 0\ndevice = 'tap'\n\
                max_entries = 100";
    let learning = parse("f", text).unwrap().networks[0].learning;
    assert_eq!((learning.max_entries_per_peer, learning.max_entries_local), (100, 100));
}

#[test]
fn an_endpoint_without_port_uses_the_port_of_the_device_kind() {
    let vxlan = Vxlan::default();
    let address: IpAddr = "2001:db8::1".parse().unwrap();
    let of = |text: &str, kind| {
        let endpoint: Endpoint = text.parse().unwrap();
        endpoint.socket_address(kind, &vxlan)
    };
    assert_eq!(of("2001:db8::1", DeviceKind::Tun), (address, 4790).into());
    assert_eq!(of("2001:db8::1", DeviceKind::Tap), (address, 4789).into());
    assert_eq!(of("[2001:db8::1]:1", DeviceKind::Tap), (address, 1).into());
    assert_eq!(of("::ffff:192.0.2.1", DeviceKind::Tap).to_string(), "192.0.2.1:4789");
    assert_eq!("[fe80::1%2]:1".parse::<Endpoint>(), Err(peer::NotAnEndpoint));
}

#[test]
fn all_faults_are_reported_in_the_order_of_the_file() {
    let text = "name = 'a b'\n[vxlan]\nport = 0\n[[network]]\nvni = 16777216\ndevice = 'tab'\n";
    let name = "letters, digits, dots, dashes and underscores";
    assert_eq!(
        faults(text),
        [
            format!("f:1:8: name = 'a b': expected a name of 1 to 64 {name}"),
            "f:3:8: vxlan.port = 0: expected a number from 1 to 65535".to_owned(),
            format!("f:4:1: network[0].name: missing: expected a name of 1 to 32 {name}"),
            "f:5:7: network[0].vni = 16777216: expected a number from 0 to 16777215".to_owned(),
            "f:6:10: network[0].device = 'tab': expected \"tun\" or \"tap\"".to_owned(),
        ]
    );
}

#[test]
fn values_that_sound_like_secrets_are_not_shown() {
    let found = faults("private_key = 'wG0='\n");
    assert!(found[1].starts_with("f:1:1: private_key: unknown key"), "{found:?}");
}

#[test]
fn no_text_panics_the_reader() {
    for end in (0..SITE.len()).filter(|&end| SITE.is_char_boundary(end)) {
        let _ = parse("f", &SITE[..end]);
        let _ = parse("f", &SITE[end..]);
        let _ = parse("f", &format!("{}\u{0}{}", &SITE[..end], &SITE[end..]));
        let _ = parse("f", &format!("{}é]{}", &SITE[..end], &SITE[end..]));
    }
}
