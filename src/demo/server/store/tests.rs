//! What a change does to the records around it.

use super::*;

const NOW: UtcDate = UtcDate(1_785_931_200);

const TEA: IncomingMail<'_> =
    IncomingMail { from: "Carol <carol@x>", subject: "Tea?", text: "At four." };

fn store() -> Store {
    Store::new("test", NOW)
}

fn filing(mailbox_ids: &[&Id], keywords: &[&str]) -> Filing {
    Filing {
        mailbox_ids: mailbox_ids.iter().map(|id| (*id).clone()).collect(),
        keywords: keywords.iter().map(|keyword| (*keyword).to_owned()).collect(),
    }
}

fn role(account: &Account, role: &str) -> Id {
    account.mailbox_with_role(role).unwrap().clone()
}

#[test]
fn a_delivery_changes_email_thread_and_the_inbox_counts_and_nothing_elsewhere() {
    let mut store = store();
    let before = {
        let account = store.account("alice", "alice").unwrap();
        (account.emails().state(), account.mailboxes().state())
    };
    let bob = store.account("bob", "bob").unwrap().emails().state();
    let id = store.deliver("alice", &TEA, NOW).unwrap();

    let account = store.account("alice", "alice").unwrap();
    assert_eq!(account.emails().changes(&before.0, 9).unwrap().created, [id]);
    let mailboxes = account.mailboxes().changes(&before.1, 9).unwrap();
    assert_eq!(mailboxes.updated, [role(account, "inbox")]);
    assert!(mailboxes.only_counts);
    assert_eq!(store.account("bob", "bob").unwrap().emails().state(), bob);
}

#[test]
fn a_delivery_is_told_with_the_states_after_it() {
    let mut store = store();
    store.deliver("team", &TEA, NOW).unwrap();
    let deliveries = store.take_deliveries();
    let account = store.account("bob", "team").unwrap();
    let told: Vec<(&str, &str)> = deliveries
        .iter()
        .flat_map(|delivery| &delivery.changed)
        .map(|(data_type, state)| (data_type.as_str(), state.as_str()))
        .collect();
    assert_eq!(deliveries.first().unwrap().account_id.as_str(), "team");
    assert_eq!(
        told,
        [
            ("Email", account.emails().state().as_str()),
            ("Mailbox", account.mailboxes().state().as_str()),
            ("Thread", account.threads().state().as_str()),
        ]
    );
    assert!(store.take_deliveries().is_empty());
}

#[test]
fn a_reply_joins_the_thread_and_the_thread_goes_with_its_last_email() {
    let mut store = store();
    let account = store.account_mut("alice", "alice").unwrap();
    let inbox = role(account, "inbox");
    let mut add = |raw: &'static str| {
        account.add_email(Bytes::from(raw), filing(&[&inbox], &[]), NOW).unwrap()
    };
    let first = add("Message-ID: <1@x>\r\n\r\n");
    let reply = add("Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\n\r\n");
    let thread_id = account.emails().get(&first).unwrap().thread_id.clone();
    assert_eq!(
        account.threads().get(&thread_id).unwrap().email_ids,
        [first.clone(), reply.clone()]
    );
    assert!(account.destroy_email(&first));
    assert!(account.destroy_email(&reply));
    assert!(account.threads().get(&thread_id).is_none());
    assert!(!account.destroy_email(&reply));
}

#[test]
fn a_keyword_that_no_count_shows_leaves_the_mailbox_alone() {
    let mut store = store();
    let account = store.account_mut("alice", "alice").unwrap();
    let inbox = role(account, "inbox");
    let id = account.emails().iter().next().unwrap().0.clone();
    let state = account.mailboxes().state();
    account.file_email(&id, filing(&[&inbox], &["$flagged"])).unwrap();
    assert_eq!(account.mailboxes().state(), state);
    account.file_email(&id, filing(&[&inbox], &["$flagged", "$seen"])).unwrap();
    assert_ne!(account.mailboxes().state(), state);
}

#[test]
fn an_email_cannot_be_nowhere() {
    let mut store = store();
    let account = store.account_mut("alice", "alice").unwrap();
    let id = account.emails().iter().next().unwrap().0.clone();
    let state = account.emails().state();
    assert_eq!(account.file_email(&id, filing(&[], &[])), Err(Refused::NoMailbox));
    let missing = "M9999".to_owned();
    assert_eq!(account.file_email(&id, filing(&[&missing], &[])), Err(Refused::UnknownMailbox));
    assert_eq!(account.emails().state(), state);
}

#[test]
fn a_destroyed_mailbox_takes_only_the_emails_that_are_nowhere_else() {
    let mut store = store();
    let account = store.account_mut("alice", "alice").unwrap();
    let (inbox, archive) = (role(account, "inbox"), role(account, "archive"));
    let kept = account.add_email(Bytes::new(), filing(&[&inbox, &archive], &[]), NOW).unwrap();
    let gone = account.add_email(Bytes::new(), filing(&[&archive], &[]), NOW).unwrap();
    account.destroy_mailbox(&archive);
    assert_eq!(account.emails().get(&kept).unwrap().filing, filing(&[&inbox], &[]));
    assert!(account.emails().get(&gone).is_none());
}

#[test]
fn a_full_account_takes_nothing_in() {
    let mut store = store();
    let account = store.account_mut("alice", "alice").unwrap();
    let inbox = role(account, "inbox");
    let large = Bytes::from(vec![b'x'; account::QUOTA]);
    let state = account.emails().state();
    assert_eq!(account.add_email(large, filing(&[&inbox], &[]), NOW), Err(Refused::OverQuota));
    assert_eq!(account.emails().state(), state);
}

#[test]
fn the_oldest_upload_makes_room_for_new_ones() {
    let mut store = store();
    let account = store.account_mut("alice", "alice").unwrap();
    let content = Bytes::from(vec![0; 12 << 20]);
    let ids: Vec<Id> =
        (0..3).map(|_| account.upload("application/octet-stream", content.clone())).collect();
    let kept: Vec<bool> = ids.iter().map(|id| account.blob(id).is_some()).collect();
    assert_eq!(kept, [false, true, true]);
}

#[test]
fn an_account_is_seen_by_those_it_is_shared_with_and_nobody_else() {
    let store = store();
    assert_eq!(store.access("alice", "team"), Some(Access::Write));
    assert_eq!(store.access("bob", "team"), Some(Access::Read));
    assert!(store.account("bob", "alice").is_none());
    let seen: Vec<&str> = store.accounts_of("bob").map(|(id, ..)| id.as_str()).collect();
    assert_eq!(seen, ["bob", "team"]);
}
