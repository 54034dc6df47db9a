//! Writing a message (RFC 5322), for `Email/set` and for mail that comes in from the demo page.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::header::Address;
use crate::demo::server::date::UtcDate;

/// Bytes of text in one encoded word, so that a line stays within 75 characters (RFC 2047 §2).
const WORD: usize = 42;

/// What a message is made of. Empty lists and `None` leave the field or the part out.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) message_id: String,
    pub(crate) sent_at: Option<UtcDate>,
    pub(crate) from: Vec<Address>,
    pub(crate) reply_to: Vec<Address>,
    pub(crate) to: Vec<Address>,
    pub(crate) cc: Vec<Address>,
    pub(crate) bcc: Vec<Address>,
    pub(crate) in_reply_to: Vec<String>,
    pub(crate) references: Vec<String>,
    pub(crate) subject: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) html: Option<String>,
}

impl Draft {
    /// The message, lines ended by CRLF.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut message = String::new();
        for (name, addresses) in [
            ("From", &self.from),
            ("Reply-To", &self.reply_to),
            ("To", &self.to),
            ("Cc", &self.cc),
            ("Bcc", &self.bcc),
        ] {
            let list: Vec<String> = addresses.iter().map(write_address).collect();
            field(&mut message, name, &list.join(",\r\n "));
        }
        field(&mut message, "Subject", &encode(self.subject.as_deref().unwrap_or_default()));
        field(&mut message, "Date", &self.sent_at.map(UtcDate::to_rfc5322).unwrap_or_default());
        field(&mut message, "Message-ID", &bracketed(std::slice::from_ref(&self.message_id)));
        field(&mut message, "In-Reply-To", &bracketed(&self.in_reply_to));
        field(&mut message, "References", &bracketed(&self.references));
        field(&mut message, "MIME-Version", "1.0");
        self.write_body(&mut message);
        message.into_bytes()
    }

    fn write_body(&self, message: &mut String) {
        match (&self.text, &self.html) {
            (text, None) => write_part(message, "plain", text.as_deref().unwrap_or_default()),
            (None, Some(html)) => write_part(message, "html", html),
            (Some(text), Some(html)) => {
                // Derived from the message id, which is unique; it cannot begin a line of text by
                // chance.
                let boundary = STANDARD.encode(&self.message_id);
                let content_type = format!("multipart/alternative; boundary=\"{boundary}\"");
                field(message, "Content-Type", &content_type);
                for (subtype, content) in [("plain", text), ("html", html)] {
                    message.push_str("\r\n--");
                    message.push_str(&boundary);
                    message.push_str("\r\n");
                    write_part(message, subtype, content);
                }
                message.push_str("\r\n--");
                message.push_str(&boundary);
                message.push_str("--\r\n");
            }
        }
    }
}

fn write_part(message: &mut String, subtype: &str, content: &str) {
    field(message, "Content-Type", &format!("text/{subtype}; charset=utf-8"));
    field(message, "Content-Transfer-Encoding", "8bit");
    message.push_str("\r\n");
    message.push_str(&content.replace("\r\n", "\n").replace('\n', "\r\n"));
}

fn field(message: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(message, "{name}: {value}\r\n");
    }
}

fn bracketed(ids: &[String]) -> String {
    let ids = ids.iter().filter(|id| !id.is_empty());
    ids.map(|id| format!("<{}>", one_line(id))).collect::<Vec<_>>().join("\r\n ")
}

fn write_address(address: &Address) -> String {
    let email = one_line(&address.email);
    match address.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) if name.is_ascii() => {
            let name = one_line(name).replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{name}\" <{email}>")
        }
        Some(name) => format!("{} <{email}>", encode(name)),
        None => email,
    }
}

/// A value that cannot end its line and begin a field of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// RFC 2047: as it is when ASCII, else in encoded words.
fn encode(text: &str) -> String {
    let text = one_line(text);
    if text.is_ascii() {
        return text;
    }
    let mut words = vec![String::new()];
    for char in text.chars() {
        if words.last().is_some_and(|word| word.len() + char.len_utf8() > WORD) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(char);
        }
    }
    let words: Vec<String> =
        words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect();
    words.join("\r\n ")
}
