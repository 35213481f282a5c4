use super::*;

/// Alice's key pair and Bob's (RFC 7748 section 6.1).
const ALICE: [&str; 2] = [
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
];
const BOB: [&str; 2] = [
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
];

const ZERO: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

#[test]
fn public_keys_are_those_of_the_rfc() {
    for [private, public] in [ALICE, BOB] {
        let private = PrivateKey::from_hex(private).unwrap();
        assert_eq!(private.public().to_hex(), public);
        let shared = private.to_secret().diffie_hellman(&private.public().to_x25519());
        assert!(shared.was_contributory());
    }
}

#[test]
fn both_ends_get_the_shared_secret_of_the_rfc() {
    let [alice, bob] = [ALICE, BOB].map(|[private, _]| PrivateKey::from_hex(private).unwrap());
    let shared = alice.to_secret().diffie_hellman(&bob.public().to_x25519());
    let expected = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    assert_eq!(encode_hex(shared.as_bytes()), expected);
    let other = bob.to_secret().diffie_hellman(&alice.public().to_x25519());
    assert_eq!(shared.as_bytes(), other.as_bytes());
}

#[test]
fn private_key_is_clamped_and_clamping_does_not_change_what_is_clamped() {
    let key = PrivateKey::from_bytes(&[0xff; 32]).unwrap();
    assert_eq!((key.as_bytes()[0], key.as_bytes()[31]), (0xf8, 0x7f));
    let again: PrivateKey = key.to_base64().parse().unwrap();
    assert_eq!(again.as_bytes(), key.as_bytes());
    let low = PrivateKey::from_bytes(&[1; 32]).unwrap();
    assert_eq!((low.as_bytes()[0], low.as_bytes()[31]), (0, 0x41));
}

#[test]
fn new_keys_differ_and_are_clamped() {
    let [a, b] = [PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap()];
    assert_ne!(a.as_bytes(), b.as_bytes());
    assert_eq!(a.as_bytes()[0] & 7, 0);
    assert_eq!(a.as_bytes()[31] & 0xc0, 0x40);
}

#[test]
fn base64_and_hex_are_read_as_they_are_written() {
    for first in 0..=u8::MAX {
        let mut bytes = [0x5a; 32];
        (bytes[0], bytes[31]) = (first, first.wrapping_mul(3));
        let key = PublicKey::from_bytes(bytes);
        assert_eq!(key.to_string().len(), 44);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(PublicKey::from_hex(&key.to_hex()), Ok(key));
        assert_eq!(PublicKey::from_hex(&key.to_hex().to_uppercase()), Ok(key));
        let psk: PresharedKey = key.to_string().parse().unwrap();
        assert_eq!(psk.as_bytes(), &bytes);
        assert_eq!(*psk.to_base64(), key.to_string());
        assert_eq!(*psk.to_hex(), key.to_hex());
    }
}

#[test]
fn zero_means_none_and_is_no_key() {
    assert_eq!(ZERO.parse::<PrivateKey>().unwrap_err(), KeyError::Zero);
    assert_eq!(ZERO.parse::<PublicKey>(), Err(KeyError::Zero));
    assert_eq!(ZERO.parse::<PresharedKey>().unwrap_err(), KeyError::Zero);
    assert_eq!(PrivateKey::from_hex(&"0".repeat(64)).unwrap_err(), KeyError::Zero);
    assert_eq!(PresharedKey::from_hex(&"0".repeat(64)).unwrap_err(), KeyError::Zero);
    assert_eq!(PublicKey::from_hex(&"0".repeat(64)), Err(KeyError::Zero));
}

#[test]
fn only_canonical_base64_of_32_bytes_is_a_key() {
    let key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
    assert!(key.parse::<PublicKey>().is_ok());
    let wrong = [
        "",
        "=",
        &key[..43],
        &key[1..],
        // Bits that no byte takes.
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmp=",
        // 31 and 33 bytes.
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTg==",
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmoo",
        // The alphabet of URLs, and no alphabet.
        "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo=",
        "hSDwCYkwp1R0i33ctD73Wg2 Og0mOBr066SpjqqbTmo=",
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTm\u{e9}=",
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n",
    ];
    for text in wrong {
        assert_eq!(text.parse::<PublicKey>(), Err(KeyError::NotBase64), "{text:?}");
        assert_eq!(text.parse::<PrivateKey>().unwrap_err(), KeyError::NotBase64);
    }
}

#[test]
fn only_64_hex_digits_are_a_key() {
    let digits = ALICE[1];
    for text in ["", &digits[..63], &digits[..62], &format!("{digits}0"), &format!("{digits}00")] {
        assert_eq!(PublicKey::from_hex(text), Err(KeyError::NotHex), "{text:?}");
    }
    for bad in ["g0", "+1", " 1", "\u{e9}"] {
        let text = format!("{}{bad}", &digits[..62]);
        assert_eq!(PublicKey::from_hex(&text), Err(KeyError::NotHex), "{text:?}");
    }
}

#[test]
fn secrets_are_not_shown_by_debug() {
    let key = PrivateKey::from_hex(ALICE[0]).unwrap();
    assert_eq!(format!("{key:?}"), "PrivateKey(..)");
    let psk = PresharedKey::from_hex(ALICE[0]).unwrap();
    assert_eq!(format!("{psk:?}"), "PresharedKey(..)");
}
