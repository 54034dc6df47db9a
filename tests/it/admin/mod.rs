//! The side doors (architecture D13): health with its reasons, and metrics (hostile.md X19).

use std::collections::BTreeSet;

use jmap_push_proxy::telemetry::metrics::Metrics;
use prometheus_client::encoding::text::encode;

use crate::support::http::{asking, exchange};
use crate::support::process::Process;
use crate::support::redis::{Redis, free_port};
use crate::support::upstream::{Fault, SESSION, Upstream};

#[tokio::test]
async fn each_door_answers_what_is_its_own() {
    let upstream = Upstream::start().await;
    let proxy = Process::start(upstream.address, &[]).await;
    for path in ["/livez", "/readyz", "/startupz"] {
        for door in [proxy.probes, proxy.admin] {
            let answer = proxy.ask(door, path).await;
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(answer.headers()["content-type"], "application/json");
        }
    }
    assert_eq!(proxy.ask(proxy.admin, "/metrics").await.status(), 200);
    assert_eq!(proxy.ask(proxy.probes, "/metrics").await.status(), 404);
    assert_eq!(proxy.ask(proxy.admin, "/quitquitquit").await.status(), 404);
    let post = exchange(proxy.admin, asking("POST", "/readyz", "alice")).await.unwrap();
    assert_eq!(post.status(), 405);
    assert_eq!(post.headers()["allow"], "GET, HEAD");
}

#[tokio::test]
async fn an_upstream_that_is_down_is_named_with_a_remedy() {
    let nobody = ([127, 0, 0, 1], free_port()).into();
    let proxy = Process::start(nobody, &[]).await;
    let answer = exchange(proxy.address, asking("GET", SESSION, "alice")).await.unwrap();
    assert_eq!(answer.status(), 502);
    // Clients get an error that says which neighbour is away: that is being ready.
    let body = proxy.ready(200).await;
    assert_eq!(body["status"], "degraded");
    let trouble = &body["troubles"]["upstream"];
    assert!(trouble["reason"].as_str().unwrap().contains("refused"), "{body}");
    assert_eq!(trouble["remedy"], "check that the JMAP server runs at upstream.url");
    assert_eq!(proxy.ask(proxy.probes, "/livez").await.status(), 200);
}

#[tokio::test]
async fn readiness_can_be_made_to_require_upstream() {
    let upstream = Upstream::start().await;
    let proxy = Process::start(upstream.address, &[("ADMIN__READY_REQUIRES", "upstream")]).await;
    proxy.ready(200).await;
    upstream.fail(SESSION, Fault::Close, u32::MAX);
    let ask = || exchange(proxy.address, asking("GET", SESSION, "alice"));
    assert_eq!(ask().await.unwrap().status(), 502);
    let body = proxy.ready(503).await;
    assert_eq!(body["status"], "unavailable");
    assert_eq!(body["reason"], "what admin.ready_requires names does not work");
    assert!(body["troubles"]["upstream"]["reason"].is_string(), "{body}");
    // It answers again: to whom does not matter.
    let other = exchange(proxy.address, asking("GET", "/elsewhere", "bob")).await.unwrap();
    assert_eq!(other.status(), 404);
    assert_eq!(proxy.ready(200).await["status"], "ok");
}

#[tokio::test]
async fn a_wrong_redis_password_is_named_and_not_shown() {
    let Some(redis) = Redis::start(&[]).await else { return };
    redis.cli(&["CONFIG", "SET", "requirepass", "right"]);
    let upstream = Upstream::start().await;
    let settings = [
        ("REDIS__URL", redis.url()),
        ("REDIS__PASSWORD", "canary-wrong".to_owned()),
        ("ADMIN__READY_REQUIRES", "push".to_owned()),
    ];
    let settings = settings.each_ref().map(|(key, value)| (*key, value.as_str()));
    let proxy = Process::start(upstream.address, &settings).await;
    let body = proxy.ready(503).await;
    let trouble = &body["troubles"]["redis"];
    assert!(trouble["reason"].as_str().unwrap().contains("password is wrong"), "{body}");
    assert!(trouble["remedy"].is_string(), "{body}");
    let log = proxy.log.lock().unwrap().join("\n");
    assert!(log.contains("password is wrong"), "{log}");
    for text in [body.to_string(), log] {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn every_metric_is_shown_and_documented() {
    let upstream = Upstream::start().await;
    // A family of metrics is shown once it has a member.
    let redis = format!("redis://127.0.0.1:{}", free_port());
    let proxy = Process::start(upstream.address, &[("REDIS__URL", &redis)]).await;
    let shown = scrape(&proxy).await;
    let (metrics, mut known) = (Metrics::default(), String::new());
    drop(metrics.redis_faults.get_or_create(&[("fault", "any")]));
    drop(metrics.notices.get_or_create(&[("source", "any")]));
    encode(&mut known, &metrics.registry()).unwrap();
    assert_eq!(descriptions(&shown), descriptions(&known));
    assert!(shown.ends_with("# EOF\n"));

    let page = std::fs::read_to_string("docs/metrics.md").unwrap();
    let rows: BTreeSet<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let mut due = BTreeSet::new();
    for (name, kind, help) in descriptions(&shown) {
        let suffix = if kind == "counter" { "_total" } else { "" };
        due.insert(format!("| `{name}{suffix}` | {kind} | {help} |"));
    }
    let due: BTreeSet<&str> = due.iter().map(String::as_str).collect();
    assert_eq!(rows, due, "docs/metrics.md lists these rows");
}

#[tokio::test]
async fn no_user_no_path_and_no_failure_makes_a_series_of_its_own() {
    let upstream = Upstream::start().await;
    let redis = format!("redis://127.0.0.1:{}", free_port());
    let proxy = Process::start(upstream.address, &[("REDIS__URL", &redis)]).await;
    let series = |text: String| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.to_owned()).collect()
    };
    let before: Vec<String> = series(scrape(&proxy).await);
    for number in 0..100 {
        let user = format!("user{number}");
        upstream.mail(|mail| mail.share(&user, &format!("a-{user}")));
        let event_source = format!("/jmap/eventsource/?types=T{number}&closeafter=bad&ping=0");
        for path in [SESSION, &format!("/path{number}?q={number}"), &event_source] {
            exchange(proxy.address, asking("GET", path, &user)).await.unwrap();
        }
    }
    let text = scrape(&proxy).await;
    assert!(!text.contains("{fault=\"refused\"} 0\n"), "the failure is counted: {text}");
    assert!(text.contains("jmap_push_requests_total 300\n"), "{text}");
    assert_eq!(series(text), before);
}

async fn scrape(proxy: &Process) -> String {
    let answer = proxy.ask(proxy.admin, "/metrics").await;
    let kind = answer.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    String::from_utf8(answer.body().to_vec()).unwrap()
}

/// Name, kind and help text of every metric.
fn descriptions(text: &str) -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    let mut help = ("", "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').unwrap();
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|s| s.split_once(' '))
        {
            assert_eq!(name, help.0, "a metric without help");
            found.insert((name.to_owned(), kind.to_owned(), help.1.to_owned()));
        }
    }
    found
}
