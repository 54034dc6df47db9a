//! Credentials are never put into HTTP/2's compression tables, on either side (RFC 7541 §7.1.3).

use http::HeaderValue;
use jmap_push_proxy::config::UpstreamHttp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::http::{asking, exchange};
use crate::support::rig::{Rig, address_of};
use crate::support::upstream::Canned;
use crate::support::wait::within;

/// How a literal begins that is never indexed and whose name stands in the static table at this place
/// (RFC 7541 §6.2.3, appendix A).
const fn never_indexed(place: u8) -> [u8; 2] {
    [0x1f, place - 15]
}

const AUTHORIZATION: [u8; 2] = never_indexed(23);
const COOKIE: [u8; 2] = never_indexed(32);
const SET_COOKIE: [u8; 2] = never_indexed(55);

/// Reads until all of these have come.
async fn read_all(socket: &mut TcpStream, wanted: &[[u8; 2]]) {
    let mut read = Vec::new();
    let has = |read: &[u8], wanted: &[u8; 2]| read.windows(2).any(|two| two == wanted);
    while !wanted.iter().all(|wanted| has(&read, wanted)) {
        let more = within("bytes", socket.read_buf(&mut read)).await.unwrap();
        assert_ne!(more, 0, "ended");
    }
}

#[tokio::test]
async fn a_clients_go_to_upstream_without_being_remembered() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap();
    let rig = Rig::start(|config| {
        config.upstream.addresses = vec![address_of(address)];
        config.upstream.http = UpstreamHttp::Http2;
    })
    .await;
    let mut request = asking("GET", "/x", "alice");
    request.headers_mut().insert("cookie", HeaderValue::from_static("a=1"));
    let looking = async {
        let (mut socket, _) = upstream.accept().await.unwrap();
        read_all(&mut socket, &[AUTHORIZATION, COOKIE]).await;
    };
    let (answer, ()) = tokio::join!(exchange(rig.address, request), looking);
    assert_eq!(answer.unwrap().status(), 502);
    rig.end().await;
}

#[tokio::test]
async fn upstreams_go_to_a_client_without_being_remembered() {
    let rig = Rig::start(|_| {}).await;
    let headers = vec![("set-cookie", "secret=1")];
    rig.upstream.answer("/x", Canned { status: 200, headers, ..Canned::default() });
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    // GET http://a/x as HEADERS with END_STREAM and END_HEADERS (RFC 9113 §6.2).
    let fields = b"\x82\x86\x04\x02/x\x01\x01a";
    client.write_all(&[0, 0, 9, 1, 5, 0, 0, 0, 1]).await.unwrap();
    client.write_all(fields).await.unwrap();
    read_all(&mut client, &[SET_COOKIE]).await;
    rig.end().await;
}
