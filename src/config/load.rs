//! From the four sources of settings to one [`Config`], or to every mistake in them at once.
//!
//! The sources are passed in. Only the files that settings name (secrets, certificates) are opened
//! here, by [`super::check`].

use std::collections::{BTreeMap, HashSet};

use super::Config;
use super::check;
use super::mistake::{Fault, Mistake, Mistakes};
use super::raw::Raw;
use super::reader::Reader;

/// Everything said about the settings. Precedence: flag > environment > file > built-in default.
///
/// Without `Debug`, for secrets may be among it.
#[derive(Clone, Default)]
pub struct Sources {
    /// The operator's file, if there is one.
    pub file: Option<SettingsFile>,
    /// The process environment, or as much of it as may matter.
    pub environment: BTreeMap<String, String>,
    /// Settings given on the command line.
    pub flags: Vec<Flag>,
}

/// A file in the form of `proxy.toml`, read.
#[derive(Clone, Default)]
pub struct SettingsFile {
    /// Its name, for mistakes.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl SettingsFile {
    pub(super) fn named(&self) -> (&str, &str) {
        (&self.path, &self.text)
    }
}

/// A setting on the command line.
#[derive(Clone)]
pub struct Flag {
    /// As typed: `--listen`.
    pub name: &'static str,
    /// As in `proxy.toml`: `downstream.listen`.
    pub key: &'static str,
    /// The value, in the same form as in a variable.
    pub value: String,
}

impl Config {
    /// Reads, overlays and checks all sources.
    ///
    /// # Errors
    ///
    /// Every mistake found, in the order of the file, then the environment, then the flags.
    pub fn load(sources: &Sources) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        let raw = Raw::layer(sources, &mut mistakes);
        let mut reader = Reader::new(&raw, mistakes);
        let config = check::config(&mut reader);
        let mut mistakes = reader.into_mistakes();

        mistakes.sort_by_key(|mistake| mistake.excerpt.order());
        // What the parser could not read says nothing: of such a line only its first error counts.
        let syntax = |mistake: &Mistake| matches!(mistake.fault, Fault::Syntax { .. });
        let unreadable: HashSet<_> =
            mistakes.iter().filter(|m| syntax(m)).map(|m| m.excerpt.line()).collect();
        let mut told = HashSet::new();
        mistakes.retain(|mistake| {
            let line = mistake.excerpt.line();
            !unreadable.contains(&line) || (syntax(mistake) && told.insert(line))
        });
        match config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(Mistakes(mistakes)),
        }
    }
}

impl Default for Config {
    /// What `proxy.toml` says.
    #[expect(clippy::expect_used, reason = "compiled in; tests/it/config.rs loads it")]
    fn default() -> Self {
        Self::load(&Sources::default()).expect("the built-in proxy.toml is right")
    }
}
