//! The settings as written, each with the place it comes from.
//!
//! The built-in `proxy.toml` says which settings there are; file, environment and flags are laid
//! over it. Nothing here knows what a value means.

use std::collections::{BTreeMap, BTreeSet};
use std::ops;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::load::{SettingsFile, Sources};
use super::mistake::{Fault, Mistake};
use super::report::Excerpt;

/// `proxy.toml` as compiled in.
pub const DEFAULTS: &str = include_str!("../../proxy.toml");

/// What a variable's name begins with.
pub const ENVIRONMENT_PREFIX: &str = "JMAP_PUSH_PROXY__";

/// Settings whose values are never shown.
const SECRETS: [&str; 7] = [
    "redis.url",
    "redis.password",
    "upstream.headers",
    "probe.headers",
    "auth.ticket_key",
    "notify.http.token",
    "push.key",
];

/// Where a value comes from; the later wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// The built-in file.
    Default(ops::Range<usize>),
    /// The operator's file.
    File(ops::Range<usize>),
    /// This variable.
    Environment(String),
    /// This flag.
    Flag(&'static str),
}

impl Source {
    /// Precedence.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Default(_) => 0,
            Self::File(_) => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

/// A value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A TOML string.
    Text(String),
    /// A variable or flag: text that may stand for any type.
    Word(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Entry>),
    /// A TOML type that no setting has, by name.
    Other(&'static str),
}

impl Value {
    /// What it is, for a mistake.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Word(_) => "text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) source: Source,
}

/// Which settings there are.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeSet<String>);

impl Known {
    pub(super) fn is_secret(&self, key: &str) -> bool {
        SECRETS.contains(&key)
    }

    /// Whether this is a setting, and none that holds a secret.
    pub(super) fn is_public(&self, key: &str) -> bool {
        self.0.contains(key) && !self.is_secret(key)
    }

    /// Whether the name of a secret setting occurs.
    pub(super) fn mentions_secret(&self, text: &str) -> bool {
        SECRETS.iter().any(|key| text.contains(last_name(key)))
    }

    /// Whether settings stand below this path.
    pub(super) fn is_section(&self, path: &str) -> bool {
        self.0.iter().any(|key| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The setting or section that an unknown path was probably meant to be: one that sounds alike
    /// in the same section, or the same name in another.
    fn nearest(&self, path: &str) -> Option<String> {
        let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
        let depth = if section.is_empty() { 0 } else { section.len() + 1 };
        let siblings = self
            .0
            .iter()
            .filter(|key| section.is_empty() || key.starts_with(&format!("{section}.")))
            .filter_map(|key| key.get(depth..)?.split('.').next());
        if let Some(sibling) = closest(name, siblings) {
            return Some(sibling.to_owned());
        }
        let alike = closest(name, self.0.iter().map(|key| last_name(key)))?;
        self.0.iter().find(|key| last_name(key) == alike).cloned()
    }
}

fn last_name(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// The word that sounds most like another, if any does.
pub(super) fn closest<'a>(word: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    among
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.84)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Every setting, from the layer that wins.
#[derive(Default)]
pub(super) struct Raw {
    pub(super) known: Known,
    entries: BTreeMap<String, Entry>,
    file: SettingsFile,
}

impl Raw {
    /// Lays the sources over the defaults; what is not a setting becomes a mistake.
    pub(super) fn layer(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Self {
        let mut raw = Self::default();
        let (table, errors) = DeTable::parse_recoverable(DEFAULTS);
        raw.syntax(("proxy.toml", DEFAULTS), errors, mistakes);
        raw.defaults("", table.get_ref());
        if let Some(file) = &sources.file {
            raw.file.clone_from(file);
            let (table, errors) = DeTable::parse_recoverable(&file.text);
            raw.syntax(file.named(), errors, mistakes);
            raw.file("", table.get_ref(), mistakes);
        }
        raw.environment(&sources.environment, mistakes);
        for flag in &sources.flags {
            let value = Value::Word(flag.value.clone());
            let entry = Entry { value, source: Source::Flag(flag.name) };
            raw.entries.insert(flag.key.to_owned(), entry);
        }
        raw
    }

    /// The winning value of a setting.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Every setting there is.
    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A mistake in a setting, pointing at where `entry` was written.
    pub(super) fn mistake(&self, key: &str, entry: &Entry, fault: Fault) -> Mistake {
        let secret = self.known.is_secret(key);
        let value = match &entry.value {
            Value::Word(word) if !secret => Some(word.as_str()),
            _ => Some("…"),
        };
        let excerpt = match &entry.source {
            Source::Default(span) => {
                Excerpt::of_file(("built-in proxy.toml", DEFAULTS), span, secret, &self.known)
            }
            Source::File(span) => Excerpt::of_file(self.file.named(), span, secret, &self.known),
            Source::Environment(name) => Excerpt::of_word(name, value),
            Source::Flag(name) => Excerpt::of_word(name, value),
        };
        Mistake { key: key.to_owned(), excerpt, fault }
    }

    fn syntax(
        &self,
        file: (&str, &str),
        errors: Vec<toml::de::Error>,
        mistakes: &mut Vec<Mistake>,
    ) {
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let excerpt = Excerpt::of_syntax(file, &span, &self.known);
            let fault = Fault::Syntax { message: error.message().to_owned() };
            mistakes.push(Mistake { key: String::new(), excerpt, fault });
        }
    }

    fn defaults(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = join(section, name.get_ref());
            if let DeValue::Table(table) = value.get_ref() {
                self.defaults(&path, table);
            } else {
                self.known.0.insert(path.clone());
                self.entries.insert(path, entry(value, Source::Default));
            }
        }
    }

    fn file(&mut self, section: &str, table: &DeTable<'_>, mistakes: &mut Vec<Mistake>) {
        for (name, value) in table {
            let path = join(section, name.get_ref());
            if self.known.0.contains(&path) {
                self.entries.insert(path, entry(value, Source::File));
                continue;
            }
            let fault = match value.get_ref() {
                DeValue::Table(table) if self.known.is_section(&path) => {
                    self.file(&path, table, mistakes);
                    continue;
                }
                _ if self.known.is_section(&path) => Fault::Section { name: path.clone() },
                _ => Fault::Unknown { meant: self.known.nearest(&path) },
            };
            let excerpt = Excerpt::of_file(self.file.named(), &name.span(), false, &self.known);
            mistakes.push(Mistake { key: path, excerpt, fault });
        }
    }

    fn environment(&mut self, variables: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) {
        let names: BTreeMap<String, &String> =
            self.known.0.iter().map(|key| (variable(key), key)).collect();
        for (name, value) in
            variables.iter().filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
        {
            let fault = match names.get(name) {
                Some(_) if value.contains(char::REPLACEMENT_CHARACTER) => Fault::Encoding,
                Some(key) => {
                    let source = Source::Environment(name.clone());
                    let entry = Entry { value: Value::Word(value.clone()), source };
                    self.entries.insert((*key).clone(), entry);
                    continue;
                }
                None => {
                    let meant = closest(name, names.keys().map(String::as_str));
                    Fault::Unknown { meant: meant.map(str::to_owned) }
                }
            };
            let excerpt = Excerpt::of_word(name, None);
            mistakes.push(Mistake { key: name.clone(), excerpt, fault });
        }
    }
}

/// The environment variable of a setting: `probe.interval` is `JMAP_PUSH_PROXY__PROBE__INTERVAL`.
#[must_use]
pub fn variable(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

fn entry(value: &Spanned<DeValue<'_>>, source: fn(ops::Range<usize>) -> Source) -> Entry {
    let as_written = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number of that size"), Value::Integer),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| entry(item, source)).collect())
        }
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::Other("a table"),
    };
    Entry { value: as_written, source: source(value.span()) }
}
