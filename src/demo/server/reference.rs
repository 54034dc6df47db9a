//! References to the results of earlier method calls (RFC 8620 §3.7).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

/// Why a reference leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("an argument is given both by value and by reference")]
    Ambiguous,
    #[error("a reference is an object with `resultOf`, `name` and `path`")]
    Malformed,
    #[error("no earlier response has this name and method call id")]
    NoSuchResult,
    #[error("the path leads nowhere in the result")]
    NoSuchPath,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultReference {
    result_of: String,
    name: String,
    path: String,
}

/// One entry of `methodResponses`: name, arguments, method call id.
pub(crate) type Invocation = (Cow<'static, str>, Value, String);

/// Puts what they refer to in the place of all `#argument`s.
///
/// # Errors
/// See [`Error`].
pub(crate) fn resolve(
    arguments: Map<String, Value>,
    responses: &[Invocation],
) -> Result<Map<String, Value>, Error> {
    let mut resolved = Map::new();
    for (name, value) in arguments {
        let (name, value) = match name.strip_prefix('#') {
            Some(plain) => (plain.to_owned(), follow(value, responses)?),
            None => (name, value),
        };
        if resolved.insert(name, value).is_some() {
            return Err(Error::Ambiguous);
        }
    }
    Ok(resolved)
}

fn follow(reference: Value, responses: &[Invocation]) -> Result<Value, Error> {
    let reference: ResultReference =
        serde_json::from_value(reference).map_err(|_| Error::Malformed)?;
    // §3.7: "Find the first response with a method call id identical to the resultOf"; then its
    // name must match, so an `error` fails.
    let (_, result, _) = responses
        .iter()
        .find(|(_, _, id)| *id == reference.result_of)
        .filter(|(name, ..)| *name == reference.name)
        .ok_or(Error::NoSuchResult)?;
    let path: Vec<&str> = match reference.path.strip_prefix('/') {
        Some(path) => path.split('/').collect(),
        None if reference.path.is_empty() => Vec::new(),
        None => return Err(Error::NoSuchPath),
    };
    evaluate(result, &path).ok_or(Error::NoSuchPath)
}

/// RFC 6901 with the addition of `*`, which goes through all members of an array.
fn evaluate(value: &Value, path: &[&str]) -> Option<Value> {
    let [token, rest @ ..] = path else { return Some(value.clone()) };
    match value {
        Value::Array(members) if *token == "*" => {
            let mut all = Vec::new();
            for member in members {
                match evaluate(member, rest)? {
                    Value::Array(inner) => all.extend(inner),
                    other => all.push(other),
                }
            }
            Some(Value::Array(all))
        }
        Value::Array(members) => evaluate(members.get(token.parse::<usize>().ok()?)?, rest),
        Value::Object(members) => {
            evaluate(members.get(&token.replace("~1", "/").replace("~0", "~"))?, rest)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(arguments: Value) -> Result<Value, Error> {
        let list = json!({ "list": [
            { "threadId": "T1", "emailIds": ["a", "b"] },
            { "threadId": "T2", "emailIds": ["c"] },
        ] });
        let responses = [
            (Cow::Borrowed("Thread/get"), list, "0".to_owned()),
            (Cow::Borrowed("error"), json!({}), "1".to_owned()),
        ];
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        resolve(arguments, &responses).map(Value::Object)
    }

    fn reference(result_of: &str, path: &str) -> Value {
        json!({ "resultOf": result_of, "name": "Thread/get", "path": path })
    }

    #[test]
    fn a_star_goes_through_the_members_and_flattens_once() {
        assert_eq!(
            resolved(json!({ "#ids": reference("0", "/list/*/emailIds"), "x": 1 })),
            Ok(json!({ "ids": ["a", "b", "c"], "x": 1 }))
        );
        assert_eq!(
            resolved(json!({ "#ids": reference("0", "/list/1/threadId") })),
            Ok(json!({ "ids": "T2" }))
        );
    }

    #[test]
    fn a_reference_that_leads_nowhere_says_why() {
        for (arguments, error) in [
            (json!({ "#ids": reference("0", "/nothing") }), Error::NoSuchPath),
            (json!({ "#ids": reference("0", "list") }), Error::NoSuchPath),
            (json!({ "#ids": reference("1", "/list") }), Error::NoSuchResult),
            (json!({ "#ids": reference("9", "/list") }), Error::NoSuchResult),
            (json!({ "#ids": "0" }), Error::Malformed),
            (json!({ "#ids": reference("0", ""), "ids": [] }), Error::Ambiguous),
        ] {
            assert_eq!(resolved(arguments), Err(error));
        }
    }
}
