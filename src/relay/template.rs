//! Fills in upstream's `eventSourceUrl` (RFC 8620 §7.3; RFC 6570 of level 1, and `{?…}`, `{&…}`). Pure.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// The ping interval asked for: the longest of which every server must allow (§7.3: "MUST allow a
/// minimum of 30 seconds or less").
pub const PING: Duration = Duration::from_secs(30);

/// The URL for all types, without end, with pings.
///
/// The template is used as given: variables are told by what their names mean (James says
/// `closeAfter`), braces may be percent-encoded, and what has no variables has none. Variables that
/// nobody knows expand to nothing.
#[must_use]
pub fn expand(template: &str) -> String {
    let template = template.split('#').next().unwrap_or(template);
    let template = with_braces(template);
    let mut url = String::with_capacity(template.len());
    let mut rest = &*template;
    while let Some((before, opened)) = rest.split_once('{') {
        let Some((expression, after)) = opened.split_once('}') else { break };
        url.push_str(before);
        expand_one(expression, &mut url);
        rest = after;
    }
    url + rest
}

/// An expression: the text between two braces.
fn expand_one(expression: &str, url: &mut String) {
    let (mut separator, names) = match expression.strip_prefix(['?', '&']) {
        Some(names) if expression.starts_with('?') => ("?", names),
        Some(names) => ("&", names),
        None => {
            let values = expression.split(',').filter_map(value);
            values.for_each(|value| url.push_str(&value));
            return;
        }
    };
    for name in names.split(',') {
        if let Some(value) = value(name) {
            // Writing to a string cannot fail.
            let _ = write!(url, "{separator}{name}={value}");
            separator = "&";
        }
    }
}

fn value(name: &str) -> Option<Cow<'static, str>> {
    let letters = name.chars().filter(char::is_ascii_alphabetic);
    match letters.map(|letter| letter.to_ascii_lowercase()).collect::<String>().as_str() {
        "types" => Some("*".into()),
        "closeafter" => Some("no".into()),
        "ping" => Some(PING.as_secs().to_string().into()),
        _ => None,
    }
}

/// Servers that build the template by a URL library encode its braces.
fn with_braces(template: &str) -> Cow<'_, str> {
    let encoded = [("%7B", "{"), ("%7b", "{"), ("%7D", "}"), ("%7d", "}")];
    encoded.into_iter().fold(Cow::Borrowed(template), |text, (code, brace)| {
        if text.contains(code) { Cow::Owned(text.replace(code, brace)) } else { text }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_servers_are_filled_in_as_they_are() {
        for (template, url) in [
            (
                "/es/?types={types}&closeafter={closeafter}&ping={ping}",
                "/es/?types=*&closeafter=no&ping=30",
            ),
            (
                "/eventSource?types={types}&closeAfter={closeAfter}&ping={ping}",
                "/eventSource?types=*&closeAfter=no&ping=30",
            ),
            ("/es?t=%7Btypes%7D&c=%7bclose_after%7d", "/es?t=*&c=no"),
            ("/es{?types,closeafter,ping}", "/es?types=*&closeafter=no&ping=30"),
            ("/es?a=1{&types,x,ping}#end", "/es?a=1&types=*&ping=30"),
            ("/events/alice?x={accountId}&t={types}", "/events/alice?x=&t=*"),
            ("/event/", "/event/"),
            ("/es?t={types", "/es?t={types"),
            ("/es?t=}{", "/es?t=}{"),
            ("", ""),
        ] {
            assert_eq!(expand(template), url);
        }
    }
}
