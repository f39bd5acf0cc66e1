//! Checkpoints one a line, with the time at which each was put, and which of them a bounded place keeps. Knows lines;
//! must not know places.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decisions::SignedCheckpoint;

/// The latest that are kept all.
const RECENT: usize = 60;
/// Days before them of which one each is kept.
const DAYS: usize = 366;
/// Bytes of one log's history: three replicas fit into one ConfigMap (1 MiB).
const MAX_BYTES: usize = 300 * 1024;

/// One line of a history.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::decisions) struct HistoryLine {
    /// When it was put.
    pub time: String,
    /// The signed checkpoint.
    pub note: String,
}

impl HistoryLine {
    /// The line of a checkpoint, with its line feed.
    pub(super) fn encode(signed: &SignedCheckpoint, now: Timestamp) -> String {
        let line = Self { time: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), note: signed.note.to_string() };
        let text = serde_json::to_string(&line).unwrap_or_default();
        format!("{text}\n")
    }

    /// Reads a line; `None` for anything else.
    pub(in crate::decisions) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// A history with one line more, and without what is too much: the latest stay, of older ones the first of each day.
pub(super) fn with(history: &str, line: &str) -> String {
    let mut lines: Vec<&str> = history.split_inclusive('\n').filter(|l| l.ends_with('\n')).collect();
    lines.push(line);
    let older = lines.len().saturating_sub(RECENT);
    let mut day = String::new();
    let mut first_of_day = |line: &str| {
        let found: String = HistoryLine::parse(line).map(|l| l.time.chars().take(10).collect()).unwrap_or_default();
        let new = found != day;
        day = found;
        new
    };
    let mut kept: Vec<&str> = lines.iter().take(older).copied().filter(|line| first_of_day(line)).collect();
    kept.drain(..kept.len().saturating_sub(DAYS));
    kept.extend(lines.iter().skip(older));
    let mut bytes: usize = kept.iter().map(|l| l.len()).sum();
    let first = kept.iter().take_while(|line| {
        let too_many = bytes > MAX_BYTES;
        bytes -= line.len();
        too_many
    });
    let first = first.count();
    kept.drain(..first);
    kept.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(day: usize, minute: usize, note: &str) -> String {
        let time =
            format!("2026-{:02}-{:02}T{:02}:{:02}:00Z", day / 28 % 12 + 1, day % 28 + 1, minute / 60, minute % 60);
        format!("{}\n", serde_json::to_string(&HistoryLine { time, note: note.to_owned() }).expect("JSON"))
    }

    #[test]
    fn a_history_keeps_the_latest_and_one_a_day() {
        let mut history = String::new();
        for day in 0..10 {
            for minute in 0..100 {
                history = with(&history, &line(day, minute, &format!("{day} {minute}")));
            }
        }
        let notes: Vec<String> = history.lines().map(|l| HistoryLine::parse(l).expect("a line").note).collect();
        assert_eq!(notes.len(), 60 + 10);
        assert_eq!(notes[..10], (0..10).map(|d| format!("{d} 0")).collect::<Vec<_>>());
        assert_eq!((notes[10].as_str(), notes[69].as_str()), ("9 40", "9 99"));
    }

    #[test]
    fn a_history_is_bounded_in_lines_and_bytes() {
        let mut history = String::new();
        for day in 0..2000 {
            history = with(&history, &line(day, 0, &day.to_string()));
        }
        assert_eq!(history.lines().count(), RECENT + DAYS);
        for day in 0..200 {
            history = with(&history, &line(day, 0, &"x".repeat(10_000)));
        }
        assert!(history.len() <= MAX_BYTES, "{}", history.len());
        assert!(history.lines().count() > 20);
        // What a crash left half written goes.
        assert_eq!(with("{\"time\":", "a\n"), "a\n");
    }
}
