//! Ends of time ranges as people write them. Pure text; must not know records.

use jiff::Timestamp;

/// Which end of a time range a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Its first moment.
    First,
    /// Its last.
    Last,
}

/// An RFC 3339 time, or a date (UTC), all of which belongs to the range; `None` for anything else.
#[must_use]
pub fn bound(text: &str, bound: Bound) -> Option<Timestamp> {
    let of_day = match bound {
        Bound::First => "T00:00:00Z",
        Bound::Last => "T23:59:59.999999999Z",
    };
    text.parse().or_else(|_| format!("{text}{of_day}").parse()).ok()
}
