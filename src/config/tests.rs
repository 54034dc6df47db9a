//! What the settings promise, where it needs the inside; the rest is `tests/it/config.rs`.

use std::collections::BTreeSet;

use super::raw::Raw;
use super::reader::Reader;
use super::{DEFAULTS, Sources, check};

/// The comment above `key = …` in a section of `proxy.toml`, its lines joined by spaces.
fn comment(key: &str) -> String {
    let (section, name) = key.rsplit_once('.').expect("a section");
    let (_, section) = DEFAULTS.split_once(&format!("\n[{section}]\n")).expect("its section");
    let mut comment = Vec::new();
    for line in section.lines() {
        match line.strip_prefix('#') {
            Some(text) => comment.push(text.trim()),
            None if line.starts_with(&format!("{name} = ")) => break,
            None => comment.clear(),
        }
    }
    comment.join(" ")
}

#[test]
fn proxy_toml_has_exactly_the_settings_that_are_read() {
    let raw = Raw::layer(&Sources::default(), &mut Vec::new());
    let mut reader = Reader::new(&raw, Vec::new());
    check::config(&mut reader).expect("the defaults are right");
    let read: BTreeSet<_> = reader.allowed().keys().copied().collect();
    let written: BTreeSet<_> = raw.keys().collect();
    assert_eq!(read, written);
}

#[test]
fn proxy_toml_names_the_range_and_choices_of_every_setting() {
    let raw = Raw::layer(&Sources::default(), &mut Vec::new());
    let mut reader = Reader::new(&raw, Vec::new());
    check::config(&mut reader).expect("the defaults are right");
    for (key, allowed) in reader.allowed() {
        let Some(allowed) = allowed else { continue };
        let kind = if allowed.starts_with('"') { "One of" } else { "Range" };
        let line = format!("{kind}: {allowed}.");
        assert!(comment(key).ends_with(&line), "{key}: {line} is not said by: {}", comment(key));
    }
}
