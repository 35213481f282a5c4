//! Over QUIC, who is not who he has to be is refused: one line in the log that says who and why, a
//! count, and nothing that others notice.

use std::net::SocketAddr;

use crate::certificates::{Authority, Paper, Validity};
use crate::daemon::Daemon;
use crate::harness::{Case, each};
use crate::need::OURS;
use crate::pair::{Kind, overlay};
use crate::place::{Family, Node, ping, three_nodes, two_nodes};
use crate::quic_pair::{NAMES, PORT, Plan};
use crate::stranger::{ALPN, Stranger};
use crate::wait;

/// The reason under which a refused handshake is counted.
const REFUSED: &str = "quic_refused";

pub fn cases() -> Vec<Case> {
    let dialling = [
        refused("quic_refuses_an_unknown_certificate", "", |_, _| {
            let paper = Paper::of_nobody("c");
            (paper.certificate, paper.key)
        }),
        refused("quic_refuses_a_certificate_of_another_authority", "", |_, _| {
            let paper = Authority::new().issue(NAMES[0], Validity::Now);
            (paper.certificate, paper.key)
        }),
        refused("quic_refuses_an_expired_certificate", "expired", |authority, _| {
            let paper = authority.issue(NAMES[0], Validity::Past);
            (paper.certificate, paper.key)
        }),
        refused("quic_refuses_a_certificate_before_its_time", "not valid yet", |authority, _| {
            let paper = authority.issue(NAMES[0], Validity::Future);
            (paper.certificate, paper.key)
        }),
        refused("quic_refuses_a_certificate_with_another_name", "", |authority, _| {
            let paper = authority.issue("somebody", Validity::Now);
            (paper.certificate, paper.key)
        }),
        refused("quic_refuses_a_certificate_without_its_key", "", |authority, known| {
            (known.certificate.clone(), authority.issue("c", Validity::Now).key)
        }),
    ];
    let others = [
        Case::over_both("quic_refuses_who_has_no_certificate", |family| {
            refuses(family, &Scene::new(family), None, ALPN, "certificate");
        }),
        Case::over_both("quic_refuses_who_speaks_another_protocol", |family| {
            let scene = Scene::new(family);
            let paper = scene.plan.authority.issue(NAMES[0], Validity::Now);
            let paper = Some((&*paper.certificate, &*paper.key));
            refuses(family, &scene, paper, "other/1", "tunctl/1");
        }),
        Case::over_both("quic_refuses_a_revoked_certificate", revoked),
        Case::over_both("quic_dialler_refuses_who_is_somebody_else", dialler_refuses),
    ];
    each(dialling.into_iter().chain(others), |case| case.needs(OURS))
}

/// A tunnel between two nodes, and a third node for who is refused by node 1.
struct Scene {
    plan: Plan,
    daemons: [Daemon; 2],
    nodes: [Node; 3],
}

impl Scene {
    fn new(family: Family) -> Self {
        Self::with(family, |plan| plan)
    }

    #[track_caller]
    fn with(family: Family, change: impl FnOnce(Plan) -> Plan) -> Self {
        let plan = change(Plan::new(family, Kind::Tun).dialled_by(0));
        let nodes = three_nodes(family);
        let daemons = [0, 1].map(|number| {
            let config = plan.config(&nodes[number], number, nodes[1 - number].address);
            Daemon::start(&nodes[number], &config)
        });
        for daemon in &daemons {
            wait::until_true("a connection", || {
                daemon.query("peers")[0]["last_handshake_secs"].is_u64()
            });
        }
        Self { plan, daemons, nodes }
    }

    fn goes_on(&self) {
        let [v4, v6] = overlay(1);
        ping(&self.nodes[0].host, v4, "");
        ping(&self.nodes[0].host, v6, "");
    }
}

fn refused(
    name: &'static str,
    says: &'static str,
    paper: impl Fn(&Authority, &Paper) -> (String, String) + Send + Sync + Copy + 'static,
) -> Vec<Case> {
    Case::over_both(name, move |family| {
        let scene = Scene::new(family);
        let (certificate, key) = paper(&scene.plan.authority, &scene.plan.ends[0].own);
        refuses(family, &scene, Some((&certificate, &key)), ALPN, says);
    })
}

/// Who dials with a paper is refused, and node 1 says so; the tunnel beside it goes on.
#[track_caller]
fn refuses(family: Family, scene: &Scene, paper: Option<(&str, &str)>, alpn: &str, says: &str) {
    let Scene { plan, daemons, nodes } = scene;
    let to = SocketAddr::new(nodes[1].address, PORT);
    let trusts = plan.authority.certificate();
    let stranger = Stranger { paper, trusts: &trusts, alpn };
    let before = daemons[1].dropped(REFUSED);
    stranger.refused(&nodes[2].host, to, NAMES[1]);
    wait::until_true("the refusal is counted", || daemons[1].dropped(REFUSED) > before);
    let from = family.address(0, 3).to_string();
    let lines = wait::until("a line of the log", || {
        let lines = daemons[1].log();
        let lines: Vec<_> = lines.into_iter().filter(|line| line.contains("refused")).collect();
        (!lines.is_empty()).then_some(lines)
    });
    assert_eq!(lines.len(), 1, "one line");
    assert!(lines[0].contains(&from) && lines[0].contains(says), "{from} and {says}: {lines:?}");
    scene.goes_on();
}

fn revoked(family: Family) {
    let mut paper = None;
    let scene = Scene::with(family, |plan| {
        let bad = plan.authority.issue(NAMES[0], Validity::Now);
        let list = plan.authority.revoke(&bad);
        paper = Some(bad);
        plan.end(1, |end| end.revocations = Some(list))
    });
    let paper = paper.expect("made above");
    refuses(family, &scene, Some((&paper.certificate, &paper.key)), ALPN, "revoked");
}

/// The end that dials refuses as well, with the peer's name in its line, and its other peer stays.
fn dialler_refuses(family: Family) {
    let plan = Plan::new(family, Kind::Tun).dialled_by(0);
    let plan = plan.end(1, |end| end.own = Paper::of_nobody(NAMES[1]));
    let pair = plan.launch(two_nodes(family), None);
    let daemon = pair.daemons[0].as_ref().expect("ours");
    wait::until_true("a refusal", || daemon.dropped(REFUSED) > 0);
    let line = wait::until("a line of the log", || {
        daemon.log().into_iter().find(|line| line.contains("refused"))
    });
    assert!(line.contains(&format!("peer=\"{}\"", NAMES[1])), "{line}");
}
