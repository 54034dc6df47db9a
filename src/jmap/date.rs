//! `UTCDate` (RFC 8620 §1.4), read and written.
//!
//! Whole seconds; knows no leap seconds.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UtcDate(pub i64);

impl UtcDate {
    /// The date so long after the epoch, fractions of a second dropped.
    #[must_use]
    pub fn at(since_epoch: Duration) -> Self {
        Self(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
    }

    /// `2026-08-05T12:00:00Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let (hour, minute, second) = self.time_of_day();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// Reads `2026-08-05T12:00:00Z`, fractions of a second dropped; `None` for what is no date, the
    /// 30th of February included. A leap second (`…:60Z`) is the second after.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let (year, month, day) = three(date, '-', [4, 2, 2])?;
        let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let (hour, minute, second) = three(whole, ':', [2, 2, 2])?;
        let days = days_from_civil(year, month, day);
        let is_date = (1..=12).contains(&month) && civil(days) == (year, month, day);
        let is_time = hour < 24 && minute < 60 && second <= 60 && is_digits(fraction);
        (is_date && is_time).then(|| Self(days * DAY + hour * 3600 + minute * 60 + second))
    }

    /// So much later; never beyond what a date can say.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_secs()).unwrap_or(i64::MAX)))
    }

    /// Hour, minute, second.
    pub(crate) fn time_of_day(self) -> (i64, i64, i64) {
        let second = self.0.rem_euclid(DAY);
        (second / 3600, second / 60 % 60, second % 60)
    }
}

impl Serialize for UtcDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_rfc3339())
    }
}

/// Three numbers of so many digits each.
fn three(text: &str, separator: char, digits: [usize; 3]) -> Option<(i64, i64, i64)> {
    let mut fields = text.split(separator).zip(digits).map(|(field, digits)| {
        let whole = field.len() == digits && is_digits(field);
        whole.then(|| field.parse().ok()).flatten()
    });
    let three = (fields.next()??, fields.next()??, fields.next()??);
    (text.split(separator).count() == 3).then_some(three)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, the other way round than [`civil`].
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month, day of a day of the Gregorian calendar, counted from 1970-01-01. March comes first, so
/// that the leap day is the last of the year (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms").
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_based = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_jmap_has_them() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_785_931_200, "2026-08-05T12:00:00Z"),
        ] {
            let date = UtcDate::at(Duration::from_millis(seconds * 1000 + 999));
            assert_eq!(date.to_rfc3339(), written);
        }
    }

    #[test]
    fn a_date_that_was_written_is_read_again() {
        for seconds in [0, 951_782_400, 1_709_164_799, 1_786_000_000, 4_102_444_800] {
            assert_eq!(UtcDate::parse(&UtcDate(seconds).to_rfc3339()), Some(UtcDate(seconds)));
        }
        let noon = UtcDate::parse("2026-08-05T12:00:00Z");
        assert_eq!(UtcDate::parse("2026-08-05T12:00:00.999Z"), noon);
        assert_eq!(noon, Some(UtcDate(1_785_931_200)));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for bad in [
            "",
            "xZ",
            "2026-08-05",
            "2026-08-05T12:00:00",
            "2026-08-05T12:00:00+00:00",
            "2026-08-05t12:00:00z",
            "2026-08-05T12:00Z",
            "2026-08-05T12:00:00.Z",
            "2026-08-05T24:00:00Z",
            "2026-08-05T12:00:61Z",
            "2026-13-05T00:00:00Z",
            "2026-00-05T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2026-08-05-01T00:00:00Z",
            "+026-08-05T00:00:00Z",
            "٢٠٢٦-08-05T00:00:00Z",
        ] {
            assert_eq!(UtcDate::parse(bad), None, "{bad:?}");
        }
    }
}
