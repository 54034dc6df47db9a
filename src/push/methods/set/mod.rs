//! `PushSubscription/set` (RFC 8620 §7.2.2, P6, P8, P9, P10, P11): §5.3 without `accountId` and states.
//!
//! One after the other: creations, updates, destructions. What comes of it takes effect only when the
//! [`Change`]s have been stored, all at once or, where that fails, not at all (`serverFail`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::error::{MethodError, SetError, SetErrorKind};
use super::{Caller, Change, Judges, Terms, find};
use crate::push::subscription::{Subscription, SubscriptionId};

mod create;
mod update;

/// What a call comes to.
#[derive(Debug)]
pub struct Outcome {
    /// The response's arguments.
    pub response: Value,
    /// For the store, in this order; then a verification goes to each that is new.
    pub changes: Vec<Change>,
    /// Creation ids of this call and the ids behind them (§3.3 `createdIds`).
    pub created: Vec<(String, SubscriptionId)>,
}

/// See the module.
///
/// # Errors
/// See [`MethodError`]. Then nothing is changed.
pub fn set<'a>(
    arguments: &Map<String, Value>,
    caller: &'a Caller<'a>,
    terms: &'a Terms<'a>,
    judges: Judges<'a>,
) -> Result<Outcome, MethodError> {
    let request = Request::read(arguments, terms.limits.objects_in_set)?;
    let mut set = Set::new(caller, terms, judges);
    for (creation_id, object) in request.create.iter().copied().flatten() {
        set.create(creation_id, object);
    }
    let destroy: Vec<(&str, Option<SubscriptionId>)> =
        request.destroy.iter().map(|id| (*id, set.resolve(id))).collect();
    for (id, patch) in request.update.iter().copied().flatten() {
        set.update(id, patch, &destroy);
    }
    for (id, found) in destroy {
        set.destroy(id, found);
    }
    Ok(set.outcome())
}

/// The arguments (§5.3).
struct Request<'a> {
    create: Option<&'a Map<String, Value>>,
    update: Option<&'a Map<String, Value>>,
    destroy: Vec<&'a str>,
}

impl<'a> Request<'a> {
    fn read(arguments: &'a Map<String, Value>, most: usize) -> Result<Self, MethodError> {
        let known = ["create", "update", "destroy"];
        if let Some(unknown) = arguments.keys().find(|name| !known.contains(&&***name)) {
            return Err(MethodError::argument(unknown, "no argument of PushSubscription/set"));
        }
        let objects = |name: &str| match arguments.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(objects)) if objects.values().all(Value::is_object) => {
                Ok(Some(objects))
            }
            Some(_) => Err(MethodError::argument(name, "null, or objects by id")),
        };
        let ids = || MethodError::argument("destroy", "null, or a list of ids");
        let destroy = match arguments.get("destroy") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => {
                list.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(ids)?
            }
            Some(_) => return Err(ids()),
        };
        let request = Self { create: objects("create")?, update: objects("update")?, destroy };
        let count = |objects: Option<&Map<_, _>>| objects.map_or(0, Map::len);
        let all = count(request.create) + count(request.update) + request.destroy.len();
        if all > most { Err(MethodError::RequestTooLarge) } else { Ok(request) }
    }
}

/// A call under way.
struct Set<'a> {
    caller: &'a Caller<'a>,
    terms: &'a Terms<'a>,
    judges: Judges<'a>,
    /// Those that this call has touched, as they are now; `None` once they are destroyed.
    touched: BTreeMap<SubscriptionId, Option<Subscription>>,
    changes: Vec<Change>,
    new: Vec<(String, SubscriptionId)>,
    /// Subscriptions of the user, as of now.
    of_user: usize,
    created: Map<String, Value>,
    updated: Map<String, Value>,
    destroyed: Vec<String>,
    not_created: BTreeMap<String, SetError>,
    not_updated: BTreeMap<String, SetError>,
    not_destroyed: BTreeMap<String, SetError>,
}

impl<'a> Set<'a> {
    fn new(caller: &'a Caller<'a>, terms: &'a Terms<'a>, judges: Judges<'a>) -> Self {
        Self {
            caller,
            terms,
            judges,
            touched: BTreeMap::new(),
            changes: Vec::new(),
            new: Vec::new(),
            of_user: caller.of_user,
            created: Map::new(),
            updated: Map::new(),
            destroyed: Vec::new(),
            not_created: BTreeMap::new(),
            not_updated: BTreeMap::new(),
            not_destroyed: BTreeMap::new(),
        }
    }

    /// What an id or `#creationId` stands for (§5.3), if that is one of the caller's.
    fn resolve(&self, id: &str) -> Option<SubscriptionId> {
        let Some(creation_id) = id.strip_prefix('#') else { return self.present(id) };
        let new = self.new.iter().rev().find(|(new, _)| new == creation_id);
        new.map(|(_, id)| *id).or_else(|| self.present(&(self.judges.created_before)(creation_id)?))
    }

    fn present(&self, id: &str) -> Option<SubscriptionId> {
        let id_here = SubscriptionId::parse(id)?;
        match self.touched.get(&id_here) {
            Some(touched) => touched.as_ref().map(|it| it.id),
            None => find(self.caller.owned, self.terms.now, id).map(|it| it.id),
        }
    }

    /// The subscription as this call has left it so far.
    fn current(&self, id: SubscriptionId) -> Option<&Subscription> {
        match self.touched.get(&id) {
            Some(touched) => touched.as_ref(),
            None => self.caller.owned.iter().copied().find(|owned| owned.id == id),
        }
    }

    /// Those of the caller that are there now.
    fn all(&self) -> impl Iterator<Item = &Subscription> {
        let now = self.terms.now;
        let touched = self.touched.values().flatten();
        let owned = self.caller.owned.iter().copied();
        let untouched =
            owned.filter(move |it| it.is_live(now) && !self.touched.contains_key(&it.id));
        touched.chain(untouched)
    }

    /// Takes it away, without a word in the response.
    fn remove(&mut self, id: SubscriptionId) {
        self.touched.insert(id, None);
        self.changes.push(Change::Destroy(id));
        self.of_user = self.of_user.saturating_sub(1);
    }

    fn update(&mut self, id: &str, patch: &Value, destroy: &[(&str, Option<SubscriptionId>)]) {
        let outcome = match (self.resolve(id), patch.as_object()) {
            (Some(found), _) if destroy.iter().any(|(_, doomed)| *doomed == Some(found)) => {
                Err(SetError::new(SetErrorKind::WillDestroy, "it is in `destroy` too"))
            }
            (Some(found), Some(patch)) => self.patch(found, patch).map(|changed| (found, changed)),
            _ => Err(SetError::not_found()),
        };
        match outcome {
            Ok((found, changed)) => drop(self.updated.insert(found.to_string(), changed)),
            Err(error) => drop(self.not_updated.insert(id.to_owned(), error)),
        }
    }

    /// `found` is what `id` stood for before the updates, of which one may have shown the last of too
    /// many wrong codes: then it is gone, as asked.
    fn destroy(&mut self, id: &str, found: Option<SubscriptionId>) {
        match found {
            Some(found) if self.destroyed.contains(&found.to_string()) => {}
            Some(found) => {
                if self.current(found).is_some() {
                    self.remove(found);
                }
                self.destroyed.push(found.to_string());
            }
            None => drop(self.not_destroyed.insert(id.to_owned(), SetError::not_found())),
        }
    }

    fn outcome(self) -> Outcome {
        let response = json!({
            "created": self.created,
            "updated": self.updated,
            "destroyed": self.destroyed,
            "notCreated": self.not_created,
            "notUpdated": self.not_updated,
            "notDestroyed": self.not_destroyed,
        });
        Outcome { response, changes: self.changes, created: self.new }
    }
}
