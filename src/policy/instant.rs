//! Points in time as documents write them: RFC 3339 to nanoseconds since the Unix epoch. Knows no clock.

use std::fmt;

const NANOS_A_SECOND: i64 = 1_000_000_000;
const SECONDS_A_DAY: i64 = 86_400;

/// A point in time, to the nanosecond; prints as RFC 3339 in UTC, without a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    ns: i64,
}

impl Instant {
    /// Reads RFC 3339 (section 5.6): `2026-12-31T00:00:00Z`, with any fraction and offset.
    ///
    /// # Errors
    /// What is wrong with the text, for its author.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no point in time; write RFC 3339, such as `2026-12-31T00:00:00Z`");
        if text.len() == 10 && parse_date(text).is_some() {
            return Err(format!("`{text}` names a day but no time; write `{text}T00:00:00Z`"));
        }
        let ns = parse(text).ok_or_else(wrong)?;
        let ns = i64::try_from(ns).map_err(|_| format!("`{text}` lies outside the years 1678 to 2261"))?;
        Ok(Self { ns })
    }

    /// The point `ns` nanoseconds after the Unix epoch.
    #[must_use]
    pub fn from_nanos(ns: i64) -> Self {
        Self { ns }
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub fn nanos(self) -> i64 {
        self.ns
    }

    /// Whole days from `now` until then; negative when it is past.
    #[must_use]
    pub fn days_after(self, now: Self) -> i64 {
        self.ns.saturating_sub(now.ns).div_euclid(SECONDS_A_DAY * NANOS_A_SECOND)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.ns.div_euclid(NANOS_A_SECOND);
        let (year, month, day) = civil(seconds.div_euclid(SECONDS_A_DAY));
        let of_day = seconds.rem_euclid(SECONDS_A_DAY);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

fn parse(text: &str) -> Option<i128> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let days = parse_date(date)?;
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at_checked(zone_at)?;
    let (time, fraction) = match time.split_once('.') {
        Some((_, "")) => return None,
        Some((time, fraction)) => (time, fraction),
        None => (time, ""),
    };
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days * SECONDS_A_DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
    Some(i128::from(seconds) * i128::from(NANOS_A_SECOND) + i128::from(nanos(fraction)?))
}

fn parse_date(text: &str) -> Option<i64> {
    let [year, month, day] = numbers(text, '-', [4, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=last).contains(&day).then(|| days_from_civil(year, month, day))
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let [hours, minutes] = numbers(zone.get(1..)?, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn nanos(fraction: &str) -> Option<i64> {
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nine: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    nine.parse().ok()
}

/// Exactly `N` numbers of the given widths, `between` which the character stands.
fn numbers<const N: usize>(text: &str, between: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut found = [0; N];
    let mut parts = text.split(between);
    for (place, width) in found.iter_mut().zip(widths) {
        let part = parts.next().filter(|p| p.len() == width && p.bytes().all(|b| b.is_ascii_digit()))?;
        *place = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, by years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse: year, month, day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_3339() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("1985-04-12T23:20:50.52Z", 482_196_050, 520_000_000),
            ("1996-12-19T16:39:57-08:00", 851_042_397, 0),
            ("1937-01-01T12:00:27.87+00:20", -1_041_337_173, 870_000_000),
            ("2000-02-29T00:00:00z", 951_782_400, 0),
        ] {
            let found = Instant::parse(text).expect(text);
            assert_eq!(found.nanos(), seconds * NANOS_A_SECOND + nanos, "{text}");
        }
        assert_eq!(Instant::parse("1996-12-19T16:39:57-08:00").expect("reads").to_string(), "1996-12-20T00:39:57Z");
    }

    #[test]
    fn every_day_prints_as_it_is_read() {
        for day in (-100_000..100_000).step_by(17) {
            let text = Instant::from_nanos(day * SECONDS_A_DAY * NANOS_A_SECOND + 1).to_string();
            assert_eq!(parse_date(&text[..10]), Some(day), "{text}");
        }
    }

    #[test]
    fn what_is_no_point_in_time() {
        for text in [
            "",
            "tomorrow",
            "2026-02-30T00:00:00Z",
            "2026-12-31T24:00:00Z",
            "2026-12-31T00:00:00",
            "2026-1-1T00:00:00Z",
        ] {
            assert!(Instant::parse(text).expect_err(text).contains("such as `2026-12-31T00:00:00Z`"), "{text}");
        }
        assert!(Instant::parse("2026-12-31").expect_err("a day").contains("write `2026-12-31T00:00:00Z`"));
        assert!(Instant::parse("9999-12-31T00:00:00Z").expect_err("too far").contains("2261"));
    }

    #[test]
    fn days_left() {
        let at = |text: &str| Instant::parse(text).expect(text);
        assert_eq!(at("2026-01-15T00:00:00Z").days_after(at("2026-01-01T12:00:00Z")), 13);
        assert_eq!(at("2026-01-01T00:00:00Z").days_after(at("2026-01-01T12:00:00Z")), -1);
    }
}
