//! The Session resource (RFC 8620 §2), without push: its `eventSourceUrl` is empty.

use serde_json::{Map, Value, json};

use super::methods::{CAPABILITIES, CORE, MAIL, MAX_OBJECTS, SUBMISSION, VACATION, email};
use super::store::account::QUOTA;
use super::store::{Access, Store};

/// Octets of one upload.
pub(super) const MAX_UPLOAD: usize = 10 << 20;
/// Octets of one API request.
pub(super) const MAX_REQUEST: usize = 10 << 20;
/// Method calls in one API request.
pub(super) const MAX_CALLS: usize = 32;

/// Paths of the resources; the Session spells them as absolute URLs.
pub(super) const API: &str = "/jmap/api";
/// See [`API`].
pub(super) const UPLOAD: &str = "/jmap/upload/";
/// See [`API`].
pub(super) const DOWNLOAD: &str = "/jmap/download/";

/// The Session of a user, its URLs on the origin the request was sent to.
pub(super) fn session(store: &Store, user: &str, origin: &str) -> Value {
    let mut accounts = Map::new();
    let mut personal = "";
    for (id, account, access) in store.accounts_of(user) {
        let is_personal = access == Access::Owner;
        if is_personal {
            personal = id;
        }
        let capabilities = json!({
            CORE: {},
            MAIL: mail_capability(access),
            SUBMISSION: { "maxDelayedSend": 0, "submissionExtensions": {} },
            VACATION: {},
        });
        let account = json!({
            "name": account.name,
            "isPersonal": is_personal,
            "isReadOnly": access == Access::Read,
            "accountCapabilities": capabilities,
        });
        accounts.insert(id.clone(), account);
    }
    let primary: Map<String, Value> =
        CAPABILITIES.iter().map(|urn| ((*urn).to_owned(), json!(personal))).collect();
    json!({
        "capabilities": {
            CORE: {
                "maxSizeUpload": MAX_UPLOAD,
                "maxConcurrentUpload": 4,
                "maxSizeRequest": MAX_REQUEST,
                "maxConcurrentRequests": 8,
                "maxCallsInRequest": MAX_CALLS,
                "maxObjectsInGet": MAX_OBJECTS,
                "maxObjectsInSet": MAX_OBJECTS,
                "collationAlgorithms": [],
            },
            MAIL: {},
            SUBMISSION: {},
            VACATION: {},
        },
        "accounts": accounts,
        "primaryAccounts": primary,
        "username": user,
        "apiUrl": format!("{origin}{API}"),
        "downloadUrl": format!("{origin}{DOWNLOAD}{{accountId}}/{{blobId}}/{{name}}?accept={{type}}"),
        "uploadUrl": format!("{origin}{UPLOAD}{{accountId}}/"),
        "eventSourceUrl": "",
        "state": store.session_state(),
    })
}

/// RFC 8621 §1.3.1.
fn mail_capability(access: Access) -> Value {
    json!({
        "maxMailboxesPerEmail": null,
        "maxMailboxDepth": null,
        "maxSizeMailboxName": 200,
        "maxSizeAttachmentsPerEmail": QUOTA,
        "emailQuerySortOptions": email::query::SORTS,
        "mayCreateTopLevelMailbox": access != Access::Read,
    })
}
