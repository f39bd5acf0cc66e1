//! `portcullis decisions stats`: how many decisions, by whatever one asks. Knows arguments, grouping and layout.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use std::ops::ControlFlow;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::filter::FilterArgs;
use super::output::{Output, csv_row};
use super::{LogArgs, decisions, mention_flaws, plain};
use crate::cli::Exit;
use crate::cli::style::Style;
use crate::decisions::{DecisionRecord, RecordType};
use crate::engine::{Cause, Verdict};

/// Groups beyond which the smallest are counted as one, so that memory is bounded whatever users send.
const MOST_GROUPS: usize = 100_000;

/// Count decisions: how many were allowed, denied, failed, by what one asks
///
/// Reads the log once and holds only the counts. A decision with several policies counts for each of them. How many
/// could not be judged by what their records have room for is said, too (`unjudged` of the total in JSON).
#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// What to group by; several make one group of each combination
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [By::Operation, By::Kind])]
    by: Vec<By>,
    /// Only the N largest groups
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The policies that found something or could not be judged
    Policy,
    /// Namespace of the request
    Namespace,
    /// User name
    User,
    /// Kind of the object
    Kind,
    /// CREATE, UPDATE, DELETE, CONNECT
    Operation,
    /// validate or mutate
    Endpoint,
    /// Why: policy, policy_error, deadline, ...
    Cause,
    /// The policy set that judged
    PolicySet,
    /// Who wrote the log
    Replica,
    /// Hour (UTC)
    Hour,
    /// Day (UTC)
    Day,
}

/// What is counted of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    decisions: u64,
    allowed: u64,
    denied: u64,
    failed: u64,
    mutated: u64,
}

impl Counts {
    fn take(&mut self, d: &DecisionRecord) {
        self.decisions += 1;
        match d.verdict {
            Verdict::Allow => self.allowed += 1,
            Verdict::Deny => self.denied += 1,
        }
        self.failed += u64::from(!matches!(d.cause, Cause::None | Cause::Policy));
        self.mutated += u64::from(d.mutated);
    }

    fn columns(self) -> [(&'static str, u64); 5] {
        [
            ("decisions", self.decisions),
            ("allowed", self.allowed),
            ("denied", self.denied),
            ("failed", self.failed),
            ("mutated", self.mutated),
        ]
    }
}

impl By {
    fn name(self) -> String {
        self.to_possible_value().map(|v| v.get_name().replace('-', "_")).unwrap_or_default()
    }

    /// The values of a decision: one, or for policies as many as it has.
    fn values(self, d: &DecisionRecord) -> Vec<String> {
        let one = |text: &str| vec![text.to_owned()];
        match self {
            Self::Policy => {
                let found = d.violations.iter().map(|v| &v.policy);
                let mut names: Vec<String> = found.chain(d.errors.iter().map(|e| &e.policy)).cloned().collect();
                names.sort();
                names.dedup();
                if names.is_empty() { one("-") } else { names }
            }
            Self::Namespace if d.request.namespace.is_empty() => one("-"),
            Self::Namespace => one(&d.request.namespace),
            Self::User => one(&d.request.user.username),
            Self::Kind => one(&d.request.kind),
            Self::Operation => one(d.request.operation.as_str()),
            Self::Endpoint => one(d.endpoint.as_str()),
            Self::Cause => one(d.cause.as_str()),
            Self::PolicySet => one(&d.policy_set.to_string()),
            Self::Replica => one("-"),
            Self::Hour => one(d.timestamp.get(..13).unwrap_or(&d.timestamp)),
            Self::Day => one(d.timestamp.get(..10).unwrap_or(&d.timestamp)),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A log that cannot be read.
pub(super) fn stats(args: &StatsArgs) -> anyhow::Result<Exit> {
    let reader = args.log.reader()?;
    let filter = args.filter.filter()?;
    if !matches!(filter.r#type, None | Some(RecordType::Decision)) {
        bail!(
            "`stats` counts decisions; for other records ask `portcullis decisions query \"SELECT type, count(*) FROM record GROUP BY 1\"`"
        );
    }
    let (mut total, mut groups, mut cut) = (Counts::default(), BTreeMap::<Vec<String>, Counts>::new(), 0_u64);
    let by_policy = args.by.contains(&By::Policy);
    let others = vec!["(others)".to_owned(); args.by.len()];
    let flaws = reader.for_each(&filter, |record| {
        if let Some(decision) = record.decision() {
            total.take(&decision);
            cut += u64::from(by_policy && (decision.violations_omitted > 0 || decision.errors_omitted > 0));
            let replica = &record.head.labels.replica;
            for key in keys(&args.by, &decision, replica) {
                let full = groups.len() >= MOST_GROUPS && !groups.contains_key(&key);
                groups.entry(if full { others.clone() } else { key }).or_default().take(&decision);
            }
        }
        ControlFlow::Continue(())
    })?;
    mention_flaws(&flaws, "the log");
    if cut > 0 {
        eprintln!(
            "{}: {} may have more policies than are counted here: their records were cut (`.._omitted`)",
            Style::stderr().yellow("warning"),
            decisions(cut)
        );
    }
    let unjudged = flaws.unjudged + cut;
    let by_time = args.by.iter().any(|b| matches!(b, By::Hour | By::Day));
    let mut rows: Vec<(Vec<String>, Counts)> = groups.into_iter().collect();
    if !by_time {
        rows.sort_by(|a, b| b.1.decisions.cmp(&a.1.decisions).then_with(|| a.0.cmp(&b.0)));
    }
    rows.truncate(args.limit.unwrap_or(usize::MAX));
    let names: Vec<String> = args.by.iter().map(|b| b.name()).collect();
    match args.output {
        Output::Table => table(&names, &rows, total)?,
        Output::Json => {
            for (key, counts) in rows.iter().chain([&(Vec::new(), total)]) {
                let group = names.iter().cloned().zip(key.iter().map(|k| json!(k)));
                let counted = counts.columns().map(|(name, n)| (name.to_owned(), json!(n)));
                let mut line: Map<String, Value> = group.chain(counted).collect();
                line.insert("type".to_owned(), json!(if key.is_empty() { "total" } else { "group" }));
                if key.is_empty() {
                    line.insert("unjudged".to_owned(), json!(unjudged));
                }
                println!("{}", Value::Object(line));
            }
        }
        Output::Csv => {
            let mut writer = csv::Writer::from_writer(io::stdout());
            let counted = Counts::default().columns().map(|(name, _)| name.to_owned());
            writer.write_record(names.iter().cloned().chain(counted))?;
            for (key, counts) in &rows {
                csv_row(&mut writer, key.iter().cloned().chain(counts.columns().map(|(_, n)| n.to_string())))?;
            }
            writer.flush()?;
        }
    }
    Ok(Exit::Fine)
}

/// Every combination of the values of a decision.
fn keys(by: &[By], decision: &DecisionRecord, replica: &str) -> Vec<Vec<String>> {
    by.iter().fold(vec![Vec::new()], |keys, by| {
        let values = match by {
            By::Replica => vec![replica.to_owned()],
            other => other.values(decision),
        };
        let longer = |key: Vec<String>| {
            values.iter().map(move |value| key.iter().cloned().chain([value.clone()]).collect()).collect::<Vec<_>>()
        };
        keys.into_iter().flat_map(longer).collect()
    })
}

fn table(names: &[String], rows: &[(Vec<String>, Counts)], total: Counts) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout());
    let widths: Vec<usize> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let cells = rows.iter().filter_map(|(key, _)| key.get(n)).map(|c| c.chars().count());
            cells.max().unwrap_or_default().max(name.len()).max(5)
        })
        .collect();
    let line = |cells: &[String], counts: [String; 5]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{:<width$}", plain(cell)));
        let counts = counts.into_iter().map(|n| format!("{n:>10}"));
        cells.chain(counts).collect::<Vec<_>>().join("  ")
    };
    let head: Vec<String> = names.iter().map(|n| n.to_uppercase()).collect();
    let titles = Counts::default().columns().map(|(name, _)| name.to_uppercase());
    writeln!(out, "{}", Style::stdout().bold(&line(&head, titles)))?;
    let numbers = |counts: Counts| counts.columns().map(|(_, n)| n.to_string());
    for (key, counts) in rows {
        writeln!(out, "{}", line(key, numbers(*counts)))?;
    }
    let mut last = vec![String::new(); names.len()];
    if let Some(first) = last.first_mut() {
        "total".clone_into(first);
    }
    writeln!(out, "{}", line(&last, numbers(total)))?;
    out.flush()
}
