//! The request body that asks for an account's states (RFC 8620 §3.3, §5.1 ST2).
//!
//! Which types are wanted is decided by the tracker, which are left alone for now by
//! [`super::quarantine`], when to ask by [`super::schedule`].

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::jmap::capability::{CORE, TYPES, types_of};
use crate::jmap::id::{AccountId, DataType, State};
use crate::jmap::session::CoreLimits;
use crate::state::fact::PrincipalId;

/// The type whose changes are RFC 8621 §1.5's `EmailDelivery`. It has no methods; here it stands for
/// the `Email/changes` call that tells whether mail came.
pub const EMAIL_DELIVERY: &str = "EmailDelivery";

/// Names that appear before a slash but have no `/get` with a state (§4, §7.2.1, RFC 8621 §5).
const STATELESS: [&str; 5] = ["Core", "Blob", "PushSubscription", "SearchSnippet", EMAIL_DELIVERY];

/// Method calls in one request when the Session names no `maxCallsInRequest`. §2 advises servers to
/// allow at least 16.
const DEFAULT_CALLS: usize = 16;

/// Data types asked for about one account. When full: further ones are not asked for; the tracker
/// knows no more than this either.
pub const MAX_TYPES: usize = 64;

/// Changes listed by the `Email/changes` call: one that `created` something is enough.
const MAX_CHANGES: u32 = 50;

/// All that is known of an account at the moment it is asked about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Names of its `accountCapabilities` in the Session of [`Self::principal`] (§2).
    pub capabilities: Arc<[String]>,
    /// What to ask for, in this order: those of [`offered`] and those seen that somebody wants, as
    /// `Tracker::wanted_types` gives them. Email stands for `EmailDelivery`.
    pub types: Vec<DataType>,
    /// Where `Email/changes` starts if somebody wants `EmailDelivery`, as `Tracker::delivery_since`
    /// gives it.
    pub delivery_since: Option<State>,
    /// Limits of the Session's core capability (§2).
    pub limits: CoreLimits,
    /// Who asks.
    pub principal: PrincipalId,
}

/// The types that capabilities of an account bring, as far as we know them.
#[must_use]
pub fn offered(capabilities: &[String]) -> Vec<DataType> {
    let names = capabilities.iter().flat_map(|capability| types_of(capability));
    names.filter_map(|name| DataType::parse(name)).collect()
}

impl Subject {
    /// What is asked, in the order of asking. `EmailDelivery` comes after Email, so that a mail that
    /// arrives between the two calls is told twice rather than never.
    #[must_use]
    pub fn asked(&self) -> Vec<DataType> {
        let mut met = BTreeSet::new();
        let has_state = |name: &&DataType| !STATELESS.contains(&name.as_str());
        let types = self.types.iter().filter(has_state).filter(|name| met.insert(name.as_str()));
        let mut types: Vec<DataType> = types.take(MAX_TYPES).cloned().collect();
        let asks_email = types.iter().any(|name| name.as_str() == "Email");
        if asks_email && self.delivery_since.is_some() {
            types.extend(DataType::parse(EMAIL_DELIVERY));
        }
        types
    }

    /// Takes back capabilities that upstream refuses, and the types they bring.
    pub fn retain_capabilities(&mut self, is_known: impl Fn(&str) -> bool) {
        let (known, refused): (Vec<_>, Vec<_>) =
            self.capabilities.iter().cloned().partition(|capability| is_known(capability));
        if !refused.is_empty() {
            self.types.retain(|name| !refused.iter().any(|capability| brings(capability, name)));
            self.capabilities = known.into();
        }
    }

    /// Method calls that fit into one request; at least one.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.limits
            .max_calls_in_request
            .map_or(DEFAULT_CALLS, |max| usize::try_from(max).unwrap_or(usize::MAX))
            .max(1)
    }

    /// `using` (§3.3): core and what brings the asked types. For a type of which we do not know what
    /// brings it, everything the account has.
    fn using(&self, types: &[DataType]) -> Vec<String> {
        let mut using = BTreeSet::from([CORE]);
        for data_type in types {
            let mut brought_by =
                self.capabilities.iter().filter(|name| brings(name, data_type)).peekable();
            if brought_by.peek().is_some() {
                using.extend(brought_by.map(String::as_str));
            } else {
                using.extend(self.capabilities.iter().map(String::as_str));
            }
        }
        using.into_iter().map(String::from).collect()
    }
}

fn brings(capability: &str, data_type: &DataType) -> bool {
    let asked = match data_type.as_str() {
        EMAIL_DELIVERY => "Email",
        name => name,
    };
    TYPES.iter().any(|(urn, types)| *urn == capability && types.contains(&asked))
}

/// One API request of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The JSON to POST to `apiUrl`.
    pub body: Bytes,
    /// The account asked about.
    pub account: AccountId,
    /// What is asked, one method call each; the call id is the name of the type.
    pub types: Vec<DataType>,
    /// The capabilities named in it.
    pub using: Vec<String>,
    /// Where `Email/changes` starts, when `EmailDelivery` is among the types.
    pub since: Option<State>,
}

/// The request that asks for `types` of an account.
#[must_use]
pub fn request(account: &AccountId, subject: &Subject, types: Vec<DataType>) -> Request {
    let using = subject.using(&types);
    let is_delivery = |data_type: &&DataType| data_type.as_str() == EMAIL_DELIVERY;
    let since = types.iter().find(is_delivery).and(subject.delivery_since.clone());
    let method_calls = types
        .iter()
        .filter_map(|data_type| Call::new(account.as_str(), data_type.as_str(), since.as_ref()))
        .collect();
    let body = serde_json::to_vec(&Body { using: &using, method_calls }).unwrap_or_default();
    Request { body: body.into(), account: account.clone(), types, using, since }
}

/// §3.3 Request object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    using: &'a [String],
    method_calls: Vec<Call<'a>>,
}

/// §3.2 Invocation: `[name, arguments, method call id]`.
struct Call<'a> {
    data_type: &'a str,
    arguments: Arguments<'a>,
}

impl<'a> Call<'a> {
    /// `None` for `EmailDelivery` without a state to start from.
    fn new(account_id: &'a str, data_type: &'a str, since: Option<&'a State>) -> Option<Self> {
        let arguments = if data_type == EMAIL_DELIVERY {
            let since_state = since?.as_str();
            Arguments::Changes { account_id, since_state, max_changes: MAX_CHANGES }
        } else {
            Arguments::Get { account_id, ids: [] }
        };
        Some(Self { data_type, arguments })
    }
}

impl Serialize for Call<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (method(self.data_type), &self.arguments, self.data_type).serialize(serializer)
    }
}

/// The method that asks for a type.
pub(super) fn method(data_type: &str) -> String {
    match data_type {
        EMAIL_DELIVERY => "Email/changes".to_owned(),
        name => format!("{name}/get"),
    }
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Arguments<'a> {
    /// §5.1: an empty `ids` is valid and still gets a `state` (ST2).
    Get { account_id: &'a str, ids: [&'a str; 0] },
    /// §5.2.
    Changes { account_id: &'a str, since_state: &'a str, max_changes: u32 },
}

#[cfg(test)]
mod tests;
