//! Tokens held against a verifier, and keys in every form they come in (protocol.md §1.7, hostile.md X12, F14).

use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING};
use aws_lc_rs::signature::{EcdsaSigningAlgorithm, UnparsedPublicKey};
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const NOW: Duration = Duration::from_secs(1_453_480_568);

/// RFC 8292 §2.4, without the line breaks.
const EXAMPLE: &str = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA, k=BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

/// Header, claims and key of an `Authorization` whose signature is right.
fn verified(authorization: &str) -> (Value, Value, String) {
    let (token, key) = authorization.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let signature = decoded(signature);
    assert_eq!(signature.len(), 64, "r and s of RFC 7518 §3.4, not ASN.1");
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, decoded(key));
    public.verify(signed.as_bytes(), &signature).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let json = |text| serde_json::from_slice(&decoded(text)).unwrap();
    (json(header), json(claims), key.to_owned())
}

fn token(key: &VapidKey, audience: &str, now: Duration) -> HeaderValue {
    key.authorization(audience, Some("mailto:push@example.com"), now).unwrap()
}

fn expiry(authorization: &HeaderValue) -> Duration {
    let (_, claims, _) = verified(authorization.to_str().unwrap());
    Duration::from_secs(claims["exp"].as_u64().unwrap())
}

#[test]
fn a_token_has_the_form_of_the_example_of_rfc_8292_and_verifies() {
    let (header, claims, _) = verified(EXAMPLE);
    let key = VapidKey::generate().unwrap();
    // The example's token ends 43,200 seconds after this.
    let ours = token(&key, "https://push.example.net", NOW);
    let ours = verified(ours.to_str().unwrap());
    assert_eq!(ours, (header, claims, key.application_server_key().to_owned()));
}

#[test]
fn a_token_is_written_as_the_example_of_rfc_8292_is_up_to_the_signature() {
    let key = VapidKey::generate().unwrap();
    let ours = token(&key, "https://push.example.net", NOW);
    let signed = |text: &str| text.rsplit_once('.').unwrap().0.to_owned();
    assert_eq!(signed(ours.to_str().unwrap().split_once(',').unwrap().0), signed(EXAMPLE));
}

#[test]
fn a_token_without_a_subject_does_not_name_one() {
    let key = VapidKey::generate().unwrap();
    let token = key.authorization("https://push.example.net", None, NOW).unwrap();
    let (_, claims, _) = verified(token.to_str().unwrap());
    assert_eq!(claims, json!({"aud": "https://push.example.net", "exp": 1_453_523_768}));
}

#[test]
fn a_token_is_used_for_half_its_life() {
    let key = VapidKey::generate().unwrap();
    let first = token(&key, "https://a.example", NOW);
    assert_eq!(token(&key, "https://a.example", NOW + 6 * HOUR - Duration::from_millis(1)), first);
    let second = token(&key, "https://a.example", NOW + 6 * HOUR);
    assert_eq!(expiry(&second), NOW + 18 * HOUR);
}

#[test]
fn a_token_is_for_one_origin_and_one_subject() {
    let key = VapidKey::generate().unwrap();
    let first = token(&key, "https://a.example", NOW);
    let other = token(&key, "https://a.example:8443", NOW);
    let (_, claims, _) = verified(other.to_str().unwrap());
    assert_eq!(claims["aud"], "https://a.example:8443");
    assert_ne!(key.authorization("https://a.example", None, NOW).unwrap(), first);
    assert_eq!(token(&key, "https://a.example", NOW), first);
}

#[test]
fn no_jump_of_the_clock_makes_a_token_expired_or_of_too_long_a_life() {
    let key = VapidKey::generate().unwrap();
    let jumps = [0, 1, 5, 7, 400, 2, 2, 399, 0, 8];
    for now in jumps.map(|hours| NOW + hours * HOUR) {
        let end = expiry(&token(&key, "https://a.example", now));
        assert!(end >= now + 6 * HOUR && end <= now + 12 * HOUR, "{now:?} {end:?}");
    }
    let _ = token(&key, "https://a.example", Duration::MAX);
    assert_eq!(expiry(&token(&key, "https://a.example", Duration::ZERO)), 12 * HOUR);
}

#[test]
fn tokens_of_many_origins_are_forgotten_rather_than_kept() {
    let key = VapidKey::generate().unwrap();
    let kept = || key.tokens.lock().unwrap().len();
    for origin in 0..MOST_TOKENS {
        token(&key, &format!("https://{origin}.example"), NOW);
    }
    assert_eq!(kept(), MOST_TOKENS);
    token(&key, "https://0.example", NOW + 7 * HOUR);
    assert_eq!(kept(), MOST_TOKENS);
    token(&key, "https://one.more.example", NOW);
    assert_eq!(kept(), 1);
}

#[test]
fn neither_debug_nor_the_header_shows_what_is_secret() {
    let key = VapidKey::generate().unwrap();
    assert_eq!(format!("{key:?}"), format!("VapidKey {{ id: {:?}, .. }}", key.id()));
    assert_eq!(format!("{:?}", token(&key, "https://a.example", NOW)), "Sensitive");
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn sec1(pair: &EcdsaKeyPair) -> Vec<u8> {
    let der: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    der.as_ref().to_vec()
}

#[test]
fn a_key_is_the_same_in_every_form() {
    let key = VapidKey::generate().unwrap();
    let (pkcs8, sec1) = (key.to_pkcs8().unwrap(), sec1(&key.pair));
    // As `openssl ecparam -name prime256v1 -genkey` writes it.
    let parameters = pem("EC PARAMETERS", &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let forms = [
        VapidKey::from_der(&pkcs8),
        VapidKey::from_der(&sec1),
        VapidKey::from_pem(pem("PRIVATE KEY", &pkcs8).as_bytes()),
        VapidKey::from_pem(pem("EC PRIVATE KEY", &sec1).as_bytes()),
        VapidKey::from_pem((parameters + &pem("EC PRIVATE KEY", &sec1)).as_bytes()),
    ];
    for read in forms.map(Result::unwrap) {
        assert_eq!(read.application_server_key(), key.application_server_key());
        assert_eq!((read.id(), read.id().len()), (key.id(), 12));
        verified(token(&read, "https://a.example", NOW).to_str().unwrap());
    }
    assert_ne!(VapidKey::generate().unwrap().id(), key.id());
}

#[test]
fn the_key_that_clients_get_is_an_uncompressed_point_in_base64url() {
    let key = VapidKey::generate().unwrap();
    let point = URL_SAFE_NO_PAD.decode(key.application_server_key()).unwrap();
    assert_eq!((point.len(), point[0]), (65, 4));
}

#[test]
fn a_key_of_another_curve_or_none_is_refused() {
    let other: &'static EcdsaSigningAlgorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
    let other = EcdsaKeyPair::generate(other).unwrap();
    let pkcs8 = other.to_pkcs8v1().unwrap();
    for der in [pkcs8.as_ref(), &sec1(&other), b"", b"0", &[0x30, 0x80, 0, 0]] {
        assert!(matches!(VapidKey::from_der(der), Err(InvalidKey::Rejected(_))), "{der:02x?}");
    }
    let text = pem("PRIVATE KEY", pkcs8.as_ref());
    assert!(matches!(VapidKey::from_pem(text.as_bytes()), Err(InvalidKey::Rejected(_))));
    for text in ["", "no key", &pem("CERTIFICATE", b"0")] {
        assert!(matches!(VapidKey::from_pem(text.as_bytes()), Err(InvalidKey::Pem(_))), "{text}");
    }
}
