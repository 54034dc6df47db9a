//! References to the results of earlier method calls (RFC 8620 §3.7; A7): puts what they stand for in their
//! place, to the byte as it stands in the result. Which result a reference names, the caller knows.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::object::{Member, each_element, each_member, json_string, members};

/// Most tokens of a path. Results are some levels deep, and each level costs one look at all below it.
const MOST_TOKENS: usize = 64;

/// Why a reference leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// §3.7: "If an argument object contains the same argument name in normal and referenced form".
    #[error("an argument is given both by value and by reference")]
    Ambiguous,
    /// Not what a `ResultReference` is.
    #[error("a reference is an object with `resultOf`, `name` and `path`")]
    Malformed,
    /// There is none, or the first with that id is of another name.
    #[error("no earlier response has this name and method call id")]
    NoSuchResult,
    /// See [`ResultReference::follow`].
    #[error("the path leads nowhere in the result")]
    NoSuchPath,
}

impl Error {
    /// The type of the method-level error.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Ambiguous => "invalidArguments",
            Self::Malformed | Self::NoSuchResult | Self::NoSuchPath => "invalidResultReference",
        }
    }
}

/// The value of a `#argument`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultReference<'a> {
    /// A method call id: of all responses the first with that id is meant.
    #[serde(borrow)]
    pub result_of: Cow<'a, str>,
    /// What the name of that response must be.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// A JSON pointer (RFC 6901) in which `*` goes through all members of an array.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
}

impl<'a> ResultReference<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(value: &'a RawValue) -> Result<Self, Error> {
        // What is derived would also take an array.
        let is_object = value.get().starts_with('{');
        let read = is_object.then(|| serde_json::from_str(value.get()).ok());
        read.flatten().ok_or(Error::Malformed)
    }

    /// What stands at the path in the arguments of the response.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], for one of more than 64 tokens as well.
    pub fn follow(&self, result: &str) -> Result<String, Error> {
        let path: Vec<&str> = match self.path.strip_prefix('/') {
            Some(path) => path.split('/').take(MOST_TOKENS + 1).collect(),
            None if self.path.is_empty() => Vec::new(),
            None => return Err(Error::NoSuchPath),
        };
        if path.len() > MOST_TOKENS {
            return Err(Error::NoSuchPath);
        }
        evaluate(result, &path).ok_or(Error::NoSuchPath)
    }
}

/// The arguments of a call with what `follow` gives in the place of each `#argument`. `None` when that is
/// nothing: of a reference for which it gives `None`, others are to judge, and the text stays.
///
/// # Errors
/// What `follow` says; [`Error::Ambiguous`].
pub fn resolve<E: From<Error>>(
    arguments: &str,
    mut follow: impl FnMut(Result<ResultReference<'_>, Error>) -> Result<Option<String>, E>,
) -> Result<Option<String>, E> {
    // Nearly all are told by this, which is cheap.
    let has = |byte| arguments.as_bytes().contains(byte);
    if !has(&b'#') && !has(&b'\\') {
        return Ok(None);
    }
    let Ok(members) = members(arguments) else { return Ok(None) };
    let (mut names, mut twice) = (HashSet::new(), HashSet::new());
    for Member { name, .. } in &members {
        let name = name.strip_prefix('#').unwrap_or(name);
        if !names.insert(name) {
            twice.insert(name);
        }
    }
    let (mut resolved, mut is_changed) = ("{".to_owned(), false);
    for Member { name, value } in &members {
        let plain = name.strip_prefix('#');
        let is_ambiguous = plain.is_some_and(|plain| twice.contains(plain));
        let found = match plain.map(|_| follow(ResultReference::parse(value))) {
            None | Some(Ok(None)) => None,
            Some(Ok(Some(_)) | Err(_)) if is_ambiguous => return Err(Error::Ambiguous.into()),
            Some(found) => found?,
        };
        if resolved.len() > 1 {
            resolved.push(',');
        }
        is_changed |= found.is_some();
        let name = plain.filter(|_| found.is_some()).unwrap_or(name);
        resolved.extend([&json_string(name), ":", found.as_deref().unwrap_or(value.get())]);
    }
    resolved.push('}');
    Ok(is_changed.then_some(resolved))
}

fn evaluate(mut value: &str, mut path: &[&str]) -> Option<String> {
    while let [token, rest @ ..] = path {
        if *token == "*" && value.starts_with('[') {
            let mut all = "[".to_owned();
            gather(value, path, &mut all)?;
            return Some(all + "]");
        }
        value = step(value, token)?;
        path = rest;
    }
    Some(value.to_owned())
}

/// Adds to `all` what the path leads to; of an array its elements.
fn gather(mut value: &str, mut path: &[&str], all: &mut String) -> Option<()> {
    while let [token, rest @ ..] = path {
        if *token == "*" && value.starts_with('[') {
            let mut found = Some(());
            each_element(value, |element: &RawValue| {
                found = found.and_then(|()| gather(element.get(), rest, all));
            })
            .ok()?;
            return found;
        }
        value = step(value, token)?;
        path = rest;
    }
    let elements = value.strip_prefix('[').and_then(|inside| inside.strip_suffix(']'));
    let added = elements.map_or(value, |elements| elements.trim_matches([' ', '\n', '\r', '\t']));
    if !added.is_empty() {
        if all.len() > 1 {
            all.push(',');
        }
        all.push_str(added);
    }
    Some(())
}

/// One token of a JSON pointer.
fn step<'a>(value: &'a str, token: &str) -> Option<&'a str> {
    let mut found = None;
    match value.as_bytes().first()? {
        b'[' => {
            let wanted: usize = Some(token).filter(|token| is_index(token))?.parse().ok()?;
            let mut at = 0;
            each_element(value, |element: &RawValue| {
                if at == wanted {
                    found = Some(element.get());
                }
                at += 1;
            })
            .ok()?;
        }
        b'{' => {
            let name = token.replace("~1", "/").replace("~0", "~");
            each_member(value, |member| {
                if member.name == name {
                    found = Some(member.value.get());
                }
            })
            .ok()?;
        }
        _ => {}
    }
    found
}

/// RFC 6901 §4: no sign, no leading zeros.
fn is_index(token: &str) -> bool {
    token == "0" || token.starts_with(|first| ('1'..='9').contains(&first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULT: &str = r#"{"list":[{"threadId":"T1", "emailIds":["a", "b"]},
        {"threadId":"T2","emailIds":[ ]},{"threadId":"T3","emailIds":["c"]}],
        "n":1e400,"a/b":{"~":[[[1],[2]],[[3]]]}}"#;

    fn at(path: &str) -> Result<String, Error> {
        let (result_of, name) = ("0".into(), "Thread/get".into());
        ResultReference { result_of, name, path: path.into() }.follow(RESULT)
    }

    #[test]
    fn a_star_goes_through_the_members_and_flattens_once() {
        for (path, value) in [
            ("/list/*/emailIds", r#"["a", "b","c"]"#),
            ("/list/*/threadId", r#"["T1","T2","T3"]"#),
            ("/list/1/threadId", r#""T2""#),
            ("/list/1/emailIds/*", "[]"),
            ("/a~1b/~0/*", "[[1],[2],[3]]"),
            ("/a~1b/~0/*/*", "[1,2,3]"),
            ("/n", "1e400"),
        ] {
            assert_eq!(at(path).as_deref(), Ok(value), "{path}");
        }
        assert_eq!(at("").as_deref(), Ok(RESULT));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_told() {
        let long = "/list".repeat(1_000_000);
        for path in [
            "/nothing",
            "list",
            "/list/3",
            "/list/01",
            "/list/+1",
            "/list/-",
            "/*",
            "/list/*/x",
            &long,
        ] {
            assert_eq!(at(path), Err(Error::NoSuchPath), "{}", path.get(..9).unwrap_or(path));
        }
    }

    /// A stack of one frame a level would not hold them.
    #[test]
    fn a_deep_result_costs_no_stack() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let path = "/*".repeat(MOST_TOKENS);
        let reference =
            ResultReference { result_of: "".into(), name: "".into(), path: path.into() };
        assert_eq!(reference.follow(&deep).unwrap().len(), 2 * (100_000 - MOST_TOKENS));
    }

    fn resolved(arguments: &str) -> Result<Option<String>, Error> {
        resolve(arguments, |reference| match reference? {
            reference if reference.result_of == "later" => Ok(None),
            reference if reference.name != "Thread/get" => Err(Error::NoSuchResult),
            reference => reference.follow(RESULT).map(Some),
        })
    }

    /// A7.
    #[test]
    fn what_a_reference_stands_for_takes_its_place() {
        let reference = r##"{"resultOf":"0","name":"Thread/get","path":"/list/1/threadId"}"##;
        let other = r#"{"resultOf":"later","name":"a","path":"/b"}"#;
        let arguments = format!(r##"{{ "\u0023id": {reference} , "n": 1e400,"#m":{other}}}"##);
        let expected = format!(r##"{{"id":"T2","n":1e400,"#m":{other}}}"##);
        assert_eq!(resolved(&arguments), Ok(Some(expected)));
        for left in [format!(r##"{{"#m":{other},"m":1}}"##), r##"{"a":"#"}"##.into(), "{".into()] {
            assert_eq!(resolved(&left), Ok(None), "{left}");
        }
        let twice = format!(r##"{{"#id":{reference},"i\u0064":1}}"##);
        assert_eq!(resolved(&twice), Err(Error::Ambiguous));
        let twice = format!(r##"{{"id":1,"#id":{}}}"##, reference.replace("get", "set"));
        assert_eq!(resolved(&twice), Err(Error::Ambiguous));
        assert_eq!(resolved(r##"{"#id":"0"}"##), Err(Error::Malformed));
    }

    #[test]
    fn only_an_object_with_three_strings_is_a_reference() {
        for (text, is_one) in [
            (r#"{"resultOf":"0","name":"a","path":"/","more":1}"#, true),
            (r#"{"resultOf":"0","name":"a"}"#, false),
            (r#"{"resultOf":0,"name":"a","path":"/"}"#, false),
            (r#"{"resultOf":"0","name":"a","path":"/","path":"/"}"#, false),
            (r#"["0","a","/"]"#, false),
            (r#""0""#, false),
        ] {
            let value = serde_json::from_str(text).unwrap();
            assert_eq!(ResultReference::parse(value).is_ok(), is_one, "{text}");
        }
    }
}
