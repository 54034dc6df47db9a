//! Header fields: splitting, unfolding and the parsed forms (RFC 5322 §2.2, RFC 2047; RFC 8621
//! §4.1.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::part::{decode_quoted_printable, text_of};

/// One field, its value with folds and leading space as received (RFC 8621 §4.1.2.1 `Raw`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// RFC 8621 §4.1.2.3 `EmailAddress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address {
    #[serde(default)]
    pub(crate) name: Option<String>,
    pub(crate) email: String,
}

/// The fields of a header, without the empty line that ends it. Lines that are no field are lost.
pub(crate) fn fields(header: &[u8]) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for line in String::from_utf8_lossy(header).split_inclusive('\n') {
        if line.starts_with([' ', '\t']) {
            if let Some(field) = fields.last_mut() {
                field.value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push(Field { name: name.trim_end().to_owned(), value: value.to_owned() });
        }
    }
    for field in &mut fields {
        field.value.truncate(field.value.trim_end_matches(['\r', '\n']).len());
    }
    fields
}

/// RFC 8621 §4.1.2.2 `Text`: unfolded, encoded words decoded.
pub(crate) fn to_text(value: &str) -> String {
    decode_words(unfold(value).trim())
}

/// RFC 8621 §4.1.2.3 `Addresses`: groups count as their members, comments are dropped.
pub(crate) fn to_addresses(value: &str) -> Vec<Address> {
    let mut addresses = Vec::new();
    let mut current = Mailbox::default();
    let mut place = Place::Phrase;
    let mut escaped = false;
    for char in unfold(value).chars() {
        if std::mem::take(&mut escaped) {
            current.phrase.push(char);
            continue;
        }
        match (place, char) {
            (Place::Quoted, '\\') => escaped = true,
            (Place::Quoted, '"') | (Place::Comment, ')') | (Place::Angle, '>') => {
                place = Place::Phrase;
            }
            (Place::Phrase, '"') => place = Place::Quoted,
            (Place::Phrase, '(') => place = Place::Comment,
            (Place::Phrase, '<') => {
                place = Place::Angle;
                current.angle = Some(String::new());
            }
            (Place::Phrase, ':') => current = Mailbox::default(),
            (Place::Phrase, ',' | ';') => addresses.extend(std::mem::take(&mut current).finish()),
            (Place::Phrase | Place::Quoted, char) => current.phrase.push(char),
            (Place::Angle, char) => current.angle.get_or_insert_default().push(char),
            (Place::Comment, _) => {}
        }
    }
    addresses.extend(current.finish());
    addresses
}

/// RFC 8621 §4.1.2.4 `MessageIds`: what stands between angle brackets.
pub(crate) fn to_message_ids(value: &str) -> Vec<String> {
    unfold(value)
        .split('<')
        .skip(1)
        .filter_map(|rest| rest.split_once('>'))
        .map(|(id, _)| id.trim().to_owned())
        .collect()
}

/// The part of a structured field before its first `;`, lower case, and a lookup of its parameters.
pub(crate) fn parameters(value: &str) -> (String, Vec<(String, String)>) {
    let value = unfold(value);
    let mut pieces = value.split(';');
    let main = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
    let parameters = pieces
        .filter_map(|piece| piece.split_once('='))
        .map(|(name, value)| {
            let value = value.trim().trim_matches('"');
            (name.trim().to_ascii_lowercase(), decode_words(value))
        })
        .collect();
    (main, parameters)
}

/// A message without the fields of a name.
pub(crate) fn without_field(raw: &[u8], name: &str) -> Vec<u8> {
    let mut kept = Vec::with_capacity(raw.len());
    let (mut in_header, mut drop) = (true, false);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        in_header &= !line.trim_ascii().is_empty();
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let field = line.split(|byte| *byte == b':').next().unwrap_or_default();
            drop = field.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes());
        }
        if !(in_header && drop) {
            kept.extend_from_slice(line);
        }
    }
    kept
}

fn unfold(value: &str) -> String {
    value.replace(['\r', '\n'], "")
}

#[derive(Clone, Copy)]
enum Place {
    Phrase,
    Quoted,
    Comment,
    Angle,
}

/// One address being read: `phrase <angle>` or a bare address in `phrase`.
#[derive(Default)]
struct Mailbox {
    phrase: String,
    angle: Option<String>,
}

impl Mailbox {
    fn finish(self) -> Option<Address> {
        let phrase = decode_words(self.phrase.trim());
        let (name, email) = match self.angle {
            Some(angle) => ((!phrase.is_empty()).then_some(phrase), angle.trim().to_owned()),
            None => (None, phrase),
        };
        (!email.is_empty()).then_some(Address { name, email })
    }
}

/// RFC 2047: replaces each encoded word; space between two of them goes away.
fn decode_words(text: &str) -> String {
    let mut decoded = String::new();
    let mut rest = text;
    let mut after_word = false;
    while let Some((before, from)) = rest.split_once("=?") {
        match encoded_word(from) {
            Some((word, after)) => {
                if !(after_word && before.trim().is_empty()) {
                    decoded.push_str(before);
                }
                decoded.push_str(&word);
                (rest, after_word) = (after, true);
            }
            None => {
                decoded.push_str(before);
                decoded.push_str("=?");
                (rest, after_word) = (from, false);
            }
        }
    }
    decoded + rest
}

/// `utf-8?B?…?=` and what follows it.
fn encoded_word(text: &str) -> Option<(String, &str)> {
    let (charset, text) = text.split_once('?')?;
    let (encoding, text) = text.split_once('?')?;
    let (content, after) = text.split_once("?=")?;
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(content).ok()?,
        "Q" | "q" => decode_quoted_printable(content.replace('_', " ").as_bytes()),
        _ => return None,
    };
    // RFC 2231 §5: the charset may carry a language, `utf-8*en`.
    let charset = charset.split_once('*').map_or(charset, |(charset, _)| charset);
    Some((text_of(&bytes, Some(charset)).0, after))
}
