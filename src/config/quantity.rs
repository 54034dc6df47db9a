//! Amounts as `proxy.toml` writes them: durations, sizes, counts, and the range each may have.
//!
//! Pure text in, number out; which setting takes what is [`super::check`]'s affair.

use std::fmt;
use std::time::Duration;

/// What a number measures, and so how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Held in milliseconds, written `1m30s`.
    Time,
    /// Held in bytes, written `16KB`.
    Size,
    /// A plain integer.
    Count,
}

/// Milliseconds, largest first.
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Bytes, largest first. `KiB` and its kin are read as the same.
const SIZES: [(&str, u64); 5] =
    [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

impl Unit {
    fn scale(self) -> &'static [(&'static str, u64)] {
        match self {
            Self::Time => &TIMES,
            Self::Size => &SIZES,
            Self::Count => &[("", 1)],
        }
    }

    /// Reads an amount. `None` when the text is none, or is too large to hold.
    pub(super) fn parse(self, text: &str) -> Option<u64> {
        if text == "0" {
            return Some(0);
        }
        let mut rest = text;
        let mut sum = 0_u64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, after) = rest.split_at_checked(digits)?;
            let word = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at_checked(word)?;
            sum = number.parse::<u64>().ok()?.checked_mul(self.factor(unit)?)?.checked_add(sum)?;
            rest = after;
        }
        (!text.is_empty()).then_some(sum)
    }

    fn factor(self, unit: &str) -> Option<u64> {
        let binary = unit.strip_suffix("iB").map(|prefix| format!("{prefix}B"));
        let unit = binary.as_deref().unwrap_or(unit);
        self.scale().iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
    }

    /// Writes an amount in the largest unit that divides it, as [`Self::parse`] reads it.
    pub(super) fn show(self, amount: u64) -> String {
        let fits = |(_, factor): &&(&str, u64)| amount >= *factor && amount.is_multiple_of(*factor);
        match self.scale().iter().find(fits) {
            Some((unit, factor)) => format!("{}{unit}", amount / factor),
            None => amount.to_string(),
        }
    }
}

/// The amounts a setting may have. Its text stands in `proxy.toml`, in the documentation's only
/// place, and in mistakes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    unit: Unit,
    least: u64,
    most: u64,
    /// What zero means, where it is allowed beside the rest and means something of its own.
    zero: Option<&'static str>,
}

impl Range {
    pub(super) const fn times(least: Duration, most: Duration) -> Self {
        Self { unit: Unit::Time, least: millis(least), most: millis(most), zero: None }
    }

    pub(super) const fn sizes(least: u64, most: u64) -> Self {
        Self { unit: Unit::Size, least, most, zero: None }
    }

    pub(super) const fn counts(least: u64, most: u64) -> Self {
        Self { unit: Unit::Count, least, most, zero: None }
    }

    /// Allows zero, and says what it means.
    pub(super) const fn or_zero(self, zero: &'static str) -> Self {
        Self { zero: Some(zero), ..self }
    }

    pub(super) fn unit(self) -> Unit {
        self.unit
    }

    pub(super) fn contains(self, amount: u64) -> bool {
        (self.least..=self.most).contains(&amount) || (amount == 0 && self.zero.is_some())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.unit.show(self.most);
        match (self.least, self.zero) {
            (0, None) => write!(f, "at most {most}"),
            (0, Some(zero)) => write!(f, "at most {most}; 0 {zero}"),
            (least, None) => write!(f, "{} to {most}", self.unit.show(least)),
            (least, Some(zero)) => write!(f, "{} to {most}, or 0 {zero}", self.unit.show(least)),
        }
    }
}

/// Saturates: no range reaches that far.
const fn millis(duration: Duration) -> u64 {
    let millis = duration.as_millis();
    if millis > u64::MAX as u128 { u64::MAX } else { millis as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_numbers_each_with_its_unit() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(Unit::Time.parse(text), Some(millis), "{text}");
        }
        for text in ["", "30", "s", "30 s", "-1s", "1.5s", "30S", "1s2", "99999999999999999999s"] {
            assert_eq!(Unit::Time.parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_size_counts_in_1024s() {
        for (text, bytes) in [
            ("512B", 512),
            ("16KB", 16_384),
            ("16KiB", 16_384),
            ("10MB", 10_485_760),
            ("1GB", 1 << 30),
        ] {
            assert_eq!(Unit::Size.parse(text), Some(bytes), "{text}");
        }
        for text in ["16", "16K", "16kb", "iB", "16777216TB"] {
            assert_eq!(Unit::Size.parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for amount in [0, 1, 999, 1000, 90_000, 3_600_000, 86_400_000, 86_400_001] {
            assert_eq!(Unit::Time.parse(&Unit::Time.show(amount)), Some(amount));
            assert_eq!(Unit::Size.parse(&Unit::Size.show(amount)), Some(amount));
        }
    }
}
