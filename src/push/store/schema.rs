//! How a database is opened: settings, whose it is, its version, its key (hostile.md F9). Knows no record.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior};

use super::Error;
use crate::clock::Moment;
use crate::push::vault::Vault;

/// `application_id` of our databases: "JPPs".
const APPLICATION: i64 = 0x4a50_5073;

/// How long to wait for another process, which commits in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause before SQLite is asked again for what it does not wait for.
const AGAIN: Duration = Duration::from_millis(5);

/// What version `n + 1` has beyond version `n`. **No step ever changes once it is released.**
///
/// `subscription.accounts` has an account a line: `p` (personal) or `s` (shared), a number of
/// `capabilities`, the account id, which has no control characters.
pub(super) const LADDER: &[&str] = &["
    CREATE TABLE setting (
        name TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE vapid_key (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sealed BLOB NOT NULL,
        created INTEGER NOT NULL,
        retired INTEGER
    ) STRICT;
    CREATE TABLE capabilities (
        list INTEGER PRIMARY KEY,
        names TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE subscription (
        id TEXT PRIMARY KEY,
        username TEXT NOT NULL,
        device_client_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        created INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        types TEXT,
        is_verified INTEGER NOT NULL,
        verification_sent INTEGER,
        wrong_codes INTEGER NOT NULL,
        vapid INTEGER NOT NULL REFERENCES vapid_key (id),
        accounts TEXT NOT NULL,
        api_path TEXT NOT NULL,
        host TEXT,
        disabled TEXT,
        sealed BLOB NOT NULL,
        given TEXT NOT NULL
    ) STRICT;
"];

/// Opens the database, or makes it.
pub(super) fn open(path: &Path, vault: &Vault) -> Result<Connection, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source };
    // SQLite would let others read it; its other files take over the mode. That it cannot be made,
    // SQLite says better.
    let _ = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let mut connection = connect(path).map_err(failed)?;
    if is_foreign(&mut connection).map_err(failed)? {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    let found = climb(&mut connection, LADDER).map_err(failed)?;
    let known = version_of(LADDER);
    if found > known {
        return Err(Error::Newer { path: path.to_owned(), found, known });
    }
    check_key(&connection, path, vault)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA secure_delete = ON;
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

/// A further connection, of one who only reads, to a database that is open.
pub(super) fn connect_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// Whether another program's tables are in it.
fn is_foreign(connection: &mut Connection) -> rusqlite::Result<bool> {
    // Both of one moment: another process may be about to make it.
    let moment = connection.transaction()?;
    let id: i64 = moment.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = moment.query_row(tables, [], |row| row.get(0))?;
    Ok(id != APPLICATION && (id != 0 || tables > 0))
}

/// Brings it up to the last step of the ladder; the version it has then. One that is beyond the ladder is
/// not touched.
pub(super) fn climb(connection: &mut Connection, ladder: &[&str]) -> rusqlite::Result<i64> {
    let version = "PRAGMA user_version";
    let known = version_of(ladder);
    let found: i64 = connection.query_row(version, [], |row| row.get(0))?;
    if found > known {
        return Ok(found);
    }
    log_ahead(connection)?;
    if found == known {
        return Ok(found);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have climbed it while we waited.
    let found: i64 = transaction.query_row(version, [], |row| row.get(0))?;
    for step in ladder.iter().skip(usize::try_from(found).unwrap_or_default()) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", found.max(known))?;
    transaction.commit()?;
    Ok(found.max(known))
}

/// SQLite does not wait for others where it changes the journal's mode, so that two processes that make a
/// database at once would fail.
fn log_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let end = Moment::now().after(PATIENCE);
    loop {
        let set = connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = 4194304;");
        match set {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Moment::now() < end =>
            {
                std::thread::sleep(AGAIN);
            }
            set => return set,
        }
    }
}

fn version_of(ladder: &[&str]) -> i64 {
    i64::try_from(ladder.len()).unwrap_or(i64::MAX)
}

/// Whether the vault opens what was sealed when the database was made; seals it in a new one.
fn check_key(connection: &Connection, path: &Path, vault: &Vault) -> Result<(), Error> {
    const NAME: &str = "key check";
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let read = || {
        let select = "SELECT value FROM setting WHERE name = ?1";
        connection.query_row(select, [NAME], |row| row.get(0)).optional().map_err(failed)
    };
    let sealed: Option<Vec<u8>> = match read()? {
        Some(sealed) => Some(sealed),
        None => {
            let sealed = vault.seal(NAME.as_bytes(), NAME.as_bytes())?;
            let insert = "INSERT INTO setting VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            connection.execute(insert, (NAME, sealed)).map_err(failed)?;
            // Another process may have been quicker.
            read()?
        }
    };
    match sealed.and_then(|sealed| vault.open(NAME.as_bytes(), &sealed)) {
        Some(_) => Ok(()),
        None => Err(Error::WrongKey { path: path.to_owned() }),
    }
}
