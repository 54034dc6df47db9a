//! Reads what Dovecot's push-notification plugin sends by its `ox` driver
//! (`push-notification-driver-ox.c`; tried with 2.3): a delivery, and nothing else.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::super::message::{Error as NoticeError, Notice, Who, user};
use crate::jmap::id::DataType;

/// Bytes of a notification that are read. Behind what matters stands the mail's subject, which Dovecot
/// does not cut, so that its length is the sender's choice.
pub const READ: usize = 64 << 10;

/// Bytes that are taken before Dovecot is answered, whether or not there are more: far above what becomes
/// of a usual mail.
pub const TAKEN: u64 = 64 << 20;

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

/// Reads one, or its beginning if that goes as far as `user` and `event`, which come first; `None` for
/// an event that is not known to change anything.
///
/// # Errors
/// When it is no such thing.
pub fn parse(body: &[u8]) -> Result<Option<Notice>, Error> {
    let mut members = Members::default();
    // An error behind what matters is no matter: the end may be cut off.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(&mut members);
    let Members { user: Some(name), event: Some(event) } = members else {
        return Err(Error::NotOx);
    };
    if event != "messageNew" {
        return Ok(None);
    }
    let who = Who::User(user(&name)?);
    let types = ["Email", "Mailbox", "Thread"].into_iter().filter_map(DataType::parse).collect();
    Ok(Some(Notice { who, changed: Vec::new(), types: Some(types), delivery: true }))
}

/// The members that matter; sender, subject and snippet are not read.
#[derive(Default)]
struct Members {
    user: Option<String>,
    event: Option<String>,
}

impl<'de> Visitor<'de> for &mut Members {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `user` and `event`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while self.user.is_none() || self.event.is_none() {
            let Some(name) = members.next_key::<String>()? else { break };
            match name.as_str() {
                "user" => self.user = Some(members.next_value()?),
                "event" => self.event = Some(members.next_value()?),
                _ => _ = members.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Dovecot 2.3.19 sent it.
    const SENT: &str = r#"{"user":"alice","event":"messageNew","folder":"INBOX","imap-uidvalidity":1795349888,"imap-uid":1,"from":"A Sender <sender@example.com>","subject":"hello","snippet":"hello body text","unseen":1}"#;

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
    fn its_beginning_says_as_much_as_all_of_it() {
        let whole = parse(SENT.as_bytes()).unwrap();
        let enough = r#"{"user":"alice","event":"messageNew""#.len();
        for length in enough..SENT.len() {
            assert_eq!(parse(&SENT.as_bytes()[..length]).unwrap(), whole, "{length}");
        }
        for length in 0..enough {
            assert!(parse(&SENT.as_bytes()[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_no_event_of_dovecots_is_refused() {
        for body in ["", "[]", "{}", r#"{"user":"alice"}"#, r#"{"user":"","event":"messageNew"}"#] {
            assert!(parse(body.as_bytes()).is_err(), "{body:?}");
        }
    }
}
