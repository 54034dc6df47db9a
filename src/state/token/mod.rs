//! The resume token: which states a subscriber has been given (architecture D10; §7.3 event id,
//! RFC 8887 §4.3.5.1 `pushState`).
//!
//! A token is a set of digests, nothing else: it names no account and no state, needs no memory on
//! our side, and any replica of any version that knows the format can compare it with the present
//! states. It proves nothing and grants nothing; a forged one makes its bearer miss or repeat its
//! own events.
//!
//! # Format, version 1
//!
//! `1`, a letter, then digests of eight bytes each, ascending, each once, as base64url without
//! padding (RFC 4648 §5):
//!
//! | letter | one digest per | of |
//! |---|---|---|
//! | `s` | state | `"s"`, account id, data type, state |
//! | `s` | account with `EmailDelivery` | `"s"`, account id, `"EmailDelivery"` |
//! | `a` | account | `"a"`, the digests of the account's states, ascending |
//! | `e` | token | `"e"`, the digests of all states, ascending |
//!
//! A digest is the first eight bytes of the SHA-256 of its parts, each string behind its length in
//! bytes as four big-endian bytes. `s` holds up to [`MAX_DIGESTS`] states; beyond that there is one
//! digest per account, and with too many accounts one for everything. **This never changes**: a new
//! rule is a new version, and old tokens then mean "send all that is current".

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::jmap::id::{AccountId, DataType, State};

/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 1500;

/// How many digests fit.
pub const MAX_DIGESTS: usize = 136;

/// One state of one type of one account, as it is put into a token.
pub type Entry<'a> = (&'a AccountId, &'a DataType, &'a State);

type Digest = [u8; 8];

/// What the digests of a token stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    States,
    Accounts,
    Everything,
}

impl Level {
    fn letter(self) -> char {
        match self {
            Self::States => 's',
            Self::Accounts => 'a',
            Self::Everything => 'e',
        }
    }
}

/// A token that came back from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    level: Level,
    digests: BTreeSet<Digest>,
}

impl Token {
    /// The token for `entries`, in any order: what the subscriber has been given, fresh states only
    /// ([`Known::fresh`](super::tracker::Known::fresh)), those of its own types. A subscriber to
    /// `EmailDelivery` has `Email` in it too, wanted or not (see [`Self::missed`]).
    ///
    /// Letters, digits, `-` and `_` only; at most [`MAX_TOKEN_BYTES`].
    #[must_use]
    pub fn encode<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> String {
        let accounts = by_account(entries);
        let mut states: BTreeSet<Digest> = accounts.values().flatten().map(|(_, d)| *d).collect();
        let with_delivery = accounts
            .iter()
            .filter(|(_, entries)| entries.iter().any(|(name, _)| is_delivery(name)))
            .map(|(id, _)| delivery_digest(id));
        states.extend(with_delivery);
        let token = if states.len() <= MAX_DIGESTS {
            Self { level: Level::States, digests: states }
        } else if accounts.len() <= MAX_DIGESTS {
            let digests = accounts.values().map(|entries| account_digest(entries)).collect();
            Self { level: Level::Accounts, digests }
        } else {
            Self { level: Level::Everything, digests: [everything_digest(&accounts)].into() }
        };
        token.to_text()
    }

    fn to_text(&self) -> String {
        let bytes: Vec<u8> = self.digests.iter().flatten().copied().collect();
        let mut text = String::from("1");
        text.push(self.level.letter());
        URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        text
    }

    /// Reads a token; `None` for anything that [`Self::encode`] does not write, which means that
    /// the subscriber has to be given all that is current.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let text = text.strip_prefix('1')?;
        let level = [Level::States, Level::Accounts, Level::Everything]
            .into_iter()
            .find(|level| text.starts_with(level.letter()))?;
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(level.letter())?).ok()?;
        let (digests, rest) = bytes.as_chunks();
        let ascending = digests.is_sorted_by(|a: &Digest, b| a < b);
        let counted = level != Level::Everything || digests.len() == 1;
        let sound = rest.is_empty() && ascending && counted;
        sound.then(|| Self { level, digests: digests.iter().copied().collect() })
    }

    /// Those of the `current` states that the subscriber has not been given, by account and type.
    /// `current` is chosen as for [`Self::encode`]; a state the token knows nothing of was missed.
    ///
    /// `EmailDelivery` is not missed where the token has it, in whatever state, and `Email` is
    /// unchanged: a process that has just started gives it the present state of `Email`, but
    /// nothing can have been added since.
    #[must_use]
    pub fn missed<'a>(
        &self,
        current: impl IntoIterator<Item = Entry<'a>>,
    ) -> Vec<(&'a AccountId, &'a DataType)> {
        let accounts = by_account(current);
        let everything = || self.digests.contains(&everything_digest(&accounts));
        if self.level == Level::Everything && everything() {
            return Vec::new();
        }
        let mut missed = Vec::new();
        for (id, entries) in &accounts {
            let account_given =
                self.level == Level::Accounts && self.digests.contains(&account_digest(entries));
            let given = |digest: &Digest| {
                account_given || self.level == Level::States && self.digests.contains(digest)
            };
            let has_email = entries.iter().any(|(name, d)| name.as_str() == "Email" && given(d));
            let nothing_added = has_email && given(&delivery_digest(id));
            let lost = entries.iter().filter(|(_, digest)| !given(digest)).map(|(name, _)| *name);
            let lost = lost.filter(|name| !(nothing_added && is_delivery(name)));
            missed.extend(lost.map(|name| (*id, name)));
        }
        missed
    }
}

type Accounts<'a> = BTreeMap<&'a AccountId, Vec<(&'a DataType, Digest)>>;

fn by_account<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> Accounts<'a> {
    let mut accounts = Accounts::new();
    for (id, data_type, state) in entries {
        let digest = digest_of_words(&[id.as_str(), data_type.as_str(), state.as_str()]);
        accounts.entry(id).or_default().push((data_type, digest));
    }
    accounts
}

fn is_delivery(data_type: &DataType) -> bool {
    data_type.as_str() == "EmailDelivery"
}

/// Stands for `EmailDelivery` of an account in whatever state.
fn delivery_digest(id: &AccountId) -> Digest {
    digest_of_words(&[id.as_str(), "EmailDelivery"])
}

fn digest_of_words(words: &[&str]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(b"s");
    for word in words {
        // Identifiers and states are far below 4 GiB (jmap::id).
        context.update(&u32::try_from(word.len()).unwrap_or(u32::MAX).to_be_bytes());
        context.update(word.as_bytes());
    }
    truncated(context)
}

fn account_digest(entries: &[(&DataType, Digest)]) -> Digest {
    digest_of(b"a", entries.iter().map(|(_, digest)| *digest))
}

fn everything_digest(accounts: &Accounts<'_>) -> Digest {
    digest_of(b"e", accounts.values().flatten().map(|(_, digest)| *digest))
}

fn digest_of(level: &[u8], digests: impl Iterator<Item = Digest>) -> Digest {
    let ascending: BTreeSet<Digest> = digests.collect();
    let mut context = Context::new(&SHA256);
    context.update(level);
    for digest in &ascending {
        context.update(digest);
    }
    truncated(context)
}

fn truncated(context: Context) -> Digest {
    let digest = context.finish();
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
