//! Reads what Dovecot's push-notification plugin sends by its `ox` driver
//! (`push-notification-driver-ox.c`; tried with 2.3): a delivery, and nothing else.

use std::borrow::Cow;

use serde::Deserialize;

use super::super::message::{Error as NoticeError, Notice, Who, user};
use crate::jmap::id::DataType;

/// Why it was not understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No JSON object with the members that Dovecot sends, `user` and `event`.
    #[error("not what Dovecot's ox driver sends: a JSON object with `user` and `event`")]
    NotOx,
    /// The user's name is none.
    #[error(transparent)]
    User(#[from] NoticeError),
}

/// The members that matter; sender, subject and snippet are not read.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
}

/// Reads one; `None` for an event that is not known to change anything.
///
/// # Errors
/// When it is no such thing.
pub fn parse(body: &[u8]) -> Result<Option<Notice>, Error> {
    let message: Message<'_> = serde_json::from_slice(body).map_err(|_| Error::NotOx)?;
    if message.event != "messageNew" {
        return Ok(None);
    }
    let who = Who::User(user(&message.user)?);
    let types = ["Email", "Mailbox", "Thread"].into_iter().filter_map(DataType::parse).collect();
    Ok(Some(Notice { who, changed: Vec::new(), types: Some(types), delivery: true }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Dovecot 2.3 sent it.
    const SENT: &str = r#"{"user":"alice","imap-uidvalidity":1795348000,"imap-uid":1,"folder":"INBOX","event":"messageNew","from":"sender@example.com","subject":"hi","snippet":"Hello.","unseen":1}"#;

    #[test]
    fn a_delivery_is_news_of_mail_for_its_user() {
        let notice = parse(SENT.as_bytes()).unwrap().unwrap();
        assert_eq!(notice.who, Who::User("alice".to_owned()));
        assert!(notice.delivery);
        let types: Vec<_> = notice.types.iter().flatten().map(DataType::as_str).collect();
        assert_eq!(types, ["Email", "Mailbox", "Thread"]);
    }

    #[test]
    fn an_event_of_the_future_is_taken_and_tells_nothing() {
        let sent = SENT.replace("messageNew", "messageRead");
        assert_eq!(parse(sent.as_bytes()).unwrap(), None);
    }

    #[test]
    fn what_is_no_event_of_dovecots_is_refused() {
        for body in ["", "[]", "{}", r#"{"user":"alice"}"#, r#"{"user":"","event":"messageNew"}"#] {
            assert!(parse(body.as_bytes()).is_err(), "{body:?}");
        }
    }
}
