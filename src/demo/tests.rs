//! The composition: what is started, and what a person is told.

use std::convert::Infallible;

use super::*;
use crate::drain::Phase;

#[tokio::test]
async fn the_proxy_is_put_before_the_server_and_everything_falls_with_the_drain() {
    let drain = Drain::default();
    let mut out = Vec::new();
    let mut upstream = None;
    let front = Front {
        address: SocketAddr::from(([127, 0, 0, 1], 8888)),
        event_source_path: "/jmap/eventsource/".to_owned(),
    };
    let started = start(&drain, &mut out, async |server| {
        upstream = Some(server.address);
        Ok::<_, Infallible>(front.clone())
    });
    assert_eq!(started.await.unwrap(), front);
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains(&format!("http://{}", upstream.unwrap())), "{out}");
    assert!(out.contains("  http://127.0.0.1:8888/\n"), "{out}");
    assert!(out.contains("'http://127.0.0.1:8888/jmap/eventsource/?types=*&"), "{out}");
    assert!(out.contains(r#"-d '{"accountId":"team"}'"#), "{out}");
    drain.enter(Phase::Draining);
    drain.idle().await;
    assert!(tokio::net::TcpStream::connect(upstream.unwrap()).await.is_err());
}

#[tokio::test]
async fn a_proxy_that_does_not_start_is_the_error() {
    #[derive(Debug, thiserror::Error)]
    #[error("the port is taken")]
    struct Taken;

    let drain = Drain::default();
    let mut out = Vec::new();
    let started = start(&drain, &mut out, async |_server| Err(Taken)).await;
    assert!(matches!(started, Err(Error::Proxy(Taken))));
    assert!(out.is_empty(), "nothing is promised");
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    for file in [include_str!("page.html"), include_str!("web_push.js"), include_str!("worker.js")]
    {
        for mark in ["@import", ": url(", "https://", "//cdn"] {
            assert!(!file.contains(mark), "{mark}");
        }
        for source in file.split("src=").skip(1) {
            assert!(source.starts_with("\"/demo/"), "{source:.40}");
        }
    }
}
