//! Reading and writing messages.

use super::compose::Draft;
use super::header::Address;
use super::*;
use crate::demo::server::date::UtcDate;

fn address(name: Option<&str>, email: &str) -> Address {
    Address { name: name.map(str::to_owned), email: email.to_owned() }
}

#[test]
fn folded_fields_and_encoded_words_are_read() {
    let message = Message::parse(
        b"Subject: =?utf-8?Q?Caf=C3=A9_?=\r\n =?utf-8?B?4pyT?= now\r\nX-Empty:\r\n\r\nHello\r\n",
    );
    assert_eq!(message.text("subject").unwrap(), "Café ✓ now");
    assert_eq!(message.text("x-empty").unwrap(), "");
    assert_eq!(message.text("x-absent"), None);
    assert_eq!(message.preview(), "Hello");
}

#[test]
fn addresses_are_read_from_all_their_notations() {
    let value = r#""Ames, Alice" <alice@demo.example>, bob@demo.example (Bob), Team: =?utf-8?Q?Z=C3=B6e?= <z@x>, y@x;"#;
    assert_eq!(
        header::to_addresses(value),
        [
            address(Some("Ames, Alice"), "alice@demo.example"),
            address(None, "bob@demo.example"),
            address(Some("Zöe"), "z@x"),
            address(None, "y@x"),
        ]
    );
}

#[test]
fn a_multipart_shows_its_text_its_html_and_its_attachments() {
    let message = Message::parse(
        b"Content-Type: multipart/mixed; boundary=\"o\"\r\n\r\npreamble\r\n\
          --o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n\
          --i\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
          Content-Transfer-Encoding: quoted-printable\r\n\r\nna=EFve =\r\ntext\r\n\
          --i\r\nContent-Type: text/html\r\n\r\n<p>html\r\n--i--\r\n\
          --o\r\nContent-Type: image/png; name=dot.png\r\n\
          Content-Transfer-Encoding: base64\r\n\r\nAQ\r\nID\r\n--o--\r\nepilogue",
    );
    let display = message.display();
    assert_eq!(display.text.first().unwrap().text(), ("naïve text".to_owned(), true));
    assert_eq!(display.html.first().unwrap().text().0, "<p>html");
    let dot = display.attachments.first().unwrap();
    assert_eq!((dot.name.as_deref(), dot.content().as_ref()), (Some("dot.png"), &[1, 2, 3][..]));
    assert_eq!(message.root.leaves().len(), 3);
}

#[test]
fn a_part_of_html_alone_is_text_too_and_previews_without_tags() {
    let message = Message::parse(b"Content-Type: text/html\n\n<h1>Hello</h1><p>world");
    assert_eq!(message.display().text.len(), 1);
    assert_eq!(message.preview(), "Hello world");
}

#[test]
fn what_is_composed_reads_back() {
    let draft = Draft {
        message_id: "1@demo.example".to_owned(),
        sent_at: Some(UtcDate(1_785_931_200)),
        from: vec![address(Some("Zoë \"Z\""), "zoe@demo.example")],
        to: vec![address(None, "a@x"), address(Some("B \"C\""), "b@x")],
        references: vec!["0@demo.example".to_owned()],
        subject: Some("Gruß an alle, die in der schönen langen Betreffzeile lesen".to_owned()),
        text: Some("one\ntwo".to_owned()),
        html: Some("<p>one".to_owned()),
        ..Draft::default()
    };
    let raw = draft.to_bytes();
    let message = Message::parse(&raw);
    assert_eq!(message.text("subject"), draft.subject);
    assert_eq!(message.addresses("from").unwrap(), draft.from);
    assert_eq!(message.addresses("to").unwrap(), draft.to);
    assert_eq!(message.message_ids("references").unwrap(), draft.references);
    assert_eq!(
        UtcDate::parse_rfc5322(&message.text("date").unwrap()),
        Some(UtcDate(1_785_931_200))
    );
    assert_eq!(message.display().text.first().unwrap().text().0, "one\ntwo");
    assert_eq!(message.display().html.first().unwrap().text().0, "<p>one");
    assert!(raw.split(|byte| *byte == b'\n').all(|line| line.len() <= 78), "lines stay short");
}

#[test]
fn a_subject_cannot_smuggle_in_a_field() {
    let draft = Draft { subject: Some("x\r\nBcc: victim@x".to_owned()), ..Draft::default() };
    assert!(Message::parse(&draft.to_bytes()).field("bcc").is_none());
}

#[test]
fn a_field_can_be_taken_out_with_its_folds_and_nowhere_but_in_the_header() {
    let raw = b"To: a@x\r\nBCC : b@x,\r\n c@x\r\nSubject: s\r\n\r\nBcc: stays\r\n";
    let without = header::without_field(raw, "Bcc");
    assert_eq!(without, b"To: a@x\r\nSubject: s\r\n\r\nBcc: stays\r\n");
}

#[test]
fn no_input_is_refused() {
    for raw in [
        &b""[..],
        b"\n",
        b"no header at all",
        b"\xff\xfe: \xff\n\n\xff",
        b"Content-Type: multipart/x; boundary=b\n\n",
    ] {
        let _ = Message::parse(raw).preview();
    }
}
