//! The key in a file beside the database, for operators who give none: base64, readable by its owner
//! only. What it is used for is [`Vault`](crate::push::vault::Vault)'s affair.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::config::secret::Key;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read, or not be made.
    #[error("use the key file {path}")]
    Io {
        /// Its place.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("use the key file {path}: others may read it (mode {mode:o}); `chmod 600` it")]
    Exposed {
        /// Its place.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds no key.
    #[error("use the key file {path}: it is not 32 bytes in base64")]
    Unreadable {
        /// Its place.
        path: PathBuf,
    },
    /// There is a database, but not what it was sealed under.
    #[error(
        "use the key file {path}: it is not there, and the store beside it was made with it; bring it back, or move the store away (every client then subscribes anew)"
    )]
    Missing {
        /// Its place.
        path: PathBuf,
    },
}

/// Bytes of a key file, generously.
const MOST_BYTES: u64 = 256;

/// The key of the database at `database`. It is made if there is no database either.
pub(super) fn beside(database: &Path) -> Result<Key, KeyFileError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".key");
    let path = PathBuf::from(path);
    match read(&path)? {
        Some(key) => Ok(key),
        None if fs::metadata(database).is_ok_and(|it| it.len() > 0) => {
            Err(KeyFileError::Missing { path })
        }
        None => {
            make(&path).map_err(|source| KeyFileError::Io { path: path.clone(), source })?;
            // Another process may have been quicker: then that is the key.
            read(&path)?.ok_or(KeyFileError::Missing { path })
        }
    }
}

/// `None` when there is no such file.
fn read(path: &Path) -> Result<Option<Key>, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(failed)?;
    let unreadable = || KeyFileError::Unreadable { path: path.to_owned() };
    Key::from_base64(text.trim()).map(Some).ok_or_else(unreadable)
}

/// Makes the file with all that is in it, or not at all.
fn make(path: &Path) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{:016x}", rand::random::<u64>()));
    let unfinished = PathBuf::from(unfinished);
    let made = fill(&unfinished).and_then(|()| match fs::hard_link(&unfinished, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    fs::remove_file(&unfinished).or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    made?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn fill(path: &Path) -> io::Result<()> {
    let text = Zeroizing::new(STANDARD.encode(Key::random().expose()) + "\n");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
