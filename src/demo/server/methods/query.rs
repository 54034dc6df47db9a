//! What `/query` and `/queryChanges` are for every data type (RFC 8620 §5.5, §5.6).

use std::cmp::Ordering;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::MethodError;
use super::{Caller, MAX_OBJECTS, parse};
use crate::demo::server::store::Id;

/// §5.5. What a data type adds (`collapseThreads`) it reads for itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueryArguments {
    pub(crate) account_id: Id,
    #[serde(default)]
    filter: Value,
    #[serde(default)]
    pub(crate) sort: Option<Vec<Comparator>>,
    #[serde(default)]
    position: i64,
    #[serde(default)]
    anchor: Option<Id>,
    #[serde(default)]
    anchor_offset: i64,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    calculate_total: bool,
}

/// §5.5 `Comparator`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Comparator {
    pub(crate) property: String,
    #[serde(default = "ascending")]
    is_ascending: bool,
    /// RFC 8621 §4.4.2: for the sort by `hasKeyword`.
    #[serde(default)]
    pub(crate) keyword: Option<String>,
}

fn ascending() -> bool {
    true
}

impl Comparator {
    /// An order in this comparator's direction.
    pub(crate) fn directed(&self, ordering: Ordering) -> Ordering {
        if self.is_ascending { ordering } else { ordering.reverse() }
    }
}

/// §5.5 `FilterOperator` or `FilterCondition`.
#[derive(Debug)]
pub(crate) enum Filter<C> {
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Vec<Self>),
    Is(C),
}

impl<C: DeserializeOwned> Filter<C> {
    /// No filter is the one that nothing fails.
    pub(crate) fn parse(value: &Value) -> Result<Self, MethodError> {
        let Some(operator) = value.get("operator") else {
            return match value {
                Value::Null => Ok(Self::And(Vec::new())),
                condition => serde_json::from_value(condition.clone())
                    .map(Self::Is)
                    .map_err(|_| MethodError::UnsupportedFilter),
            };
        };
        let conditions = value.get("conditions").and_then(Value::as_array);
        let conditions: Option<Result<Vec<Self>, MethodError>> =
            conditions.map(|all| all.iter().map(Self::parse).collect());
        match (operator.as_str(), conditions) {
            (Some("AND"), Some(conditions)) => Ok(Self::And(conditions?)),
            (Some("OR"), Some(conditions)) => Ok(Self::Or(conditions?)),
            (Some("NOT"), Some(conditions)) => Ok(Self::Not(conditions?)),
            _ => Err(MethodError::InvalidArgument {
                argument: "filter".into(),
                expected: "an operator AND, OR or NOT with its conditions",
            }),
        }
    }

    /// Whether something passes, given how to judge it by one condition.
    pub(crate) fn admits(&self, judge: &impl Fn(&C) -> bool) -> bool {
        match self {
            Self::And(filters) => filters.iter().all(|filter| filter.admits(judge)),
            Self::Or(filters) => filters.iter().any(|filter| filter.admits(judge)),
            Self::Not(filters) => !filters.iter().any(|filter| filter.admits(judge)),
            Self::Is(condition) => judge(condition),
        }
    }
}

impl QueryArguments {
    /// The filter, of the data type's conditions.
    pub(crate) fn filter<C: DeserializeOwned>(&self) -> Result<Filter<C>, MethodError> {
        Filter::parse(&self.filter)
    }

    /// The response: the window of the results that was asked for.
    pub(crate) fn answer(&self, ids: &[&Id], query_state: &str) -> Result<Value, MethodError> {
        let length = i64::try_from(ids.len()).unwrap_or(i64::MAX);
        let start = match &self.anchor {
            Some(anchor) => {
                let found = ids.iter().position(|id| *id == anchor);
                let index = found.and_then(|index| i64::try_from(index).ok());
                index.ok_or(MethodError::AnchorNotFound)?.saturating_add(self.anchor_offset)
            }
            None if self.position < 0 => length.saturating_add(self.position),
            None => self.position,
        };
        let start = usize::try_from(start.max(0)).unwrap_or(usize::MAX);
        let limit = self.limit.unwrap_or(MAX_OBJECTS).min(MAX_OBJECTS);
        let window: Vec<&&Id> = ids.iter().skip(start).take(limit).collect();
        let mut response = json!({
            "accountId": self.account_id,
            "queryState": query_state,
            "canCalculateChanges": false,
            "position": if window.is_empty() { 0 } else { start },
            "ids": window,
        });
        if let Value::Object(members) = &mut response {
            if self.calculate_total {
                members.insert("total".to_owned(), json!(ids.len()));
            }
            // §5.5: "limit ... MUST only be returned if set by the server".
            if self.limit.is_none_or(|asked| asked > MAX_OBJECTS) {
                members.insert("limit".to_owned(), json!(MAX_OBJECTS));
            }
        }
        Ok(response)
    }
}

/// `/queryChanges` of any data type: `/query` said `canCalculateChanges: false`.
pub(crate) fn changes(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Arguments {
        account_id: Id,
    }
    let arguments: Arguments = parse(arguments)?;
    caller.account(&arguments.account_id)?;
    Err(MethodError::CannotCalculateChanges)
}
