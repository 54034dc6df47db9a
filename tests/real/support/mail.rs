//! What happens to a mailbox behind JMAP's back: delivery by LMTP (RFC 2033), rights given by IMAP
//! (RFC 4314).

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};

use super::PATIENCE;

/// Delivers one mail to a user; returns when the server has taken it.
pub(crate) fn deliver(lmtp: &str, user: &str) {
    deliver_many(lmtp, [user]);
}

/// Delivers a mail to each, one after the other; returns when the server has taken the last.
pub(crate) fn deliver_many(lmtp: &str, users: impl IntoIterator<Item = impl AsRef<str>>) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    let mut session = Dialogue::open(lmtp);
    session.expect("220 ");
    session.say("LHLO client.test", "250 ");
    for user in users {
        let user = user.as_ref();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        session.say("MAIL FROM:<sender@example.com>", "250 ");
        session.say(&format!("RCPT TO:<{user}>"), "250 ");
        session.say("DATA", "354 ");
        let mail = format!(
            "From: Sender <sender@example.com>\r\nTo: {user}@cyrus.test\r\n\
             Subject: mail {number} of {process}\r\nMessage-ID: <{process}.{number}@example.com>\r\n\
             Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n\r\nHello.\r\n."
        );
        session.say(&mail, "250 ");
    }
    session.say("QUIT", "221 ");
}

/// What a user does, command by command; each must succeed.
pub(crate) fn by_imap(imap: &str, user: &str, commands: &[&str]) {
    let mut session = Dialogue::open(imap);
    session.expect("* OK");
    session.say(&format!("0 LOGIN {user} pw-{user}"), "0 OK");
    for (number, command) in commands.iter().enumerate() {
        let tag = number + 1;
        session.say(&format!("{tag} {command}"), &format!("{tag} OK"));
    }
    session.say("00 LOGOUT", "00 OK");
}

/// Gives `whom` these rights to `owner`'s INBOX; none takes them away.
pub(crate) fn grant(imap: &str, owner: &str, whom: &str, rights: &str) {
    by_imap(imap, owner, &[&format!("SETACL INBOX {whom} \"{rights}\"")]);
}

/// A conversation by lines.
struct Dialogue(BufReader<TcpStream>);

impl Dialogue {
    fn open(address: &str) -> Self {
        let stream =
            TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout on a socket");
        Self(BufReader::new(stream))
    }

    fn say(&mut self, line: &str, answer: &str) {
        write!(self.0.get_mut(), "{line}\r\n").unwrap_or_else(|error| panic!("{line}: {error}"));
        self.expect(answer);
    }

    /// Skips lines that go on (`250-…`) or come unasked (`* …`) until the one that answers.
    fn expect(&mut self, answer: &str) {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("an answer");
            if line.starts_with(answer) {
                return;
            }
            let goes_on = line.get(3..4) == Some("-") || line.starts_with("* ");
            assert!(goes_on, "{line:?} instead of {answer:?}");
        }
    }
}
