//! The parameters of an event source request (RFC 8620 §7.3): `types`, `closeafter`, `ping`.
//!
//! Clients fill the template in many ways (protocol.md §3.1): by expansion, by setting parameters on
//! the parsed URL, or by appending them to the unexpanded template. So the last value wins and a
//! placeholder that was left standing counts as absent (T-SSE-2).

use std::borrow::Cow;
use std::time::Duration;

use crate::config::{EventSource, QueryMode};
use crate::jmap::id::DataType;
use crate::jmap::problem::Problem;

/// Types one request may list.
const MOST_TYPES: usize = 256;

/// What a client asked for, within what we grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The types to push, `None` for all (`*`, P13).
    pub types: Option<Vec<DataType>>,
    /// Whether the response ends after one `state` event (P14).
    pub close_after_state: bool,
    /// Seconds of silence after which a `ping` event comes, `None` for never (P15).
    pub ping: Option<u32>,
}

impl Query {
    /// Reads the query part of the request's URI. `is_known` tells the types that `query = strict`
    /// accepts.
    ///
    /// # Errors
    /// A 400 problem that names the parameter; decided before the client is authenticated.
    pub fn parse(
        query: &str,
        settings: &EventSource,
        is_known: impl Fn(&DataType) -> bool,
    ) -> Result<Self, Problem> {
        let (mut types, mut close_after, mut ping) = (None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match &*percent_decoded(name) {
                "types" => &mut types,
                // James' template and its clients say `closeAfter`.
                "closeafter" | "closeAfter" => &mut close_after,
                "ping" => &mut ping,
                _ => continue,
            };
            let value = percent_decoded(value);
            if !is_placeholder(&value) {
                *slot = Some(value);
            }
        }
        if settings.query == QueryMode::Strict {
            for (name, value) in [("types", &types), ("closeafter", &close_after), ("ping", &ping)]
            {
                if value.is_none() {
                    return Err(bad(format!("the parameter \"{name}\" is missing")));
                }
            }
        }
        let types = types.as_deref().map_or(Ok(None), parse_types)?;
        if let (QueryMode::Strict, Some(types)) = (settings.query, &types)
            && let Some(unknown) = types.iter().find(|name| !is_known(name))
        {
            return Err(bad(format!("\"types\" names the unknown data type \"{unknown}\"")));
        }
        let close_after_state = match close_after.as_deref() {
            None | Some("no") => false,
            Some("state") => true,
            Some(_) => return Err(bad("\"closeafter\" must be \"state\" or \"no\"")),
        };
        let ping = ping.as_deref().map_or(Ok(0), str::parse::<u32>);
        let Ok(ping) = ping else {
            return Err(bad("\"ping\" must be a number of seconds, 0 for none"));
        };
        Ok(Self { types, close_after_state, ping: granted(ping, settings) })
    }
}

fn parse_types(list: &str) -> Result<Option<Vec<DataType>>, Problem> {
    if list == "*" {
        return Ok(None);
    }
    let mut types = Vec::new();
    for name in list.split(',') {
        let Some(name) = DataType::parse(name) else {
            return Err(bad("\"types\" must be \"*\" or a comma-separated list of data types"));
        };
        if !types.contains(&name) {
            types.push(name);
        }
        if types.len() > MOST_TYPES {
            return Err(bad(format!("\"types\" lists more than {MOST_TYPES} data types")));
        }
    }
    Ok(Some(types))
}

/// The interval within our bounds; never raised above what was asked for by a client that asked for
/// 30 s or more, which `ping_min ≤ 30 s` ensures (T-SSE-6: its read timeout hangs on it).
fn granted(asked: u32, settings: &EventSource) -> Option<u32> {
    let seconds = |bound: Duration| u32::try_from(bound.as_secs()).unwrap_or(u32::MAX);
    let (least, most) = (seconds(settings.ping_min), seconds(settings.ping_max));
    (asked > 0).then(|| asked.max(least).min(most.max(least)).max(1))
}

/// `{types}` as it stands in the template.
fn is_placeholder(value: &str) -> bool {
    value.starts_with('{') && value.ends_with('}')
}

fn bad(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(400, detail)
}

/// Undoes percent-encoding (RFC 3986 §2.1); what is not UTF-8 becomes U+FFFD and fails later.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |digit: Option<&u8>| char::from(*digit?).to_digit(16);
        match (first, hex(tail.first()), hex(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
