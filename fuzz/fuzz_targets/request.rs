//! What is read from a request is what a full parse finds in it.

#![no_main]

use jmap_push_proxy::api::{Changes, Request};
use jmap_push_proxy::api::request::MAX_CALLS;
use jmap_push_proxy::jmap::id::AccountId;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let request = Request::scan(body);
    if let Some(request) = &request {
        if let Changes::Accounts(accounts) = request.changes() {
            assert!(accounts.len() <= 2 * request.calls.len());
        }
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    if let Some(request) = &request {
        check(request, &value);
    }
    // Written anew no member is there twice: then only the shape decides.
    let again = value.to_string();
    let again = Request::scan(again.as_bytes());
    assert_eq!(again.is_some(), is_request(&value));
    if let Some(request) = again {
        check(&request, &value);
    }
});

fn check(request: &Request<'_>, value: &Value) {
    let calls = value["methodCalls"].as_array().expect("calls");
    assert_eq!(request.calls.len(), calls.len());
    for (call, value) in request.calls.iter().zip(calls) {
        let account = |name: &str| value[1][name].as_str().and_then(AccountId::parse);
        assert_eq!(Some(&*call.name), value[0].as_str());
        assert_eq!(call.account_id, account("accountId"));
        assert_eq!(call.from_account_id, account("fromAccountId"));
        assert_eq!(Some(&*call.call_id), value[2].as_str());
    }
}

fn is_request(value: &Value) -> bool {
    let is_call = |call: &Value| {
        matches!(
            call.as_array().map(Vec::as_slice),
            Some([Value::String(_), Value::Object(_), Value::String(_)])
        )
    };
    value.is_object()
        && value["methodCalls"]
            .as_array()
            .is_some_and(|calls| calls.len() <= MAX_CALLS && calls.iter().all(is_call))
}
