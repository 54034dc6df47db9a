//! `Email/query` (RFC 8621 §4.4).

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::demo::server::date::UtcDate;
use crate::demo::server::methods::error::MethodError;
use crate::demo::server::methods::query::{Comparator, QueryArguments};
use crate::demo::server::methods::{Caller, parse};
use crate::demo::server::store::Id;
use crate::demo::server::store::record::Email;

/// The sorts that `emailQuerySortOptions` advertises.
pub(crate) const SORTS: [&str; 7] =
    ["receivedAt", "sentAt", "size", "from", "to", "subject", "hasKeyword"];

/// `Email/query`.
pub(crate) fn query(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let collapse = arguments.get("collapseThreads").and_then(Value::as_bool).unwrap_or(false);
    let arguments: QueryArguments = parse(arguments)?;
    let account = caller.account(&arguments.account_id)?;
    let filter = arguments.filter::<Condition>()?;
    let sort = arguments.sort.as_deref().unwrap_or_default();
    if sort.iter().any(|by| !SORTS.contains(&by.property.as_str())) {
        return Err(MethodError::UnsupportedSort);
    }
    let mut found: Vec<(&Id, &Email)> = account
        .emails()
        .iter()
        .filter(|(_, email)| filter.admits(&|condition| condition.admits(email)))
        .collect();
    found.sort_by(|one, other| {
        let orders = sort.iter().map(|by| compare(by, one.1, other.1));
        // Newest first among equals, and without any sort.
        orders.fold(Ordering::Equal, Ordering::then).then_with(|| other.0.cmp(one.0))
    });
    if collapse {
        let mut seen = BTreeSet::new();
        found.retain(|(_, email)| seen.insert(&email.thread_id));
    }
    let ids: Vec<&Id> = found.into_iter().map(|(id, _)| id).collect();
    let mut response = arguments.answer(&ids, &account.emails().state())?;
    if let Value::Object(members) = &mut response {
        members.insert("collapseThreads".to_owned(), Value::Bool(collapse));
    }
    Ok(response)
}

fn compare(by: &Comparator, one: &Email, other: &Email) -> Ordering {
    let person = |email: &Email, field| {
        let first = email.message.addresses(field)?.into_iter().next()?;
        Some(first.name.unwrap_or(first.email).to_lowercase())
    };
    let text = |email: &Email, field| email.message.text(field);
    by.directed(match by.property.as_str() {
        "receivedAt" => one.received_at.cmp(&other.received_at),
        "sentAt" => {
            let sent = |email| text(email, "Date").and_then(|date| UtcDate::parse_rfc5322(&date));
            sent(one).cmp(&sent(other))
        }
        "size" => one.raw.len().cmp(&other.raw.len()),
        "from" | "to" => person(one, &by.property).cmp(&person(other, &by.property)),
        "subject" => base_subject(text(one, "Subject")).cmp(&base_subject(text(other, "Subject"))),
        _ => {
            let has = |email: &Email| {
                by.keyword.as_ref().is_some_and(|keyword| email.filing.keywords.contains(keyword))
            };
            has(one).cmp(&has(other))
        }
    })
}

/// The "base subject" of RFC 5256 §2.1, as far as a person sees: no `Re:` in front, no case.
fn base_subject(subject: Option<String>) -> String {
    let subject = subject.unwrap_or_default().to_lowercase();
    let mut base = subject.as_str();
    while let Some(rest) = ["re:", "fwd:", "fw:"].iter().find_map(|mark| base.strip_prefix(mark)) {
        base = rest.trim_start();
    }
    base.to_owned()
}

/// §4.4.1 `FilterCondition`, without those on the keywords of a whole Thread.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Condition {
    in_mailbox: Option<Id>,
    in_mailbox_other_than: Option<Vec<Id>>,
    before: Option<UtcDate>,
    after: Option<UtcDate>,
    min_size: Option<usize>,
    max_size: Option<usize>,
    has_keyword: Option<String>,
    not_keyword: Option<String>,
    has_attachment: Option<bool>,
    text: Option<String>,
    from: Option<String>,
    to: Option<String>,
    cc: Option<String>,
    bcc: Option<String>,
    subject: Option<String>,
    body: Option<String>,
}

impl Condition {
    fn admits(&self, email: &Email) -> bool {
        self.admits_place(email) && self.admits_size_and_time(email) && self.admits_words(email)
    }

    fn admits_place(&self, email: &Email) -> bool {
        let filing = &email.filing;
        self.in_mailbox.as_ref().is_none_or(|id| filing.mailbox_ids.contains(id))
            && self
                .in_mailbox_other_than
                .as_ref()
                .is_none_or(|ids| filing.mailbox_ids.iter().any(|id| !ids.contains(id)))
            && self.has_keyword.as_ref().is_none_or(|keyword| filing.keywords.contains(keyword))
            && self.not_keyword.as_ref().is_none_or(|keyword| !filing.keywords.contains(keyword))
    }

    fn admits_size_and_time(&self, email: &Email) -> bool {
        let size = email.raw.len();
        self.before.is_none_or(|date| email.received_at < date)
            && self.after.is_none_or(|date| email.received_at >= date)
            && self.min_size.is_none_or(|least| size >= least)
            && self.max_size.is_none_or(|bound| size < bound)
            && self
                .has_attachment
                .is_none_or(|wanted| wanted != email.message.display().attachments.is_empty())
    }

    fn admits_words(&self, email: &Email) -> bool {
        let fields: [(&Option<String>, &[&str]); 5] = [
            (&self.from, &["from"]),
            (&self.to, &["to"]),
            (&self.cc, &["cc"]),
            (&self.bcc, &["bcc"]),
            (&self.subject, &["subject"]),
        ];
        let in_fields = |words: &str, names: &[&str]| {
            let texts = names.iter().filter_map(|name| email.message.text(name));
            contains_words(&texts.collect::<Vec<_>>().join("\n"), words)
        };
        let in_body = |words: &str| {
            let display = email.message.display();
            display.text.iter().any(|part| contains_words(&part.text().0, words))
        };
        fields
            .iter()
            .all(|(words, names)| words.as_ref().is_none_or(|words| in_fields(words, names)))
            && self.body.as_ref().is_none_or(|words| in_body(words))
            && self.text.as_ref().is_none_or(|words| {
                in_fields(words, &["from", "to", "cc", "bcc", "subject"]) || in_body(words)
            })
    }
}

/// Whether a text has all of some words, whatever their case.
fn contains_words(text: &str, words: &str) -> bool {
    let text = text.to_lowercase();
    words.to_lowercase().split_whitespace().all(|word| text.contains(word.trim_matches('"')))
}
