//! Events as Cyrus sends them, to a proxy that has bound the socket.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use crate::support::ledger::settle;
use crate::support::rig::Rig;
use crate::support::upstream::account_of;
use crate::support::wait::until;

const MAIL: &str = "types=Email,Mailbox,Thread&closeafter=no&ping=0";

struct Socket(PathBuf);

impl Socket {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("it-cyrus-{}-{name}", std::process::id())))
    }

    /// Sends an event about a user's account, as soon as somebody listens.
    async fn tell(&self, event: &str, mailbox: &str, more: &str) {
        let message = format!(
            r#"{{"event":"{event}","service":"lmtp","uri":"imap://cyrus.test/{mailbox};UIDVALIDITY=1"{more}}}"#
        );
        let sender = UnixDatagram::unbound().unwrap();
        let datagram = format!("\0EVENT\0\0\0\x000\0{message}\0");
        until("a listener", || sender.send_to(datagram.as_bytes(), &self.0)).await;
    }
}

#[tokio::test]
async fn an_event_makes_a_delivery_known_at_once_to_all_who_see_the_account() {
    let socket = Socket::new("delivery");
    let rig = Rig::start(|config| config.notify.cyrus = Some(socket.0.clone())).await;
    let account = account_of("alice");
    rig.upstream.mail(|mail| mail.share("bob", &account));
    let mut hers = rig.events("alice", MAIL).await;
    let mut his = rig.events("bob", MAIL).await;
    rig.upstream.deliver("alice");
    socket.tell("MailboxModseq", &format!("user/{account}"), "").await;
    socket.tell("MessageNew", &format!("user/{account}/;UID=2"), "").await;
    settle(&rig.upstream, [&mut hers, &mut his]).await;
    rig.end().await;
    assert!(!socket.0.exists());
}

/// D9: the next revalidation would be minutes away.
#[tokio::test]
async fn rights_that_are_taken_or_given_count_at_once() {
    let socket = Socket::new("rights");
    let rig = Rig::start(|config| config.notify.cyrus = Some(socket.0.clone())).await;
    let (hers, his) = (account_of("alice"), account_of("bob"));
    let mut stream = rig.events("bob", MAIL).await;
    let mailbox = format!("user/{hers}");
    rig.upstream.mail(|mail| mail.share("bob", &hers));
    socket.tell("AclChange", &mailbox, r#","aclSubject":"bob","aclRights":"lrs""#).await;
    // An account that came is told as all new.
    let email = rig.upstream.mail(|mail| mail.state(&hers, "Email"));
    stream.told(&hers, "Email", &email).await;

    rig.upstream.mail(|mail| mail.withdraw("bob", &hers));
    // It has acted on one look at the Session when it takes another.
    for _ in 0..2 {
        let before = rig.upstream.sessions_of("bob");
        socket.tell("AclChange", &mailbox, r#","aclSubject":"bob""#).await;
        until("the Session to be read again", || match rig.upstream.sessions_of("bob") {
            now if now > before => Ok(()),
            now => Err(now),
        })
        .await;
    }
    stream.log.withdrawn(&hers);
    rig.set("alice", &hers, "Email").await;
    rig.set("bob", &his, "Email").await;
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}
