//! The properties of an Email (RFC 8621 §4.1), each read off the message when it is asked for.

use serde_json::{Map, Value, json};

use crate::demo::server::date::UtcDate;
use crate::demo::server::message::header::{self, Field};
use crate::demo::server::message::or_null;
use crate::demo::server::message::part::Part;
use crate::demo::server::store::record::Email;

/// §4.2: what `Email/get` returns when no properties are named.
pub(crate) const DEFAULT: [&str; 24] = [
    "id",
    "blobId",
    "threadId",
    "mailboxIds",
    "keywords",
    "size",
    "receivedAt",
    "messageId",
    "inReplyTo",
    "references",
    "sender",
    "from",
    "to",
    "cc",
    "bcc",
    "replyTo",
    "subject",
    "sentAt",
    "hasAttachment",
    "preview",
    "bodyValues",
    "textBody",
    "htmlBody",
    "attachments",
];

/// §4.2: the properties of a part when `bodyProperties` is not given.
pub(crate) const DEFAULT_PART: [&str; 10] = [
    "partId",
    "blobId",
    "size",
    "name",
    "type",
    "charset",
    "disposition",
    "cid",
    "language",
    "location",
];

/// One property, except `id` and `bodyValues`; `None` when there is no such property.
pub(crate) fn value(email: &Email, name: &str, part_properties: &[&str]) -> Option<Value> {
    let message = &email.message;
    let parts = |parts: &[&Part]| -> Value {
        parts.iter().map(|part| part_value(email, part, part_properties)).collect()
    };
    Some(match name {
        "blobId" => json!(email.blob_id),
        "threadId" => json!(email.thread_id),
        "mailboxIds" => truths(&email.filing.mailbox_ids),
        "keywords" => truths(&email.filing.keywords),
        "size" => json!(email.raw.len()),
        "receivedAt" => json!(email.received_at),
        "messageId" => or_null(message.message_ids("Message-ID")),
        "inReplyTo" => or_null(message.message_ids("In-Reply-To")),
        "references" => or_null(message.message_ids("References")),
        "sender" | "from" | "to" | "cc" | "bcc" => or_null(message.addresses(name)),
        "replyTo" => or_null(message.addresses("Reply-To")),
        "subject" => or_null(message.text("Subject")),
        "sentAt" => or_null(message.text("Date").and_then(|date| UtcDate::parse_rfc5322(&date))),
        "hasAttachment" => json!(!message.display().attachments.is_empty()),
        "preview" => json!(message.preview()),
        "headers" => json!(message.root.headers),
        "bodyStructure" => part_value(email, &message.root, part_properties),
        "textBody" => parts(&message.display().text),
        "htmlBody" => parts(&message.display().html),
        "attachments" => parts(&message.display().attachments),
        _ => header_value(&message.root.headers, name.strip_prefix("header:")?)?,
    })
}

/// §4.1.3: `Name`, `Name:asForm`, and either with `:all`.
fn header_value(headers: &[Field], property: &str) -> Option<Value> {
    let (property, all) =
        property.strip_suffix(":all").map_or((property, false), |rest| (rest, true));
    let (name, form) = property.split_once(':').unwrap_or((property, "asRaw"));
    let convert: fn(&str) -> Value = match form {
        "asRaw" => |value| json!(value),
        "asText" => |value| json!(header::to_text(value)),
        "asAddresses" => |value| json!(header::to_addresses(value)),
        "asGroupedAddresses" => {
            |value| json!([{ "name": null, "addresses": header::to_addresses(value) }])
        }
        "asMessageIds" => |value| json!(header::to_message_ids(value)),
        "asDate" => |value| or_null(UtcDate::parse_rfc5322(&header::to_text(value))),
        "asURLs" => |value| json!(header::to_message_ids(value)),
        _ => return None,
    };
    let fields = headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    let mut values = fields.map(|field| convert(&field.value));
    Some(if all { values.collect() } else { values.next_back().unwrap_or_default() })
}

/// §4.1.4 `EmailBodyPart`; unknown properties are left out.
fn part_value(email: &Email, part: &Part, properties: &[&str]) -> Value {
    let mut object = Map::new();
    for name in properties {
        let value = match *name {
            "partId" => json!(part.part_id),
            "blobId" => {
                json!(part.part_id.as_ref().map(|id| format!("{}-{id}", email.blob_id)))
            }
            "size" => json!(part.content().len()),
            "headers" => json!(part.headers),
            "name" => json!(part.name),
            "type" => json!(part.media_type),
            "charset" if part.media_type.starts_with("text/") => {
                json!(part.charset.as_deref().unwrap_or("us-ascii"))
            }
            "disposition" => json!(part.disposition),
            "cid" => json!(part.cid),
            "charset" | "language" | "location" => Value::Null,
            other => match other.strip_prefix("header:") {
                Some(header) => header_value(&part.headers, header).unwrap_or_default(),
                None => continue,
            },
        };
        object.insert((*name).to_owned(), value);
    }
    if let Some(parts) = part.parts() {
        let parts = parts.iter().map(|part| part_value(email, part, properties)).collect();
        object.insert("subParts".to_owned(), parts);
    }
    Value::Object(object)
}

fn truths(set: &std::collections::BTreeSet<String>) -> Value {
    Value::Object(set.iter().map(|member| (member.clone(), Value::Bool(true))).collect())
}
