//! A source file as [`super`] looks at it: its code apart from its comments, literals and tests.

use std::fs;
use std::path::Path;
use std::vec;

/// What the paths of test modules contain that have files of their own.
const TESTS_IN_SRC: &[&str] = &["/tests.rs", "/tests/"];

/// One file.
pub(super) struct Source {
    /// From the root of the project.
    pub(super) path: String,
    /// As written.
    pub(super) text: String,
    /// The same lines without comments and what literals contain.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    pub(super) fn read(path: &str) -> Self {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        Self::new(path, &text.unwrap_or_else(|error| panic!("{path}: {error}")))
    }

    /// The code that is not tests.
    pub(super) fn production(&self) -> &str {
        let is_test = TESTS_IN_SRC.iter().any(|part| self.path.contains(part));
        if is_test && self.path.starts_with("src/") {
            return "";
        }
        let end = self.code.find("#[cfg(test)]\nmod tests {").unwrap_or(self.code.len());
        &self.code[..end]
    }

    /// `path:line` and text of each line of code that `holds`.
    pub(super) fn lines_where(
        &self,
        holds: impl Fn(&str) -> bool,
    ) -> vec::IntoIter<(String, String)> {
        let lines = self.code.lines().zip(1..).filter(|(line, _)| holds(line));
        let found: Vec<_> =
            lines.map(|(line, number)| (format!("{}:{number}", self.path), line.into())).collect();
        found.into_iter()
    }

    /// `path:line` of each line of code with this word.
    pub(super) fn naming(&self, name: &str) -> vec::IntoIter<String> {
        let named = |line: &str| {
            line.match_indices(name)
                .any(|(at, _)| !inside_word(line, at) && word(&line[at..]) == name)
        };
        let found: Vec<String> = self.lines_where(named).map(|(at, _)| at).collect();
        found.into_iter()
    }
}

/// Every `.rs` file below these folders, in order of path. A `target` right below one is what was built.
pub(super) fn sources(folders: &[&str]) -> vec::IntoIter<Source> {
    let mut paths = Vec::new();
    let mut folders: Vec<String> = folders.iter().map(|folder| (*folder).to_owned()).collect();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder));
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().expect("a file name in UTF-8");
            if entry.path().is_dir() && (name != "target" || folder.contains('/')) {
                folders.push(format!("{folder}/{name}"));
            } else if name.ends_with(".rs") {
                paths.push(format!("{folder}/{name}"));
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Source::read(path)).collect::<Vec<_>>().into_iter()
}

/// The identifier a text starts with.
pub(super) fn word(text: &str) -> &str {
    let end = text.find(|letter: char| !is_word(letter)).unwrap_or(text.len());
    &text[..end]
}

pub(super) fn inside_word(line: &str, at: usize) -> bool {
    line[..at].ends_with(is_word)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Drops comments and the inside of string and character literals; keeps every line break.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let (stand_in, length) = opaque(rest).unwrap_or((&rest[..letter.len_utf8()], 0));
        let (dropped, tail) = rest.split_at(length.max(letter.len_utf8()));
        code.push_str(stand_in);
        if length > 0 {
            code.extend(dropped.chars().filter(|letter| *letter == '\n'));
        }
        rest = tail;
    }
    code
}

/// What stands for the comment or literal at the head of this text, and how long that is.
fn opaque(text: &str) -> Option<(&'static str, usize)> {
    let through = |end: &str, from: usize| {
        text[from..].find(end).map_or(text.len(), |at| from + at + end.len())
    };
    if text.starts_with("//") {
        return Some(("", text.find('\n').unwrap_or(text.len())));
    }
    if text.starts_with("/*") {
        return Some(("", through("*/", 2)));
    }
    let hashes = text.strip_prefix('r').map(|rest| rest.find(|letter| letter != '#').unwrap_or(0));
    if let Some(hashes) = hashes.filter(|hashes| text[1 + hashes..].starts_with('"')) {
        return Some(("\"\"", through(&format!("\"{}", "#".repeat(hashes)), hashes + 2)));
    }
    // A quote that neither escapes nor closes after one letter opens a lifetime.
    let mut letters = text.chars();
    match (letters.next()?, letters.next(), letters.next()) {
        ('"', ..) => Some(("\"\"", quoted(text, '"'))),
        ('\'', Some('\\'), _) | ('\'', _, Some('\'')) => Some(("''", quoted(text, '\''))),
        _ => None,
    }
}

/// Length of the literal at the head of this text, quotes and escapes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

mod tests {
    use super::*;

    #[test]
    fn do_not_count_the_test_module() {
        let inline = Source::new("src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(inline.production().lines().count(), 1);
        let apart = Source::new("src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests;\nfn b() {}\n");
        assert_eq!(apart.production().lines().count(), 4);
        assert_eq!(Source::new("src/a/tests.rs", "fn a() {}\n").production(), "");
    }

    #[test]
    fn find_words_not_parts_of_words() {
        let text = "fn unsafe_code() {} // unsafe\nunsafe { say(\"unsafe\") }\n";
        let found: Vec<String> = Source::new("src/a.rs", text).naming("unsafe").collect();
        assert_eq!(found, ["src/a.rs:2"]);
    }

    #[test]
    fn know_literals_and_comments() {
        let blanked =
            blank("a(\"x\\\"// y\", 'z', '\\'', b'\"') // w\n\"v\nu\" r#\"\"t\"# 'life /*s*/ b");
        assert_eq!(blanked, "a(\"\", '', '', b'') \n\"\"\n \"\" 'life  b");
    }
}
