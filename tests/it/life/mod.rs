//! The process from its start to its end (architecture D12): signals, readiness, exit codes, and what
//! the command says of itself.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::http::{asking, exchange};
use crate::support::process::{Process, command};
use crate::support::sse::EventStream;
use crate::support::upstream::{SESSION, Upstream, account_of};

const SECOND: Duration = Duration::from_secs(1);

async fn listen(proxy: &Process) -> EventStream {
    let target = "/jmap/eventsource/?types=*&closeafter=no&ping=0";
    EventStream::open(proxy.address, target, &[("Authorization", "Bearer alice")]).await
}

#[tokio::test]
async fn sigterm_is_told_by_readyz_while_all_is_still_served() {
    let upstream = Upstream::start().await;
    let settings = [("DRAIN__PRE_STOP", "1s"), ("DRAIN__WINDOW", "1s"), ("PROBE__INTERVAL", "1h")];
    let proxy = Process::start(upstream.address, &settings).await;
    let mut stream = listen(&proxy).await;

    let begin = Instant::now();
    proxy.signal(Signal::TERM);
    let body = proxy.ready(503).await;
    assert_eq!(body["reason"], "the process is stopping");
    let session = exchange(proxy.address, asking("GET", SESSION, "alice")).await.unwrap();
    assert_eq!(session.status(), 200);
    let mut second = listen(&proxy).await;
    assert_eq!(proxy.ask(proxy.probes, "/livez").await.status(), 200);
    proxy.closed().await;
    assert!(begin.elapsed() >= SECOND, "closed after {:?}", begin.elapsed());

    assert!(stream.next().await.is_none(), "a whole response");
    assert!(second.next().await.is_none(), "a whole response");
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn streams_end_one_after_another_over_the_window() {
    let upstream = Upstream::start().await;
    let settings = [("DRAIN__PRE_STOP", "0"), ("DRAIN__WINDOW", "2s"), ("PROBE__INTERVAL", "1h")];
    let proxy = Process::start(upstream.address, &settings).await;
    let mut streams = JoinSet::new();
    for _ in 0..30 {
        let mut stream = listen(&proxy).await;
        streams.spawn(async move {
            assert!(stream.next().await.is_none(), "a whole response");
            assert!(stream.comments.last().unwrap().starts_with(b"retry: "));
            Instant::now()
        });
    }
    proxy.signal(Signal::TERM);
    let mut ends = streams.join_all().await;
    ends.sort();
    // By chance, evenly: that thirty fall into a quarter of the window does not happen.
    let spread = ends[29] - ends[0];
    assert!(spread > SECOND / 2, "all within {spread:?}");
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_now() {
    let upstream = Upstream::start().await;
    for second in [Signal::TERM, Signal::INT] {
        let settings = [("DRAIN__PRE_STOP", "10m"), ("DRAIN__WINDOW", "1h")];
        let proxy = Process::start(upstream.address, &settings).await;
        let _stream = listen(&proxy).await;
        proxy.signal(Signal::TERM);
        proxy.ready(503).await;
        proxy.signal(second);
        assert_eq!(proxy.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn an_interrupt_ends_it_in_order_too() {
    let upstream = Upstream::start().await;
    let settings = [("DRAIN__PRE_STOP", "0"), ("DRAIN__WINDOW", "1s")];
    let proxy = Process::start(upstream.address, &settings).await;
    let mut stream = listen(&proxy).await;
    proxy.signal(Signal::INT);
    assert!(stream.next().await.is_none(), "a whole response");
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn healthcheck_says_by_its_exit_code_how_it_is() {
    let upstream = Upstream::start().await;
    let proxy = Process::start(upstream.address, &[("DRAIN__PRE_STOP", "10m")]).await;
    let probes = proxy.probes.to_string();
    let check = async |endpoint: &str| {
        let output = command(&["healthcheck", endpoint, "--probes", &probes]).output().await;
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for endpoint in ["livez", "readyz", "startupz"] {
        assert_eq!(check(endpoint).await, (Some(0), String::new()), "{endpoint}");
    }
    proxy.signal(Signal::TERM);
    proxy.ready(503).await;
    let (code, told) = check("readyz").await;
    assert_eq!(code, Some(1));
    assert!(told.contains("the process is stopping"), "{told}");
    assert_eq!(check("livez").await.0, Some(0));
    proxy.signal(Signal::TERM);
    proxy.ended().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_70_and_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--admin", "--probes"] {
        let mut words = vec![flag, address.as_str()];
        for other in ["--listen", "--admin", "--probes"] {
            if other != flag {
                words.extend([other, "127.0.0.1:0"]);
            }
        }
        let output = command(&words).output().await.unwrap();
        assert_eq!(output.status.code(), Some(70), "{flag}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(&address) && told.contains("in use"), "{flag}: {told}");
    }
}

#[tokio::test]
async fn a_mail_that_comes_while_stopping_is_still_told() {
    let upstream = Upstream::start().await;
    let settings = [("DRAIN__PRE_STOP", "10m"), ("PROBE__INTERVAL", "1s")];
    let proxy = Process::start(upstream.address, &settings).await;
    let mut stream = listen(&proxy).await;
    // What came before the first answer to the probe is no news.
    upstream.asked("Email/get", 2).await;
    proxy.signal(Signal::TERM);
    proxy.ready(503).await;
    upstream.deliver("alice");
    let account = account_of("alice");
    let state = upstream.mail(|mail| mail.state(&account, "Email"));
    stream.told(&account, "Email", &state).await;
    proxy.signal(Signal::TERM);
    proxy.ended().await;
}

#[tokio::test]
async fn help_knows_every_flag_that_the_documentation_names() {
    // Of cargo, of tests/run, of websocat, of curl.
    let of_others = BTreeSet::from([
        "--release",
        "--long",
        "--offline",
        "--locked",
        "--protocol",
        "--unix-socket",
    ]);
    let (mut known, mut named) = (String::new(), BTreeSet::new());
    for words in
        [&["--help"][..], &["run", "--help"], &["check", "--help"], &["healthcheck", "--help"]]
    {
        let output = command(words).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0));
        known += &String::from_utf8(output.stdout).unwrap();
    }
    for page in ["README.md", "docs/configuration.md", "docs/notify.md"] {
        let text = std::fs::read_to_string(page).unwrap();
        for word in text.split_whitespace() {
            // Without quotes, commas, brackets.
            let flag = word.trim_matches(|c: char| !c.is_ascii_lowercase() && c != '-');
            let is_flag = flag.starts_with("--") && flag.contains(char::is_alphabetic);
            if is_flag && !of_others.contains(flag) {
                assert!(known.contains(&format!("{flag} ")), "{page} names {flag}");
                named.insert(flag.to_owned());
            }
        }
    }
    // --admin, --config, --listen, --log, --probes, --public-url, --redis, --upstream.
    assert_eq!(named.len(), 8, "{named:?}");
}
