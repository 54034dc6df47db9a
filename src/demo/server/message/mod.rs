//! An e-mail message as JMAP shows it (RFC 5322, RFC 2045; RFC 8621 §4.1).
//!
//! Enough of MIME for what people and clients send: nested multiparts, base64, quoted-printable,
//! encoded words; UTF-8 and Latin-1. Does not open `message/rfc822` parts, and no input is an error.

use serde_json::Value;

use header::{Address, Field};
use part::Part;

pub(crate) mod compose;
pub(crate) mod header;
pub(crate) mod part;

/// Most characters of a preview (RFC 8621 §4.1.4: "MUST NOT be more than 256 characters").
const PREVIEW: usize = 256;

/// A parsed message.
#[derive(Debug)]
pub(crate) struct Message {
    /// The message itself is the root part; its header is the message's header.
    pub(crate) root: Part,
}

/// RFC 8621 §4.1.4: the leaves of a message by what a client does with them.
#[derive(Debug, Default)]
pub(crate) struct Display<'a> {
    pub(crate) text: Vec<&'a Part>,
    pub(crate) html: Vec<&'a Part>,
    pub(crate) attachments: Vec<&'a Part>,
}

impl Message {
    pub(crate) fn parse(raw: &[u8]) -> Self {
        Self { root: Part::parse(raw) }
    }

    /// The last header field of a name, as it stood.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.root.headers.iter().rev().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        Some(header::to_text(&self.field(name)?.value))
    }

    pub(crate) fn addresses(&self, name: &str) -> Option<Vec<Address>> {
        Some(header::to_addresses(&self.field(name)?.value))
    }

    pub(crate) fn message_ids(&self, name: &str) -> Option<Vec<String>> {
        Some(header::to_message_ids(&self.field(name)?.value))
    }

    /// The leaves sorted for display.
    pub(crate) fn display(&self) -> Display<'_> {
        let mut display = Display::default();
        sort_for_display(&self.root, Alternative::None, &mut display);
        // A message with one kind of body shows it as both.
        if display.text.is_empty() {
            display.text.clone_from(&display.html);
        } else if display.html.is_empty() {
            display.html.clone_from(&display.text);
        }
        display
    }

    /// The first words of the text.
    pub(crate) fn preview(&self) -> String {
        let display = self.display();
        let Some(part) = display.text.first() else { return String::new() };
        let text = part.text().0;
        let text = if part.media_type == "text/html" { strip_tags(&text) } else { text };
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").chars().take(PREVIEW).collect()
    }
}

/// Where a part stands towards a `multipart/alternative`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alternative {
    None,
    Inside,
}

fn sort_for_display<'a>(part: &'a Part, alternative: Alternative, display: &mut Display<'a>) {
    if let Some(parts) = part.parts() {
        let inside = match part.media_type.as_str() {
            "multipart/alternative" => Alternative::Inside,
            _ => alternative,
        };
        for child in parts {
            sort_for_display(child, inside, display);
        }
        return;
    }
    let attached = part.disposition.as_deref() == Some("attachment") || part.name.is_some();
    match part.media_type.as_str() {
        "text/plain" if !attached => {
            display.text.push(part);
            if alternative == Alternative::None {
                display.html.push(part);
            }
        }
        "text/html" if !attached => {
            display.html.push(part);
            if alternative == Alternative::None {
                display.text.push(part);
            }
        }
        _ => display.attachments.push(part),
    }
}

fn strip_tags(html: &str) -> String {
    let mut inside_tag = false;
    html.chars()
        .filter_map(|char| match char {
            '<' => {
                inside_tag = true;
                Some(' ')
            }
            '>' if inside_tag => {
                inside_tag = false;
                None
            }
            char => (!inside_tag).then_some(char),
        })
        .collect()
}

/// `null` or the list, as JMAP writes absent header fields.
pub(crate) fn or_null<T: serde::Serialize>(value: Option<T>) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
