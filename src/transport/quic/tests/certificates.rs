//! Reading PEM: what is right, what is wrong, and that nothing panics.

use proptest::prelude::*;

use super::*;
use crate::transport::quic::certificate::{
    CHAIN_LEN_MAX, is_dns_name, read_certificates, read_revocations,
};

#[test]
fn fingerprint_is_read_with_and_without_colons() {
    let issued = self_signed("a", dates(1, 30)).unwrap();
    let text = issued.fingerprint.to_string();
    let pairs: Vec<_> =
        text.as_bytes().chunks(2).map(|c| std::str::from_utf8(c).unwrap()).collect();
    for text in [text.clone(), text.to_uppercase(), pairs.join(":"), pairs.join(":").to_uppercase()]
    {
        assert_eq!(text.parse(), Ok(issued.fingerprint), "{text}");
    }
    let [short, long] = [&text[1..], &format!("{text}0")].map(str::to_owned);
    let plus = format!("+{}", &text[1..]);
    let moved = format!("{}{}", pairs[..31].join(":"), &pairs[31][..1]);
    for text in [short, long, plus, moved, String::new(), pairs.join("-"), "é".repeat(32)] {
        assert!(text.parse::<Fingerprint>().is_err(), "{text}");
    }
}

#[test]
fn credentials_know_their_dates_and_keep_their_reset_secret() {
    let issued = self_signed("a", dates(1, 30)).unwrap();
    let [first, again] = [credentials(&issued), credentials(&issued)];
    assert_eq!(first.fingerprint(), issued.fingerprint);
    assert_eq!(first.expires(), at(NOW_SECS + 29 * DAY_SECS));
    assert_eq!(first.reset_secret(), again.reset_secret());
    let other = credentials(&self_signed("a", dates(1, 30)).unwrap());
    assert_ne!(first.reset_secret(), other.reset_secret());
    assert_eq!(format!("{first:?}"), format!("Credentials({})", issued.fingerprint));
}

#[test]
fn what_is_no_certificate_or_key_is_told() {
    let [a, b] = ["a", "b"].map(|name| self_signed(name, dates(1, 30)).unwrap());
    let (certificate, key) = (a.certificate.as_str(), a.key.as_str());
    let error = |chain: &str, key: &str| {
        Credentials::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err()
    };
    assert_eq!(error("", key), CertificateError::NoCertificate);
    assert_eq!(error(key, key), CertificateError::NoCertificate);
    assert_eq!(error(certificate, ""), CertificateError::NoKey);
    assert_eq!(error(certificate, certificate), CertificateError::NoKey);
    assert_eq!(error(certificate, &b.key), CertificateError::WrongKey);
    let cut = &certificate[..certificate.len() / 2];
    assert!(matches!(error(cut, key), CertificateError::NotPem(_)));
    let broken = certificate.replacen("MI", "M\u{7f}", 1);
    assert!(matches!(error(&broken, key), CertificateError::NotPem(_)));
    let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let second = format!("{certificate}{other}");
    assert_eq!(error(&second, key), CertificateError::NotX509 { number: 2 });
    let long = certificate.repeat(CHAIN_LEN_MAX + 1);
    assert_eq!(error(&long, key), CertificateError::TooLong { len: CHAIN_LEN_MAX + 1 });
    let no_key = key.lines().nth(1).map(|line| key.replace(line, "AAAA")).unwrap();
    assert_eq!(error(certificate, &no_key), CertificateError::UnusableKey);
    assert!(!error(certificate, &no_key).to_string().contains("AAAA"));
}

#[test]
fn key_and_certificate_may_be_in_one_text_with_others_around() {
    let a = self_signed("a", dates(1, 30)).unwrap();
    let text = format!("some words\n{}\n# more\n{}", *a.key, a.certificate);
    let read = Credentials::from_pem(text.as_bytes(), text.as_bytes()).unwrap();
    assert_eq!(read.fingerprint(), a.fingerprint);
}

#[test]
fn names_that_a_certificate_can_have() {
    let long = "a".repeat(63);
    for name in ["a", "site-a", "site_a", "a.example", "4a.b2", &long, "xn--bcher-kva.example"] {
        assert!(is_dns_name(name), "{name}");
    }
    let longer = "a".repeat(64);
    for name in ["", "a.", ".a", "-a", "a-", "a..b", "1", "10.9.0.1", "é", "*.a", "a b", &longer] {
        assert!(!is_dns_name(name), "{name}");
    }
}

#[test]
fn each_bit_of_a_certificate_may_be_wrong() {
    let (ca, root) = authority("tunnels");
    let sound = der(&ca.issue("a", dates(1, 30)).unwrap());
    let trust = Trust::new(&[root], &[], [(PEER, named("a"))]).unwrap();
    assert_eq!(trust.judge(std::slice::from_ref(&sound), now()), Ok(PEER));
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let judged = trust.judge(&[CertificateDer::from(bytes)], now());
        assert!(judged.is_err(), "bit {bit}: {judged:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let pem = ["CERTIFICATE", "X509 CRL", "PRIVATE KEY", "EC PRIVATE KEY"].map(|kind| {
            let body = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &bytes);
            format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n")
        });
        for text in pem.iter().map(String::as_bytes).chain([&bytes[..]]) {
            let _ = read_certificates(text);
            let _ = read_revocations(text);
            prop_assert!(Credentials::from_pem(text, text).is_err());
            prop_assert!(Authority::from_pem(text, text).is_err());
        }
        let der = CertificateDer::from(bytes.clone());
        let list = CertificateRevocationListDer::from(bytes);
        let _ = Trust::new(std::slice::from_ref(&der), &[list], []);
        let judged = trust([(PEER, named("a"))]).judge(std::slice::from_ref(&der), now());
        prop_assert_eq!(judged, Err(Refusal::Unknown));
        prop_assert_eq!(Validity::of(&der), None);
    }

    #[test]
    fn no_change_to_a_chain_panics_or_is_taken(
        changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..8),
        cut in any::<u16>(),
    ) {
        let (ca, root) = authority("tunnels");
        let sound = der(&ca.issue("a", dates(1, 30)).unwrap());
        let mut bytes = sound.to_vec();
        for (place, value) in changes {
            let place = usize::from(place) % bytes.len();
            bytes[place] = value;
        }
        bytes.truncate(usize::from(cut) % (bytes.len() * 2));
        prop_assume!(bytes != sound.to_vec());
        let roots = [root.clone()];
        let trust = Trust::new(&roots, &[], [(PEER, named("a"))]).unwrap();
        let changed = CertificateDer::from(bytes);
        let _ = Refusal::of_phrase(&changed);
        prop_assert!(trust.judge(&[changed.clone(), root], now()).is_err());
        // Behind a sound one, what is of no use is passed over.
        prop_assert_eq!(trust.judge(&[sound, changed], now()), Ok(PEER));
    }
}
