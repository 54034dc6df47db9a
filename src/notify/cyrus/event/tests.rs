//! Events as Cyrus 3.6.1 sent them, and what else may come to the socket.

use proptest::prelude::*;

use super::*;

/// A datagram with this event.
fn datagram(message: &str) -> Vec<u8> {
    format!("\0EVENT\0\0\0\0{}\0{message}\0", 0).into_bytes()
}

fn event(name: &str, mailbox: &str, more: &str) -> Vec<u8> {
    datagram(&format!(
        r#"{{"event":"{name}","timestamp":"2026-11-22T11:47:45.725Z","service":"lmtp","uri":"imap://cyrus.test/{mailbox};UIDVALIDITY=1795348061","pid":1719,"user":"","vnd.cmu.mbtype":"e"{more}}}"#
    ))
}

fn change(datagram: &[u8]) -> Change {
    parse(datagram).unwrap().expect("a change")
}

fn owners_of(mailbox: &str) -> Vec<String> {
    let change = parse(&event("FlagsSet", mailbox, "")).unwrap();
    let accounts = change.map(|change| change.accounts).unwrap_or_default();
    accounts.iter().map(|account| account.as_str().to_owned()).collect()
}

const COUNTERS: &str = r#","vnd.fastmail.counters":"9 57 55 45 50 0 22 42 50 0 56 0 1795301482""#;
const SHARED: &str = r#","vnd.cmu.mailboxACL":"alice\tlrswipkxtecdan\tbob\tlrs\t""#;

#[test]
fn a_delivery_counts_by_the_event_of_its_mailbox_and_is_one_by_its_own() {
    let counted = change(&event("MailboxModseq", "user/alice", COUNTERS));
    assert_eq!(counted.counted, Counted::Now(55), "mail's own, not the highest of all");
    assert!(!counted.delivery);

    let delivered = change(&event("MessageNew", "user/alice", COUNTERS));
    assert_eq!(delivered.counted, Counted::Elsewhere, "it has the count of before");
    assert!(delivered.delivery);
    let types: Vec<_> = delivered.types.iter().flatten().map(DataType::as_str).collect();
    assert_eq!(types, ["Email", "Mailbox", "Thread"]);
}

#[test]
fn a_draft_is_no_delivery() {
    let draft = String::from_utf8(event("MessageNew", "user/alice", "")).unwrap();
    let draft = draft.replace(r#""service":"lmtp""#, r#""service":"http""#);
    assert!(!change(draft.as_bytes()).delivery);
    let counted = draft.replace('}', &format!("{COUNTERS}}}"));
    assert_eq!(change(counted.as_bytes()).counted, Counted::Not, "an addition all the same");
    let unsaid = draft.replace(r#""service":"http","#, "");
    assert!(change(unsaid.as_bytes()).delivery, "it must not be missed");
}

#[test]
fn without_counters_every_event_is_a_hint() {
    for name in ["MailboxModseq", "MessageNew", "MailboxCreate", "MailboxDelete", "FlagsClear"] {
        assert_eq!(change(&event(name, "user/alice", "")).counted, Counted::Not, "{name}");
    }
}

#[test]
fn the_account_is_the_owner_of_the_mailbox_however_it_is_written() {
    assert_eq!(owners_of("user/alice"), ["alice"]);
    assert_eq!(owners_of("user/alice/;UID=2"), ["alice"]);
    assert_eq!(owners_of("user/alice/Archive/2026"), ["alice"]);
    assert_eq!(owners_of("user/j%C3%B6rg/D%C3%A9x"), ["jörg"]);
    assert_eq!(owners_of("user/a.b"), ["a.b"]);
    assert_eq!(owners_of("user.alice.Archive"), ["alice"]);
    assert_eq!(owners_of("user.john^doe.Archive"), ["john.doe"]);
    assert_eq!(owners_of("shared/announcements"), [""; 0]);
    assert_eq!(owners_of("user/"), [""; 0]);
}

#[test]
fn an_at_sign_may_be_the_domains_or_the_folders() {
    assert_eq!(owners_of("user/alice@example.org"), ["alice@example.org"]);
    assert_eq!(owners_of("user/alice/Work%40example.org"), ["alice@example.org", "alice"]);
    assert_eq!(owners_of("user/alice/a%40b/c"), ["alice"]);
    let counted = change(&event("MailboxModseq", "user/alice/Work%40b", COUNTERS));
    assert_eq!(counted.counted, Counted::Not, "it would be believed of both");
}

#[test]
fn mailboxes_of_other_kinds_tell_of_their_own_types() {
    let of_kind = |letter: &str| {
        let event = String::from_utf8(event("MailboxModseq", "user/alice", COUNTERS)).unwrap();
        let kind = format!(r#""vnd.cmu.mbtype":"{letter}""#);
        let change = change(event.replace(r#""vnd.cmu.mbtype":"e""#, &kind).as_bytes());
        assert_eq!(change.counted, Counted::Not, "{letter}: the count is mail's");
        change.types.map(|types| types.iter().map(|name| name.as_str().to_owned()).collect())
    };
    let named = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(of_kind("s"), named(&["EmailSubmission"]));
    assert_eq!(of_kind("c"), named(&["Calendar", "CalendarEvent"]));
    assert_eq!(of_kind("?"), None, "any type");
}

#[test]
fn rights_given_or_taken_concern_who_is_named() {
    let given = r#","aclSubject":"bob","aclRights":"lrs","vnd.cmu.mailboxACL":"alice\tlrs\tbob\tlrs\tcarol\tlr\t""#;
    let users = |names: &[&str]| Rights::Users(names.iter().map(ToString::to_string).collect());
    assert_eq!(change(&event("AclChange", "user/alice", given)).rights, users(&["bob", "carol"]));
    let taken = r#","aclSubject":"bob","vnd.cmu.mailboxACL":"alice\tlrs\t""#;
    assert_eq!(change(&event("AclChange", "user/alice", taken)).rights, users(&["bob"]));
    assert_eq!(change(&event("MailboxDelete", "user/alice", SHARED)).rights, users(&["bob"]));
    assert_eq!(change(&event("MessageRead", "user/alice", SHARED)).rights, Rights::Nobody);
    let plus = r#","vnd.cmu.mailboxACL":"alice\tlrs\tanyone\tp\t""#;
    assert_eq!(change(&event("MailboxCreate", "user/alice", plus)).rights, Rights::Nobody);
    let everybody = r#","aclSubject":"anyone","vnd.cmu.mailboxACL":"anyone\tlrs\t""#;
    assert_eq!(change(&event("AclChange", "user/alice", everybody)).rights, Rights::Anybody);
    let group = r#","aclSubject":"group:staff""#;
    assert_eq!(change(&event("AclChange", "shared/x", group)).rights, Rights::Anybody);
}

#[test]
fn a_mailbox_that_goes_to_another_user_concerns_both() {
    let from = r#","oldMailboxID":"imap://cyrus.test/user/bob/Work;UIDVALIDITY=17953480""#;
    let renamed = change(&event("MailboxRename", "user/alice/Work", from));
    let accounts: Vec<_> = renamed.accounts.iter().map(AccountId::as_str).collect();
    assert_eq!(accounts, ["alice", "bob"]);
}

#[test]
fn what_changes_nothing_in_jmap_is_passed_over() {
    assert_eq!(parse(&datagram(r#"{"event":"Login","user":"alice"}"#)).unwrap(), None);
    assert_eq!(parse(&event("QuotaExceed", "user/alice", "")).unwrap(), None);
    assert_eq!(parse(&event("MessageNew", "shared/announcements", "")).unwrap(), None);
}

#[test]
fn options_stand_before_the_message() {
    let message = r#"{"event":"FlagsSet","uri":"imap://h/user/alice"}"#;
    let sent = format!("log\0EVENT\0normal\0\0\x002\0one\0two\0{message}\0file\0");
    assert_eq!(change(sent.as_bytes()).accounts.len(), 1);
}

#[test]
fn what_is_no_event_of_cyrus_is_refused_with_the_reason() {
    for (sent, reason) in [
        (&b""[..], "fields"),
        (b"\0EVENT\0\0\0\0", "fields"),
        (b"\0EVENT\0\0\0\x009\0{}", "fields"),
        (b"\0EVENT\0\0\0\0x\0{}", "fields"),
        (b"\0EVENT\0\0\0\x000\0{}\0", "JSON"),
        (b"\0EVENT\0\0\0\x000\0[]\0", "JSON"),
        (b"\0EVENT\0\0\0\x000\0{\"event\":\"A\",\"uri\":\"http://x/user/a\"}\0", "mailbox"),
        (b"\0EVENT\0\0\0\x000\0{\"event\":\"A\",\"uri\":\"imap://h/user/%FF\"}\0", "mailbox"),
    ] {
        let error = parse(sent).expect_err("a mistake").to_string();
        assert!(error.contains(reason), "{error}");
    }
}

proptest! {
    #[test]
    fn no_datagram_is_too_much(sent in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&sent);
    }

    #[test]
    fn no_mailbox_is_too_much(name in "\\PC{0,40}", acl in "\\PC{0,20}") {
        let name = name.replace(['"', '\\'], "");
        let acl = acl.replace(['"', '\\'], "");
        let _ = parse(&event("AclChange", &name, &format!(r#","vnd.cmu.mailboxACL":"{acl}""#)));
    }
}
