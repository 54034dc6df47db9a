//! Instructions spent on an API response, counted by callgrind (T1): `bench/instructions` runs it.
//!
//! `instructions CASE N` does the work of one case N times and prints the bytes read each time. Two
//! runs with different N give the cost of one time without that of the start.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a program for measuring: it prints, and is to stop at anything unexpected"
)]

use std::env;
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;

use jmap_push_proxy::api::{Request, Scanner, Verdict};
use serde::de::IgnoredAny;
use serde_json::Value;

/// A body as TCP brings it.
const CHUNK: usize = 16 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let [_, case, times] = arguments.as_slice() else { return usage() };
    let Ok(times) = times.parse::<u32>() else { return usage() };
    let Some((body, work)) = case_of(case) else { return usage() };
    for _ in 0..times {
        work(black_box(&body));
    }
    println!("{}", body.len());
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("instructions CASE N\ncases: {}", CASES.join(" "));
    ExitCode::from(64)
}

/// The cases `bench/instructions` runs, in the order of its table.
const CASES: [&str; 10] = [
    "list-scan",
    "list-ignored",
    "list-value",
    "bodies-scan",
    "bodies-ignored",
    "small-scan",
    "small-ignored",
    "set-scan",
    "set-ignored",
    "request-scan",
];

type Work = fn(&[u8]);

fn case_of(case: &str) -> Option<(Vec<u8>, Work)> {
    let (body, work) = case.split_once('-')?;
    let body = match body {
        "list" => email_list(330),
        "bodies" => email_bodies(40),
        "small" => email_list(5),
        "set" => email_set(1500),
        "request" => request(),
        _ => return None,
    };
    let work: Work = match (body.as_bytes().first(), work) {
        (_, "scan") if case.starts_with("request") => scan_request,
        (_, "scan") => scan,
        (_, "ignored") => ignored,
        (_, "value") => value,
        _ => return None,
    };
    Some((body.into_bytes(), work))
}

fn scan(body: &[u8]) {
    let mut scanner = Scanner::new();
    for chunk in body.chunks(CHUNK) {
        black_box(scanner.feed(chunk));
    }
    let verdict = black_box(scanner.finish());
    assert!(matches!(verdict, Verdict::Complete(_)), "{verdict:?}");
}

fn scan_request(body: &[u8]) {
    assert!(black_box(Request::scan(body)).is_some());
}

fn ignored(body: &[u8]) {
    black_box(serde_json::from_slice::<IgnoredAny>(body)).unwrap();
}

fn value(body: &[u8]) {
    black_box(serde_json::from_slice::<Value>(body)).unwrap();
}

const WORDS: [&str; 24] = [
    "the", "meeting", "on", "Thursday", "has", "moved", "to", "room", "four,", "please", "bring",
    "last", "month's", "figures", "and", "a", "cup", "of", "tea;", "über", "regards", "Ann",
    "(who)", "knows",
];

/// `count` words, always the same ones for the same `seed`.
fn prose(seed: usize, count: usize) -> String {
    (0..count)
        .map(|n| WORDS[(seed * 7 + n * n * 5 + n) % WORDS.len()])
        .collect::<Vec<_>>()
        .join(" ")
}

fn response(invocation: &str) -> String {
    format!(
        r#"{{"methodResponses":[{invocation}],"sessionState":"cyrus-0;p-5;vfs-0","createdIds":{{}}}}"#
    )
}

/// The properties a mail client asks for to show a list (RFC 8621 §4.1).
fn email_properties(n: usize) -> String {
    let keywords = ["", r#""$seen":true"#, r#""$seen":true,"$answered":true"#][n % 3];
    let cc = if n.is_multiple_of(3) {
        format!(r#"[{{"name":"Team {n}","email":"team{n}@lists.example.org"}}]"#)
    } else {
        "null".to_owned()
    };
    let preview = prose(n, 26).replace("(who)", r#"\"who\""#);
    format!(
        concat!(
            r#""id":"M{n:08x}c0ffee","blobId":"G{n:040x}","threadId":"T{n:08x}","#,
            r#""mailboxIds":{{"P1{n:04x}":true}},"keywords":{{{keywords}}},"size":{size},"#,
            r#""receivedAt":"2026-11-{day:02}T08:{minute:02}:07Z","hasAttachment":{attachment},"#,
            r#""from":[{{"name":"Sender {n}","email":"sender{n}@mail.example.com"}}],"#,
            r#""to":[{{"name":"Alice Example","email":"alice@example.org"}}],"cc":{cc},"#,
            r#""subject":"Re: {subject}","preview":"{preview}""#,
        ),
        n = n,
        keywords = keywords,
        size = 2000 + n * 37,
        day = n % 28 + 1,
        minute = n % 60,
        attachment = n.is_multiple_of(4),
        cc = cc,
        subject = prose(n + 3, 6),
        preview = preview,
    )
}

fn email_list(count: usize) -> String {
    let emails: Vec<_> = (0..count).map(|n| format!("{{{}}}", email_properties(n))).collect();
    response(&format!(
        r#"["Email/get",{{"accountId":"u1f2a3b4c","state":"J12345","list":[{}],"notFound":[]}},"0"]"#,
        emails.join(",")
    ))
}

/// Whole messages, with text of some kilobytes whose lines end in escapes.
fn email_bodies(count: usize) -> String {
    let emails: Vec<_> = (0..count)
        .map(|n| {
            let lines: Vec<_> = (0..60).map(|line| prose(n + line, 14)).collect();
            format!(
                r#"{{{},"bodyValues":{{"1":{{"value":"{}","isTruncated":false}}}}}}"#,
                email_properties(n),
                lines.join(r"\r\n")
            )
        })
        .collect();
    response(&format!(
        r#"["Email/get",{{"accountId":"u1f2a3b4c","state":"J12345","list":[{}],"notFound":[]}},"0"]"#,
        emails.join(",")
    ))
}

/// Many e-mails flagged: an object with as many members.
fn email_set(count: usize) -> String {
    let mut updated = String::new();
    for n in 0..count {
        _ = write!(updated, r#"{}"M{n:08x}c0ffee":null"#, if n == 0 { "" } else { "," });
    }
    response(&format!(
        r#"["Email/set",{{"accountId":"u1","oldState":"J1","newState":"J2","updated":{{{updated}}}}},"0"]"#
    ))
}

/// What a client sends to show a mailbox.
fn request() -> String {
    concat!(
        r#"{"using":["urn:ietf:params:jmap:core","urn:ietf:params:jmap:mail"],"methodCalls":["#,
        r#"["Email/query",{"accountId":"u1f2a3b4c","filter":{"inMailbox":"P1"},"limit":50},"0"],"#,
        r##"["Email/get",{"accountId":"u1f2a3b4c","#ids":{"resultOf":"0","name":"Email/query","##,
        r#""path":"/ids"},"properties":["threadId","mailboxIds","from","subject","preview"]},"1"],"#,
        r##"["Thread/get",{"accountId":"u1f2a3b4c","#ids":{"resultOf":"1","name":"Email/get","##,
        r#""path":"/list/*/threadId"}},"2"]]}"#,
    )
    .to_owned()
}
