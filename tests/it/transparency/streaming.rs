//! Bodies pass as they come: nothing is held whole, nothing half is shown as whole.

use http::Request;

use crate::support::bulk::{self, Memory, Upload};
use crate::support::http::{asking, exchange, exchange_by};
use crate::support::rig::{Rig, call, setting};
use crate::support::upstream::{Canned, Fault, Frames, SESSION, account_of};

#[tokio::test]
async fn a_large_upload_streams_through() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.answer("/upload", Canned { status: 201, ..Canned::default() });
    let memory = Memory::now();
    let request = Request::post("/upload").body(Upload::default()).unwrap();
    let response = exchange(rig.address, request).await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(rig.upstream.last("/upload").length, bulk::LENGTH);
    memory.has_hardly_grown();
    rig.end().await;
}

#[tokio::test]
async fn a_large_download_streams_through() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.answer("/download", bulk::download());
    let memory = Memory::now();
    let length =
        exchange_by(rig.address, asking("GET", "/download", "alice"), bulk::length_of).await;
    assert_eq!(length.unwrap(), bulk::LENGTH);
    memory.has_hardly_grown();
    rig.end().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_shown_as_whole() {
    let rig = Rig::start(|_| {}).await;
    for headers in [vec![], vec![("content-length", "100")]] {
        let canned = Canned {
            status: 200,
            headers,
            body: Frames::broken("half of it"),
            ..Canned::default()
        };
        rig.upstream.answer("/half", canned);
        let answer = exchange(rig.address, asking("GET", "/half", "alice")).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    rig.end().await;
}

#[tokio::test]
async fn an_api_answer_that_breaks_off_is_never_shown_as_whole() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.fail("Email/set", Fault::Truncate, 1);
    let request = call("alice", &setting(&account_of("alice"), "Email"));
    let answer = exchange(rig.address, request).await;
    assert!(answer.is_err(), "{answer:?}");
    rig.end().await;
}

#[tokio::test]
async fn a_session_that_breaks_off_is_a_problem() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.fail(SESSION, Fault::Truncate, 1);
    let response = rig.ask("GET", SESSION, "alice").await;
    assert_eq!(response.status(), 502);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    rig.end().await;
}
