//! Points in time as e-mail writes them (RFC 5322 §3.3), read and written; JMAP's notation is
//! [`crate::jmap::date`]'s.
//!
//! Whole seconds of UTC; knows no leap seconds and no zone names except GMT and UT.

use serde::{Deserialize, Deserializer, de};

use crate::clock;
use crate::jmap::date::{DAY, civil, days_from_civil};

pub(crate) use crate::jmap::date::UtcDate;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

impl UtcDate {
    /// The present.
    pub(crate) fn now() -> Self {
        Self::at(clock::wall())
    }

    /// `Wed, 05 Aug 2026 12:00:00 +0000`.
    pub(crate) fn to_rfc5322(self) -> String {
        let days = self.0.div_euclid(DAY);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = self.time_of_day();
        let weekday = usize::try_from(days.rem_euclid(7)).ok().and_then(|day| WEEKDAYS.get(day));
        let name = usize::try_from(month - 1).ok().and_then(|month| MONTHS.get(month));
        format!(
            "{}, {day:02} {} {year:04} {hour:02}:{minute:02}:{second:02} +0000",
            weekday.unwrap_or(&"Thu"),
            name.unwrap_or(&"Jan"),
        )
    }

    /// Reads the `Date` header field; a weekday and a trailing comment may be there or not.
    pub(crate) fn parse_rfc5322(text: &str) -> Option<Self> {
        let text = text.split_once(',').map_or(text, |(_weekday, rest)| rest);
        let mut words = text.split_whitespace();
        let (day, month, year) = (words.next()?, words.next()?, words.next()?);
        let (time, zone) = (words.next()?, words.next().unwrap_or("GMT"));
        let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?;
        let local = from_parts(year, i64::try_from(month).ok()? + 1, day, time)?;
        Some(Self(local.0 - zone_offset(zone)?))
    }
}

impl<'de> Deserialize<'de> for UtcDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &"a UTCDate"))
    }
}

/// `time` is `12:00:00` or `12:00`.
fn from_parts(year: &str, month: i64, day: &str, time: &str) -> Option<UtcDate> {
    let year = year.parse().ok().filter(|year| (0..10_000).contains(year))?;
    let day = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let mut seconds = 0;
    let mut fields = time.split(':');
    for (unit, limit, required) in [(3600, 24, true), (60, 60, true), (1, 61, false)] {
        match fields.next() {
            Some(field) => {
                let count: i64 = field.parse().ok().filter(|count| (0..limit).contains(count))?;
                seconds += count * unit;
            }
            None if required => return None,
            None => {}
        }
    }
    Some(UtcDate(days_from_civil(year, month, day) * DAY + seconds))
}

/// `+0130` as seconds east of Greenwich.
fn zone_offset(zone: &str) -> Option<i64> {
    if ["GMT", "UT", "UTC", "Z"].contains(&zone) {
        return Some(0);
    }
    let (sign, digits) = match zone.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, zone.strip_prefix('+')?),
    };
    let number: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_survive_being_written() {
        for seconds in [0, 951_782_400, 1_709_164_799, 1_786_000_000, 4_102_444_800] {
            let date = UtcDate(seconds);
            assert_eq!(UtcDate::parse_rfc5322(&date.to_rfc5322()), Some(date));
        }
        assert_eq!(UtcDate(1_785_931_200).to_rfc5322(), "Wed, 05 Aug 2026 12:00:00 +0000");
    }

    #[test]
    fn a_date_field_counts_in_its_own_zone() {
        let utc = UtcDate::parse("2026-08-05T10:30:00Z");
        assert_eq!(UtcDate::parse_rfc5322("5 Aug 2026 12:30 +0200 (CEST)"), utc);
        assert!(utc.is_some());
    }
}
