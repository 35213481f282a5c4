//! Judging chains without a handshake.

use super::*;

fn chain(issued: &Issued) -> [CertificateDer<'static>; 1] {
    [der(issued)]
}

#[test]
fn certificates_of_several_authorities_are_taken_and_each_ones_list_holds() {
    let [(one, root_one), (two, root_two)] = ["one", "two"].map(authority);
    let a = one.issue("a", dates(1, 30)).unwrap();
    let b = two.issue("b", dates(1, 30)).unwrap();
    let gone = two.issue("b", dates(1, 30)).unwrap();
    let lists = [list(&two, &gone)];
    let peers = [(PEER, named("a")), (OTHER, named("b"))];
    let trust = Trust::new(&[root_one, root_two], &lists, peers).unwrap();
    assert_eq!(trust.judge(&chain(&a), now()), Ok(PEER));
    assert_eq!(trust.judge(&chain(&b), now()), Ok(OTHER));
    assert_eq!(trust.judge(&chain(&gone), now()), Err(Refusal::Revoked));
    assert_eq!(trust.judge_as(OTHER, &chain(&gone), now()), Err(Refusal::Revoked));
    assert_eq!(trust.judge_as(OTHER, &chain(&a), now()), Err(Refusal::WrongName));
    assert_eq!(trust.judge(&[], now()), Err(Refusal::NoCertificate));
}

#[test]
fn list_that_is_old_still_holds() {
    let (ca, root) = authority("tunnels");
    let gone = ca.issue("a", Dates { now: at(NOW_SECS), days: 9000 }).unwrap();
    let trust = Trust::new(&[root], &[list(&ca, &gone)], [(PEER, named("a"))]).unwrap();
    // The list says that it is good for 3650 days, as the authority itself is.
    let later = UnixTime::since_unix_epoch(Duration::from_secs(NOW_SECS + 3648 * DAY_SECS));
    assert_eq!(trust.judge(&chain(&gone), later), Err(Refusal::Revoked));
}

#[test]
fn pinned_certificate_needs_no_authority_but_one_that_revoked_it_is_heard() {
    let (ca, root) = authority("tunnels");
    let [kept, gone] = ["a", "b"].map(|name| ca.issue(name, dates(1, 30)).unwrap());
    let peers = || [(PEER, pinned(&kept)), (OTHER, pinned(&gone))];
    let trust = Trust::new(&[root], &[list(&ca, &gone)], peers()).unwrap();
    assert_eq!(trust.judge(&chain(&kept), now()), Ok(PEER));
    assert_eq!(trust.judge(&chain(&gone), now()), Err(Refusal::Revoked));
    let alone = Trust::new(&[], &[], peers()).unwrap();
    assert_eq!(alone.judge(&chain(&gone), now()), Ok(OTHER));
}

#[test]
fn pinned_peer_is_not_known_by_its_name() {
    let (ca, root) = authority("tunnels");
    let own = self_signed("a", dates(1, 30)).unwrap();
    let forged = ca.issue("a", dates(1, 30)).unwrap();
    let trust = Trust::new(&[root], &[], [(PEER, pinned(&own))]).unwrap();
    assert_eq!(trust.judge(&chain(&forged), now()), Err(Refusal::WrongName));
    assert_eq!(trust.judge_as(PEER, &chain(&forged), now()), Err(Refusal::WrongFingerprint));
}

#[test]
fn several_names_and_wildcards_are_nobody() {
    let key = rcgen::KeyPair::generate().unwrap();
    let (_, made) = Authority::generate("tunnels", dates(1, 30)).unwrap();
    let ca_key = rcgen::KeyPair::from_pem(&made.key).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&der(&made), ca_key).unwrap();
    let issue = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params.signed_by(&key, &issuer).unwrap().der().clone()
    };
    let peers = [(PEER, named("a.example")), (OTHER, named("b.example"))];
    let trust = Trust::new(&[der(&made)], &[], peers).unwrap();
    let judge = |names: &[&str]| trust.judge(&[issue(names)], now());
    assert_eq!(judge(&["a.example", "A.example", "c.example"]), Ok(PEER));
    assert_eq!(judge(&["a.example", "b.example"]), Err(Refusal::Ambiguous));
    assert_eq!(judge(&["*.example"]), Err(Refusal::WrongName));
    assert_eq!(judge(&["10.9.0.1"]), Err(Refusal::WrongName));
}

#[test]
fn uses_are_those_of_either_end() {
    use rcgen::ExtendedKeyUsagePurpose as Purpose;
    let key = rcgen::KeyPair::generate().unwrap();
    let (_, made) = Authority::generate("tunnels", dates(1, 30)).unwrap();
    let ca_key = rcgen::KeyPair::from_pem(&made.key).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&der(&made), ca_key).unwrap();
    let trust = Trust::new(&[der(&made)], &[], [(PEER, named("a"))]).unwrap();
    for (purposes, expected) in [
        (vec![], Ok(PEER)),
        (vec![Purpose::ServerAuth], Ok(PEER)),
        (vec![Purpose::ClientAuth], Ok(PEER)),
        (vec![Purpose::CodeSigning], Err(Refusal::WrongUse)),
    ] {
        let mut params = rcgen::CertificateParams::new(["a".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params.extended_key_usages = purposes.clone();
        let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
        assert_eq!(trust.judge(&[certificate], now()), expected, "{purposes:?}");
    }
}

#[test]
fn what_nobody_can_be_judged_by_is_refused() {
    let (ca, root) = authority("tunnels");
    let (foreign, _) = authority("tunnels");
    let one = self_signed("a", dates(1, 30)).unwrap();
    let roots = [root.clone()];
    let lists = |ca: &Authority| [list(ca, &ca.issue("a", dates(1, 30)).unwrap())];
    let error = |roots: &[_], lists: &[_], peers: Vec<(PeerId, Known)>| {
        Trust::new(roots, lists, peers).map(|_| ()).unwrap_err()
    };
    assert_eq!(
        error(&[root, CertificateDer::from(vec![1])], &[], vec![]),
        TrustError::NotAnAuthority { number: 2 }
    );
    let broken = CertificateRevocationListDer::from(vec![0x30, 0]);
    assert_eq!(error(&roots, &[broken], vec![]), TrustError::NotAList { number: 1 });
    // Of the same name, but not of the same key.
    assert_eq!(error(&roots, &lists(&foreign), vec![]), TrustError::ForeignList { number: 1 });
    assert!(Trust::new(&roots, &lists(&ca), []).is_ok());
    for name in ["", "-a", "a..b", "10.1", "a.", "a b", "*.a"] {
        let expected = TrustError::NotAName(name.to_owned());
        assert_eq!(error(&[], &[], vec![(PEER, named(name))]), expected);
    }
    for known in [named("a"), pinned(&one)] {
        let both = vec![(PEER, known.clone()), (OTHER, known.clone())];
        assert_eq!(error(&[], &[], both), TrustError::Shared(known));
    }
}
