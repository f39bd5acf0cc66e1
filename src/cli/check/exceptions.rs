//! What `check` says of exceptions and bindings: when they end, whether they refer to anything, when they were used.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::cli::style::Style;
use crate::decisions::{Filter, LogReader, RecordType};
use crate::engine::{ExceptionSummary, Snapshot};
use crate::policy::{Instant, LoadError};

/// An end that is so near is noted, in days.
const SOON: i64 = 14;

/// The exceptions of a policy set, with what is known of their use.
#[derive(Default)]
pub(super) struct Exceptions {
    now: Option<Instant>,
    all: Vec<ExceptionSummary>,
    /// `None`: no decision log was asked.
    uses: Option<Uses>,
}

/// What a decision log says.
#[derive(Default)]
struct Uses {
    decisions: u64,
    since: Option<String>,
    /// Times used and the last time, by name.
    of: BTreeMap<String, (u64, String)>,
}

impl Exceptions {
    pub(super) fn new(snapshot: &Snapshot, now: Instant, log: Option<&Path>) -> anyhow::Result<Self> {
        let uses = log.map(Uses::read).transpose()?;
        Ok(Self { now: Some(now), all: snapshot.exceptions(), uses })
    }

    /// Errors: what has no effect any more or never had. Notes: what will soon have none, and what nobody used.
    pub(super) fn findings(&self) -> (Vec<LoadError>, Vec<LoadError>) {
        let (mut errors, mut notes) = (Vec::new(), Vec::new());
        for e in &self.all {
            let given = &e.exception;
            let fault = |code, path: &[&str], message: String| {
                given.document.fault_at(code, path, format!("exception `{}`: {message}", given.name))
            };
            let left = self.now.map_or(i64::MAX, |now| given.expires.days_after(now));
            if left < 0 {
                let message =
                    format!("it expired at {} and lets nothing pass any more: renew or remove it", given.expires);
                errors.push(fault("exception_expired", &["spec", "expires"], message));
            } else if left < SOON {
                let message = format!("it expires in {left} days, at {}", given.expires);
                notes.push(fault("exception_expires", &["spec", "expires"], message));
            }
            if let Some(uses) = self.uses.as_ref().filter(|u| !u.of.contains_key(&given.name)) {
                let since = uses.since.as_ref().map(|s| format!(" since {s}")).unwrap_or_default();
                let message = format!("none of {} decisions{since} used it", uses.decisions);
                notes.push(fault("exception_unused", &["metadata", "name"], message));
            }
        }
        (errors, notes)
    }

    pub(super) fn print(&self, style: Style) {
        for e in &self.all {
            let given = &e.exception;
            let live = self.now.is_some_and(|now| e.is_live(now));
            let word = if live { style.green("exception") } else { style.red("exception") };
            let policies = if e.policies.is_empty() { "no policy".to_owned() } else { e.policies.join(", ") };
            let until = if live { "until" } else { "expired" };
            let (name, end) = (style.bold(&given.name), given.expires);
            let used = self.uses.as_ref().and_then(|u| u.of.get(&given.name));
            let used = used.map(|(count, last)| format!(", used {count} times, last at {last}")).unwrap_or_default();
            println!("{word} {name} {policies} {until} {end} ({}, approved by {}){used}", given.ticket, given.approver);
        }
    }

    pub(super) fn to_json(&self) -> Vec<Value> {
        let one = |e: &ExceptionSummary| {
            let given = &e.exception;
            let used = self.uses.as_ref().map(|u| u.of.get(&given.name).cloned().unwrap_or_default());
            let mut value = json!({
                "name": given.name, "file": given.document.file, "policies": e.policies.iter().map(|p| &**p).collect::<Vec<_>>(),
                "state": if self.now.is_some_and(|now| e.is_live(now)) { "active" } else { "expired" },
                "reason": given.reason, "ticket": given.ticket, "approver": given.approver,
                "expires": given.expires.to_string(),
            });
            if let (Some((count, last)), Some(map)) = (used, value.as_object_mut()) {
                map.insert("uses".to_owned(), count.into());
                map.insert("lastUsed".to_owned(), if last.is_empty() { Value::Null } else { last.into() });
            }
            value
        };
        self.all.iter().map(one).collect()
    }
}

impl Uses {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let reader = LogReader::open(dir).context("--decision-log")?;
        let filter = Filter { r#type: Some(RecordType::Decision), ..Filter::default() };
        let mut uses = Self::default();
        reader.for_each(&filter, |record| {
            uses.decisions += 1;
            uses.since.get_or_insert_with(|| record.head.timestamp.clone());
            // Most decisions used none: only those that did are read whole.
            let decision = if record.line.contains("\"exceptions\":[]") { None } else { record.decision() };
            let mut names: Vec<String> = decision.into_iter().flat_map(|d| d.exceptions).map(|e| e.name).collect();
            names.dedup();
            for name in names {
                let (count, last) = uses.of.entry(name).or_default();
                *count += 1;
                last.clone_from(&record.head.timestamp);
            }
            ControlFlow::Continue(())
        })?;
        Ok(uses)
    }
}
