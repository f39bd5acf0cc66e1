//! What making decisions again came to, for people and programs. Knows layout.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout, Write as _};

use serde_json::json;

use super::ReplayArgs;
use crate::cli::decisions::output::{Output, csv_row};
use crate::cli::decisions::{object, plain, resource};
use crate::cli::style::Style;
use crate::decisions::DecisionRecord;
use crate::decisions::replay::{Replayed, Status};
use crate::engine::Verdict;

/// How many came to what.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub counts: BTreeMap<Status, u64>,
    /// Of those that are indeterminate, how many have the verdict of then for certain.
    pub same_verdict: u64,
}

impl Summary {
    pub(super) fn take(&mut self, result: &Replayed) {
        *self.counts.entry(result.status).or_default() += 1;
        let certain = result.status == Status::Indeterminate && result.replayed == Some(result.recorded);
        self.same_verdict += u64::from(certain);
    }

    fn count(&self, status: Status) -> u64 {
        self.counts.get(&status).copied().unwrap_or_default()
    }
}

/// Prints as they come.
pub(super) struct Printer {
    out: Out,
    style: Style,
}

enum Out {
    Table(BufWriter<Stdout>),
    Json(BufWriter<Stdout>),
    Csv(Box<csv::Writer<Stdout>>),
}

const COLUMNS: [&str; 12] = [
    "time",
    "decision_id",
    "status",
    "recorded",
    "replayed",
    "operation",
    "resource",
    "namespace",
    "name",
    "user",
    "differences",
    "unseen",
];

impl Printer {
    pub(super) fn new(args: &ReplayArgs) -> Self {
        let out = match args.output {
            Output::Table => Out::Table(BufWriter::new(io::stdout())),
            Output::Json => Out::Json(BufWriter::new(io::stdout())),
            Output::Csv => Out::Csv(Box::new(csv::Writer::from_writer(io::stdout()))),
        };
        let mut printer = Self { out, style: Style::stdout() };
        if let Out::Csv(writer) = &mut printer.out {
            // What goes wrong here goes wrong again with the first row.
            let _ = writer.write_record(COLUMNS);
        }
        printer
    }

    pub(super) fn decision(&mut self, d: &DecisionRecord, result: &Replayed) -> anyhow::Result<()> {
        let style = &self.style;
        match &mut self.out {
            Out::Json(out) => {
                let mut value = serde_json::to_value(result)?;
                if let Some(map) = value.as_object_mut() {
                    map.insert("type".to_owned(), json!("decision"));
                    map.insert("time".to_owned(), json!(d.timestamp));
                }
                writeln!(out, "{value}")?;
            }
            Out::Csv(writer) => {
                let unseen: Vec<String> =
                    result.unseen.iter().map(|(p, why)| format!("{p}: {}", why.join(", "))).collect();
                let row = [
                    d.timestamp.as_str(),
                    &d.decision_id,
                    result.status.as_str(),
                    result.recorded.as_str(),
                    result.replayed.map_or("", Verdict::as_str),
                    d.request.operation.as_str(),
                    &resource(&d.request),
                    &d.request.namespace,
                    &d.request.name,
                    &d.request.user.username,
                    &result.differences.join("; "),
                    &unseen.join("; "),
                ];
                csv_row(writer, row)?;
            }
            Out::Table(out) => {
                let status = format!("{:<13}", result.status.as_str());
                let status = match result.status {
                    Status::Identical => style.green(&status),
                    Status::Different => style.red(&status),
                    Status::Indeterminate | Status::NotJudged => style.yellow(&status),
                };
                let verdict = match result.replayed {
                    Some(now) if now != result.recorded => {
                        format!("{}, now {}", result.recorded.as_str(), now.as_str())
                    }
                    Some(now) => now.as_str().to_owned(),
                    None => format!("{}, now unknown", result.recorded.as_str()),
                };
                writeln!(
                    out,
                    "{status}  {}  {verdict}  {} {} {}",
                    plain(&d.decision_id),
                    d.request.operation.as_str(),
                    resource(&d.request),
                    plain(&object(&d.request)),
                )?;
                for difference in &result.differences {
                    writeln!(out, "  {}", plain(difference))?;
                }
                for (policy, why) in &result.unseen {
                    let policy = if policy == "*" { "any policy" } else { policy };
                    writeln!(out, "  {} could have been decided by: {}", plain(policy), plain(&why.join(", ")))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn summary(&mut self, summary: &Summary) -> anyhow::Result<()> {
        let all = [Status::Identical, Status::Different, Status::Indeterminate, Status::NotJudged];
        match &mut self.out {
            Out::Json(out) => {
                let mut value = serde_json::Map::new();
                value.insert("type".to_owned(), json!("summary"));
                value.insert("same_verdict".to_owned(), json!(summary.same_verdict));
                value.extend(all.map(|status| (status.as_str().to_owned(), json!(summary.count(status)))));
                let value = serde_json::Value::Object(value);
                writeln!(out, "{value}")?;
                out.flush()?;
            }
            Out::Csv(writer) => writer.flush()?,
            Out::Table(out) => {
                let counts: Vec<String> =
                    all.iter().map(|s| format!("{} {}", summary.count(*s), s.as_str().replace('_', " "))).collect();
                writeln!(out, "{}", counts.join(", "))?;
                if summary.count(Status::Indeterminate) > 0 {
                    writeln!(
                        out,
                        "of the indeterminate, {} have the verdict on record for certain",
                        summary.same_verdict
                    )?;
                }
                out.flush()?;
            }
        }
        Ok(())
    }
}
