//! The house rules that no lint of the compiler knows (docs/architecture.md): which module may use
//! which, what stays pure, where a crate may be named, how long a file may be.
//!
//! Reads the sources as text, with comments and literals blanked out, line by line: good enough for
//! code that rustfmt has formatted.

#![expect(clippy::string_slice, reason = "a test may panic, and sources are ASCII where it cuts")]

use source::{Source, inside_word, sources, word};

mod source;

/// Folders with Rust in them.
const EVERYWHERE: &[&str] = &["src", "tests", "bench", "fuzz"];

/// Files and folders without input, output, clock or runtime: what they need is passed in.
const PURE: &[&str] = &[
    "src/api/batch/mod.rs",
    "src/api/batch/refusal.rs",
    "src/api/batch/request.rs",
    "src/api/batch/response.rs",
    "src/api/invocation.rs",
    "src/api/observed/",
    "src/api/request/",
    "src/api/scanner/",
    "src/api/skip/",
    "src/api/tap.rs",
    "src/auth/tickets/seal.rs",
    "src/auth/tickets/used.rs",
    "src/downstream/guard/machine.rs",
    "src/downstream/redirect.rs",
    "src/downstream/router.rs",
    "src/event_source/encode.rs",
    "src/event_source/query/",
    "src/jmap/",
    "src/probe/answer/",
    "src/probe/plan/",
    "src/probe/quarantine/",
    "src/probe/round/",
    "src/probe/schedule/",
    "src/push/methods/",
    "src/push/rates.rs",
    "src/push/subscription.rs",
    "src/push/vault.rs",
    "src/push/target/address/",
    "src/push/target/outcome.rs",
    "src/push/target/url/",
    "src/push/vapid/",
    "src/relay/change.rs",
    "src/relay/ended.rs",
    "src/relay/event_stream/",
    "src/relay/pulse.rs",
    "src/relay/roster/",
    "src/relay/template.rs",
    "src/session/rewrite.rs",
    "src/state/",
    "src/websocket/encode.rs",
    "src/websocket/handshake.rs",
    "src/websocket/machine/",
    "src/websocket/message/",
    "src/websocket/wire/",
];

/// What a pure file must not name.
const IMPURE: &[&str] = &["tokio", "hyper", "redis", "async", "await", "Instant", "SystemTime"];

/// Crates that are one module's affair, so that they can be replaced there.
const CONFINED: &[(&str, &str)] = &[
    ("redis", "src/redis/"),
    ("pingora_ketama", "src/upstream/"),
    ("pingora_load_balancing", "src/upstream/"),
    ("tungstenite", "src/websocket/"),
    ("rusqlite", "src/push/store/"),
    ("argon2", "src/push/binding/"),
    ("rcgen", "src/demo/"),
    ("miniz_oxide", "src/websocket/"),
    ("tikv_jemallocator", "src/main.rs"),
];

/// The one file that may talk to the kernel without a net.
const UNSAFE: &str = "src/streams/sys.rs";

/// Lines of one file, its test module not counted.
const LONGEST_FILE: usize = 400;

/// Words that say nothing about what a thing is.
const EMPTY_WORDS: &[&str] = &["Manager", "Helper", "Util", "Common"];

#[test]
fn a_module_uses_only_modules_declared_above_it() {
    let order = declared_modules(&Source::read("src/lib.rs"));
    report(sources(&["src"]).flat_map(|source| wrong_arrows(&order, &source)));
}

#[test]
fn every_module_is_declared_in_the_picture() {
    let order = declared_modules(&Source::read("src/lib.rs"));
    report(sources(&["src"]).filter_map(|Source { path, .. }| {
        let module = module_of(&path)?;
        let known = order.iter().any(|name| name == module);
        (!known).then(|| format!("{path}: src/lib.rs declares no module `{module}`"))
    }));
}

#[test]
fn every_file_says_at_its_head_what_it_is() {
    report(sources(EVERYWHERE).filter_map(|Source { path, text, .. }| {
        (!text.starts_with("//! ")).then(|| format!("{path}:1: does not start with `//! `"))
    }));
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    report(sources(EVERYWHERE).filter_map(|source| {
        let (path, lines) = (&source.path, source.production().lines().count());
        (lines > LONGEST_FILE).then(|| format!("{path}: {lines} lines, more than {LONGEST_FILE}"))
    }));
}

#[test]
fn unsafe_code_is_in_one_file() {
    report(sources(&["src"]).filter(|source| source.path != UNSAFE).flat_map(|source| {
        source.naming("unsafe").map(|at| format!("{at}: `unsafe` outside {UNSAFE}"))
    }));
}

#[test]
fn a_confined_crate_is_named_in_its_module_only() {
    report(sources(&["src"]).flat_map(|source| unconfined(&source)));
}

#[test]
fn pure_files_take_time_and_input_as_arguments() {
    report(sources(&["src"]).filter(|source| is_pure(&source.path)).flat_map(|source| {
        IMPURE.iter().flat_map(move |word| {
            source.naming(word).map(move |at| format!("{at}: `{word}` in a pure file"))
        })
    }));
}

#[test]
fn every_pure_file_is_where_the_list_says() {
    let sources: Vec<Source> = sources(&["src"]).collect();
    let is_there = |pure: &&&str| sources.iter().any(|source| source.path.starts_with(**pure));
    report(PURE.iter().filter(|pure| !is_there(pure)).map(|pure| format!("{pure}: no such file")));
}

#[test]
fn names_say_what_a_thing_is() {
    report(sources(EVERYWHERE).flat_map(|source| {
        source.lines_where(|line| empty_name(line).is_some()).map(|(at, line)| {
            format!("{at}: `{}` says nothing, see the RFC", empty_name(&line).unwrap_or(&line))
        })
    }));
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["todo!(", "unimplemented!(", "#[ignore"];
    report(sources(EVERYWHERE).flat_map(|source| {
        source
            .lines_where(|line| marks.iter().any(|mark| line.contains(mark)))
            .map(|(at, line)| format!("{at}: {}", line.trim()))
    }));
}

/// The rules themselves, on a source that breaks each.
mod the_rules {
    use super::*;

    fn order() -> Vec<String> {
        ["jmap", "state", "hub", "api"].map(str::to_owned).into()
    }

    #[test]
    fn see_an_arrow_that_points_back() {
        let text =
            "//! A [`crate::hub`] link is no use.\nuse crate::jmap::id;\nuse crate::hub::Hub;\n";
        let found = wrong_arrows(&order(), &Source::new("src/state/mod.rs", text));
        assert_eq!(found, ["src/state/mod.rs:3: `state` uses `hub`, which is declared below it"]);
    }

    #[test]
    fn see_an_arrow_within_braces_over_lines() {
        let text = "use crate::{\n    hub::{Hub, api},\n    jmap,\n};\n";
        let found = wrong_arrows(&order(), &Source::new("src/state/mod.rs", text));
        assert_eq!(found, ["src/state/mod.rs:1: `state` uses `hub`, which is declared below it"]);
    }

    #[test]
    fn tell_a_crate_from_a_module_of_the_same_name() {
        let text = "use crate::redis::Link;\nuse redis::Client;\n// redis::Client\n";
        let found = unconfined(&Source::new("src/app.rs", text));
        assert_eq!(found, ["src/app.rs:2: `redis` belongs to src/redis/"]);
        assert!(unconfined(&Source::new("src/redis/link.rs", text)).is_empty());
    }

    #[test]
    fn know_empty_names() {
        assert_eq!(empty_name("pub struct StreamManager {"), Some("StreamManager"));
        assert_eq!(empty_name("    fn get_state(&self)"), Some("get_state"));
        assert_eq!(empty_name("pub enum DataType {"), None);
        assert_eq!(empty_name("let manager = 1;"), None);
    }
}

/// Fails with every violation, one a line, so that they are mended in one go.
fn report(violations: impl Iterator<Item = String>) {
    let violations: Vec<String> = violations.collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// Paths that name a module declared below their own.
fn wrong_arrows(order: &[String], source: &Source) -> Vec<String> {
    let path = &source.path;
    let Some(own) = module_of(path) else { return Vec::new() };
    let place = |name: &str| order.iter().position(|module| module == name);
    let code = source.production();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").filter(|(at, _)| !inside_word(code, *at)) {
        let number = code[..at].lines().count().max(1) + usize::from(code[..at].ends_with('\n'));
        for used in heads(&code[at + "crate::".len()..]) {
            if place(used) > place(own) {
                found.push(format!(
                    "{path}:{number}: `{own}` uses `{used}`, which is declared below it"
                ));
            }
        }
    }
    found
}

/// What a path after `crate::` starts with: `a::b` gives `a`; `{a::{b, c}, d}` gives `a` and `d`.
fn heads(path: &str) -> Vec<&str> {
    if !path.starts_with('{') {
        return vec![word(path)];
    }
    let mut heads = Vec::new();
    let mut depth = 0;
    for (at, letter) in path.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(letter, '{' | ',') {
            heads.push(word(path[at + 1..].trim_start()));
        }
    }
    heads
}

/// Lines that name a crate outside the module it is confined to.
fn unconfined(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (name, home) in CONFINED.iter().filter(|(_, home)| !source.path.starts_with(home)) {
        let lines = source.lines_where(|line| names_crate(line, name));
        found.extend(lines.map(|(at, _)| format!("{at}: `{name}` belongs to {home}")));
    }
    found
}

/// Whether a path on this line starts with the crate `name`.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let ends = line[at + name.len()..].starts_with("::");
        ends && !inside_word(line, at) && !line[..at].ends_with("::")
    })
}

/// The type or function declared on this line, if its name is an empty one.
fn empty_name(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |keyword: &str| {
        let at = words.iter().position(|word| *word == keyword)?;
        words.get(at + 1).map(|name| word(name))
    };
    let declared = ["struct", "enum", "trait", "type"].into_iter().find_map(after);
    declared
        .filter(|name| EMPTY_WORDS.iter().any(|empty| name.contains(empty)))
        .or_else(|| after("fn").filter(|name| name.starts_with("get_")))
}

/// The names after `mod` in `src/lib.rs`, in order.
fn declared_modules(source: &Source) -> Vec<String> {
    let lines = source.code.lines().map(|line| line.trim_start_matches("pub "));
    lines
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned))
        .collect()
}

/// `src/a/b.rs` and `src/a.rs` belong to `a`; the two crate roots to none.
fn module_of(path: &str) -> Option<&str> {
    let module = path.strip_prefix("src/")?.strip_suffix(".rs")?.split('/').next()?;
    (module != "main" && module != "lib").then_some(module)
}

fn is_pure(path: &str) -> bool {
    PURE.iter().any(|pure| path.starts_with(pure)) && !path.contains("/tests")
}
