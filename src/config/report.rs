//! Mistakes as an operator reads them: the line, a caret under what is wrong, what would be right.
//!
//! A line is shown only as far as it cannot hold a secret: settings that carry one, settings nobody
//! knows (a misspelt password is a password) and what the parser could not make sense of stay
//! hidden behind `…`.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::mistake::{Mistake, Mistakes};
use super::raw::Known;

/// What stands for text that is not shown.
const HIDDEN: &str = "…";

/// One line of a file, or one variable or flag, as far as it may be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// File name, or where else it stands.
    place: String,
    /// Line and column, counted from one; `None` outside files.
    position: Option<(usize, usize)>,
    text: String,
    /// The bytes of `text` that are wrong.
    marked: Range<usize>,
}

impl Excerpt {
    /// The line of a file in which `span` begins. `secret`: the text in the span may not be shown.
    pub(super) fn of_file(
        file: (&str, &str),
        span: &Range<usize>,
        secret: bool,
        known: &Known,
    ) -> Self {
        let (place, text) = file;
        let start = floor_char_boundary(text, span.start);
        let (before, after) = text.split_at_checked(start).unwrap_or((text, ""));
        let (earlier, prefix) = before.rsplit_once('\n').map_or(("", before), |(a, b)| (a, b));
        let rest = after.split(['\n', '\r']).next().unwrap_or_default();
        let length = floor_char_boundary(rest, span.end.saturating_sub(start));
        let (wrong, suffix) = rest.split_at_checked(length).unwrap_or((rest, ""));

        let plain = is_plain(earlier, &format!("{prefix}{rest}"), known);
        let prefix_shown = plain || is_assignment(prefix);
        let mut excerpt = Self {
            place: place.to_owned(),
            position: Some((before.matches('\n').count() + 1, prefix.chars().count() + 1)),
            text: shown(prefix, prefix_shown),
            marked: 0..0,
        };
        let marked = excerpt.text.len();
        excerpt.text.push_str(&shown(wrong, !secret));
        excerpt.marked = marked..excerpt.text.len();
        excerpt.text.push_str(&shown(suffix, plain));
        excerpt
    }

    /// The same for an error of the parser, which may point anywhere.
    pub(super) fn of_syntax(file: (&str, &str), span: &Range<usize>, known: &Known) -> Self {
        let start = floor_char_boundary(file.1, span.start);
        let before = file.1.get(..start).unwrap_or_default();
        let (earlier, prefix) = before.rsplit_once('\n').map_or(("", before), |(a, b)| (a, b));
        let rest = file.1.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let secret = !is_plain(earlier, &format!("{prefix}{rest}"), known);
        Self::of_file(file, span, secret, known)
    }

    /// An environment variable or a flag; without a value, the name itself is what is wrong.
    pub(super) fn of_word(place: &str, name: &str, value: Option<&str>) -> Self {
        let value = value.map(mask_user);
        let text = value.as_ref().map_or(name.to_owned(), |value| format!("{name}={value}"));
        let marked = if value.is_some() { name.len() + 1 } else { 0 };
        let marked = marked..text.len();
        Self { place: place.to_owned(), position: None, text, marked }
    }

    /// The line in its file, for putting mistakes in order and leaving out what follows from another.
    pub(super) fn line(&self) -> Option<usize> {
        self.position.map(|(line, _)| line)
    }

    /// File first, by position; the environment and flags as they came.
    pub(super) fn order(&self) -> (bool, Option<(usize, usize)>) {
        (self.position.is_none(), self.position)
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
        let snippet = Snippet::source(&excerpt.text).annotation(
            AnnotationKind::Primary.span(excerpt.marked.clone()).label(self.fault.remedy()),
        );
        let group = Level::ERROR.primary_title(title);
        match excerpt.position {
            Some((line, column)) => group
                .element(Origin::path(&excerpt.place).line(line).char_column(column))
                .element(snippet.line_start(line)),
            None => {
                group.element(Origin::path(&excerpt.place)).element(snippet.line_numbering(false))
            }
        }
    }
}

fn shown(text: &str, visible: bool) -> String {
    if visible || text.trim().is_empty() { mask_user(text) } else { HIDDEN.to_owned() }
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

/// `key = ` and nothing after it.
fn is_assignment(text: &str) -> bool {
    text.trim_end().strip_suffix('=').is_some_and(|key| leading_word(key.trim()) == key.trim())
}

/// Whether nothing on this line can be a secret: it belongs to a known setting that is none, or is
/// the head of a section.
fn is_plain(earlier: &str, line: &str, known: &Known) -> bool {
    let trimmed = line.trim_start();
    if trimmed.starts_with('[') {
        return trimmed.chars().all(|c| c.is_ascii_alphanumeric() || "[]_-. ".contains(c));
    }
    let word = leading_word(trimmed);
    let owner = if word.is_empty() { owner(earlier) } else { word };
    let name = owner.rsplit('.').next().unwrap_or_default();
    let rest = trimmed.strip_prefix(word).unwrap_or_default();
    known.is_public_name(name) && !known.mentions_secret(rest)
}

/// The setting that the lines before leave open (a list over several lines).
fn owner(earlier: &str) -> &str {
    earlier
        .lines()
        .rev()
        .map(|line| leading_word(line.trim_start()))
        .find(|word| !word.is_empty())
        .unwrap_or_default()
}

fn leading_word(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)))
        .unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
