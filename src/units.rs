//! Durations and sizes as people write them. Pure text; must not know what they are used for.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A text that is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a Go duration.
    #[error("`{0}` is not a duration; write for example `5s`, `500ms` or `1m30s`")]
    Duration(String),
    /// Not a period.
    #[error("`{0}` is not a period; write for example `90d`, `12w` or `36h`")]
    Period(String),
    /// Not a size.
    #[error("`{0}` is not a size; write bytes or for example `64MiB` or `10GiB`")]
    Size(String),
}

/// Reads a duration in the notation of Go's `time.ParseDuration`: `5s`, `500ms`, `1m30s`, `1.5h`, `0`.
///
/// # Errors
/// [`UnitError::Duration`] for anything else, also for negative durations.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let fault = || UnitError::Duration(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(fault());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fault)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let nanos: f64 = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(fault()),
        };
        let number: f64 = number.parse().map_err(|_| fault())?;
        let part = Duration::try_from_secs_f64(number * nanos / 1e9).map_err(|_| fault())?;
        total = total.checked_add(part).ok_or_else(fault)?;
        rest = tail;
    }
    Ok(total)
}

/// A duration as people write it, in the largest unit that has no fraction: `0s`, `500ms`, `90s`, `2h`.
#[must_use]
pub fn shown(duration: Duration) -> String {
    const SECOND: u128 = 1_000_000_000;
    const UNITS: [(u128, &str); 5] =
        [(3600 * SECOND, "h"), (60 * SECOND, "m"), (SECOND, "s"), (SECOND / 1000, "ms"), (1000, "us")];
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let fits = UNITS.iter().find(|(unit, _)| nanos.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{nanos}ns"), |(unit, name)| format!("{}{name}", nanos / unit))
}

/// A duration in flags and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_duration(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A period in flags and files, for what is kept: `90d`, `12w`, or a duration such as `36h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fault = || UnitError::Period(text.to_owned());
        let days = text.strip_suffix('d').map(|n| (n, 1)).or_else(|| text.strip_suffix('w').map(|n| (n, 7)));
        let Some((number, days)) = days else { return parse_duration(text).map(Self).map_err(|_| fault()) };
        let number = number.parse::<u32>().map_err(|_| fault())?;
        Ok(Self(Duration::from_secs(u64::from(number) * days * 24 * 3600)))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A number of bytes in flags and files: `1048576`, `64MiB`, `10GiB`, `1GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fault = || UnitError::Size(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" | "Ki" => 1 << 10,
            "MiB" | "Mi" => 1 << 20,
            "GiB" | "Gi" => 1 << 30,
            "TiB" | "Ti" => 1 << 40,
            _ => return Err(fault()),
        };
        number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).map(Self).ok_or_else(fault)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes or a size such as `64MiB`")
            }

            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::custom("a size is not negative"))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_they_are_written() {
        for text in ["0s", "1ns", "1500us", "500ms", "90s", "1m", "2h", "90m"] {
            assert_eq!(shown(parse_duration(text).expect("a duration")), text);
        }
    }

    #[test]
    fn durations_as_go_writes_them() {
        for (text, millis) in [
            ("5s", 5_000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("0", 0),
            ("0s", 0),
            ("+2s", 2_000),
            (".5s", 500),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "5", "s", "-5s", "5 s", "5x", "1..5s", "1e400s", "99999999999999999999h", "5s!", "∞s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn periods() {
        for (text, hours) in [("90d", 90 * 24), ("12w", 12 * 7 * 24), ("36h", 36), ("1h30m", 1)] {
            let Period(found) = text.parse().expect(text);
            assert_eq!(found.as_secs() / 3600, hours, "{text}");
        }
        for wrong in ["", "d", "90", "-1d", "1.5d", "90 days", "1y", "99999999999d"] {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("8388608", 8 << 20), ("8MiB", 8 << 20), ("10 GiB", 10 << 30), ("1kB", 1000)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for wrong in ["", "MiB", "-1", "1.5GiB", "1QiB", "99999999999999999999", "99999999999TiB"] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
        }
    }
}
