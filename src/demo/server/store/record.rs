//! The records the server keeps, as RFC 8621 names their properties.
//!
//! What serde writes and reads here is what a client may set; what the server computes (counts,
//! rights, previews) is added where a method answers.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Id;
use crate::demo::server::date::UtcDate;
use crate::demo::server::message::Message;

/// RFC 8621 §2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Mailbox {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) parent_id: Option<Id>,
    #[serde(default)]
    pub(crate) role: Option<String>,
    #[serde(default)]
    pub(crate) sort_order: u32,
    #[serde(default)]
    pub(crate) is_subscribed: bool,
}

/// What a client may change of an Email (RFC 8621 §4.6).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Filing {
    #[serde(with = "set_as_map")]
    pub(crate) mailbox_ids: BTreeSet<Id>,
    #[serde(with = "set_as_map", default)]
    pub(crate) keywords: BTreeSet<String>,
}

impl Filing {
    /// RFC 8621 §4.1.1: unread is what lacks `$seen` and `$draft`.
    pub(crate) fn is_unread(&self) -> bool {
        !self.keywords.contains("$seen") && !self.keywords.contains("$draft")
    }
}

/// RFC 8621 §4.
#[derive(Debug)]
pub(crate) struct Email {
    pub(crate) blob_id: Id,
    pub(crate) thread_id: Id,
    pub(crate) filing: Filing,
    pub(crate) received_at: UtcDate,
    pub(crate) raw: Bytes,
    pub(crate) message: Message,
}

/// RFC 8621 §3: the Emails of a conversation, oldest first.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Thread {
    pub(crate) email_ids: Vec<Id>,
}

/// RFC 8621 §6.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) reply_to: Option<Value>,
    pub(crate) bcc: Option<Value>,
    pub(crate) text_signature: String,
    pub(crate) html_signature: String,
    pub(crate) may_delete: bool,
}

impl Identity {
    pub(crate) fn new(name: &str, email: &str) -> Self {
        Self {
            name: name.to_owned(),
            email: email.to_owned(),
            reply_to: None,
            bcc: None,
            text_signature: String::new(),
            html_signature: String::new(),
            may_delete: false,
        }
    }
}

/// RFC 8621 §7. Sent at once, so never `pending`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EmailSubmission {
    pub(crate) identity_id: Id,
    pub(crate) email_id: Id,
    pub(crate) thread_id: Id,
    pub(crate) envelope: Value,
    pub(crate) send_at: UtcDate,
    pub(crate) undo_status: &'static str,
    pub(crate) delivery_status: Option<Value>,
    pub(crate) dsn_blob_ids: [Id; 0],
    pub(crate) mdn_blob_ids: [Id; 0],
}

/// RFC 8621 §8.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct VacationResponse {
    pub(crate) is_enabled: bool,
    pub(crate) from_date: Option<UtcDate>,
    pub(crate) to_date: Option<UtcDate>,
    pub(crate) subject: Option<String>,
    pub(crate) text_body: Option<String>,
    pub(crate) html_body: Option<String>,
}

/// JMAP writes a set as an object whose values are all `true` (`Id[Boolean]`).
pub(crate) mod set_as_map {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        set: &BTreeSet<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(set.iter().map(|member| (member, true)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<String>, D::Error> {
        let map = BTreeMap::<String, bool>::deserialize(deserializer)?;
        if map.values().any(|value| !value) {
            return Err(de::Error::invalid_value(de::Unexpected::Bool(false), &"true"));
        }
        Ok(map.into_keys().collect())
    }
}
