//! The settings from outside: what is accepted, what is refused and in which words.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use proptest::prelude::*;

use jmap_push_proxy::config::{
    Config, DEFAULTS, Flag, Listen, SettingsFile, Sources, UpstreamTarget, variable,
};

/// The `.toml` files of a folder below `tests/config`, in order.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/config").join(folder);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("the fixtures")
        .map(|entry| entry.expect("a fixture").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    paths
}

fn file(text: &str) -> Sources {
    let file = SettingsFile { path: "my.toml".to_owned(), text: text.to_owned() };
    Sources { file: Some(file), ..Sources::default() }
}

fn environment(variables: &[(&str, &str)]) -> Sources {
    let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Sources { environment: pairs.collect(), ..Sources::default() }
}

fn flag(name: &'static str, key: &'static str, value: &str) -> Flag {
    Flag { name, key, value: value.to_owned() }
}

fn report(sources: &Sources) -> String {
    Config::load(sources).expect_err("a mistake").to_string()
}

/// Every setting in a text of the form of `proxy.toml`, with its value as TOML writes it.
fn settings(text: &str) -> BTreeMap<String, String> {
    fn walk(path: &str, value: &toml::Value, settings: &mut BTreeMap<String, String>) {
        match value {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    let dot = if path.is_empty() { "" } else { "." };
                    walk(&format!("{path}{dot}{name}"), value, settings);
                }
            }
            leaf => {
                settings.insert(path.to_owned(), written(leaf));
            }
        }
    }
    fn written(value: &toml::Value) -> String {
        match value {
            toml::Value::String(text) => format!("{text:?}"),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(boolean) => boolean.to_string(),
            toml::Value::Array(items) => {
                format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", "))
            }
            other => panic!("no setting is {other:?}"),
        }
    }
    let mut settings = BTreeMap::new();
    walk("", &toml::Value::Table(text.parse().expect("TOML")), &mut settings);
    settings
}

#[test]
fn valid_files_are_accepted() {
    for path in fixtures("valid") {
        if path.ends_with("every_key.toml") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a fixture");
        Config::load(&file(&text))
            .unwrap_or_else(|mistakes| panic!("{}:\n{mistakes}", path.display()));
    }
}

/// `BLESS=1 cargo test` writes the reports anew; read the difference before you commit it.
#[test]
fn invalid_files_are_refused_in_these_words() {
    let fixtures = fixtures("invalid");
    assert!(fixtures.len() >= 12);
    for path in fixtures {
        let text = fs::read_to_string(&path).expect("a fixture");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let sources =
            Sources { file: Some(SettingsFile { path: name, text }), ..Sources::default() };
        let mistakes = Config::load(&sources).expect_err("mistakes");
        let report = format!("{mistakes}\n");
        let all = format!("{report} {mistakes:?}");
        assert!(!all.contains("hunter2"), "{}: a secret in\n{all}", path.display());
        let expected = path.with_extension("txt");
        if env::var_os("BLESS").is_some() {
            fs::write(&expected, &report).expect("the report is written");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(report, expected, "{}", path.display());
    }
}

#[test]
fn the_report_in_the_documentation_is_a_real_one() {
    let text = "\n\n[event_source]\nping_min = \"45s\"\n\n[probe]\nintervall = \"30s\"\n";
    let page = fs::read_to_string("docs/configuration.md").expect("the page");
    let report = report(&file(text));
    assert!(page.contains(&report), "{report}");
}

#[test]
fn the_built_in_file_given_as_a_file_changes_nothing() {
    let given = Config::load(&file(DEFAULTS)).expect("the defaults are right");
    assert_eq!(format!("{given:?}"), format!("{:?}", Config::default()));
}

#[test]
fn every_key_changes_the_configuration() {
    let text = fs::read_to_string("tests/config/valid/every_key.toml").expect("the fixture");
    let changed = settings(&text);
    let keys =
        |settings: &BTreeMap<String, String>| settings.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&changed), keys(&settings(DEFAULTS)));
    let default = format!("{:?}", Config::default());
    for (key, value) in &changed {
        let mut text = format!("{key} = {value}\n");
        // Neither goes without the other.
        for (half, other) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
            if *key == format!("downstream.tls.{half}") {
                text += &format!("downstream.tls.{other} = \"Cargo.toml\"\n");
            }
        }
        let config =
            Config::load(&file(&text)).unwrap_or_else(|mistakes| panic!("{key}:\n{mistakes}"));
        assert_ne!(format!("{config:?}"), default, "{key} has no effect");
    }
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let mut sources = Sources::default();
    let listens_at =
        |sources: &Sources| match Config::load(sources).expect("right").downstream.listen[0] {
            Listen::Tcp(address) => address.port(),
            Listen::Unix(_) => panic!("no socket was named"),
        };
    assert_eq!(listens_at(&sources), 8888);
    sources.file = file("downstream.listen = '127.0.0.1:1'").file;
    assert_eq!(listens_at(&sources), 1);
    sources.environment =
        environment(&[("JMAP_PUSH_PROXY__DOWNSTREAM__LISTEN", "127.0.0.1:2")]).environment;
    assert_eq!(listens_at(&sources), 2);
    sources.flags = vec![flag("--listen", "downstream.listen", "127.0.0.1:3")];
    assert_eq!(listens_at(&sources), 3);
}

#[test]
fn the_environment_can_set_every_type_of_value() {
    let config = Config::load(&environment(&[
        ("JMAP_PUSH_PROXY__DOWNSTREAM__HTTP2", "false"),
        ("JMAP_PUSH_PROXY__UPSTREAM__URL", "http://a.example:1, http://b.example:2"),
        ("JMAP_PUSH_PROXY__PROBE__BUDGET", "7"),
        ("JMAP_PUSH_PROXY__PROBE__INTERVAL", "1m30s"),
        ("JMAP_PUSH_PROXY__LIMITS__REQUEST_SIZE", "1MB"),
        ("JMAP_PUSH_PROXY__ADMIN__LISTEN", "off"),
        ("JMAP_PUSH_PROXY_CONFIG", "is not a setting"),
        ("PATH", "neither"),
    ]))
    .expect("right");
    assert!(!config.downstream.http2);
    let targets: Vec<_> =
        config.upstream.addresses.into_iter().map(|address| address.target).collect();
    let tcp = |host: &str, port| UpstreamTarget::Tcp(host.to_owned(), port);
    assert_eq!(targets, [tcp("a.example", 1), tcp("b.example", 2)]);
    assert_eq!(config.probe.budget, 7);
    assert_eq!(config.probe.interval, Duration::from_secs(90));
    assert_eq!(config.limits.request_size, 1 << 20);
    assert_eq!(config.admin.listen, None);
}

#[test]
fn every_key_has_a_variable() {
    for (key, value) in settings(DEFAULTS) {
        let word = value.trim_matches(['"', '[', ']']);
        let variable = variable(&key);
        Config::load(&environment(&[(&variable, word)]))
            .unwrap_or_else(|mistakes| panic!("{variable}={word}:\n{mistakes}"));
    }
}

#[test]
fn mistakes_in_variables_and_flags_show_their_name_and_value() {
    let mut sources = environment(&[
        ("JMAP_PUSH_PROXY__PROBE__INTERVAL", "soon"),
        ("JMAP_PUSH_PROXY__PROBE__INTERVALL", "30s"),
        ("JMAP_PUSH_PROXY__DOWNSTREAM__VIA", "a \u{fffd}"),
    ]);
    sources.flags = vec![flag("--listen", "downstream.listen", "8888")];
    let report = report(&sources);
    for line in [
        "JMAP_PUSH_PROXY__PROBE__INTERVAL=soon",
        "did you mean `JMAP_PUSH_PROXY__PROBE__INTERVAL`?",
        "`JMAP_PUSH_PROXY__DOWNSTREAM__VIA` is not UTF-8",
        "--listen=8888",
        "4 mistakes",
    ] {
        assert!(report.contains(line), "{line} is missing in\n{report}");
    }
}

#[test]
fn a_secret_comes_from_a_file_without_its_line_end() {
    let config = Config::load(&file("redis.url_file = 'tests/config/redis_url'")).expect("right");
    let url = config.redis.url.expect("a URL");
    assert_eq!(url.expose(), "redis://127.0.0.1:6379/0");
}

#[test]
fn of_a_secret_and_its_file_the_stronger_source_wins() {
    let mut sources = file("redis.url_file = 'tests/config/redis_url'");
    sources.flags = vec![flag("--redis", "redis.url", "off")];
    assert!(Config::load(&sources).expect("right").redis.url.is_none());
    sources.flags = vec![flag("--redis", "redis.url", "redis://other")];
    let url = Config::load(&sources).expect("right").redis.url.expect("a URL");
    assert_eq!(url.expose(), "redis://other");
}

#[test]
fn secrets_are_in_no_debug_output_and_no_mistake() {
    let mut sources = environment(&[
        ("JMAP_PUSH_PROXY__REDIS__URL", "redis://user:hunter2@127.0.0.1"),
        ("JMAP_PUSH_PROXY__REDIS__PASSWORD", "hunter2"),
        ("JMAP_PUSH_PROXY__UPSTREAM__HEADERS", "Authorization: Bearer hunter2"),
    ]);
    let config = Config::load(&sources).expect("right");
    assert_eq!(config.redis.password.as_ref().map(|secret| secret.expose()), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");

    sources.flags = vec![flag("--redis", "redis.url", "http://user:hunter2@127.0.0.1")];
    sources.environment.extend(
        environment(&[
            ("JMAP_PUSH_PROXY__REDIS__PASSWORT", "hunter2"),
            ("JMAP_PUSH_PROXY__UPSTREAM__HEADERS", "hunter2"),
            ("JMAP_PUSH_PROXY__UPSTREAM__URL", "https://user:hunter2@jmap.example.org"),
        ])
        .environment,
    );
    let mistakes = Config::load(&sources).expect_err("mistakes");
    assert_eq!(mistakes.count(), 4, "{mistakes}");
    assert!(!format!("{mistakes} {mistakes:?}").contains("hunter2"), "{mistakes} {mistakes:?}");
}

/// Right, and with a secret wherever one may stand.
const WITH_SECRETS: &str = "
redis.url = 'redis://user:hunter2@127.0.0.1' # hunter2
[upstream]
url = \"https://jmap.example.org\"
headers = [
    \"Authorization: Bearer hunter2\",
    'X-Key: hunter2',
]
[redis]
timeout = \"5s\"
password = \"\"\"
hunter2\"\"\"
[probe]
interval = \"30s\"
";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A slip of the finger anywhere in the file: at worst a report, never one that tells a secret.
    #[test]
    fn no_slip_of_the_finger_brings_a_secret_into_the_report(
        at in 0..WITH_SECRETS.len(),
        gone in 0..4_usize,
        put in "[]\\[\"'=#{},.:a \n]{0,3}",
    ) {
        let end = (at + gone).min(WITH_SECRETS.len());
        let mut text = WITH_SECRETS.to_owned();
        text.replace_range(at..end, &put);
        if let Err(mistakes) = Config::load(&file(&text)) {
            let told = format!("{mistakes} {mistakes:?}");
            prop_assert!(!told.contains("hunter2"), "{told}");
        }
    }
}

/// What an operator of Cyrus is told to write stands in two places, and is tried from one (tests/real).
#[test]
fn the_page_on_notifications_says_of_cyrus_what_proxy_toml_says() {
    let page = fs::read_to_string("docs/notify.md").expect("the page");
    let lines: Vec<_> =
        DEFAULTS.lines().filter_map(|line| line.strip_prefix("#   event_")).collect();
    assert_eq!(lines.len(), 4);
    for line in lines {
        assert!(page.lines().any(|known| known == format!("event_{line}")), "event_{line}");
    }
}
