//! A mistake in the settings: what is wrong, where it stands, and what would be right.
//!
//! How it is printed is [`super::report`]'s affair; finding it is [`super::check`]'s.

use std::io;
use std::path::PathBuf;

use super::report::Excerpt;

/// Everything wrong with the settings of one run, in the order of the file, then the environment,
/// then the flags. Its `Display` is the report without colours; see [`Self::report`].
#[derive(Debug, thiserror::Error)]
#[error("{}", self.report(false))]
pub struct Mistakes(pub(super) Vec<Mistake>);

impl Mistakes {
    /// How many there are; never none.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// One mistake.
#[derive(Debug)]
pub(super) struct Mistake {
    /// The setting, as `section.key`; empty when no single one is at fault.
    pub(super) key: String,
    pub(super) excerpt: Excerpt,
    pub(super) fault: Fault,
}

/// What is wrong. Completes the sentence that begins with the setting's name.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The parser's words; its error itself carries the whole file, secrets and all.
    #[error("not TOML: {message}")]
    Syntax { message: String },
    #[error("is not a setting")]
    Unknown { meant: Option<String> },
    /// A value where `[section]` belongs.
    #[error("is a section, not a setting")]
    Section { name: String },
    #[error("must be {wanted}, not {found}")]
    Kind { wanted: &'static str, found: &'static str },
    #[error("is not {what}")]
    Malformed { what: &'static str, wanted: &'static str },
    #[error("is out of range")]
    Range { allowed: String },
    #[error("has no such value")]
    Choice { allowed: String, meant: Option<&'static str> },
    /// Right by itself, wrong together with another setting.
    #[error("does not go together with `{other}`")]
    Conflict { other: &'static str, why: &'static str },
    #[error("needs `{other}` beside it")]
    Alone { other: &'static str },
    #[error("is listed twice")]
    Twice,
    #[error("names a file that cannot be read")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("is not UTF-8")]
    Encoding,
    /// A gap between the code and `proxy.toml`; tests keep it from happening.
    #[error("is missing in the built-in proxy.toml")]
    Undocumented,
}

impl Fault {
    /// What would be right.
    pub(super) fn remedy(&self) -> Option<String> {
        match self {
            Self::Syntax { .. }
            | Self::Kind { .. }
            | Self::Encoding
            | Self::Twice
            | Self::Undocumented => None,
            Self::Unknown { meant } => {
                meant.as_ref().map(|meant| format!("did you mean `{meant}`?"))
            }
            Self::Section { name } => Some(format!("write [{name}], and its settings below")),
            Self::Malformed { wanted, .. } => Some((*wanted).to_owned()),
            Self::Range { allowed } => Some(format!("allowed: {allowed}")),
            Self::Choice { allowed, meant: None } => Some(allowed.clone()),
            Self::Choice { allowed, meant: Some(meant) } => {
                Some(format!("did you mean \"{meant}\"? {allowed}"))
            }
            Self::Conflict { why, .. } => Some((*why).to_owned()),
            Self::Alone { other } => Some(format!("set `{other}` too, or neither")),
            Self::Unreadable { path, source } => Some(format!("{}: {source}", path.display())),
        }
    }
}
