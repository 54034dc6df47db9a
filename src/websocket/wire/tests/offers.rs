//! Offers of permessage-deflate, and answers (RFC 7692 §7.1).

use http::HeaderValue;

use super::*;

const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn answers(offers: &[&str]) -> Option<(u8, String)> {
    let values: Vec<HeaderValue> =
        offers.iter().map(|offer| HeaderValue::from_str(offer).expect("a value")).collect();
    let (deflate, answer) = negotiate(&values)?;
    Some((deflate.server_max_window_bits, answer.to_str().expect("ASCII").to_owned()))
}

#[track_caller]
fn accepts(offer: &str) {
    assert_eq!(answers(&[offer]), Some((15, ANSWER.to_owned())), "{offer}");
}

#[test]
fn what_browsers_offer_is_accepted() {
    accepts("permessage-deflate; client_max_window_bits");
    accepts("permessage-deflate");
}

#[test]
fn every_known_parameter_is_accepted() {
    accepts("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    accepts("permessage-deflate;client_max_window_bits=8");
    accepts("permessage-deflate ; client_max_window_bits=\"15\"");
}

#[test]
fn a_bound_of_our_window_is_confirmed() {
    for bits in 8..=15 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        let answer = format!("{ANSWER}; server_max_window_bits={bits}");
        assert_eq!(answers(&[&offer]), Some((bits, answer)));
    }
}

#[test]
fn the_first_offer_that_can_be_met_is_taken() {
    let offers = "x-webkit-deflate-frame, permessage-deflate; unknown; server_max_window_bits=9, \
                  permessage-deflate; server_max_window_bits=10, permessage-deflate";
    assert_eq!(answers(&[offers]).map(|(bits, _)| bits), Some(10));
    assert_eq!(answers(&["foo", "permessage-deflate"]).map(|(bits, _)| bits), Some(15));
}

#[test]
fn what_cannot_be_met_is_declined() {
    let unmet = [
        "",
        "permessage-bzip2",
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; client_max_window_bits=0",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=\"\"",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        "permessage-deflate;",
        "permessage-deflate server_no_context_takeover",
    ];
    for offer in unmet {
        assert_eq!(answers(&[offer]), None, "{offer}");
    }
}

#[test]
fn a_separator_in_quotes_does_not_separate() {
    assert_eq!(answers(&["foo; bar=\", permessage-deflate\""]), None);
    assert_eq!(answers(&["foo; bar=\"\\\", permessage-deflate\""]), None);
    assert!(answers(&["foo; bar=\"\\\\\", permessage-deflate"]).is_some());
}
