//! Methods through whole requests, as a client sends them.

use serde_json::{Value, json};

use crate::demo::server::api;
use crate::demo::server::date::UtcDate;
use crate::demo::server::methods::CAPABILITIES;
use crate::demo::server::store::{IncomingMail, Store};

const NOW: UtcDate = UtcDate(1_785_931_200);

/// A user's client.
struct Client {
    store: Store,
    user: &'static str,
}

impl Client {
    fn of(user: &'static str) -> Self {
        Self { store: Store::new("test", NOW), user }
    }

    fn request(&mut self, request: &Value) -> Value {
        api::answer(&mut self.store, self.user, request.to_string().as_bytes(), NOW).unwrap()
    }

    /// All method responses to some calls `(name, arguments)`, their ids being their positions.
    fn calls(&mut self, calls: &[(&str, Value)]) -> Vec<(String, Value)> {
        let calls: Vec<Value> = calls
            .iter()
            .enumerate()
            .map(|(index, (name, arguments))| json!([name, arguments, index.to_string()]))
            .collect();
        let response = self.request(&json!({ "using": CAPABILITIES, "methodCalls": calls }));
        let responses: Vec<(String, Value, String)> =
            serde_json::from_value(response["methodResponses"].clone()).unwrap();
        responses.into_iter().map(|(name, result, _)| (name, result)).collect()
    }

    fn call(&mut self, name: &str, arguments: Value) -> Value {
        let (answered, result) = self.calls(&[(name, arguments)]).remove(0);
        assert_eq!(answered, name, "{result}");
        result
    }

    /// The type of the method-level error.
    fn error(&mut self, name: &str, arguments: Value) -> String {
        let (answered, result) = self.calls(&[(name, arguments)]).remove(0);
        assert_eq!(answered, "error", "{result}");
        result["type"].as_str().unwrap().to_owned()
    }

    fn mailbox(&mut self, account: &str, role: &str) -> String {
        let arguments = json!({ "accountId": account, "filter": { "role": role } });
        self.call("Mailbox/query", arguments)["ids"][0].as_str().unwrap().to_owned()
    }

    fn email(&mut self, account: &str) -> String {
        let found = self.call("Email/query", json!({ "accountId": account }));
        found["ids"][0].as_str().unwrap().to_owned()
    }
}

fn problem(body: &str) -> (String, u16) {
    let mut store = Store::new("test", NOW);
    let problem = api::answer(&mut store, "alice", body.as_bytes(), NOW).unwrap_err();
    (problem.kind.rsplit(':').next().unwrap().to_owned(), problem.status)
}

/// §3.6.1.
#[test]
fn a_request_that_cannot_be_taken_is_a_problem_of_its_own_type() {
    let calls = |count: usize| {
        let calls = vec![json!(["Core/echo", {}, "0"]); count];
        json!({ "using": CAPABILITIES, "methodCalls": calls }).to_string()
    };
    assert_eq!(problem("{"), ("notJSON".to_owned(), 400));
    assert_eq!(problem("[]"), ("notRequest".to_owned(), 400));
    let unknown = r#"{"using":["urn:x"],"methodCalls":[]}"#;
    assert_eq!(problem(unknown), ("unknownCapability".to_owned(), 400));
    assert_eq!(problem(&calls(33)), ("limit".to_owned(), 400));
}

/// §3.3: "If the client does not include a capability, the server MUST behave as if it did not
/// support it."
#[test]
fn a_method_exists_only_for_those_who_use_its_capability() {
    let mut client = Client::of("alice");
    let response = client.request(&json!({
        "using": ["urn:ietf:params:jmap:core"],
        "methodCalls": [["Core/echo", { "a": [1] }, "x"], ["Mailbox/get", {}, "y"]],
    }));
    assert_eq!(response["methodResponses"][0], json!(["Core/echo", { "a": [1] }, "x"]));
    assert_eq!(response["methodResponses"][1][0], "error");
    assert_eq!(response["methodResponses"][1][1]["type"], "unknownMethod");
    assert_eq!(response["methodResponses"][1][2], "y");
    assert_eq!(response.get("createdIds"), None);
}

/// §3.7, RFC 8621 §4.10: the first screen of a client in one request.
#[test]
fn one_request_leads_from_a_query_to_emails_and_their_threads() {
    let mut client = Client::of("alice");
    let inbox = client.mailbox("alice", "inbox");
    let reference =
        |of: &str, name: &str, path: &str| json!({ "resultOf": of, "name": name, "path": path });
    let responses = client.calls(&[
        (
            "Email/query",
            json!({
                "accountId": "alice",
                "filter": { "operator": "AND", "conditions": [{ "inMailbox": inbox }] },
                "sort": [{ "property": "receivedAt", "isAscending": false }],
                "limit": 10, "collapseThreads": true, "calculateTotal": true,
            }),
        ),
        (
            "Email/get",
            json!({
                "accountId": "alice",
                "#ids": reference("0", "Email/query", "/ids"),
                "properties": ["threadId", "subject", "bodyValues", "textBody"],
                "fetchTextBodyValues": true, "bodyProperties": ["partId", "type"],
            }),
        ),
        (
            "Thread/get",
            json!({
                "accountId": "alice",
                "#ids": reference("1", "Email/get", "/list/*/threadId"),
            }),
        ),
    ]);
    assert_eq!(responses[0].1["total"], 1);
    let email = &responses[1].1["list"][0];
    assert_eq!(email["subject"], "Welcome");
    assert_eq!(email["textBody"], json!([{ "partId": "1", "type": "text/plain" }]));
    assert!(email["bodyValues"]["1"]["value"].as_str().unwrap().starts_with("Hello Alice"));
    assert_eq!(responses[2].1["list"][0]["emailIds"], json!([email["id"]]));
}

#[test]
fn the_default_properties_of_an_email_are_all_there() {
    let mut client = Client::of("alice");
    let email = client.email("alice");
    let got =
        client.call("Email/get", json!({ "accountId": "alice", "ids": [email, "E9", email] }));
    assert_eq!(got["notFound"], json!(["E9"]));
    assert_eq!(got["list"].as_array().unwrap().len(), 1);
    let email = &got["list"][0];
    for name in super::email::property::DEFAULT {
        assert!(email.get(name).is_some(), "{name} in {email}");
    }
    assert_eq!(email["from"], json!([{ "name": "The demo", "email": "demo@demo.example" }]));
    assert_eq!((&email["receivedAt"], &email["sentAt"]), (&json!(NOW), &json!(NOW)));
    let unknown = json!({ "accountId": "alice", "properties": ["colour"] });
    assert_eq!(client.error("Email/get", unknown), "invalidArguments");
}

/// RFC 8621 §4.1.3.
#[test]
fn header_fields_come_in_the_form_asked_for() {
    let mut client = Client::of("alice");
    let got = client.call(
        "Email/get",
        json!({ "accountId": "alice", "properties": [
            "header:Subject", "header:subject:asText", "header:To:asAddresses:all", "header:X:asText",
        ] }),
    );
    let email = &got["list"][0];
    assert_eq!(email["header:Subject"], " Welcome");
    assert_eq!(email["header:subject:asText"], "Welcome");
    assert_eq!(email["header:To:asAddresses:all"][0][0]["email"], "alice@demo.example");
    assert_eq!(email["header:X:asText"], Value::Null);
}

/// §5.2, §5.3: what a set does is what changes tell, from its old state to its new.
#[test]
fn a_set_moves_the_state_and_changes_tell_what_it_did() {
    let mut client = Client::of("alice");
    let id = client.email("alice");
    let set = client.call(
        "Email/set",
        json!({ "accountId": "alice", "update": { id.clone(): { "keywords/$seen": true } } }),
    );
    assert_eq!(set["updated"], json!({ id.clone(): null }));
    let since = json!({ "accountId": "alice", "sinceState": set["oldState"] });
    let changes = client.call("Email/changes", since);
    assert_eq!(changes["updated"], json!([id]));
    assert_eq!(changes["newState"], set["newState"]);

    let mailboxes = client.call("Mailbox/get", json!({ "accountId": "alice" }));
    assert_eq!(mailboxes["list"][0]["unreadEmails"], 0);
    let since = json!({ "accountId": "alice", "sinceState": "test-5" });
    let counted = client.call("Mailbox/changes", since);
    assert_eq!(counted["updatedProperties"][1], "unreadEmails");

    let stale = json!({ "accountId": "alice", "ifInState": set["oldState"], "destroy": [id] });
    assert_eq!(client.error("Email/set", stale), "stateMismatch");
    let unknown = json!({ "accountId": "alice", "sinceState": "another-1" });
    assert_eq!(client.error("Email/changes", unknown), "cannotCalculateChanges");
}

#[test]
fn what_fails_in_a_set_fails_alone() {
    let mut client = Client::of("alice");
    let inbox = client.mailbox("alice", "inbox");
    let set = client.call(
        "Email/set",
        json!({ "accountId": "alice",
            "create": {
                "good": { "mailboxIds": { inbox.clone(): true }, "subject": "s" },
                "nowhere": { "mailboxIds": {} },
                "odd": { "mailboxIds": { inbox: true }, "colour": "red" },
            },
            "update": { "E9": { "keywords": {} } },
            "destroy": ["E9"],
        }),
    );
    assert!(set["created"]["good"]["threadId"].is_string());
    assert_eq!(set["notCreated"]["nowhere"]["type"], "invalidProperties");
    assert_eq!(set["notCreated"]["nowhere"]["properties"], json!(["mailboxIds"]));
    assert_eq!(set["notCreated"]["odd"]["type"], "invalidProperties");
    assert_eq!(set["notUpdated"]["E9"]["type"], "notFound");
    assert_eq!(set["notDestroyed"]["E9"]["type"], "notFound");
}

/// §5.3: a record may refer to one created in the same call, whatever the order.
#[test]
fn mailboxes_are_created_with_their_parents_and_keep_their_rules() {
    let mut client = Client::of("alice");
    let set = client.call(
        "Mailbox/set",
        json!({ "accountId": "alice", "create": {
            "a-child": { "name": "2026", "parentId": "#parent" },
            "parent": { "name": "Bills" },
            "twin": { "name": "Inbox" },
            "second": { "name": "Other", "role": "inbox" },
        } }),
    );
    let (parent, child) = (&set["created"]["parent"]["id"], &set["created"]["a-child"]["id"]);
    assert!(child.is_string(), "{set}");
    assert_eq!(set["notCreated"]["twin"]["properties"], json!(["name"]));
    assert_eq!(set["notCreated"]["second"]["properties"], json!(["role"]));

    let update = json!({ parent.as_str().unwrap(): { "parentId": child } });
    let set = client.call(
        "Mailbox/set",
        json!({ "accountId": "alice", "update": update, "destroy": [parent, child] }),
    );
    assert_eq!(set["notUpdated"][parent.as_str().unwrap()]["properties"], json!(["parentId"]));
    assert_eq!(set["notDestroyed"][parent.as_str().unwrap()]["type"], "mailboxHasChild");
    assert_eq!(set["destroyed"], json!([child]));
}

#[test]
fn a_mailbox_with_emails_goes_only_when_told_so() {
    let mut client = Client::of("alice");
    let inbox = client.mailbox("alice", "inbox");
    let destroy = json!({ "accountId": "alice", "destroy": [inbox] });
    let set = client.call("Mailbox/set", destroy);
    assert_eq!(set["notDestroyed"][&inbox]["type"], "mailboxHasEmail");
    let destroy =
        json!({ "accountId": "alice", "destroy": [inbox], "onDestroyRemoveEmails": true });
    assert_eq!(client.call("Mailbox/set", destroy)["destroyed"], json!([inbox]));
    let left = client.call("Email/query", json!({ "accountId": "alice" }));
    assert_eq!(left["ids"], json!([]));
}

/// §5.5.
#[test]
fn a_query_gives_the_window_asked_for() {
    let mut client = Client::of("alice");
    for subject in ["b", "Re: a", "c"] {
        let mail = IncomingMail { from: "x@x", subject, text: "tea at four" };
        client.store.deliver("alice", &mail, NOW).unwrap();
    }
    let mut subjects = |mut arguments: Value| -> Value {
        arguments["accountId"] = json!("alice");
        let reference = json!({ "resultOf": "0", "name": "Email/query", "path": "/ids" });
        let get = json!({ "accountId": "alice", "#ids": reference, "properties": ["subject"] });
        let responses = client.calls(&[("Email/query", arguments), ("Email/get", get)]);
        let list = responses[1].1["list"].as_array().unwrap().iter();
        list.map(|email| email["subject"].clone()).collect()
    };
    let sort = json!([{ "property": "subject" }]);
    assert_eq!(subjects(json!({ "sort": sort })), json!(["Re: a", "b", "c", "Welcome"]));
    assert_eq!(subjects(json!({ "sort": sort, "position": 1, "limit": 2 })), json!(["b", "c"]));
    assert_eq!(subjects(json!({ "sort": sort, "position": -1 })), json!(["Welcome"]));
    assert_eq!(
        subjects(json!({ "sort": sort, "anchor": "E0004", "anchorOffset": -1, "limit": 1 })),
        json!(["b"])
    );
    assert_eq!(subjects(json!({ "filter": { "text": "TEA four", "subject": "c" } })), json!(["c"]));
    let not = json!({ "operator": "NOT", "conditions": [{ "body": "tea" }] });
    assert_eq!(subjects(json!({ "filter": not })), json!(["Welcome"]));
    let mut error = |mut arguments: Value| {
        arguments["accountId"] = json!("alice");
        client.error("Email/query", arguments)
    };
    assert_eq!(error(json!({ "anchor": "E9" })), "anchorNotFound");
    assert_eq!(error(json!({ "filter": { "colour": "red" } })), "unsupportedFilter");
    assert_eq!(error(json!({ "sort": [{ "property": "colour" }] })), "unsupportedSort");
}

/// RFC 8621 §7.5.1: compose, send and file in one request.
#[test]
fn a_submission_reaches_the_recipient_and_files_what_was_sent() {
    let mut client = Client::of("alice");
    let (drafts, sent) = (client.mailbox("alice", "drafts"), client.mailbox("alice", "sent"));
    let identities = client.call("Identity/get", json!({ "accountId": "alice" }));
    let responses = client.calls(&[
        (
            "Email/set",
            json!({ "accountId": "alice", "create": { "draft": {
                "mailboxIds": { drafts: true },
                "keywords": { "$draft": true, "$seen": true },
                "from": [{ "email": "alice@demo.example" }],
                "to": [{ "name": "Bob", "email": "Bob@demo.example" }],
                "bcc": [{ "email": "secret@demo.example" }],
                "subject": "Tea?",
                "textBody": [{ "partId": "t", "type": "text/plain" }],
                "bodyValues": { "t": { "value": "At four." } },
            } } }),
        ),
        (
            "EmailSubmission/set",
            json!({ "accountId": "alice",
                "create": { "send": {
                    "identityId": identities["list"][0]["id"], "emailId": "#draft",
                } },
                "onSuccessUpdateEmail": { "#send": {
                    "mailboxIds": { sent.clone(): true }, "keywords/$draft": null,
                } },
            }),
        ),
    ]);
    let names: Vec<&str> = responses.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Email/set", "EmailSubmission/set", "Email/set"]);
    let draft = responses[0].1["created"]["draft"]["id"].as_str().unwrap();
    assert_eq!(responses[1].1["created"]["send"]["undoStatus"], "final");
    let filed = client.call("Email/get", json!({ "accountId": "alice", "ids": [draft] }));
    assert_eq!(filed["list"][0]["mailboxIds"], json!({ sent: true }));
    assert_eq!(filed["list"][0]["keywords"], json!({ "$seen": true }));

    let told = client.store.take_deliveries();
    assert_eq!(told.first().unwrap().account_id.as_str(), "bob");
    client.user = "bob";
    let email = client.email("bob");
    let arrived = client.call(
        "Email/get",
        json!({ "accountId": "bob", "ids": [email], "properties": ["subject", "preview", "bcc"] }),
    );
    assert_eq!(arrived["list"][0]["preview"], "At four.");
    assert_eq!(arrived["list"][0]["bcc"], Value::Null);
}

#[test]
fn a_copy_keeps_the_keywords_and_can_destroy_the_original() {
    let mut client = Client::of("alice");
    let (id, inbox) = (client.email("alice"), client.mailbox("team", "inbox"));
    let responses = client.calls(&[(
        "Email/copy",
        json!({ "fromAccountId": "alice", "accountId": "team",
            "create": { "k": { "id": id, "mailboxIds": { inbox: true } } },
            "onSuccessDestroyOriginal": true,
        }),
    )]);
    assert!(responses[0].1["created"]["k"]["id"].is_string(), "{responses:?}");
    assert_eq!(responses[0].1.get("updated"), None);
    assert_eq!(responses[1].0, "Email/set");
    assert_eq!(responses[1].1["destroyed"], json!([id]));
}

#[test]
fn a_vacation_response_is_one_and_can_only_be_updated() {
    let mut client = Client::of("alice");
    let set = client.call(
        "VacationResponse/set",
        json!({ "accountId": "alice",
            "create": { "k": {} },
            "update": { "singleton": { "isEnabled": true, "textBody": "Away." } },
            "destroy": ["singleton"],
        }),
    );
    assert_eq!(set["updated"], json!({ "singleton": null }));
    assert_eq!(set["notCreated"]["k"]["type"], "singleton");
    assert_eq!(set["notDestroyed"]["singleton"]["type"], "singleton");
    let got = client.call("VacationResponse/get", json!({ "accountId": "alice" }));
    assert_eq!(got["list"][0]["textBody"], "Away.");
    assert_eq!(got["state"], set["newState"]);
}

#[test]
fn a_shared_account_is_read_by_those_who_may_and_written_by_those_who_may() {
    let mut client = Client::of("bob");
    let id = client.email("team");
    let seen = json!({ "accountId": "team", "update": { id: { "keywords/$seen": true } } });
    assert_eq!(client.error("Email/set", seen.clone()), "accountReadOnly");
    assert_eq!(client.error("Email/get", json!({ "accountId": "alice" })), "accountNotFound");
    let mailboxes = client.call("Mailbox/get", json!({ "accountId": "team" }));
    assert_eq!(mailboxes["list"][0]["myRights"]["maySetSeen"], false);
    client.user = "alice";
    assert_eq!(client.call("Email/set", seen)["notUpdated"], json!({}));
}

/// §3.3 `createdIds`.
#[test]
fn creation_ids_go_from_one_request_to_the_next() {
    let mut client = Client::of("alice");
    let inbox = client.mailbox("alice", "inbox");
    let response = client.request(&json!({
        "using": CAPABILITIES,
        "createdIds": { "box": inbox },
        "methodCalls": [["Email/set", { "accountId": "alice", "create": {
            "k": { "mailboxIds": { "#box": true } },
        } }, "0"]],
    }));
    let created = &response["methodResponses"][0][1]["created"]["k"]["id"];
    assert!(created.is_string(), "{response}");
    assert_eq!(response["createdIds"], json!({ "box": inbox, "k": created }));
}
