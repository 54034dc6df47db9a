//! `redis.url` as `check` reads it, and as the client of Redis does: what one refuses the other does.

use jmap_push_proxy::config::{Config, SettingsFile, Sources};
use jmap_push_proxy::redis::address::Address;

/// What `check` says of a URL, `None` when it is right.
fn check(url: &str) -> Option<String> {
    let file = SettingsFile { path: "proxy.toml".into(), text: format!("redis.url = '{url}'") };
    let sources = Sources { file: Some(file), ..Sources::default() };
    Config::load(&sources).err().map(|mistakes| mistakes.to_string())
}

#[test]
fn what_can_be_connected_to_is_right() {
    for url in [
        "redis://localhost",
        "redis://localhost/",
        "redis://user:p%40ss@r.example:7000/3",
        "redis://:secret@[::1]:7000",
        "rediss://[::1]/15",
        "redis+unix:///run/redis.sock",
        "redis+unix:///run/redis.sock?db=2&pass=secret",
        "redis+sentinel://:secret@a:26379,b:26380/main/2",
        "rediss+sentinel://[::1]:26379/main",
    ] {
        assert_eq!(check(url), None, "{url}");
        assert!(Address::parse(url, None).is_ok(), "{url}");
    }
}

#[test]
fn what_is_wrong_is_named_where_it_stands() {
    for (url, named) in [
        ("localhost:6379", "\"redis://host:6379\", "),
        ("http://localhost", "\"redis://host:6379\", "),
        ("redis+cluster://:hunter2@a:1,b:2/x", "\"redis://host:6379\", "),
        ("redis+unix://", "\"redis://host:6379\", "),
        ("redis://", "a host"),
        ("redis://:hunter2@", "a host"),
        ("redis://:hunter2@:6379", "a host"),
        ("redis://:hunter2@host:redis", "a port is a number from 1 to 65535"),
        ("redis://host:65536", "a port is a number from 1 to 65535"),
        ("redis://[::1]6379", "a port is a number from 1 to 65535"),
        ("redis://:hunter2/x@host", "a host behind \"://\"; in a password \"/\" is"),
        ("redis://host/mail", "a database is a number"),
        ("redis://host/-1x", "a database is a number"),
        ("rediss://:hunter2@host/#insecure", "nothing behind \"#\""),
        ("redis+sentinel://:hunter2@a:26379", "the service"),
        ("redis+sentinel://:hunter2@a:26379/", "the service"),
        ("redis+sentinel://a:port/main", "a port is a number from 1 to 65535"),
        ("redis+sentinel://a:26379,b:26379/main/mail", "a database is a number"),
    ] {
        let report = check(url).unwrap_or_else(|| panic!("{url} is accepted"));
        assert!(report.contains("`redis.url` is not an address of Redis"), "{url}: {report}");
        assert!(report.contains("--> proxy.toml:1:13"), "{url}: {report}");
        assert!(report.contains(&format!("^ {named}")), "{url}: {report}");
        assert!(!report.contains("hunter2"), "{report}");
        assert!(Address::parse(url, None).is_err(), "{url}");
    }
}
