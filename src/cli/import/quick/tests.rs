use super::*;

const PRIVATE: &str = "cAdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LGo=";
const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
const OTHER: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

fn read(text: &str) -> Quick {
    parse("wg0.conf", text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn faults(text: &str) -> Vec<String> {
    match parse("f", text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

fn left_out(quick: &Quick) -> Vec<(usize, &str, Option<&str>)> {
    let all = quick.left_out.iter();
    all.map(|left| (left.line, left.key.as_str(), left.value.as_deref())).collect()
}

fn prefixes(peer: &Peer) -> Vec<String> {
    peer.allowed_ips.iter().map(|prefix| prefix.value.to_string()).collect()
}

#[test]
fn keys_are_read_in_any_case_with_comments_and_repeated() {
    let quick = read(&format!(
        "\u{feff}# A comment = here\r\n[INTERFACE] # and here\r\n\
         privatekey={PRIVATE}# no space needed\r\n\
         ADDRESS = 10.9.0.1/24 , fd00:9::1\r\n\taddress = 10.9.1.1\r\n\
         ListenPort = 51821\r\nFwMark = 0xCA6C\r\nmtu = 1380\r\nTable = 0x33\r\n\
         [peer]\r\nPublicKey = {PUBLIC}\r\nPresharedKey = {OTHER}\r\n\
         AllowedIPs = 10.9.0.2/32\r\nallowedips = 192.168.20.7/24,fd00::/8\r\n\
         Endpoint = site-b.example:51820\r\nPersistentKeepalive = 25"
    ));
    let Interface { private_key, addresses, listen_port, fwmark, mtu, table } = quick.interface;
    let key = private_key.unwrap();
    assert_eq!((key.line, key.value.to_base64().as_str()), (3, PRIVATE));
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.9.0.1/24", "fd00:9::1/128", "10.9.1.1/32"]);
    assert_eq!((listen_port, fwmark, mtu), (Some(51_821), Some(0xca6c), Some(1380)));
    assert_eq!(table, Table::Number(0x33));
    let [peer] = &quick.peers[..] else { panic!("one peer") };
    assert_eq!((peer.line, peer.public_key), (10, PUBLIC.parse().ok()));
    assert_eq!(*peer.preshared_key.as_ref().unwrap().value.to_base64(), OTHER);
    assert_eq!(prefixes(peer), ["10.9.0.2/32", "192.168.20.0/24", "fd00::/8"]);
    assert_eq!(peer.endpoint, "site-b.example:51820".parse().ok());
    assert_eq!(peer.keepalive_secs, 25);
    assert!(quick.left_out.is_empty());
}

#[test]
fn what_has_no_counterpart_is_left_out_line_by_line() {
    let quick = read(&format!(
        "[Interface]\nDNS = 1.1.1.1, example.org\nPreUp = true\nPostUp = a; b\nPostUp = c\n\
         PostDown = wg set %i private-key <(echo {PRIVATE})\nPreDown =\nSaveConfig = true\n"
    ));
    let expected = [
        (2, "DNS", Some("1.1.1.1, example.org")),
        (3, "PreUp", Some("true")),
        (4, "PostUp", Some("a; b")),
        (5, "PostUp", Some("c")),
        (6, "PostDown", None),
        (7, "PreDown", Some("")),
        (8, "SaveConfig", Some("true")),
    ];
    assert_eq!(left_out(&quick), expected);
}

#[test]
fn off_and_zero_are_none() {
    let zero = format!("{}=", "A".repeat(43));
    let quick = read(&format!(
        "[Interface]\nPrivateKey = {zero}\nListenPort = 0\nFwMark = off\nTable = OFF\n[Peer]\n\
         PublicKey = {PUBLIC}\nPresharedKey = {zero}\nAllowedIPs = ::/0\nPersistentKeepalive = off\n"
    ));
    assert!(quick.interface.private_key.is_none());
    assert_eq!((quick.interface.listen_port, quick.interface.fwmark), (None, None));
    assert_eq!(quick.interface.table, Table::Off);
    assert!(quick.peers[0].preshared_key.is_none());
    assert_eq!(quick.peers[0].keepalive_secs, 0);
}

#[test]
fn of_what_is_said_twice_the_last_counts_and_the_first_is_told() {
    let quick = read(&format!(
        "[Interface]\nMTU = 1400\nMTU = 1300\n[Peer]\nPublicKey = {PUBLIC}\n\
         AllowedIPs = 10.0.0.0/8, 10.9.0.2\n[Peer]\nPublicKey = {OTHER}\nAllowedIPs = 10.0.0.0/8\n"
    ));
    assert_eq!(quick.interface.mtu, Some(1300));
    assert_eq!(prefixes(&quick.peers[0]), ["10.9.0.2/32"]);
    assert_eq!(prefixes(&quick.peers[1]), ["10.0.0.0/8"]);
    assert_eq!(left_out(&quick), [(2, "MTU", None), (6, "AllowedIPs", Some("10.0.0.0/8"))]);
}

#[test]
fn multicast_and_peers_without_addresses_are_left_out() {
    let quick = read(&format!(
        "[Peer]\nPublicKey = {PUBLIC}\nAllowedIPs = 224.0.0.5/32, ff00::/8, 10.9.0.2\n\
         [Peer]\nPublicKey = {OTHER}\nAllowedIPs =\n"
    ));
    assert_eq!(quick.peers.len(), 1);
    assert_eq!(prefixes(&quick.peers[0]), ["10.9.0.2/32"]);
    let expected = [
        (3, "AllowedIPs", Some("224.0.0.5/32")),
        (3, "AllowedIPs", Some("ff00::/8")),
        (4, "[Peer]", None),
    ];
    assert_eq!(left_out(&quick), expected);
}

#[test]
fn all_faults_are_told_with_line_and_value() {
    let text = format!(
        "MTU = 1400\n[Interface]\nPrivateKey = {}\nAddress = 10.9.0.0/24\nListenPort = +1\n\
         FwMark = 0xg\nMTU = 1\nTable = vpn\nJc = 4\nDNS\n[Extra]\nX = 1\n[Peer]\n\
         PublicKey = abc\nPresharedKey = {OTHER}x\nAllowedIPs = 10.9.0.2/33\nEndpoint = host\n\
         PersistentKeepalive = 65536\n[Peer]\nAllowedIPs = ::/0\n[Peer]\nPublicKey = {PUBLIC}\n\
         [Peer]\nPublicKey={PUBLIC}\nPrivateKeys = {PRIVATE}\n",
        &PRIVATE[1..]
    );
    let key = "expected a key: 32 bytes as 44 characters of base64";
    let interface = "unknown key: expected one of Address, DNS, FwMark, ListenPort, MTU, PostDown, \
                     PostUp, PreDown, PreUp, PrivateKey, SaveConfig, Table";
    let peer = "unknown key: expected one of AllowedIPs, Endpoint, PersistentKeepalive, \
                PresharedKey, PublicKey";
    let expected = [
        "1:7: MTU = 1400: expected [Interface] or [Peer] before it".to_owned(),
        format!("3:14: PrivateKey: {key}"),
        "4:11: Address = 10.9.0.0/24: expected the address of a host; 10.9.0.0 is none in \
         10.9.0.0/24, not \"10.9.0.0/24\""
            .to_owned(),
        "5:14: ListenPort = +1: expected a port from 0 to 65535".to_owned(),
        "6:10: FwMark = 0xg: expected \"off\" or a number from 0 to 4294967295".to_owned(),
        "7:7: MTU = 1: expected a number from 576 to 65485".to_owned(),
        "8:9: Table = vpn: expected \"auto\", \"off\", \"main\" or the number of a table"
            .to_owned(),
        format!("9:6: Jc = 4: {interface}"),
        "10:1: expected KEY = VALUE".to_owned(),
        "11:1: [Extra]: expected [Interface] or [Peer]".to_owned(),
        format!("14:13: PublicKey = abc: {key}"),
        format!("15:16: PresharedKey: {key}"),
        "16:14: AllowedIPs = 10.9.0.2/33: expected an address or a prefix, such as \
         \"192.168.20.0/24\", not \"10.9.0.2/33\""
            .to_owned(),
        "17:12: Endpoint = host: expected address:port or name:port".to_owned(),
        "18:23: PersistentKeepalive = 65536: expected \"off\" or seconds from 0 to 65535"
            .to_owned(),
        "19:1: PublicKey: missing: expected the peer's PublicKey".to_owned(),
        "23:1: PublicKey: expected another key than that of line 21's peer".to_owned(),
        format!("25:15: PrivateKeys: {peer}"),
    ];
    assert_eq!(faults(&text), expected.map(|fault| format!("f:{fault}")));
}

#[test]
fn no_text_panics_the_reader() {
    let text = format!(
        "[Interface]\nPrivateKey = {PRIVATE}\nAddress = 10.9.0.1/24\n[Peer]\nPublicKey = {PUBLIC}\n\
         AllowedIPs = 0.0.0.0/0\nEndpoint = [::1]:1\n"
    );
    for end in 0..text.len() {
        let _ = parse("f", &text[..end]);
        let _ = parse("f", &text[end..]);
        let _ = parse("f", &format!("{}\u{0}\u{e9},={}", &text[..end], &text[end..]));
    }
}
