//! Reading a log, also while it is written: streams over segments in order, filters, finds single decisions and checks
//! their bodies. Needs no lock; a line that is not finished yet is not there yet. Must not know the writer.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::decisions::body::BodyLine;
use crate::decisions::entry::rfc3339;
use crate::decisions::erase::is_erased;
use crate::decisions::hold::Kept;
use crate::decisions::lines::Lines;
use crate::decisions::record::{DecisionRecord, GapRecord, Head, RecordType};
use crate::decisions::segments;
use crate::decisions::sieve::{Sieve, Sifted};
use crate::decisions::tree_files::read_keys;
use crate::decisions::{HoldRecord, LogError, PruneRecord};
use crate::engine::{Cause, Verdict};

/// How far records of a segment may lie outside the time from its first to its last. A request lives 30 s at most (the
/// API server's limit); the rest is for clocks that are set.
pub(super) const SLACK: Duration = Duration::from_secs(600);

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What every record begins with.
    pub head: Head,
    /// The line as it stands, without line feed: the leaf of the tree.
    pub line: String,
}

impl Record {
    /// Reads a line; `None` when it is no record.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let head = serde_json::from_str(line).ok()?;
        Some(Self { head, line: line.to_owned() })
    }

    /// What a decision's record holds; `None` for other types.
    #[must_use]
    pub fn decision(&self) -> Option<DecisionRecord> {
        (self.head.r#type == RecordType::Decision).then(|| serde_json::from_str(&self.line).ok())?
    }

    /// What a gap's record holds; `None` for other types.
    #[must_use]
    pub fn gap(&self) -> Option<GapRecord> {
        (self.head.r#type == RecordType::Gap).then(|| serde_json::from_str(&self.line).ok())?
    }

    /// What a prune's record holds; `None` for other types.
    #[must_use]
    pub fn prune(&self) -> Option<PruneRecord> {
        (self.head.r#type == RecordType::Prune).then(|| serde_json::from_str(&self.line).ok())?
    }

    /// What a hold's record holds; `None` for other types.
    #[must_use]
    pub fn hold(&self) -> Option<HoldRecord> {
        (self.head.r#type == RecordType::Hold).then(|| serde_json::from_str(&self.line).ok())?
    }
}

/// Which records are wanted. All that is set must hold; names may be globs with `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Namespace of the request.
    pub namespace: Option<String>,
    /// User name, or any value of the user's `extra` (on EKS the person is there).
    pub user: Option<String>,
    /// A policy that found something or could not be judged.
    pub policy: Option<String>,
    /// The answer.
    pub verdict: Option<Verdict>,
    /// Why.
    pub cause: Option<Cause>,
    /// `request.uid`.
    pub uid: Option<String>,
    /// Type of record; `None` for all.
    pub r#type: Option<RecordType>,
}

impl Filter {
    /// Whether it asks for something that only decisions have.
    #[must_use]
    pub fn asks_of_decisions(&self) -> bool {
        let texts = [&self.namespace, &self.user, &self.policy, &self.uid];
        texts.iter().any(|t| t.is_some()) || self.verdict.is_some() || self.cause.is_some()
    }

    /// Whether `record` is wanted.
    #[must_use]
    pub fn takes(&self, record: &Record) -> bool {
        let head = &record.head;
        let early = self.since.is_some_and(|t| head.timestamp < rfc3339(t));
        let late = self.until.is_some_and(|t| head.timestamp > rfc3339(t));
        if early || late || self.r#type.is_some_and(|t| t != head.r#type) {
            return false;
        }
        !self.asks_of_decisions() || (head.r#type == RecordType::Decision && self.takes_line(&record.line))
    }

    /// Texts that a wanted line holds as they stand, so that most lines need no parsing.
    pub(super) fn needles(&self) -> Vec<String> {
        let texts = [&self.namespace, &self.user, &self.policy, &self.uid];
        let plain = texts.into_iter().flatten().filter(|t| !t.is_empty() && !t.contains('*'));
        let quoted = plain.filter_map(|t| serde_json::to_string(t).ok());
        // As a server writes them.
        let member = |name: &str, value: &str| format!(r#""{name}":"{value}""#);
        let kind = self.r#type.filter(|t| *t != RecordType::Unknown).map(|t| member("type", t.as_str()));
        let verdict = self.verdict.map(|v| member("verdict", v.as_str()));
        let cause = self.cause.map(|c| member("cause", c.as_str()));
        quoted.chain(kind).chain(verdict).chain(cause).collect()
    }
}

/// What a search by id came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No decision has it.
    None,
    /// This one.
    One(Box<Record>),
    /// Several begin with it; the ids of the first.
    Several(Vec<String>),
}

/// What became of a decision's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyState {
    /// It is what the envelope was written with.
    Intact(BodyLine),
    /// It is there, and its digest is another.
    Altered(BodyLine),
    /// Its file is there, and it is not in it.
    Missing,
    /// Its file was deleted.
    Deleted,
    /// It was erased from its file; a `prune` record says so.
    Erased,
}

/// What is odd about the lines that were read. Whether they are the ones that were signed is
/// [`verify`](crate::decisions::verify())'s business.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flaws {
    /// Lines that are no records.
    pub unreadable: u64,
    /// Records that are not there although later ones are.
    pub missing: u64,
    /// The first of them.
    pub first_missing: Option<u64>,
    /// Decisions that may be wanted: the policies or the user's values that would say so were cut from their records.
    pub unjudged: u64,
}

impl Flaws {
    /// A record `found` where `expected` belongs.
    fn follow(&mut self, expected: u64, found: u64) {
        if found > expected {
            self.missing += found - expected;
            self.first_missing = Some(self.first_missing.map_or(expected, |first| first.min(expected)));
        }
    }
}

/// A line with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located<'l> {
    /// The record's number.
    pub seq: u64,
    /// The first number of its segment, which names the file.
    pub segment: u64,
    /// Where in that file it begins.
    pub offset: u64,
    /// The line, without line feed.
    pub line: &'l str,
}

/// A log directory, for reading.
#[derive(Debug, Clone)]
pub struct LogReader {
    pub(super) dir: PathBuf,
}

impl LogReader {
    /// Looks at `dir`.
    ///
    /// # Errors
    /// [`LogError::Io`] when there is no such directory.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        segments::segments(dir)?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    /// Calls `each` for every wanted record, oldest first, until it breaks. Gives what is odd about the lines
    /// it read.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn for_each(
        &self,
        filter: &Filter,
        mut each: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<Flaws, LogError> {
        let mut flaws = Flaws::default();
        for span in self.within(filter)? {
            if self.scan(&span, filter, &mut flaws, &mut each)?.is_break() {
                break;
            }
        }
        Ok(flaws)
    }

    /// Calls `each` for every record from number `from` on, oldest first, as it stands, until it breaks.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn stream(&self, from: u64, mut each: impl FnMut(Located<'_>) -> ControlFlow<()>) -> Result<Flaws, LogError> {
        let mut flaws = Flaws::default();
        let mut spans = self.within(&Filter::default())?;
        spans.retain(|span| span.end.is_none_or(|end| end > from));
        for span in spans {
            let mut wanted = |l: Located<'_>| if l.seq < from { ControlFlow::Continue(()) } else { each(l) };
            if self.read(&span, &mut flaws, &mut wanted)?.is_break() {
                break;
            }
        }
        Ok(flaws)
    }

    /// The last `limit` wanted records, newest last, and what is odd about the lines read.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn last(&self, filter: &Filter, limit: usize) -> Result<(Vec<Record>, Flaws), LogError> {
        let (mut newest, mut flaws) = (VecDeque::<Record>::new(), Flaws::default());
        for span in self.within(filter)?.iter().rev() {
            let wanted = limit - newest.len();
            let mut found = VecDeque::new();
            let flow = self.scan(span, filter, &mut flaws, &mut |record| {
                if found.len() == wanted {
                    found.pop_front();
                }
                found.push_back(record);
                ControlFlow::Continue(())
            });
            let _ = flow?;
            found.extend(newest);
            newest = found;
            if newest.len() >= limit {
                break;
            }
        }
        Ok((newest.into(), flaws))
    }

    /// The decision whose id is or begins with `prefix`.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn find(&self, prefix: &str) -> Result<Found, LogError> {
        self.find_until(prefix, None).map(|found| found.unwrap_or(Found::None))
    }

    /// The same within a time; `None` when it was up before the log was looked through.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn find_until(&self, prefix: &str, until: Option<Instant>) -> Result<Option<Found>, LogError> {
        let prefix = prefix.to_ascii_lowercase();
        // The id's time (UUIDv7, RFC 9562 section 5.7) says where to look first.
        if let Some(filter) = around(&prefix) {
            let found = self.find_within(&prefix, &filter, until)?;
            if found != Some(Found::None) {
                return Ok(found);
            }
        }
        self.find_within(&prefix, &Filter::default(), until)
    }

    /// The body of `record`, checked against the envelope's digest.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn body(&self, record: &Record, decision: &DecisionRecord) -> Result<BodyState, LogError> {
        let segments = segments::segments(&self.dir)?;
        let segment = segments.iter().rev().find(|s| s.first_seq <= record.head.seq);
        let Some(segment) = segment.filter(|s| s.bodies.is_some()) else { return Ok(BodyState::Deleted) };
        let path = segments::body_path(&self.dir, segment.first_seq);
        let start = format!(r#"{{"decision_id":"{}","#, decision.decision_id);
        let fault = |e: io::Error| LogError::io("read", &path, &e);
        let mut lines = match Lines::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BodyState::Deleted),
            other => other.map_err(fault)?,
        };
        let mut state = BodyState::Missing;
        while let Some(line) = lines.next_finished().map_err(fault)? {
            if line.bytes.starts_with(start.as_bytes())
                && let Some(body) = std::str::from_utf8(line.bytes).ok().and_then(BodyLine::parse)
            {
                if body.digest() == *decision.input.digest.as_bytes() {
                    return Ok(BodyState::Intact(body));
                }
                state = BodyState::Altered(body);
            } else if std::str::from_utf8(line.bytes).is_ok_and(|text| is_erased(text, &decision.decision_id)) {
                state = BodyState::Erased;
            }
        }
        Ok(state)
    }

    fn find_within(&self, prefix: &str, filter: &Filter, until: Option<Instant>) -> Result<Option<Found>, LogError> {
        const SHOWN: usize = 10;
        let needle = format!(r#""decision_id":"{prefix}"#);
        let mut found: Vec<(String, Record)> = Vec::new();
        let (mut flaws, mut late) = (Flaws::default(), false);
        for span in self.within(filter)? {
            let flow = self.read(&span, &mut flaws, &mut |located| {
                // Looking at the clock costs as much as looking at a line.
                late = located.seq % 64 == 0 && until.is_some_and(|until| Instant::now() >= until);
                if !late
                    && located.line.contains(needle.as_str())
                    && let Some(record) = Record::parse(located.line)
                    && let Some(decision) = record.decision()
                    && decision.decision_id.starts_with(prefix)
                {
                    found.push((decision.decision_id, record));
                }
                if late || found.len() > SHOWN { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if flow.is_break() {
                break;
            }
        }
        if late {
            return Ok(None);
        }
        Ok(Some(match found.len() {
            0 => Found::None,
            1 => found.pop().map_or(Found::None, |(_, record)| Found::One(Box::new(record))),
            _ => Found::Several(found.into_iter().map(|(id, _)| id).take(SHOWN).collect()),
        }))
    }

    fn scan(
        &self,
        span: &Span,
        filter: &Filter,
        flaws: &mut Flaws,
        each: &mut impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, LogError> {
        let (sieve, mut unreadable, mut unjudged) = (Sieve::new(filter), 0, 0);
        let flow = self.read(span, flaws, &mut |located| {
            match sieve.sift(located.line) {
                Sifted::Wanted(record) => return each(*record),
                Sifted::Unreadable => unreadable += 1,
                Sifted::Unjudged(_) => unjudged += 1,
                Sifted::Other => {}
            }
            ControlFlow::Continue(())
        });
        flaws.unreadable += unreadable;
        flaws.unjudged += unjudged;
        flow
    }

    /// Reads a segment and looks whether its numbers follow one another.
    pub(super) fn read(
        &self,
        span: &Span,
        flaws: &mut Flaws,
        each: &mut impl FnMut(Located<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, LogError> {
        let path = segments::envelope_path(&self.dir, span.segment);
        let fault = |e: io::Error| LogError::io("read", &path, &e);
        let mut lines = match Lines::open(&path) {
            // Pruned while we read.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(ControlFlow::Continue(())),
            other => other.map_err(fault)?,
        };
        let mut expected = span.segment;
        while let Some(line) = lines.next_finished().map_err(fault)? {
            let text = std::str::from_utf8(line.bytes).ok();
            let Some((text, seq)) = text.and_then(|text| Some((text, seq_of(text)?))) else {
                flaws.unreadable += 1;
                // It may stand for a record; a gap after it would be counted twice.
                expected += 1;
                continue;
            };
            flaws.follow(expected, seq);
            expected = seq.saturating_add(1).max(expected);
            let located = Located { seq, segment: span.segment, offset: line.offset, line: text };
            if each(located).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if let Some(end) = span.end {
            flaws.follow(expected, end);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The segments that can hold records of the filter's time, as far as their first and last records say.
    pub(super) fn within(&self, filter: &Filter) -> Result<Vec<Span>, LogError> {
        let segments = segments::segments(&self.dir)?;
        // What was deleted between segments that a legal hold keeps is not missing.
        let keys = read_keys(&self.dir).unwrap_or_default();
        let gone = Kept::stored(&self.dir, &keys).ok().flatten().map(|kept| kept.gone).unwrap_or_default();
        let ends = segments.iter().skip(1).map(|next| Some(next.first_seq)).chain([None]);
        let spans = segments.iter().zip(ends).map(|(s, next)| {
            let end = next.map(|next| {
                let deleted = gone.iter().map(|(first, _)| first).find(|seq| (s.first_seq + 1..next).contains(seq));
                deleted.unwrap_or(next)
            });
            Span { segment: s.first_seq, end }
        });
        let mut spans: Vec<Span> = spans.collect();
        if filter.since.is_none() && filter.until.is_none() {
            return Ok(spans);
        }
        let since = filter.since.and_then(|t| t.saturating_sub(SLACK).ok()).map(rfc3339);
        let until = filter.until.and_then(|t| t.saturating_add(SLACK).ok()).map(rfc3339);
        spans.retain(|s| match segments::ends(&segments::envelope_path(&self.dir, s.segment)) {
            // A clock that was set back makes the last record the older one.
            Ok(Some((first, last))) => {
                let early = since.as_ref().is_some_and(|t| *t > first && *t > last);
                let late = until.as_ref().is_some_and(|t| *t < first && *t < last);
                !early && !late
            }
            Ok(None) | Err(_) => true,
        });
        Ok(spans)
    }
}

/// A segment and where the next begins.
pub(super) struct Span {
    segment: u64,
    pub end: Option<u64>,
}

/// The number of a record. The beginning of a line that a server wrote says it without reading all of it.
fn seq_of(line: &str) -> Option<u64> {
    let quick = || {
        let (_, rest) = line.strip_prefix(r#"{"v":1,"type":""#)?.split_once('"')?;
        let (digits, _) = rest.strip_prefix(r#","seq":"#)?.split_once(',')?;
        digits.parse().ok()
    };
    quick().or_else(|| serde_json::from_str::<Head>(line).ok().map(|head| head.seq))
}

/// The time in which ids that begin with `prefix` are made.
fn around(prefix: &str) -> Option<Filter> {
    let digits: String = prefix.chars().filter(|c| *c != '-').take(12).collect();
    if digits.len() < 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let bound = |fill: &str| {
        let padded = digits.clone() + fill.get(digits.len()..)?;
        Timestamp::from_millisecond(i64::from_str_radix(&padded, 16).ok()?).ok()
    };
    let since = bound("000000000000")?.saturating_sub(SLACK).ok()?;
    let until = bound("ffffffffffff")?.saturating_add(SLACK).ok()?;
    Some(Filter { since: Some(since), until: Some(until), ..Filter::default() })
}
