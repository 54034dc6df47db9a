//! The push service as the proxy meets it, and as the page reads it.

use http::header::CONTENT_ENCODING;

use super::*;

/// A message to this path.
async fn post(inbox: &Inbox, path: &str, ttl: Option<&str>, body: Vec<u8>) -> StatusCode {
    let mut request = Request::post(path).header(CONTENT_ENCODING, "aes128gcm");
    if let Some(ttl) = ttl {
        request = request.header("ttl", ttl);
    }
    inbox.take(request.body(Full::new(Bytes::from(body))).unwrap()).await.status()
}

async fn started() -> (PushService, Drain) {
    let drain = Drain::default();
    (PushService::start(&drain).await.unwrap(), drain)
}

#[tokio::test]
async fn a_message_is_shown_to_who_looks_for_it_as_it_came() {
    let (service, _drain) = started().await;
    let (token, other) = (service.subscribe(), service.subscribe());
    let (look, path) = (service.messages(&token, 0), format!("/{token}"));
    let sent = post(&service.inbox, &path, Some("60"), vec![0xfb, 0xff]);
    let (found, status) = tokio::join!(look, sent);
    assert_eq!(status, StatusCode::CREATED);
    let headers = json!({ "content-encoding": "aes128gcm", "ttl": "60" });
    let expected = json!({ "number": 1, "headers": headers, "body": "-_8" });
    assert_eq!(found, Some(vec![expected]));
    assert_eq!(service.inbox.kept().after(&token, 1), Some(vec![]), "it has been seen");
    assert_eq!(service.inbox.kept().after(&other, 0), Some(vec![]), "it is another's");
}

#[tokio::test]
async fn what_rfc_8030_has_no_place_for_is_refused() {
    let (service, _drain) = started().await;
    let path = format!("/{}", service.subscribe());
    let inbox = &service.inbox;
    assert_eq!(post(inbox, "/guessed", Some("60"), vec![]).await, StatusCode::NOT_FOUND);
    assert_eq!(post(inbox, &path, None, vec![]).await, StatusCode::BAD_REQUEST);
    assert_eq!(post(inbox, &path, Some("-1"), vec![]).await, StatusCode::BAD_REQUEST);
    let longest = post(inbox, &path, Some("0"), vec![0; MOST_OCTETS]).await;
    assert_eq!(longest, StatusCode::CREATED);
    let longer = post(inbox, &path, Some("0"), vec![0; MOST_OCTETS + 1]).await;
    assert_eq!(longer, StatusCode::PAYLOAD_TOO_LARGE);
    let asked = Request::get(&path).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(inbox.take(asked).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn only_the_last_messages_and_push_resources_are_kept() {
    let (service, _drain) = started().await;
    let first = service.subscribe();
    let token = service.subscribe();
    for _ in 0..=MOST_MESSAGES {
        post(&service.inbox, &format!("/{token}"), Some("0"), vec![]).await;
    }
    let kept = service.messages(&token, 0).await.unwrap();
    assert_eq!(kept.len(), MOST_MESSAGES);
    assert_eq!(kept[0]["number"], 2);
    for _ in 0..MOST_RESOURCES - 1 {
        let _ = service.subscribe();
    }
    assert_eq!(service.messages(&first, 0).await, None);
    let gone = post(&service.inbox, &format!("/{first}"), Some("0"), vec![]).await;
    assert_eq!(gone, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_look_ends_without_a_message() {
    let inbox = Arc::<Inbox>::default();
    let address = SocketAddr::from((ADDRESS, 1));
    let service = PushService { address, certificate: "".into(), inbox };
    let token = service.subscribe();
    let began = tokio::time::Instant::now();
    assert_eq!(service.messages(&token, 0).await, Some(vec![]));
    assert_eq!(began.elapsed(), LOOK);
}

#[tokio::test]
async fn it_falls_with_the_drain() {
    let (service, drain) = started().await;
    let stream = TcpStream::connect(service.address).await.unwrap();
    drain.enter(Phase::Draining);
    tokio::time::timeout(Duration::from_secs(5), drain.idle()).await.unwrap();
    assert_eq!(drain.tracked(), 0);
    drop(stream);
    assert!(TcpStream::connect(service.address).await.is_err());
}
