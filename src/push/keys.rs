//! The VAPID keys in use (RFC 8292; RFC 9749 §3, §5; protocol.md §1.6): the one that is advertised, and
//! those that older subscriptions were made under.

use super::vapid::{InvalidKey, VapidKey};
use crate::jmap::date::UtcDate;

/// The keys by the number that subscriptions refer to them by, oldest first; never empty.
#[derive(Debug)]
pub(super) struct VapidKeys {
    current: Numbered,
    older: Vec<Numbered>,
}

#[derive(Debug)]
struct Numbered {
    id: u32,
    key: VapidKey,
    retired: Option<UtcDate>,
}

impl VapidKeys {
    /// Reads what the store has, oldest first; `None` where it has none.
    ///
    /// # Errors
    /// When one is no key.
    pub(super) fn read(stored: &[super::store::VapidKey]) -> Result<Option<Self>, InvalidKey> {
        let mut keys = Vec::with_capacity(stored.len());
        for key in stored {
            let (id, retired) = (key.id, key.retired);
            keys.push(Numbered { id, key: VapidKey::from_der(&key.pkcs8)?, retired });
        }
        Ok(keys.pop().map(|current| Self { current, older: keys }))
    }

    /// The number of the one that is advertised.
    pub(super) fn current_id(&self) -> u32 {
        self.current.id
    }

    /// The one that is advertised.
    pub(super) fn current(&self) -> &VapidKey {
        &self.current.key
    }

    /// The one of this number.
    pub(super) fn get(&self, id: u32) -> Option<&VapidKey> {
        self.numbered(id).map(|it| &it.key)
    }

    /// When the one of this number was succeeded by another; `None` for the one that is advertised, which
    /// may have come back under another number.
    pub(super) fn retired(&self, id: u32) -> Option<UtcDate> {
        let numbered = self.numbered(id)?;
        let advertised = self.current.key.application_server_key();
        numbered.retired.filter(|_| numbered.key.application_server_key() != advertised)
    }

    fn numbered(&self, id: u32) -> Option<&Numbered> {
        std::iter::once(&self.current).chain(&self.older).find(|it| it.id == id)
    }
}
