//! Responses for the property tests: valid JSON with white space, escapes, nesting, members in any order.

use proptest::prelude::*;

/// White space between two tokens.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

/// `text` as a JSON string, some characters escaped.
fn quoted(text: String) -> impl Strategy<Value = String> {
    let characters = text.chars().count();
    proptest::collection::vec(0..6_u8, characters).prop_map(move |styles| {
        let mut quoted = String::from('"');
        for (character, style) in text.chars().zip(styles) {
            match (character, style) {
                ('"' | '\\' | '/', 1..) => quoted.extend(['\\', character]),
                (' '.., 1..) if !matches!(character, '"' | '\\') => quoted.push(character),
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        quoted += &format!("\\u{unit:04x}");
                    }
                }
            }
        }
        quoted.push('"');
        quoted
    })
}

fn any_string() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9]{0,8}", "[\\[\\]{}\"\\\\:, \n]{0,12}", ".{0,90}"].prop_flat_map(quoted)
}

fn joined(open: char, items: Vec<(String, String, String)>, close: char) -> String {
    let items: Vec<_> = items.into_iter().map(|(a, item, b)| a + &item + &b).collect();
    format!("{open}{}{close}", items.join(","))
}

fn array(item: impl Strategy<Value = String>, count: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec((space(), item, space()), 0..count)
        .prop_map(|items| joined('[', items, ']'))
}

fn member(
    key: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    (key, space(), space(), value).prop_map(|(key, a, b, value)| format!("{key}{a}:{b}{value}"))
}

pub(super) fn any_value() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        any_string(),
        prop::sample::select(vec!["null", "true", "false", "0", "-1.5e+3", "12"])
            .prop_map(String::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let members = proptest::collection::vec(
            (space(), member(any_string(), inner.clone()), space()),
            0..4,
        );
        prop_oneof![array(inner, 4), members.prop_map(|members| joined('{', members, '}'))]
    })
    .boxed()
}

fn name_of(names: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    prop::sample::select(names.to_vec()).prop_flat_map(|name| quoted(name.to_owned()))
}

/// An object whose members are in any order: each of `known` perhaps, and some unknown ones. With
/// `twice`, known ones may come again.
fn object(known: Vec<BoxedStrategy<String>>, twice: bool) -> BoxedStrategy<String> {
    let times = if twice { 0..3_usize } else { 0..2 };
    let known: Vec<_> = known
        .into_iter()
        .map(|member| proptest::collection::vec(member, times.clone()).boxed())
        .collect();
    let unknown =
        proptest::collection::vec(member(name_of(&["list", "ids", "State"]), any_value()), 0..3);
    (known, unknown)
        .prop_map(|(known, unknown)| known.into_iter().flatten().chain(unknown).collect::<Vec<_>>())
        .prop_shuffle()
        .prop_flat_map(|members| {
            let members: Vec<_> =
                members.into_iter().map(|member| (space(), Just(member), space())).collect();
            members.prop_map(|members| joined('{', members, '}'))
        })
        .boxed()
}

fn arguments(twice: bool) -> BoxedStrategy<String> {
    let text = ["accountId", "state", "oldState", "newState", "type"];
    let mut known: Vec<_> = text
        .map(|key| {
            member(
                name_of(&[key]),
                prop_oneof![3 => "[a-z0-9é]{0,4}".prop_flat_map(quoted), 1 => any_value()],
            )
            .boxed()
        })
        .into();
    // An empty account id is over the limits of the type and would be unknown.
    known[0] = member(name_of(&["accountId"]), "[a-z0-9é]{1,4}".prop_flat_map(quoted)).boxed();
    let flag = prop::sample::select(vec!["true", "false", "null"]).prop_map(String::from);
    known.push(member(name_of(&["hasMoreChanges"]), flag).boxed());
    known.push(member(name_of(&["created"]), any_value()).boxed());
    object(known, twice)
}

fn invocation(twice: bool) -> impl Strategy<Value = String> {
    let name = name_of(&[
        "Email/get",
        "Email/set",
        "Mailbox/changes",
        "X/import",
        "error",
        "Core/echo",
        "Email/query",
    ]);
    let items = (
        (space(), name, space()),
        (space(), arguments(twice), space()),
        (space(), any_string(), space()),
    );
    items.prop_map(|(a, b, c)| joined('[', vec![a, b, c], ']'))
}

/// A Response, valid JSON of the right shape.
pub(super) fn response(twice: bool) -> impl Strategy<Value = String> {
    let responses = array(invocation(twice), 4);
    let responses = member(name_of(&["methodResponses"]), responses).boxed();
    let session_state = member(name_of(&["sessionState"]), any_string()).boxed();
    (space(), object(vec![responses, session_state], twice), space())
        .prop_map(|(a, document, b)| a + &document + &b)
}

pub(super) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::btree_set(0..2000_usize, 0..12)
        .prop_map(|cuts| cuts.into_iter().collect())
}
