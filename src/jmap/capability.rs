//! Which data types a capability brings, for the probe (architecture D8).
//!
//! Only types that have a `Foo/get` with a state: no `SearchSnippet`, no `EmailDelivery`
//! (RFC 8621 §1.5: it has no methods), no `PushSubscription` (§7.2.1: no state).

/// `urn:ietf:params:jmap:core` (§2), which every probe names in `using`.
pub const CORE: &str = "urn:ietf:params:jmap:core";

/// RFC 8887 §3.
pub const WEBSOCKET: &str = "urn:ietf:params:jmap:websocket";

/// RFC 9749 §3.
pub const VAPID: &str = "urn:ietf:params:jmap:webpush-vapid";

/// draft-ietf-jmap-refplus: references in places, and of kinds, that RFC 8620 §3.7 knows nothing of (A10).
pub const ENHANCED_REFERENCES: &str = "urn:ietf:params:jmap:refplus";

/// Linagora's extension: credentials for URLs ([`crate::auth::tickets`]).
pub const TICKETS: &str = "com:linagora:params:jmap:ws:ticket";

/// Capabilities that we may add to a Session, and that upstream then need not know: a request that names
/// one in `using` is sent on without it (A5).
pub const OWN: &[&str] = &[WEBSOCKET, TICKETS, VAPID];

/// `(capability, data types)`, as registered by the RFC named beside it.
pub const TYPES: &[(&str, &[&str])] = &[
    // RFC 8621 §1.3
    ("urn:ietf:params:jmap:mail", &["Mailbox", "Email", "Thread"]),
    ("urn:ietf:params:jmap:submission", &["Identity", "EmailSubmission"]),
    ("urn:ietf:params:jmap:vacationresponse", &["VacationResponse"]),
    // RFC 9425, RFC 9661, RFC 9610, RFC 9670
    ("urn:ietf:params:jmap:quota", &["Quota"]),
    ("urn:ietf:params:jmap:sieve", &["SieveScript"]),
    ("urn:ietf:params:jmap:contacts", &["AddressBook", "ContactCard"]),
    ("urn:ietf:params:jmap:principals", &["Principal", "ShareNotification"]),
    // drafts with deployed servers: JMAP Calendars, JMAP FileNode
    (
        "urn:ietf:params:jmap:calendars",
        &["Calendar", "CalendarEvent", "CalendarEventNotification", "ParticipantIdentity"],
    ),
    ("urn:ietf:params:jmap:filenode", &["FileNode"]),
];

/// The data types a capability brings; empty for one we do not know.
#[must_use]
pub fn types_of(capability: &str) -> &'static [&'static str] {
    TYPES.iter().find(|(urn, _)| *urn == capability).map_or(&[], |(_, types)| types)
}
