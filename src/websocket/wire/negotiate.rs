//! The offers of permessage-deflate in a handshake, and the answer (RFC 6455 §9.1, RFC 7692 §5,
//! §7.1).

use http::HeaderValue;

use super::deflate::Deflate;

/// Bits of the largest window, which is what an offer without the parameter means (RFC 7692 §7.1.2).
const MAX_WINDOW_BITS: u8 = 15;

/// Answers `Sec-WebSocket-Extensions`: the first offer of permessage-deflate that can be met, and the
/// value of the same header in the response. An offer with a parameter that is unknown, ill-valued or
/// there twice cannot be met (RFC 7692 §7), and what is no list of extensions offers nothing.
///
/// The answer always forbids context takeover, both ways (RFC 7692 §7.1.1.2 lets a server do so
/// unasked): a window for each connection would cost more than the connection. A hint of
/// `client_max_window_bits` needs no answer, since any window can be inflated.
pub fn negotiate<'a>(
    offers: impl IntoIterator<Item = &'a HeaderValue>,
) -> Option<(Deflate, HeaderValue)> {
    let lists = offers.into_iter().filter_map(|value| value.to_str().ok());
    let Offer { server_max_window_bits } =
        lists.flat_map(|list| split(list, ',')).find_map(Offer::read)?;
    let mut answer =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
    // Who asks for a bound must hear that it is kept (RFC 7692 §7.1.2.1).
    if let Some(bits) = server_max_window_bits {
        answer.push_str(&format!("; server_max_window_bits={bits}"));
    }
    let server_max_window_bits = server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
    Some((Deflate { server_max_window_bits }, HeaderValue::try_from(answer).ok()?))
}

/// The names of the parameters of permessage-deflate (RFC 7692 §7.1).
const PARAMETERS: [&str; 4] = [
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
];

/// What matters of an offer that can be met.
#[derive(Default)]
struct Offer {
    server_max_window_bits: Option<u8>,
}

impl Offer {
    /// One extension with its parameters, if it is permessage-deflate and all of them can be met.
    fn read(extension: &str) -> Option<Self> {
        let mut parts = split(extension, ';');
        if parts.next()? != "permessage-deflate" {
            return None;
        }
        let mut offer = Self::default();
        let mut seen = [false; PARAMETERS.len()];
        for parameter in parts {
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
                None => (parameter, None),
            };
            let index = PARAMETERS.iter().position(|known| *known == name)?;
            if std::mem::replace(seen.get_mut(index)?, true) {
                return None;
            }
            match (name, value) {
                ("server_max_window_bits", value) => {
                    offer.server_max_window_bits = Some(window_bits(value?)?);
                }
                ("client_max_window_bits", Some(value)) => _ = window_bits(value)?,
                (_, Some(_)) => return None,
                (_, None) => {}
            }
        }
        Some(offer)
    }
}

/// 8 to 15, without leading zeros, quoted or not.
fn window_bits(value: &str) -> Option<u8> {
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let digits = quoted.unwrap_or(value);
    let plain = digits.starts_with(|digit: char| matches!(digit, '1'..='9'));
    digits.parse().ok().filter(|bits| plain && (8..=MAX_WINDOW_BITS).contains(bits))
}

/// The trimmed parts of a list; a separator within a quoted string does not separate.
fn split(list: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |letter| {
        let after_backslash = std::mem::take(&mut escaped);
        match letter {
            '\\' if quoted => escaped = !after_backslash,
            '"' if !after_backslash => quoted = !quoted,
            _ => {}
        }
        letter == separator && !quoted
    })
    .map(str::trim)
}
