//! Mistakes as an operator reads them: the line, a caret under what is wrong, what would be right.
//!
//! A line is shown only as far as it cannot hold a secret: settings that carry one, settings nobody
//! knows (a misspelt password is a password) and what the parser could not make sense of stay
//! hidden behind `…`.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::mistake::{Mistake, Mistakes};
use super::raw::Known;

/// What stands for text that is not shown.
const HIDDEN: &str = "…";

/// One line of a file, or one variable or flag, as far as it may be shown.
#[derive(Debug)]
pub(super) struct Excerpt {
    /// Where in which file; `None` for a variable or flag.
    position: Option<Position>,
    text: String,
    /// The bytes of `text` that are wrong.
    marked: Range<usize>,
}

/// A place in a file.
#[derive(Debug)]
struct Position {
    path: String,
    /// Both counted from one, the column in characters.
    line: usize,
    column: usize,
}

impl Excerpt {
    /// The line of a file in which `span` begins. `secret`: the text in the span may not be shown.
    pub(super) fn of_file(
        file: (&str, &str),
        span: &Range<usize>,
        secret: bool,
        known: &Known,
    ) -> Self {
        let (path, text) = file;
        let (earlier, prefix, rest) = around(text, span.start);
        let length = floor_char_boundary(rest, span.end.saturating_sub(span.start));
        let (wrong, suffix) = rest.split_at_checked(length).unwrap_or((rest, ""));
        let plain = is_plain(earlier, &format!("{prefix}{rest}"), known);
        let column = prefix.chars().count() + 1;
        let mut text = if plain || is_punctuation(prefix) || is_assignment(prefix) {
            mask_user(prefix)
        } else {
            // As wide as what it hides, so that the column in the report is that of the file.
            format!("{HIDDEN:<width$}", width = column - 1)
        };
        let marked = text.len();
        text.push_str(&if secret { HIDDEN.to_owned() } else { mask_user(wrong) });
        let marked = marked..text.len();
        if plain || is_punctuation(suffix) {
            text.push_str(&mask_user(suffix));
        } else if !secret {
            text.push_str(HIDDEN);
        }
        let line = earlier.matches('\n').count() + 1;
        let position = Some(Position { path: path.to_owned(), line, column });
        Self { position, text, marked }
    }

    /// The same for an error of the parser, which may point anywhere.
    pub(super) fn of_syntax(file: (&str, &str), span: &Range<usize>, known: &Known) -> Self {
        let (earlier, prefix, rest) = around(file.1, span.start);
        let secret = !is_plain(earlier, &format!("{prefix}{rest}"), known);
        Self::of_file(file, span, secret, known)
    }

    /// An environment variable or a flag; without a value, the name itself is what is wrong.
    pub(super) fn of_word(name: &str, value: Option<&str>) -> Self {
        let value = value.map(mask_user);
        let text = value.as_ref().map_or(name.to_owned(), |value| format!("{name}={value}"));
        let marked = if value.is_some() { name.len() + 1 } else { 0 };
        let marked = marked..text.len();
        Self { position: None, text, marked }
    }

    /// The line in its file.
    pub(super) fn line(&self) -> Option<usize> {
        self.position.as_ref().map(|position| position.line)
    }

    /// Sorts files first, by position; variables and flags stay as they came.
    pub(super) fn order(&self) -> (bool, Option<(usize, usize)>) {
        let position = self.position.as_ref();
        (position.is_none(), position.map(|position| (position.line, position.column)))
    }
}

impl Mistakes {
    /// The report, for a terminal (`colours`) or anything else. Ends with a line that counts.
    #[must_use]
    pub fn report(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut report = String::new();
        for mistake in &self.0 {
            let rendered = renderer.render(&[mistake.group()]);
            // A String takes everything.
            let _ = writeln!(report, "{rendered}\n");
        }
        let count = self.count();
        let _ = write!(report, "{count} mistake{}", if count == 1 { "" } else { "s" });
        report
    }
}

impl Mistake {
    fn group(&self) -> Group<'_> {
        let title = match self.key.as_str() {
            "" => self.fault.to_string(),
            key => format!("`{key}` {}", self.fault),
        };
        let excerpt = &self.excerpt;
        let wrong = AnnotationKind::Primary.span(excerpt.marked.clone()).label(self.fault.remedy());
        let snippet = Snippet::source(&excerpt.text).annotation(wrong);
        let group = Level::ERROR.primary_title(title);
        group.element(match &excerpt.position {
            Some(Position { path, line, .. }) => snippet.path(path).line_start(*line),
            None => snippet.line_numbering(false),
        })
    }
}

/// Hides what stands between `://` and `@`: user and password of a URL.
fn mask_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '"', '\'', ' ', ',']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let path = mask_user(path);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}{path}"),
        None => format!("{scheme}://{authority}{path}"),
    }
}

/// Nothing but what stands between values.
fn is_punctuation(text: &str) -> bool {
    text.chars().all(|c| "[], \t".contains(c))
}

/// `key = ` and nothing after it, but perhaps the bracket of a list.
fn is_assignment(text: &str) -> bool {
    let text = text.trim_end();
    let text = text.strip_suffix('[').unwrap_or(text).trim_end();
    text.strip_suffix('=').is_some_and(|key| leading_word(key.trim()) == key.trim())
}

/// Whether nothing on this line can be a secret: it sets a known setting that is none, or is the head
/// of a known section. What goes on from the line before is never plain: to whom it belongs cannot be known
/// when a quote or a bracket is missing.
fn is_plain(earlier: &str, line: &str, known: &Known) -> bool {
    let line = line.trim_start();
    if let Some(head) = line.strip_prefix('[') {
        let head = head.trim_start_matches('[');
        let section = leading_word(head);
        let rest = head.strip_prefix(section).unwrap_or_default();
        return known.is_section(section) && rest.chars().all(|c| c == ']' || c == ' ');
    }
    let word = leading_word(line);
    let head = earlier.lines().rev().find_map(|line| line.trim_start().strip_prefix('['));
    let key = match head.map(|head| leading_word(head.trim_start_matches('['))) {
        Some(section) => format!("{section}.{word}"),
        None => word.to_owned(),
    };
    known.is_public(&key) && !known.mentions_secret(line.strip_prefix(word).unwrap_or_default())
}

fn leading_word(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)))
        .unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// A text cut at `at`: the lines before, and what of that line stands before and after.
fn around(text: &str, at: usize) -> (&str, &str, &str) {
    let at = floor_char_boundary(text, at);
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let (earlier, prefix) = before.split_at_checked(start).unwrap_or(("", before));
    (earlier, prefix, after.split(['\n', '\r']).next().unwrap_or_default())
}

fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
