//! `UTCDate` (RFC 8620 §1.4): writes it, and does not read it.
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
}
