//! `[notify]`: who tells us of changes besides Redis.

use std::path::PathBuf;

use super::Listen;
use super::address;
use super::mistake::Fault;
use super::reader::Reader;
use super::secret::Secret;

/// `[notify]` (architecture D7).
#[derive(Debug, Clone)]
pub struct Notify {
    /// Where Cyrus IMAP sends its events: the socket of its `notifysocket`, which we bind.
    pub cyrus: Option<PathBuf>,
    /// Where anything may tell of changes by HTTP.
    pub http: HttpNotify,
}

/// `[notify.http]`.
#[derive(Debug, Clone)]
pub struct HttpNotify {
    /// Where to listen; `None` when off.
    pub listen: Option<Listen>,
    /// What callers authenticate by; `None` only at a Unix socket.
    pub token: Option<Secret>,
}

pub(super) fn notify(reader: &mut Reader<'_>) -> Option<Notify> {
    let cyrus = reader.switched("notify.cyrus.socket", socket);
    let listen = reader.switched("notify.http.listen", address::listen);
    let token = reader.secret("notify.http.token", "notify.http.token_file", |text| {
        // What a header can carry, and nothing that is cut off there.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what = "a token";
            return Err(Fault::Malformed { what, wanted: "visible ASCII without blanks" });
        }
        Ok((!text.is_empty()).then(|| Secret::new(text.to_owned())))
    });
    let (cyrus, listen, token) = (cyrus?, listen?, token?);
    if matches!(listen, Some(Listen::Tcp(_))) && token.is_none() {
        reader.wrong("notify.http.listen", Fault::Alone { other: "notify.http.token" });
    }
    if matches!((&cyrus, &listen), (Some(cyrus), Some(Listen::Unix(http))) if cyrus == http) {
        let why = "each needs a socket of its own";
        reader.conflict("notify.cyrus.socket", "notify.http.listen", why);
    }
    Some(Notify { cyrus, http: HttpNotify { listen, token } })
}

/// The longest path of a Unix socket (`sun_path` in unix(7), its final NUL left out).
const MAX_SOCKET_PATH: usize = 107;

fn socket(text: &str) -> Result<PathBuf, Fault> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    if path.starts_with('/') && path.len() <= MAX_SOCKET_PATH && !path.contains('\0') {
        return Ok(PathBuf::from(path));
    }
    Err(Fault::Malformed {
        what: "the path of a Unix socket",
        wanted: "what imapd.conf has as notifysocket: from the root, at most 107 bytes",
    })
}
