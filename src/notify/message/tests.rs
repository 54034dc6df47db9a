//! What a notification may and may not look like (docs/notify.md, hostile.md B7, B11).

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Notice {
    Notice::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: impl AsRef<[u8]>) -> String {
    Notice::parse(text.as_ref()).expect_err("accepted").to_string()
}

fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

fn data_type(name: &str) -> DataType {
    DataType::parse(name).unwrap()
}

#[test]
fn an_exact_change_carries_its_state() {
    let notice = parse(r#"{"accountId":"u1","changed":{"Email":"s12","Mailbox":"s9"}}"#);
    assert_eq!(notice.who, Who::Accounts(vec![account("u1")]));
    let state = |text| State::parse(text).unwrap();
    assert_eq!(
        notice.changed,
        [(data_type("Email"), state("s12")), (data_type("Mailbox"), state("s9"))]
    );
    assert_eq!(notice.types, Some(vec![]), "nothing but what `changed` names");
    assert!(!notice.delivery);
}

#[test]
fn a_null_state_is_a_hint() {
    let notice = parse(r#"{"accountId":"u1","changed":{"Email":null,"Thread":"t"}}"#);
    assert_eq!(notice.types, Some(vec![data_type("Email")]));
    assert_eq!(notice.changed.len(), 1);
}

#[test]
fn a_state_too_long_to_keep_is_a_hint() {
    let notice =
        parse(&format!(r#"{{"accountId":"u","changed":{{"Email":"{}"}}}}"#, "s".repeat(2000)));
    assert_eq!(notice.types, Some(vec![data_type("Email")]));
    assert!(notice.changed.is_empty());
}

#[test]
fn types_are_hints_and_add_to_changed_without_repeating_it() {
    let notice = parse(
        r#"{"accountIds":["a","b"],"changed":{"Email":"1"},"types":["Email","Mailbox","Mailbox"]}"#,
    );
    assert_eq!(notice.who, Who::Accounts(vec![account("a"), account("b")]));
    assert_eq!(notice.types, Some(vec![data_type("Mailbox")]));
}

#[test]
fn without_types_all_of_them_may_have_changed() {
    assert_eq!(parse(r#"{"user":"alice@example.org"}"#).types, None);
    assert_eq!(parse(r#"{"user":"alice","types":null,"changed":null}"#).types, None);
}

#[test]
fn a_delivery_is_said_by_the_member_or_by_the_pseudo_type() {
    for text in [
        r#"{"user":"a","types":["Email"],"delivery":true}"#,
        r#"{"user":"a","types":["Email","EmailDelivery"]}"#,
        r#"{"user":"a","changed":{"EmailDelivery":"s1","Email":null}}"#,
    ] {
        let notice = parse(text);
        assert!(notice.delivery, "{text}");
        assert_eq!(notice.types, Some(vec![data_type("Email")]), "{text}");
        assert!(notice.changed.is_empty(), "{text}");
    }
}

#[test]
fn unknown_members_are_ignored_whatever_they_hold() {
    let deep = "[".repeat(30_000) + &"]".repeat(30_000);
    let notice =
        parse(&format!(r#"{{"ts":1e400,"origin":{{"a":1,"a":2}},"x":{deep},"user":"a"}}"#));
    assert_eq!(notice.who, Who::User("a".into()));
}

#[test]
fn escapes_mean_what_they_stand_for() {
    assert_eq!(parse(r#"{"\u0075ser":"\u00e9\ud83d\ude00"}"#).who, Who::User("é😀".into()));
}

#[test]
fn a_refusal_says_what_is_wrong_and_where() {
    let many = |count: usize| vec!["\"a\""; count].join(",");
    let cases = [
        ("".into(), "not an I-JSON object: it ends too early in line 1, column 0"),
        // Nothing of the message itself: it may name people.
        (
            r#""alice@example.org""#.into(),
            "not an I-JSON object: something else than an object, or a member twice in line 1, column 19",
        ),
        (" [\"u1\"]".into(), "a list where an object must be"),
        (
            "{\"user\":\"a\"} x".into(),
            "not an I-JSON object: a mistake in JSON in line 1, column 14",
        ),
        ("\u{feff}{}".into(), "not an I-JSON object: a mistake in JSON in line 1, column 1"),
        (
            r#"{"user":"a","user":"b"}"#.into(),
            "not an I-JSON object: something else than an object, or a member twice in line 1, column 18",
        ),
        ("{}".into(), "one of `accountId`, `accountIds`, `user` is missing"),
        (
            r#"{"user":"a","accountId":"b"}"#.into(),
            "only one of `accountId`, `accountIds`, `user` may be given",
        ),
        (
            r#"{"accountId":7}"#.into(),
            "`accountId` is not an account id: a string of 1 to 255 bytes without control characters",
        ),
        (r#"{"accountIds":[]}"#.into(), "`accountIds` is not a list of account ids, at least one"),
        (
            r#"{"accountIds":["a","b\n"]}"#.into(),
            "item 1 of `accountIds` is not an account id: a string of 1 to 255 bytes without control characters",
        ),
        (format!(r#"{{"accountIds":[{}]}}"#, many(1001)), "`accountIds` has more than 1000 items"),
        (
            r#"{"user":""}"#.into(),
            "`user` is not a user name: a string of 1 to 255 bytes without control characters",
        ),
        (
            r#"{"user":"\ud800"}"#.into(),
            "`user` is not a user name: a string of 1 to 255 bytes without control characters",
        ),
        (
            r#"{"user":"a","changed":["Email"]}"#.into(),
            "`changed` is not an object of data types and states",
        ),
        (
            r#"{"user":"a","changed":{"Email":5}}"#.into(),
            "item 0 of `changed` is not a state string or null",
        ),
        (
            r#"{"user":"a","changed":{"Email":"1","Email":"2"}}"#.into(),
            "item 1 of `changed` has a name that came before",
        ),
        (
            r#"{"user":"a","changed":{"Email/get":"1"}}"#.into(),
            "item 0 of `changed` is not the name of a data type: a letter, then letters and digits",
        ),
        (r#"{"user":"a","types":"Email"}"#.into(), "`types` is not a list of data types"),
        (
            r#"{"user":"a","types":["Email",null]}"#.into(),
            "item 1 of `types` is not the name of a data type: a letter, then letters and digits",
        ),
        (format!(r#"{{"user":"a","types":[{}]}}"#, many(65)), "`types` has more than 64 items"),
        (r#"{"user":"a","delivery":"yes"}"#.into(), "`delivery` is not true or false"),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(&text), expected, "{text:.80}");
    }
    assert_eq!(refusal(b"{\"user\":\"\xff\"}"), "not UTF-8 at byte 9");
    let types: Vec<String> = (0..65).map(|n| format!("\"T{n}\":null")).collect();
    let text = format!(r#"{{"user":"a","changed":{{{}}}}}"#, types.join(","));
    assert_eq!(refusal(text), "`changed` has more than 64 items");
}

#[test]
fn a_message_over_64_kilobytes_is_refused_unread() {
    let padded = |length| format!("{{\"user\":\"a\"{}}}", " ".repeat(length - 12));
    assert_eq!(padded(MAX_BYTES).len(), MAX_BYTES);
    assert!(Notice::parse(padded(MAX_BYTES).as_bytes()).is_ok());
    assert_eq!(refusal(padded(MAX_BYTES + 1)), "65537 bytes, more than 65536");
}

#[test]
fn as_much_as_is_allowed_is_accepted() {
    let ids: Vec<String> = (0..MAX_ACCOUNTS).map(|n| format!("\"a{n}\"")).collect();
    let types: Vec<String> = (0..MAX_TYPES).map(|n| format!("\"T{n}\"")).collect();
    let text = format!("{{\"accountIds\":[{}],\"types\":[{}]}}", ids.join(","), types.join(","));
    let notice = parse(&text);
    assert_eq!(notice.types.map(|types| types.len()), Some(MAX_TYPES));
    assert!(matches!(notice.who, Who::Accounts(ids) if ids.len() == MAX_ACCOUNTS));
}

proptest! {
    // B11
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Notice::parse(&bytes);
    }

    #[test]
    fn almost_notifications_never_panic(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("null"),
                Just("\"accountId\""), Just("\"accountIds\""), Just("\"user\""), Just("\"changed\""),
                Just("\"types\""), Just("\"delivery\""), Just("\"Email\""), Just("true"),
                Just("\"\\ud800\""), Just("\"\u{7f}\""), Just("-0"), Just("1e999"), Just(" "),
            ],
            0..24,
        )
    ) {
        let _ = Notice::parse(parts.concat().as_bytes());
    }

    #[test]
    fn what_is_said_is_what_is_read(
        ids in proptest::collection::vec("[a-zA-Z0-9@._é😀\"\\\\-]{1,20}", 1..5),
        changed in proptest::collection::btree_map("[A-Z][a-z0-9]{0,8}", any::<String>(), 0..6),
        delivery in any::<bool>(),
    ) {
        let message = serde_json::json!({
            "accountIds": ids, "changed": changed, "delivery": delivery,
        });
        let notice = Notice::parse(message.to_string().as_bytes()).unwrap();
        let read: Vec<String> = match notice.who {
            Who::Accounts(ids) => ids.iter().map(ToString::to_string).collect(),
            Who::User(_) => vec![],
        };
        prop_assert_eq!(read, ids);
        let read: Vec<(String, String)> =
            notice.changed.iter().map(|(name, state)| (name.to_string(), state.to_string())).collect();
        prop_assert_eq!(read, changed.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(notice.delivery, delivery);
    }
}
