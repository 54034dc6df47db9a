//! The store on a real disk.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use zeroize::Zeroizing;

use super::*;
use crate::auth::principal::Access;
use crate::jmap::id::{AccountId, DataType};
use crate::push::binding::Binding;
use crate::push::subscription::{EncodedKeys, Sealed, Secrets, View};
use crate::state::token::Token;

mod full;
mod killed;
mod measured;

/// A folder that goes with this.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("jmap-push-store-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn settings(&self) -> Settings {
        settings_in(&self.0)
    }
}

fn settings_in(folder: &Path) -> Settings {
    Settings { path: folder.join("push.db"), key: None }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn secrets(id: SubscriptionId) -> Secrets {
    let point = format!("{:-<87}", id.to_string());
    Secrets {
        url: Zeroizing::new(format!("https://push.example.com/wpush/v2/{:-<120}", id.to_string())),
        keys: Some(EncodedKeys { p256dh: point, auth: "BTBZMqHH6r4Tts7J_aSIgg".to_owned() }),
        verification_code: Zeroizing::new("da1f097b11ca17f06424e3".to_owned()),
    }
}

/// When a subscription in its first form expires; each that follows does so a second later.
const VERSION_0: i64 = 1_786_000_000;

/// A subscription in its `version`th form, of which every property that changes tells.
fn subscription(vault: &Vault, id: SubscriptionId, version: u32) -> Subscription {
    let names = ["urn:ietf:params:jmap:core".to_owned(), "urn:ietf:params:jmap:mail".to_owned()];
    let access = |is_personal| Access { is_personal, capabilities: Arc::from(names.clone()) };
    let own = (AccountId::parse(&format!("u{id}")).unwrap(), access(true));
    let shared = (AccountId::parse("an account with spaces").unwrap(), access(false));
    let types = ["Email", "Mailbox", "EmailDelivery"].map(|name| DataType::parse(name).unwrap());
    Subscription {
        id,
        device_client_id: format!("device of {id}").into(),
        sealed: Sealed::new(vault, id, &secrets(id)).unwrap(),
        owner: Binding::Grant([7; 32]),
        username: format!("{id}@example.com").into(),
        view: View {
            accounts: Arc::from([own, shared]),
            api_path: "/jmap/api/".into(),
            host: version.is_multiple_of(2).then(|| "jmap.example.com".into()),
        },
        created: UtcDate(1_785_931_200),
        expires: UtcDate(VERSION_0 + i64::from(version)),
        types: (version != 1).then(|| types.iter().take(version as usize % 4).cloned().collect()),
        is_verified: version > 0,
        verification_sent: (version > 0).then_some(UtcDate(1_785_931_201)),
        wrong_codes: u8::try_from(version % 5).unwrap(),
        vapid: 1,
        given: "".into(),
        disabled: (version > 2).then(|| "403 BadJwtToken".into()),
    }
}

fn created(store: &Store, id: SubscriptionId) -> Change {
    Change::Create(Arc::new(subscription(store.vault(), id, 0)))
}

/// As `before`, in its `version`th form.
fn updated(store: &Store, before: &Subscription, version: u32) -> (Subscription, Change) {
    let sealed = before.sealed.clone();
    let after = Subscription { sealed, ..subscription(store.vault(), before.id, version) };
    (after.clone(), Change::Update(Arc::new(after)))
}

async fn ensure_vapid(store: &Store) {
    let key = Zeroizing::new(b"canary of a private key".to_vec());
    store.vapid(VapidStep::Ensure(key), UtcDate(1)).await.unwrap();
}

/// A new store with these subscriptions in it.
async fn filled(scratch: &Scratch, ids: &[SubscriptionId]) -> Store {
    let (store, found) = Store::open(&scratch.settings()).unwrap();
    assert!(found.is_empty());
    ensure_vapid(&store).await;
    store.apply(ids.iter().map(|id| created(&store, *id)).collect()).await.unwrap();
    store
}

fn id(byte: u8) -> SubscriptionId {
    SubscriptionId([byte; 12])
}

/// Whether a file of the store has these bytes anywhere.
fn is_found(scratch: &Scratch, bytes: &[u8]) -> bool {
    let files = fs::read_dir(&scratch.0).unwrap().map(|entry| fs::read(entry.unwrap().path()));
    files.flatten().any(|file| file.windows(bytes.len()).any(|window| window == bytes))
}

/// Waits for what another thread brings about.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect(what);
}

fn reopened(scratch: &Scratch) -> (Store, Vec<Arc<Subscription>>) {
    Store::open(&scratch.settings()).unwrap()
}

/// F9: no kill of a process shows whether the disk was waited for; P11: nor what is left in free pages.
#[test]
fn the_writer_s_connection_waits_for_the_disk_and_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let Settings { path, .. } = scratch.settings();
    let vault = Vault::new(&Key::random());
    // A new database, and one that is there: the same holds.
    for _ in 0..2 {
        let connection = schema::open(&path, &vault).unwrap();
        let number = |name: &str| {
            connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(number("synchronous"), 2, "FULL");
        assert_eq!(number("secure_delete"), 1);
        assert_eq!(number("foreign_keys"), 1);
        let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0));
        assert_eq!(mode, Ok("wal".to_owned()));
    }
}

/// A crash may come before a token is noted (F9).
#[test]
fn a_verified_one_of_which_nothing_was_noted_is_owed_everything() {
    let vault = Vault::new(&Key::random());
    let restored = |it| Subscription::restored(Arc::new(it));
    let [new, verified] = [0, 1].map(|version| subscription(&vault, id(1), version));
    assert!(restored(new).given.is_empty(), "not verified: told of what changes from then on");
    let noted = Subscription { given: "1sAAAA".into(), ..verified.clone() };
    assert_eq!(&*restored(noted).given, "1sAAAA");
    let owed = restored(verified);
    assert!(Token::parse(&owed.given).is_none() && !owed.given.is_empty());
}

#[tokio::test]
async fn what_was_kept_is_there_when_it_is_opened_again() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[id(1), id(2), id(3)]).await;
    let mut expected = store.load().await.unwrap();
    let (first, change) = updated(&store, &expected[0], 3);
    expected[0] = Arc::new(first);
    store.apply(vec![change, Change::Destroy(id(2))]).await.unwrap();
    expected.remove(1);
    store.close().await.unwrap();
    let (store, found) = reopened(&scratch);
    assert_eq!(found, expected);
    assert_eq!(found[0].secrets(store.vault()), Some(secrets(id(1))));
}

#[tokio::test]
async fn what_many_say_alike_is_held_once() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[id(1), id(2)]).await;
    let found = store.load().await.unwrap();
    let access = |at: usize| &found[at].view.accounts[0].1.capabilities;
    assert!(Arc::ptr_eq(access(0), access(1)));
    assert!(Arc::ptr_eq(&found[0].view.api_path, &found[1].view.api_path));
    assert!(Arc::ptr_eq(found[0].types.as_ref().unwrap(), found[1].types.as_ref().unwrap()));
}

#[tokio::test]
async fn changes_are_kept_all_or_none() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[id(1)]).await;
    let twice = vec![created(&store, id(2)), created(&store, id(1))];
    assert!(matches!(store.apply(twice).await, Err(Error::Unavailable(_))));
    assert_eq!(store.load().await.unwrap().len(), 1);
    store.apply(vec![created(&store, id(2))]).await.unwrap();
}

#[tokio::test]
async fn one_change_that_fails_does_not_fail_its_neighbours() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[id(0)]).await;
    let all = (0..100).map(|n| store.apply(vec![created(&store, id(n % 99))]));
    let failed = futures_util::future::join_all(all).await;
    let failed: Vec<_> = (0..100).filter(|n| failed[*n].is_err()).collect();
    assert_eq!(failed, [0, 99]);
}

#[tokio::test]
async fn what_is_not_there_is_neither_changed_nor_destroyed() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[]).await;
    let nobody = subscription(store.vault(), id(9), 1);
    let changes = vec![Change::Update(Arc::new(nobody)), Change::Destroy(id(8))];
    store.apply(changes).await.unwrap();
    assert_eq!(store.load().await.unwrap(), []);
}

#[tokio::test]
async fn what_was_given_is_kept_without_being_waited_for() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[id(1), id(2)]).await;
    let other = Connection::open(scratch.settings().path).unwrap();
    let given = |of: &str| {
        let select = "SELECT given FROM subscription WHERE id = ?1";
        other.query_row(select, [of], |row| row.get::<_, String>(0)).unwrap()
    };
    store.note_given(id(1), "1sAAAA");
    store.note_given(id(1), "1sBBBB");
    store.note_given(id(7), "1snone");
    until("written", || given(&id(1).to_string()) == "1sBBBB").await;
    store.note_given(id(2), "1sCCCC");
    store.close().await.unwrap();
    drop(other);
    let given = reopened(&scratch).1.into_iter().map(|it| it.given.to_string());
    assert_eq!(given.collect::<Vec<_>>(), ["1sBBBB", "1sCCCC"]);
}

#[tokio::test]
async fn an_update_leaves_what_was_given_as_it_is() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[id(1)]).await;
    let before = store.load().await.unwrap().remove(0);
    store.note_given(id(1), "1sAAAA");
    store.close().await.unwrap();
    let (store, _) = reopened(&scratch);
    store.apply(vec![updated(&store, &before, 1).1]).await.unwrap();
    assert_eq!(&*store.load().await.unwrap()[0].given, "1sAAAA");
}

/// P11: "the server MUST securely erase the URL and encryption keys".
#[tokio::test]
async fn what_is_destroyed_is_soon_in_no_file_any_more() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[id(1), id(2)]).await;
    let gone = store.load().await.unwrap().remove(0);
    let traces = [&*gone.sealed.0, gone.device_client_id.as_bytes()];
    assert!(traces.iter().all(|trace| is_found(&scratch, trace)));
    store.apply(vec![Change::Destroy(id(1))]).await.unwrap();
    until("erased", || !traces.iter().any(|trace| is_found(&scratch, trace))).await;
}

#[tokio::test]
async fn what_is_destroyed_is_in_no_file_once_the_store_is_closed() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[id(1), id(2)]).await;
    let gone = store.load().await.unwrap().remove(0);
    store.apply(vec![Change::Destroy(id(1))]).await.unwrap();
    store.close().await.unwrap();
    assert!(!is_found(&scratch, &gone.sealed.0));
    assert!(is_found(&scratch, b"device of"));
    assert!(matches!(store.apply(vec![Change::Destroy(id(2))]).await, Err(Error::Closed)));
}

#[tokio::test]
async fn no_secret_is_readable_on_the_disk() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[id(1)]).await;
    let secrets = secrets(id(1));
    let keys = secrets.keys.unwrap();
    let secret = [&secrets.url, &keys.p256dh, &keys.auth, &secrets.verification_code];
    store.close().await.unwrap();
    for secret in secret.into_iter().map(|it| it.as_bytes()).chain([&b"canary"[..]]) {
        assert!(!is_found(&scratch, secret));
    }
}

#[tokio::test]
async fn the_files_are_their_owners_only() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[id(1)]).await;
    for entry in fs::read_dir(&scratch.0).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
    drop(store);
}

#[tokio::test]
async fn another_key_is_told_as_such() {
    let scratch = Scratch::new();
    filled(&scratch, &[id(1)]).await.close().await.unwrap();
    let settings = Settings { key: Some(Key::random()), ..scratch.settings() };
    assert!(matches!(Store::open(&settings), Err(Error::WrongKey { .. })));
    fs::remove_file(key_file(&scratch)).unwrap();
    let missing = Store::open(&scratch.settings());
    assert!(matches!(missing, Err(Error::Key(KeyFileError::Missing { .. }))));
    assert!(!key_file(&scratch).exists(), "none is made that cannot be the right one");
}

#[tokio::test]
async fn a_key_that_others_may_read_or_that_is_none_is_refused() {
    let scratch = Scratch::new();
    filled(&scratch, &[]).await.close().await.unwrap();
    fs::set_permissions(key_file(&scratch), fs::Permissions::from_mode(0o640)).unwrap();
    let exposed = Store::open(&scratch.settings()).unwrap_err();
    assert!(exposed.to_string().contains("(mode 640); `chmod 600` it"), "{exposed}");
    fs::set_permissions(key_file(&scratch), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(key_file(&scratch), "AAAA").unwrap();
    let none = Store::open(&scratch.settings());
    assert!(matches!(none, Err(Error::Key(KeyFileError::Unreadable { .. }))));
}

fn key_file(scratch: &Scratch) -> PathBuf {
    scratch.0.join("push.db.key")
}

#[test]
fn two_processes_that_start_at_once_have_one_key_and_one_database() {
    for _ in 0..20 {
        let scratch = Scratch::new();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let open = || {
                let (store, _) = Store::open(&scratch.settings()).unwrap();
                let key = Zeroizing::new(vec![rand::random()]);
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(store.vapid(VapidStep::Ensure(key), UtcDate(1))).unwrap()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|other| *other == keys[0] && other.len() == 1), "{keys:?}");
    }
}

/// D11: open in the old and in the new process during a hand-over.
#[tokio::test]
async fn two_processes_may_have_it_open() {
    let scratch = Scratch::new();
    let old = filled(&scratch, &[id(1)]).await;
    let (new, found) = reopened(&scratch);
    assert_eq!(found.len(), 1);
    old.apply(vec![created(&old, id(2))]).await.unwrap();
    new.apply(vec![created(&new, id(3)), Change::Destroy(id(1))]).await.unwrap();
    old.close().await.unwrap();
    let ids: Vec<_> = new.load().await.unwrap().iter().map(|it| it.id).collect();
    assert_eq!(ids, [id(2), id(3)]);
    assert_eq!(reopened(&scratch).1.len(), 2);
}

#[tokio::test]
async fn a_vapid_key_stays_until_no_subscription_needs_it() {
    let scratch = Scratch::new();
    let store = filled(&scratch, &[id(1), id(2)]).await;
    let new = Zeroizing::new(b"new".to_vec());
    let keys = store.vapid(VapidStep::Rotate(new.clone()), UtcDate(2)).await.unwrap();
    let kept: Vec<_> = keys.iter().map(|key| (key.id, key.retired)).collect();
    assert_eq!(kept, [(1, Some(UtcDate(2))), (2, None)]);
    assert_eq!(keys[1].pkcs8, new);
    let other = Zeroizing::new(b"other".to_vec());
    assert_eq!(store.vapid(VapidStep::Ensure(other), UtcDate(3)).await.unwrap(), keys);
    let kept = || {
        let database = Connection::open(scratch.settings().path).unwrap();
        let mut select = database.prepare("SELECT id FROM vapid_key ORDER BY id").unwrap();
        let ids = select.query_map([], |row| row.get(0)).unwrap();
        ids.collect::<Result<Vec<u32>, _>>().unwrap()
    };
    store.apply(vec![Change::Destroy(id(1))]).await.unwrap();
    assert_eq!(kept(), [1, 2], "another one needs it");
    store.apply(vec![Change::Destroy(id(2))]).await.unwrap();
    assert_eq!(kept(), [2]);
    let third = Zeroizing::new(b"third".to_vec());
    let keys = store.vapid(VapidStep::Rotate(third), UtcDate(4)).await.unwrap();
    let kept: Vec<_> = keys.iter().map(|key| (key.id, key.retired)).collect();
    assert_eq!(kept, [(3, None)], "nobody ever subscribed under the second");
}

#[tokio::test]
async fn in_memory_nothing_is_kept_but_vapid_keys() {
    let store = Store::memory();
    store.apply(vec![created(&store, id(1))]).await.unwrap();
    store.note_given(id(1), "1s");
    assert_eq!(store.load().await.unwrap(), []);
    ensure_vapid(&store).await;
    let again = VapidStep::Ensure(Zeroizing::new(vec![1]));
    let keys = store.vapid(again, UtcDate(2)).await.unwrap();
    assert_eq!((keys.len(), keys[0].id), (1, 1));
    let keys = store.vapid(VapidStep::Rotate(Zeroizing::new(vec![1])), UtcDate(2)).await.unwrap();
    assert_eq!((keys[0].retired, keys[1].id), (Some(UtcDate(2)), 2));
    store.close().await.unwrap();
}

#[test]
fn debug_shows_no_vapid_key() {
    let pkcs8 = Zeroizing::new(b"canary".to_vec());
    let key = VapidKey { id: 1, pkcs8: pkcs8.clone(), created: UtcDate(1), retired: None };
    let shown = format!("{key:?} {:?}", VapidStep::Rotate(pkcs8));
    assert!(!shown.contains("canary") && !shown.contains("99, 97"), "{shown}");
}

fn sql(path: &Path, statements: &str) {
    Connection::open(path).unwrap().execute_batch(statements).unwrap();
}

/// Version 1 as it was released, with a row in it. The key is 32 zeros.
const VERSION_1: &str = include_str!("version_1.sql");

#[test]
fn the_first_version_is_still_read() {
    let scratch = Scratch::new();
    let key = Key::from_base64(&"A".repeat(43)).unwrap();
    let settings = Settings { key: Some(key), ..scratch.settings() };
    sql(&settings.path, VERSION_1);
    let (store, found) = Store::open(&settings).unwrap();
    let id = SubscriptionId(*b"twelve bytes");
    let expected = Subscription { given: "1sAAAA".into(), ..subscription(store.vault(), id, 3) };
    let sealed = found[0].sealed.clone();
    assert_eq!(found, [Arc::new(Subscription { sealed, ..expected })]);
    assert_eq!(found[0].secrets(store.vault()), Some(secrets(id)));
}

#[test]
fn a_ladder_is_climbed_from_wherever_one_stands() {
    let steps = ["CREATE TABLE a (x)", "ALTER TABLE a ADD y", "CREATE TABLE b (x)"];
    for stood in 0..=steps.len() {
        let mut connection = Connection::open_in_memory().unwrap();
        let below = i64::try_from(stood).unwrap();
        assert_eq!(schema::climb(&mut connection, &steps[..stood]).unwrap(), below);
        assert_eq!(schema::climb(&mut connection, &steps).unwrap(), 3);
        connection.execute_batch("SELECT y FROM a; SELECT x FROM b").unwrap();
        assert_eq!(schema::climb(&mut connection, &steps[..1]).unwrap(), 3, "none leads down");
    }
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_version_before_it() {
    let mut connection = Connection::open_in_memory().unwrap();
    let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE a (x)"];
    assert!(schema::climb(&mut connection, &steps).is_err());
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    assert_eq!(version, Ok(0));
    assert!(connection.execute_batch("SELECT x FROM b").is_err());
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    filled(&scratch, &[id(1)]).await.close().await.unwrap();
    let path = scratch.settings().path;
    sql(&path, "PRAGMA user_version = 99; DROP TABLE setting;");
    let before = fs::read(&path).unwrap();
    let refused = Store::open(&scratch.settings()).unwrap_err();
    assert!(refused.to_string().contains("version 99, this program knows 1"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.settings().path;
    let settings = Settings { key: Some(Key::random()), path: path.clone() };
    sql(&path, "CREATE TABLE theirs (x);");
    let before = fs::read(&path).unwrap();
    assert!(matches!(Store::open(&settings), Err(Error::Foreign { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::write(&path, "no database, but longer than the sixteen bytes of a header").unwrap();
    let refused = Store::open(&settings).unwrap_err();
    assert!(refused.to_string().starts_with("open the store /"), "{refused}");
    let nowhere = Settings { path: scratch.0.join("none/push.db"), ..settings };
    assert!(matches!(Store::open(&nowhere), Err(Error::Open { .. })));
}

#[tokio::test]
async fn one_row_that_cannot_be_read_does_not_cost_the_others() {
    let scratch = Scratch::new();
    filled(&scratch, &[id(1), id(2), id(3)]).await.close().await.unwrap();
    let torn = format!("UPDATE subscription SET owner = 'x' WHERE id = '{}'", id(2));
    sql(&scratch.settings().path, &torn);
    let ids: Vec<_> = reopened(&scratch).1.iter().map(|it| it.id).collect();
    assert_eq!(ids, [id(1), id(3)]);
}
