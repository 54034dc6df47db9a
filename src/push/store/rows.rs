//! Subscriptions as rows of `subscription` ([`LADDER`](super::schema::LADDER)), both ways.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::available_parallelism;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Statement, Transaction, named_params};

use super::{Error, schema, vapid};
use crate::auth::principal::Access;
use crate::jmap::date::UtcDate;
use crate::jmap::id::{AccountId, DataType};
use crate::push::subscription::{Change, Sealed, Subscription, SubscriptionId, View};

const SELECT: &str = "SELECT id, username, device_client_id, owner, created, expires, types, \
    is_verified, verification_sent, wrong_codes, vapid, accounts, api_path, host, disabled, sealed, \
    given FROM subscription WHERE rowid BETWEEN ?1 AND ?2";

const INSERT: &str = "INSERT INTO subscription (id, username, device_client_id, owner, created, \
    expires, types, is_verified, verification_sent, wrong_codes, vapid, accounts, api_path, host, \
    disabled, sealed, given) VALUES (:id, :username, :device_client_id, :owner, :created, \
    :expires, :types, :is_verified, :verification_sent, :wrong_codes, :vapid, :accounts, :api_path, \
    :host, :disabled, :sealed, :given)";

const UPDATE: &str = "UPDATE subscription SET expires = :expires, types = :types, \
    is_verified = :is_verified, verification_sent = :verification_sent, wrong_codes = :wrong_codes, \
    accounts = :accounts, api_path = :api_path, host = :host, disabled = :disabled \
    WHERE id = :id";

/// Makes these changes, in order. To change or destroy what is not there changes nothing: another
/// process may have been quicker.
pub(super) fn apply<'a>(
    transaction: &Transaction<'_>,
    changes: impl IntoIterator<Item = &'a Change>,
) -> Result<(), Error> {
    let mut erases = false;
    for change in changes {
        match change {
            Change::Create(new) => insert(transaction, new)?,
            Change::Update(changed) => update(transaction, changed)?,
            Change::Destroy(id) => {
                let delete = "DELETE FROM subscription WHERE id = ?1";
                transaction.execute(delete, [id.to_string()])?;
                erases = true;
            }
        }
    }
    if erases { vapid::prune(transaction) } else { Ok(()) }
}

/// Notes what each has been given.
pub(super) fn note_given<'a>(
    transaction: &Transaction<'_>,
    given: impl Iterator<Item = (&'a SubscriptionId, &'a Box<str>)>,
) -> Result<(), Error> {
    let update = "UPDATE subscription SET given = ?2 WHERE id = ?1";
    let mut update = transaction.prepare(update)?;
    for (id, token) in given {
        update.execute((id.to_string(), token))?;
    }
    Ok(())
}

fn insert(transaction: &Transaction<'_>, new: &Subscription) -> Result<(), Error> {
    transaction.execute(
        INSERT,
        named_params! {
            ":id": new.id.to_string(),
            ":username": new.username,
            ":device_client_id": new.device_client_id,
            ":owner": new.owner.to_string(),
            ":created": new.created.0,
            ":expires": new.expires.0,
            ":types": types_written(new),
            ":is_verified": new.is_verified,
            ":verification_sent": new.verification_sent.map(|it| it.0),
            ":wrong_codes": new.wrong_codes,
            ":vapid": new.vapid,
            ":accounts": accounts_written(transaction, &new.view)?,
            ":api_path": new.view.api_path,
            ":host": new.view.host,
            ":disabled": new.disabled,
            ":sealed": new.sealed.0,
            ":given": new.given,
        },
    )?;
    Ok(())
}

fn update(transaction: &Transaction<'_>, changed: &Subscription) -> Result<(), Error> {
    transaction.execute(
        UPDATE,
        named_params! {
            ":id": changed.id.to_string(),
            ":expires": changed.expires.0,
            ":types": types_written(changed),
            ":is_verified": changed.is_verified,
            ":verification_sent": changed.verification_sent.map(|it| it.0),
            ":wrong_codes": changed.wrong_codes,
            ":accounts": accounts_written(transaction, &changed.view)?,
            ":api_path": changed.view.api_path,
            ":host": changed.view.host,
            ":disabled": changed.disabled,
        },
    )?;
    Ok(())
}

/// Names with a space between.
fn types_written(subscription: &Subscription) -> Option<String> {
    let names =
        |types: &[DataType]| types.iter().map(DataType::as_str).collect::<Vec<_>>().join(" ");
    subscription.types.as_deref().map(names)
}

fn accounts_written(transaction: &Transaction<'_>, view: &View) -> Result<String, Error> {
    let mut lists: Vec<(&Arc<[String]>, i64)> = Vec::new();
    let mut lines = String::new();
    for (id, Access { is_personal, capabilities }) in &*view.accounts {
        let known = lists.iter().find(|(known, _)| Arc::ptr_eq(known, capabilities));
        let list = match known {
            Some((_, list)) => *list,
            None => list_of(transaction, capabilities)?,
        };
        lists.push((capabilities, list));
        let whose = if *is_personal { 'p' } else { 's' };
        // Writing to a String does not fail.
        let _ = writeln!(lines, "{whose} {list} {id}");
    }
    Ok(lines)
}

/// The number of a list of capabilities, which a server has few of; it is given one if it has none.
fn list_of(transaction: &Transaction<'_>, names: &[String]) -> Result<i64, Error> {
    let names = serde_json::Value::from(names).to_string();
    let select = "SELECT list FROM capabilities WHERE names = ?1";
    if let Some(list) = transaction.query_row(select, [&names], |row| row.get(0)).optional()? {
        return Ok(list);
    }
    transaction.execute("INSERT INTO capabilities (names) VALUES (?1)", [&names])?;
    Ok(transaction.last_insert_rowid())
}

/// Rowids apart, from which on rows are read by several threads.
const MANY: i64 = 10_000;

/// Threads at most: a start should not take all of a large machine.
const MOST_THREADS: usize = 4;

/// Pieces that the threads take one after another, as rows may be anywhere among the rowids.
const PIECES: i64 = 64;

/// All there are, in no order; each where it stays, for so many are not to be moved. One that cannot be
/// read is left where it is, and told of.
pub(super) fn load(connection: &Connection) -> Result<Vec<Arc<Subscription>>, Error> {
    // Each end is found at once; asked for together, all between would be gone through.
    let ends =
        "SELECT (SELECT min(rowid) FROM subscription), (SELECT max(rowid) FROM subscription)";
    let ends: (Option<i64>, Option<i64>) =
        connection.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(first), Some(last)) = ends else { return Ok(Vec::new()) };
    let is_many = last.saturating_sub(first) >= MANY;
    match connection.path().filter(|path| is_many && !path.is_empty()) {
        Some(path) => load_in_threads(Path::new(path), (first, last)),
        None => {
            let mut loaded = Vec::new();
            let (mut shared, mut select) = (Shared::read(connection)?, connection.prepare(SELECT)?);
            load_piece(&mut select, &mut shared, (first, last), &mut loaded)?;
            Ok(loaded)
        }
    }
}

/// The same by several connections. Another process may change something meanwhile, as it may thereafter.
fn load_in_threads(
    path: &Path,
    (first, last): (i64, i64),
) -> Result<Vec<Arc<Subscription>>, Error> {
    let next = AtomicI64::new(0);
    let step = last.saturating_sub(first) / PIECES + 1;
    let read = || -> Result<Vec<Arc<Subscription>>, Error> {
        let connection = schema::connect_to_read(path)?;
        let (mut shared, mut loaded) = (Shared::read(&connection)?, Vec::new());
        let mut select = connection.prepare(SELECT)?;
        loop {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= PIECES {
                return Ok(loaded);
            }
            let from = first.saturating_add(piece.saturating_mul(step));
            let range = (from, from.saturating_add(step - 1));
            load_piece(&mut select, &mut shared, range, &mut loaded)?;
        }
    };
    let threads = available_parallelism().map_or(1, |it| it.get().min(MOST_THREADS));
    let mut loaded =
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(read)).collect();
            let mut all = vec![read()];
            all.extend(others.into_iter().map(|other| {
                other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }));
            all.into_iter().collect::<Result<Vec<_>, _>>()
        })?;
    let mut all = loaded.pop().unwrap_or_default();
    loaded.iter_mut().for_each(|some| all.append(some));
    Ok(all)
}

/// Those whose rowid is in this range, both ends included.
fn load_piece(
    select: &mut Statement<'_>,
    shared: &mut Shared,
    range: (i64, i64),
    loaded: &mut Vec<Arc<Subscription>>,
) -> Result<(), Error> {
    let mut rows = select.query(range)?;
    while let Some(row) = rows.next()? {
        match shared.subscription(row) {
            Ok(subscription) => loaded.push(Arc::new(subscription)),
            Err(error) => {
                let id = row.get::<_, String>(0).unwrap_or_default();
                tracing::warn!(id, %error, "a subscription in the store cannot be read");
            }
        }
    }
    Ok(())
}

/// What many subscriptions say alike is held once.
struct Shared {
    capabilities: BTreeMap<i64, Arc<[String]>>,
    paths: Words,
    types: Vec<(Box<str>, Arc<[DataType]>)>,
}

/// Texts that many rows have.
#[derive(Default)]
struct Words(Vec<Arc<str>>);

/// Texts of one kind that are shared. When full: what is new is no longer shared.
const MOST_SHARED: usize = 64;

impl Words {
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.iter().find(|known| &***known == text) {
            return Arc::clone(known);
        }
        let new = Arc::from(text);
        if self.0.len() < MOST_SHARED {
            self.0.push(Arc::clone(&new));
        }
        new
    }
}

impl Shared {
    fn read(connection: &Connection) -> Result<Self, Error> {
        let mut select = connection.prepare("SELECT list, names FROM capabilities")?;
        let mut rows = select.query([])?;
        let mut capabilities = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let names: Vec<String> = json(row, 1)?;
            capabilities.insert(row.get(0)?, names.into());
        }
        Ok(Self { capabilities, paths: Words::default(), types: Vec::new() })
    }

    fn subscription(&mut self, row: &Row<'_>) -> rusqlite::Result<Subscription> {
        let host = row.get_ref(13)?.as_str_or_null()?;
        let view = View {
            accounts: self.accounts(text(row, 11)?).ok_or_else(|| unreadable(11))?,
            api_path: self.paths.shared(text(row, 12)?),
            host: host.map(|host| self.paths.shared(host)),
        };
        let types = row.get_ref(6)?.as_str_or_null()?;
        Ok(Subscription {
            id: SubscriptionId::parse(text(row, 0)?).ok_or_else(|| unreadable(0))?,
            username: text(row, 1)?.into(),
            device_client_id: text(row, 2)?.into(),
            owner: text(row, 3)?.parse().map_err(|_| unreadable(3))?,
            created: UtcDate(row.get(4)?),
            expires: UtcDate(row.get(5)?),
            types: types.map(|names| self.types(names).ok_or_else(|| unreadable(6))).transpose()?,
            is_verified: row.get(7)?,
            verification_sent: row.get::<_, Option<_>>(8)?.map(UtcDate),
            wrong_codes: row.get(9)?,
            vapid: row.get(10)?,
            view,
            disabled: row.get_ref(14)?.as_str_or_null()?.map(Into::into),
            sealed: Sealed(row.get_ref(15)?.as_blob()?.into()),
            given: text(row, 16)?.into(),
        })
    }

    fn accounts(&self, lines: &str) -> Option<Arc<[(AccountId, Access)]>> {
        let mut accounts = Vec::with_capacity(lines.bytes().filter(|byte| *byte == b'\n').count());
        for line in lines.split_terminator('\n') {
            let (whose, rest) = line.split_once(' ')?;
            let (list, id) = rest.split_once(' ')?;
            let capabilities = Arc::clone(self.capabilities.get(&list.parse().ok()?)?);
            let access = Access { is_personal: whose == "p", capabilities };
            accounts.push((AccountId::parse(id)?, access));
        }
        Some(accounts.into())
    }

    fn types(&mut self, names: &str) -> Option<Arc<[DataType]>> {
        if let Some((_, known)) = self.types.iter().find(|(known, _)| &**known == names) {
            return Some(Arc::clone(known));
        }
        let types: Option<Arc<[DataType]>> =
            names.split_ascii_whitespace().map(DataType::parse).collect();
        let types = types?;
        if self.types.len() < MOST_SHARED {
            self.types.push((names.into(), Arc::clone(&types)));
        }
        Some(types)
    }
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(column)?.as_str()?)
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(text(row, column)?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "subscription".to_owned(), Type::Text)
}
