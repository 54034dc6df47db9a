//! From the four sources of settings to one [`Config`], or to every mistake in them at once.
//!
//! The sources are passed in. Only the files that settings name (secrets, certificates) are opened
//! here, by [`super::check`].

use std::collections::{BTreeMap, HashSet};

use super::Config;
use super::check;
use super::mistake::{Fault, Mistakes};
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

        // What the parser could not read says nothing; what seems wrong beside it is its doing.
        let unreadable: HashSet<_> = mistakes
            .iter()
            .filter(|mistake| matches!(mistake.fault, Fault::Syntax(_)))
            .filter_map(|mistake| mistake.excerpt.line())
            .collect();
        mistakes.retain(|mistake| {
            matches!(mistake.fault, Fault::Syntax(_))
                || mistake.excerpt.line().is_none_or(|line| !unreadable.contains(&line))
        });
        mistakes.sort_by_key(|mistake| mistake.excerpt.order());
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
