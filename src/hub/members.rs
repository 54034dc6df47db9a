//! Who comes, wants something else, and goes.

use std::sync::Arc;

use super::audience::{Audience, Hub, Inner, TooMany, Wish};
use super::codec::Codec;
use super::view::{Subscriber, View};
use super::wake::Wake;
use crate::auth::{CredentialKey, Principal};
use crate::state::fact::AccountKey;
use crate::state::types::TypeFilter;

impl Hub {
    /// A stream of `principal`, authenticated by `credential`, subscribes.
    ///
    /// # Errors
    /// When the user has too many streams.
    pub fn subscribe(
        self: &Arc<Self>,
        credential: CredentialKey,
        principal: &Arc<Principal>,
        wish: &Wish<'_>,
    ) -> Result<Subscriber, TooMany> {
        let mut inner = self.lock();
        let count = inner.users.entry(principal.id).or_default();
        if self.limits.per_user > 0 && *count >= self.limits.per_user {
            return Err(TooMany(*count));
        }
        *count += 1;
        Ok(self.enter(&mut inner, (credential, principal), wish, true))
    }

    /// Somebody subscribes who is not connected, and so counts as none of the user's streams.
    pub fn subscribe_absent(
        self: &Arc<Self>,
        credential: CredentialKey,
        principal: &Arc<Principal>,
        wish: &Wish<'_>,
    ) -> Subscriber {
        let mut inner = self.lock();
        self.enter(&mut inner, (credential, principal), wish, false)
    }

    fn enter(
        self: &Arc<Self>,
        inner: &mut Inner,
        (credential, principal): (CredentialKey, &Arc<Principal>),
        wish: &Wish<'_>,
        is_live: bool,
    ) -> Subscriber {
        inner.audiences.entry(credential).or_insert_with(|| Audience {
            credential,
            principal: Arc::clone(principal),
            accounts: Vec::new(),
            views: Vec::new(),
            subscribers: 0,
            live: 0,
            revoked: false,
        });
        self.adopt(inner, credential, principal);
        let view = self.view(inner, credential, wish.filter, wish.codec);
        if let Some(audience) = inner.audiences.get_mut(&credential) {
            audience.subscribers += 1;
            audience.live += usize::from(is_live);
        }
        // Still under the lock: a publication comes before this subscriber or is pending for it.
        Subscriber::new(Arc::clone(self), view, wish.last_event_id, is_live)
    }

    /// The view for a filter and transport, made on its first use: it then begins to watch.
    fn view(
        &self,
        inner: &mut Inner,
        credential: CredentialKey,
        filter: &TypeFilter,
        codec: &'static Codec,
    ) -> Arc<View> {
        let known = inner.audience(credential).and_then(|audience| {
            audience.views.iter().find(|view| view.is(filter, codec)).map(Arc::clone)
        });
        if let Some(view) = known {
            return view;
        }
        let seq = inner.tracker.seq();
        let view = Arc::new(View::new(credential, filter.clone(), codec, seq));
        let keys: Vec<_> =
            inner.audience(credential).into_iter().flat_map(Audience::keys).cloned().collect();
        if let Some(audience) = inner.audiences.get_mut(&credential) {
            audience.views.push(Arc::clone(&view));
        }
        self.comings().note(credential);
        for key in keys {
            self.watch(inner, &key, filter);
        }
        view
    }

    /// A subscriber of `view` wants `filter` from now on: the view for that, where it is a member now.
    pub(super) fn change(
        &self,
        inner: &mut Inner,
        view: &Arc<View>,
        wake: &Arc<Wake>,
        filter: &TypeFilter,
    ) -> Arc<View> {
        if !inner.audiences.contains_key(&view.audience) {
            return Arc::clone(view);
        }
        let wanted = self.view(inner, view.audience, filter, view.codec);
        if !Arc::ptr_eq(&wanted, view) {
            self.quit(inner, view, wake);
            wanted.join(wake);
        }
        wanted
    }

    /// Takes a member from a view, which ends with its last.
    fn quit(&self, inner: &mut Inner, view: &Arc<View>, wake: &Arc<Wake>) {
        if !view.leave(wake) {
            return;
        }
        let Some(audience) = inner.audiences.get_mut(&view.audience) else { return };
        audience.views.retain(|known| !Arc::ptr_eq(known, view));
        self.comings().note(view.audience);
        let keys: Vec<AccountKey> = audience.keys().cloned().collect();
        for key in &keys {
            self.unwatch(inner, key, &view.filter);
        }
    }

    /// A subscriber of `view` is gone.
    pub(super) fn leave(&self, view: &Arc<View>, wake: &Arc<Wake>, is_live: bool) {
        let mut inner = self.lock();
        self.quit(&mut inner, view, wake);
        let Some(audience) = inner.audiences.get_mut(&view.audience) else { return };
        audience.subscribers -= 1;
        audience.live -= usize::from(is_live);
        let (principal, last) = (audience.principal.id, audience.subscribers == 0);
        if last {
            let keys: Vec<AccountKey> = audience.keys().cloned().collect();
            inner.audiences.remove(&view.audience);
            for key in &keys {
                inner.stop_watching(key, view.audience);
                self.see_to(&mut inner, key);
            }
        }
        inner.discount(principal, usize::from(is_live));
    }
}
