//! The keys that messages are signed with (RFC 8292, RFC 9749 §5; protocol.md §1.6): the last one is
//! advertised, older ones go with the last subscription made under them. Knows nothing of signing.

use std::fmt;

use rusqlite::Transaction;
use zeroize::Zeroizing;

use super::Error;
use crate::jmap::date::UtcDate;
use crate::push::vault::Vault;

/// What a key is sealed under: it has no id yet.
const LABEL: &[u8] = b"vapid key";

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub struct VapidKey {
    /// What subscriptions refer to it by; never given twice.
    pub id: u32,
    /// The private key.
    pub pkcs8: Zeroizing<Vec<u8>>,
    /// When it was made.
    pub created: UtcDate,
    /// When another took its place.
    pub retired: Option<UtcDate>,
}

impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VapidKey")
            .field("id", &self.id)
            .field("created", &self.created)
            .field("retired", &self.retired)
            .finish_non_exhaustive()
    }
}

/// What may be done with them.
#[derive(Clone)]
pub enum VapidStep {
    /// Adds this one if none is in use: the first start of one process among several.
    Ensure(Zeroizing<Vec<u8>>),
    /// Retires those in use, and adds this one.
    Rotate(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for VapidStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ensure(_) => "Ensure(…)",
            Self::Rotate(_) => "Rotate(…)",
        })
    }
}

impl VapidStep {
    /// Without a database no subscription outlives its key: retired ones stay.
    pub(super) fn take_in_memory(self, keys: &mut Vec<VapidKey>, now: UtcDate) {
        let pkcs8 = match self {
            Self::Ensure(pkcs8) if keys.is_empty() => pkcs8,
            Self::Rotate(pkcs8) => pkcs8,
            Self::Ensure(_) => return,
        };
        keys.iter_mut().for_each(|key| key.retired = key.retired.or(Some(now)));
        let id = keys.last().map_or(1, |last| last.id + 1);
        keys.push(VapidKey { id, pkcs8, created: now, retired: None });
    }

    pub(super) fn take(
        &self,
        transaction: &Transaction<'_>,
        vault: &Vault,
        now: UtcDate,
    ) -> Result<Vec<VapidKey>, Error> {
        let insert = "INSERT INTO vapid_key (sealed, created) VALUES (?1, ?2)";
        match self {
            Self::Ensure(pkcs8) => {
                let unless = "SELECT ?1, ?2 WHERE NOT EXISTS \
                    (SELECT 1 FROM vapid_key WHERE retired IS NULL)";
                let insert = format!("INSERT INTO vapid_key (sealed, created) {unless}");
                transaction.execute(&insert, (vault.seal(LABEL, pkcs8)?, now.0))?;
            }
            Self::Rotate(pkcs8) => {
                let retire = "UPDATE vapid_key SET retired = ?1 WHERE retired IS NULL";
                transaction.execute(retire, [now.0])?;
                transaction.execute(insert, (vault.seal(LABEL, pkcs8)?, now.0))?;
            }
        }
        prune(transaction)?;
        all(transaction, vault)
    }
}

/// Erases retired ones that no subscription refers to.
pub(super) fn prune(transaction: &Transaction<'_>) -> Result<(), Error> {
    let prune = "DELETE FROM vapid_key WHERE retired IS NOT NULL \
        AND NOT EXISTS (SELECT 1 FROM subscription WHERE vapid = vapid_key.id)";
    transaction.execute(prune, [])?;
    Ok(())
}

fn all(transaction: &Transaction<'_>, vault: &Vault) -> Result<Vec<VapidKey>, Error> {
    let select = "SELECT id, sealed, created, retired FROM vapid_key ORDER BY id";
    let mut select = transaction.prepare(select)?;
    let mut rows = select.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let sealed: Vec<u8> = row.get(1)?;
        let pkcs8 = vault.open(LABEL, &sealed).ok_or(crate::push::vault::Unsealable)?;
        let (created, retired) = (UtcDate(row.get(2)?), row.get::<_, Option<_>>(3)?.map(UtcDate));
        keys.push(VapidKey { id: row.get(0)?, pkcs8, created, retired });
    }
    Ok(keys)
}
