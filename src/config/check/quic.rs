//! What `[quic]` and its peers say against each other and against other tables.

use super::listening::{self, Own, Taken};
use super::{Networks, Peers, check_unique};
use crate::config::section::Draft;
use crate::config::{Peer, Quic};
use crate::transport::quic::certificate::is_dns_name;

pub(super) fn all(
    quic: Option<&mut Draft<'_, Quic>>,
    taken: &[Taken],
    networks: &Networks<'_>,
    peers: &mut Peers<'_>,
    has_device: bool,
) {
    check_unique_peers(peers);
    let is_quic = |draft: &&mut Draft<'_, Peer>| draft.settings.quic().is_some();
    peers.iter_mut().filter(is_quic).for_each(check_name);
    let Some(quic) = quic else { return };
    let listen = quic.settings.listen;
    listening::check_listen(&mut quic.section, listen, networks, has_device);
    listening::check_port(&mut quic.section, listen, taken);
    let own = Own { listen, is_sound: quic.section.is_sound("listen"), has_device };
    for draft in peers.iter_mut().filter(is_quic) {
        listening::check_endpoint(draft, "quic", &own, networks);
        if !quic.section.has("ca_file") && !draft.section.has("certificate_sha256") {
            let expected = "missing: expected the SHA-256 of the peer's certificate, or quic.ca_file \
                            with the authority that has issued it";
            draft.section.fault("certificate_sha256", expected);
        }
    }
}

/// What tells quic peers apart: the certificate, or the name in it, which has no case.
fn check_unique_peers(peers: &mut Peers<'_>) {
    check_unique(
        peers,
        "certificate_sha256",
        |peer| peer.quic().and_then(|peer| peer.certificate_sha256),
        |_, owner| {
            format!(
                "expected another certificate than that of {owner}: it is all that tells peers apart"
            )
        },
    );
    let named = |peer: &Peer| {
        let is_named = peer.quic().is_some_and(|quic| quic.certificate_sha256.is_none());
        is_named.then(|| peer.name.to_ascii_lowercase())
    };
    check_unique(peers, "name", named, |_, owner| {
        format!("expected another name than that of {owner}: in certificates case does not matter")
    });
}

fn check_name(draft: &mut Draft<'_, Peer>) {
    let peer = &draft.settings;
    let is_pinned = draft.section.has("certificate_sha256");
    if is_pinned || !draft.section.is_sound("name") || is_dns_name(&peer.name) {
        return;
    }
    let expected = "expected the name in the peer's certificate, a DNS name, or certificate_sha256 \
                    beside it";
    draft.section.fault("name", expected);
}
