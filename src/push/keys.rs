//! The VAPID keys in use (RFC 8292; RFC 9749 §3, §5; protocol.md §1.6): the one that is advertised, and those that older
//! subscriptions were made under.

use super::vapid::{InvalidKey, VapidKey};

/// The keys by the number that subscriptions refer to them by, oldest first; never empty.
#[derive(Debug)]
pub(super) struct VapidKeys {
    current: (u32, VapidKey),
    older: Vec<(u32, VapidKey)>,
}

impl VapidKeys {
    /// Reads what the store has, oldest first; `None` where it has none.
    ///
    /// # Errors
    /// When one is no key.
    pub(super) fn read(stored: &[super::store::VapidKey]) -> Result<Option<Self>, InvalidKey> {
        let mut keys = Vec::with_capacity(stored.len());
        for key in stored {
            keys.push((key.id, VapidKey::from_der(&key.pkcs8)?));
        }
        Ok(keys.pop().map(|current| Self { current, older: keys }))
    }

    /// The number of the one that is advertised.
    pub(super) fn current_id(&self) -> u32 {
        self.current.0
    }

    /// The one that is advertised.
    pub(super) fn current(&self) -> &VapidKey {
        &self.current.1
    }

    /// The one of this number.
    pub(super) fn get(&self, id: u32) -> Option<&VapidKey> {
        let all = std::iter::once(&self.current).chain(&self.older);
        all.into_iter().find(|(known, _)| *known == id).map(|(_, key)| key)
    }
}
