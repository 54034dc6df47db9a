//! What `/get`, `/changes` and `/set` are for every data type (RFC 8620 §5.1 to §5.3).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{MethodError, SetError, SetErrorKind};
use super::{MAX_OBJECTS, parse, select};
use crate::demo::server::store::Id;
use crate::demo::server::store::log::Changes;
use crate::demo::server::store::table::Table;

/// §5.1.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetArguments {
    pub(crate) account_id: Id,
    #[serde(default)]
    pub(crate) ids: Option<Vec<Id>>,
    #[serde(default)]
    pub(crate) properties: Option<Vec<String>>,
}

/// Answers `/get`; `render` makes the whole object of a record, `known` are its properties.
pub(crate) fn get<T>(
    arguments: &GetArguments,
    table: &Table<T>,
    known: &[&str],
    render: impl Fn(&Id, &T) -> Result<Value, MethodError>,
) -> Result<Value, MethodError> {
    let wanted = arguments.properties.iter().flatten();
    if wanted.into_iter().any(|name| name != "id" && !known.contains(&name.as_str())) {
        return Err(MethodError::InvalidArgument {
            argument: "properties".into(),
            expected: "names of properties of this data type",
        });
    }
    selected(arguments, table, |id, record| {
        let mut object = render(id, record)?;
        select(&mut object, arguments.properties.as_deref());
        Ok(object)
    })
}

/// [`get`] for a `render` that looks at `properties` itself.
pub(crate) fn selected<T>(
    arguments: &GetArguments,
    table: &Table<T>,
    render: impl Fn(&Id, &T) -> Result<Value, MethodError>,
) -> Result<Value, MethodError> {
    let ids: Vec<&Id> = match &arguments.ids {
        Some(ids) => ids.iter().collect(),
        None => table.iter().map(|(id, _)| id).collect(),
    };
    if ids.len() > MAX_OBJECTS {
        return Err(MethodError::RequestTooLarge);
    }
    let (mut list, mut not_found) = (BTreeMap::new(), Vec::new());
    let mut order = Vec::new();
    for id in ids {
        match table.get(id) {
            // §5.1: "If an identical id is included more than once in the request, the server MUST
            // only include it once".
            Some(_) if list.contains_key(id) => {}
            Some(record) => {
                list.insert(id, render(id, record)?);
                order.push(id);
            }
            None => not_found.push(id),
        }
    }
    let list: Vec<Value> = order.into_iter().filter_map(|id| list.remove(id)).collect();
    Ok(json!({
        "accountId": arguments.account_id,
        "state": table.state(),
        "list": list,
        "notFound": not_found,
    }))
}

/// §5.2.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangesArguments {
    pub(crate) account_id: Id,
    since_state: String,
    #[serde(default)]
    max_changes: Option<usize>,
}

impl ChangesArguments {
    /// What a table says to them.
    pub(crate) fn ask<T>(&self, table: &Table<T>) -> Result<Changes, MethodError> {
        if self.max_changes == Some(0) {
            return Err(MethodError::InvalidArgument {
                argument: "maxChanges".into(),
                expected: "a positive number, or null",
            });
        }
        let max = self.max_changes.unwrap_or(MAX_OBJECTS).min(MAX_OBJECTS);
        table.changes(&self.since_state, max).ok_or(MethodError::CannotCalculateChanges)
    }

    /// The response.
    pub(crate) fn answer<T>(&self, table: &Table<T>, changes: &Changes) -> Value {
        json!({
            "accountId": self.account_id,
            "oldState": self.since_state,
            "newState": table.state_at(changes.position),
            "hasMoreChanges": changes.has_more,
            "created": changes.created,
            "updated": changes.updated,
            "destroyed": changes.destroyed,
        })
    }
}

/// Answers `/changes` for a data type that adds nothing to it.
pub(crate) fn changes<T>(
    arguments: &ChangesArguments,
    table: &Table<T>,
) -> Result<Value, MethodError> {
    Ok(arguments.answer(table, &arguments.ask(table)?))
}

/// §5.3.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetArguments {
    pub(crate) account_id: Id,
    #[serde(default)]
    pub(crate) if_in_state: Option<String>,
    #[serde(default)]
    pub(crate) create: Option<BTreeMap<Id, Value>>,
    #[serde(default)]
    pub(crate) update: Option<BTreeMap<Id, Map<String, Value>>>,
    #[serde(default)]
    pub(crate) destroy: Option<Vec<Id>>,
}

impl SetArguments {
    /// Reads them, and refuses what is too much.
    pub(crate) fn parse(arguments: Value) -> Result<Self, MethodError> {
        let arguments: Self = parse(arguments)?;
        let count = arguments.create.as_ref().map_or(0, BTreeMap::len)
            + arguments.update.as_ref().map_or(0, BTreeMap::len)
            + arguments.destroy.as_ref().map_or(0, Vec::len);
        if count > MAX_OBJECTS { Err(MethodError::RequestTooLarge) } else { Ok(arguments) }
    }

    /// §5.3 `ifInState`.
    pub(crate) fn expect_state(&self, state: &str) -> Result<(), MethodError> {
        let expected = self.if_in_state.as_deref();
        if expected.is_none_or(|expected| expected == state) {
            Ok(())
        } else {
            Err(MethodError::StateMismatch)
        }
    }
}

/// The response to a `/set` as it comes together.
#[derive(Debug)]
pub(crate) struct SetResponse {
    account_id: Id,
    old_state: String,
    created: BTreeMap<Id, Value>,
    updated: BTreeMap<Id, Value>,
    destroyed: Vec<Id>,
    not_created: BTreeMap<Id, SetError>,
    not_updated: BTreeMap<Id, SetError>,
    not_destroyed: BTreeMap<Id, SetError>,
}

impl SetResponse {
    pub(crate) fn new(account_id: &str, old_state: String) -> Self {
        Self {
            account_id: account_id.to_owned(),
            old_state,
            created: BTreeMap::new(),
            updated: BTreeMap::new(),
            destroyed: Vec::new(),
            not_created: BTreeMap::new(),
            not_updated: BTreeMap::new(),
            not_destroyed: BTreeMap::new(),
        }
    }

    /// Notes what became of one `create`: the properties the server set.
    pub(crate) fn create(&mut self, creation_id: Id, outcome: Result<Value, SetError>) {
        match outcome {
            Ok(object) => drop(self.created.insert(creation_id, object)),
            Err(error) => drop(self.not_created.insert(creation_id, error)),
        }
    }

    /// Notes what became of one `update`. The server never changes more than it was asked to.
    pub(crate) fn update(&mut self, id: Id, outcome: Result<(), SetError>) {
        match outcome {
            Ok(()) => drop(self.updated.insert(id, Value::Null)),
            Err(error) => drop(self.not_updated.insert(id, error)),
        }
    }

    /// Notes what became of one `destroy`.
    pub(crate) fn destroy(&mut self, id: Id, outcome: Result<(), SetError>) {
        match outcome {
            Ok(()) => self.destroyed.push(id),
            Err(error) => drop(self.not_destroyed.insert(id, error)),
        }
    }

    /// The ids of the created records by creation id.
    pub(crate) fn created_ids(&self) -> impl Iterator<Item = (&Id, &str)> {
        self.created.iter().filter_map(|(key, object)| Some((key, object.get("id")?.as_str()?)))
    }

    pub(crate) fn into_value(self, new_state: &str) -> Value {
        json!({
            "accountId": self.account_id,
            "oldState": self.old_state,
            "newState": new_state,
            "created": self.created,
            "updated": self.updated,
            "destroyed": self.destroyed,
            "notCreated": self.not_created,
            "notUpdated": self.not_updated,
            "notDestroyed": self.not_destroyed,
        })
    }
}

/// `notFound`, for lookups of records in a `/set`.
pub(crate) fn not_found() -> SetError {
    SetError::from(SetErrorKind::NotFound)
}
