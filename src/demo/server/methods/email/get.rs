//! `Email/get` (RFC 8621 §4.2).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::property;
use crate::demo::server::message::part::Part;
use crate::demo::server::methods::error::MethodError;
use crate::demo::server::methods::standard::{self, GetArguments};
use crate::demo::server::methods::{Caller, parse};
use crate::demo::server::store::record::Email;

/// What `Email/get` adds to the arguments of `/get`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BodyArguments {
    body_properties: Option<Vec<String>>,
    fetch_text_body_values: bool,
    #[serde(rename = "fetchHTMLBodyValues")]
    fetch_html_body_values: bool,
    fetch_all_body_values: bool,
    /// Zero is no limit.
    max_body_value_bytes: usize,
}

/// `Email/get`.
pub(crate) fn get(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let body: BodyArguments = parse(arguments.clone())?;
    let arguments: GetArguments = parse(arguments)?;
    let account = caller.account(&arguments.account_id)?;
    let properties = names(arguments.properties.as_ref(), &property::DEFAULT);
    let part_properties = names(body.body_properties.as_ref(), &property::DEFAULT_PART);
    standard::selected(&arguments, account.emails(), |id, email| {
        let mut object = Map::from_iter([("id".to_owned(), json!(id))]);
        for name in properties.iter().filter(|name| **name != "id") {
            let value = match *name {
                "bodyValues" => body.values(email),
                name => property::value(email, name, &part_properties).ok_or_else(|| {
                    MethodError::InvalidArgument {
                        argument: name.to_owned().into(),
                        expected: "a property of an Email",
                    }
                })?,
            };
            object.insert((*name).to_owned(), value);
        }
        Ok(Value::Object(object))
    })
}

fn names<'a>(given: Option<&'a Vec<String>>, default: &[&'a str]) -> Vec<&'a str> {
    given.map_or_else(|| default.to_vec(), |names| names.iter().map(String::as_str).collect())
}

impl BodyArguments {
    /// §4.1.4 `bodyValues`: those parts that were asked for.
    fn values(&self, email: &Email) -> Value {
        let display = email.message.display();
        let mut parts: Vec<&Part> = Vec::new();
        if self.fetch_text_body_values {
            parts.extend(&display.text);
        }
        if self.fetch_html_body_values {
            parts.extend(&display.html);
        }
        if self.fetch_all_body_values {
            parts.extend(email.message.root.leaves());
        }
        let texts = parts.into_iter().filter(|part| part.media_type.starts_with("text/"));
        let values = texts.filter_map(|part| Some((part.part_id.clone()?, self.value(part))));
        Value::Object(values.collect())
    }

    fn value(&self, part: &Part) -> Value {
        let (mut text, lossless) = part.text();
        let limit = self.max_body_value_bytes;
        let is_truncated = limit > 0 && text.len() > limit;
        if is_truncated {
            // "truncated so as not to be in the middle of a code point"
            let cut = (0..=limit).rev().find(|cut| text.is_char_boundary(*cut));
            text.truncate(cut.unwrap_or_default());
        }
        json!({ "value": text, "isEncodingProblem": !lossless, "isTruncated": is_truncated })
    }
}
