//! The parameters of an event source: defaults, bounds and every way to be malformed.

use super::*;

fn settings() -> EventSource {
    crate::config::Config::default().event_source
}

fn lenient(query: &str) -> Result<Query, Problem> {
    Query::parse(query, &settings(), |_| true)
}

fn strict(query: &str) -> Result<Query, Problem> {
    let settings = EventSource { query: QueryMode::Strict, ..settings() };
    Query::parse(query, &settings, |name| name.as_str() != "Unknown")
}

fn types(names: &[&str]) -> Option<Vec<DataType>> {
    Some(names.iter().map(|name| DataType::parse(name).unwrap()).collect())
}

#[test]
fn the_three_parameters_are_read() {
    let query = lenient("types=Email,Mailbox&closeafter=state&ping=60").unwrap();
    let expected =
        Query { types: types(&["Email", "Mailbox"]), close_after_state: true, ping: Some(60) };
    assert_eq!(query, expected);
}

#[test]
fn missing_parameters_take_defaults_unless_strict() {
    let defaults = Query { types: None, close_after_state: false, ping: None };
    assert_eq!(lenient("").unwrap(), defaults);
    for missing in ["closeafter=no&ping=0", "types=*&ping=0", "types=*&closeafter=no"] {
        assert_eq!(lenient(missing).unwrap(), defaults);
        assert_eq!(strict(missing).unwrap_err().status, 400);
    }
    assert_eq!(strict("types=*&closeafter=no&ping=0").unwrap(), defaults);
    assert!(strict("types=Unknown&closeafter=no&ping=0").unwrap_err().detail.contains("Unknown"));
}

#[test]
fn the_last_value_wins_and_placeholders_are_absent() {
    let appended = "types={types}&closeafter=%7Bcloseafter%7D&ping={ping}&types=Email&closeafter=state&ping=300";
    let query = lenient(appended).unwrap();
    assert_eq!((query.types, query.ping), (types(&["Email"]), Some(300)));
    assert_eq!(lenient("types=Email&types={types}").unwrap().types, types(&["Email"]));
}

#[test]
fn encoded_commas_and_the_other_spelling_are_understood() {
    let query = lenient("types=Email%2CMailbox&closeAfter=state").unwrap();
    assert_eq!(query.types, types(&["Email", "Mailbox"]));
    assert!(query.close_after_state);
}

#[test]
fn bad_values_are_400_naming_the_parameter() {
    for (query, named) in [
        ("ping=-1", "ping"),
        ("ping=99999999999999999999", "ping"),
        ("ping=", "ping"),
        ("ping=ten", "ping"),
        ("closeafter=bad", "closeafter"),
        ("types=", "types"),
        ("types=Email,,Mailbox", "types"),
        ("types=E%0Amail", "types"),
        ("types=%ff", "types"),
        ("types=*,Email", "types"),
    ] {
        let problem = lenient(query).unwrap_err();
        assert_eq!(problem.status, 400, "{query}");
        assert!(problem.detail.contains(named), "{query}: {}", problem.detail);
    }
}

#[test]
fn ping_is_clamped_but_never_above_what_30_or_more_asked() {
    for (asked, granted) in
        [(0, None), (1, Some(30)), (30, Some(30)), (31, Some(31)), (9999, Some(900))]
    {
        assert_eq!(lenient(&format!("ping={asked}")).unwrap().ping, granted);
    }
}
