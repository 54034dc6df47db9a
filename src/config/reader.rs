//! Takes settings out of [`Raw`] by name and type; what does not fit becomes a mistake.
//!
//! Every method gives `None` for a value that is wrong, after noting why, so that a caller reads on
//! and one run finds all mistakes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::mistake::{Fault, Mistake};
use super::quantity::{Range, Unit};
use super::raw::{Entry, Raw, Value, closest};

/// Reads settings and collects mistakes.
pub(super) struct Reader<'a> {
    raw: &'a Raw,
    mistakes: Vec<Mistake>,
    /// Which settings were read, each with the values it allows where they can be listed; the tests
    /// hold it against `proxy.toml`.
    allowed: BTreeMap<&'static str, Option<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(raw: &'a Raw, mistakes: Vec<Mistake>) -> Self {
        Self { raw, mistakes, allowed: BTreeMap::new() }
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes
    }

    #[cfg(test)]
    pub(super) fn allowed(&self) -> &BTreeMap<&'static str, Option<String>> {
        &self.allowed
    }

    /// Notes a mistake in `key`, at the place its value comes from.
    pub(super) fn wrong(&mut self, key: &'static str, fault: Fault) {
        if let Some(entry) = self.entry(key) {
            self.wrong_at(key, entry, fault);
        }
    }

    /// Notes that two settings do not fit, at the one that was set with more force: it is the one
    /// the operator touched.
    pub(super) fn conflict(&mut self, a: &'static str, b: &'static str, why: &'static str) {
        let rank = |key| self.raw.entry(key).map(|entry| entry.source.rank());
        let (at, other) = if rank(a) > rank(b) { (a, b) } else { (b, a) };
        self.wrong(at, Fault::Conflict { other, why });
    }

    /// Text as it stands.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, |text| Ok(text.to_owned()))
    }

    /// Text that must have a form.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        self.parsed_at(key, entry, &parse)
    }

    /// The same, where empty is none at all.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<Option<T>> {
        self.parsed(key, |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) })
    }

    /// The same, where `off` is none, too.
    pub(super) fn switched<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<Option<T>> {
        self.parsed(key, |text| if is_off(text) { Ok(None) } else { parse(text).map(Some) })
    }

    /// A list, each item of a form and none twice. Of one value the brackets may be left out; in
    /// the environment commas separate.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let entry = self.entry(key)?;
        let mut list = Vec::new();
        let mut sound = true;
        for item in items(entry) {
            match self.parsed_at(key, &item, &parse) {
                Some(value) if list.contains(&value) => self.wrong_at(key, &item, Fault::Twice),
                Some(value) => list.push(value),
                None => sound = false,
            }
        }
        sound.then_some(list)
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let entry = self.entry(key)?;
        match &entry.value {
            Value::Boolean(boolean) => return Some(*boolean),
            Value::Word(word) if word == "true" => return Some(true),
            Value::Word(word) if word == "false" => return Some(false),
            other => {
                let fault = Fault::Kind { wanted: "true or false", found: other.kind() };
                self.wrong_at(key, entry, fault);
            }
        }
        None
    }

    /// A duration in milliseconds, a size in bytes or a count, within its range.
    pub(super) fn amount(&mut self, key: &'static str, range: Range) -> Option<u64> {
        self.allowed.insert(key, Some(range.to_string()));
        let entry = self.entry(key)?;
        let unit = range.unit();
        let amount = match (&entry.value, unit) {
            (Value::Integer(number), Unit::Count) => u64::try_from(*number).ok(),
            (Value::Integer(0), _) => Some(0),
            (Value::Word(text), _) | (Value::Text(text), Unit::Time | Unit::Size) => {
                unit.parse(text)
            }
            _ => None,
        };
        let fault = match amount {
            Some(amount) if range.contains(amount) => return Some(amount),
            Some(_) => Fault::Range { allowed: range.to_string() },
            None => not_an_amount(unit),
        };
        self.wrong_at(key, entry, fault);
        None
    }

    /// One of a closed set of words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        options: &[(&'static str, T)],
    ) -> Option<T> {
        self.allowed.insert(key, Some(list_options(options)));
        self.parsed(key, |text| choose(text, options))
    }

    /// Any of a closed set of words.
    pub(super) fn choices<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        options: &[(&'static str, T)],
    ) -> Option<Vec<T>> {
        self.allowed.insert(key, Some(list_options(options)));
        self.list(key, |text| choose(text, options))
    }

    /// A secret, given by itself (`key`) or in a file (`file_key`). From one source both are a
    /// mistake; from two, precedence decides.
    pub(super) fn secret<T>(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        parse: impl Fn(&str) -> Result<Option<T>, Fault>,
    ) -> Option<Option<T>> {
        let itself = self.parsed(key, &parse);
        let file = self.secret_file(key, file_key, itself.as_ref().is_some_and(Option::is_some));
        let (itself, file) = (itself?, file?);
        let Some(path) = file else { return Some(itself) };
        self.read(file_key, path, parse)
    }

    /// The same for a list: each line of the file that is not empty is one item.
    pub(super) fn secrets<T: PartialEq>(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let itself = self.list(key, &parse);
        let file = self.secret_file(key, file_key, itself.as_ref().is_some_and(|l| !l.is_empty()));
        let (itself, file) = (itself?, file?);
        let Some(path) = file else { return Some(itself) };
        self.read(file_key, path, |text| {
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(&parse).collect()
        })
    }

    /// The file to read a secret from, if it is to be read from one.
    fn secret_file(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        is_given: bool,
    ) -> Option<Option<PathBuf>> {
        let Some(path) = self.optional(file_key, |text| Ok(PathBuf::from(text)))? else {
            return Some(None);
        };
        let rank = self.entry(key)?.source.rank();
        match rank.cmp(&self.entry(file_key)?.source.rank()) {
            Ordering::Greater => Some(None),
            Ordering::Equal if is_given => {
                self.wrong(file_key, Fault::Conflict { other: key, why: "give the secret once" });
                None
            }
            Ordering::Equal | Ordering::Less => Some(Some(path)),
        }
    }

    fn read<T>(
        &mut self,
        file_key: &'static str,
        path: PathBuf,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let read = fs::read_to_string(&path);
        let secret = read
            .map_err(|source| Fault::Unreadable { path, source })
            .and_then(|text| parse(text.trim_end_matches(['\n', '\r'])));
        secret.map_err(|fault| self.wrong(file_key, fault)).ok()
    }

    /// A file that must be there, empty for none.
    pub(super) fn file(&mut self, key: &'static str) -> Option<Option<PathBuf>> {
        self.optional(key, |text| {
            let path = Path::new(text).to_owned();
            match fs::File::open(&path) {
                Ok(_) => Ok(path),
                Err(source) => Err(Fault::Unreadable { path, source }),
            }
        })
    }

    fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.allowed.entry(key).or_default();
        let entry = self.raw.entry(key);
        if entry.is_none() {
            let nowhere = Entry {
                value: Value::Text(String::new()),
                source: super::raw::Source::Default(0..0),
            };
            self.wrong_at(key, &nowhere, Fault::Undocumented);
        }
        entry
    }

    fn parsed_at<T>(
        &mut self,
        key: &'static str,
        entry: &Entry,
        parse: &impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let parsed = match &entry.value {
            Value::Text(text) | Value::Word(text) => parse(text),
            other => Err(Fault::Kind { wanted: "text in quotes", found: other.kind() }),
        };
        parsed.map_err(|fault| self.wrong_at(key, entry, fault)).ok()
    }

    fn wrong_at(&mut self, key: &'static str, entry: &Entry, fault: Fault) {
        self.mistakes.push(self.raw.mistake(key, entry, fault));
    }
}

/// Whether a text says that there is none.
pub(super) fn is_off(text: &str) -> bool {
    text.is_empty() || text == "off"
}

fn items(entry: &Entry) -> Vec<Entry> {
    let item =
        |text: &str| Entry { value: Value::Word(text.to_owned()), source: entry.source.clone() };
    match &entry.value {
        Value::List(items) => items.clone(),
        Value::Word(words) => {
            words.split(',').map(str::trim).filter(|w| !w.is_empty()).map(item).collect()
        }
        Value::Text(text) if text.is_empty() => Vec::new(),
        _ => vec![entry.clone()],
    }
}

fn not_an_amount(unit: Unit) -> Fault {
    let (what, wanted) = match unit {
        Unit::Time => {
            ("a duration", "numbers with a unit (ms, s, m, h, d), such as \"30s\" or \"1m30s\"")
        }
        Unit::Size => ("a size", "a number with a unit (B, KB, MB, GB), such as \"16KB\""),
        Unit::Count => ("a count", "a number without unit or quotes"),
    };
    Fault::Malformed { what, wanted }
}

fn list_options<T>(options: &[(&'static str, T)]) -> String {
    options.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn choose<T: Copy>(text: &str, options: &[(&'static str, T)]) -> Result<T, Fault> {
    if let Some((_, value)) = options.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names = options.iter().map(|(name, _)| *name);
    let likely = closest(text, names.clone());
    let meant = names.into_iter().find(|name| Some(*name) == likely);
    Err(Fault::Choice { allowed: format!("one of {}", list_options(options)), meant })
}
