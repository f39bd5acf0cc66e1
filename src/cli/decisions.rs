//! `portcullis decisions`: reads the decision log for people and programs. Knows arguments and layout; how a log is
//! read and checked is `decisions`' business.

mod anchor;
mod export;
mod filter;
mod join;
mod keep;
mod key;
mod output;
mod progress;
mod prove;
mod query;
mod reach;
mod reconcile;
mod replay;
mod reveal;
mod rows;
mod show;
mod stats;
mod tail;
mod verify;
mod witness;

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::cli::Exit;
use crate::cli::decisions::filter::FilterArgs;
use crate::cli::style::Style;
use crate::decisions::{DecisionRecord, Filter, Flaws, LogReader, Record, RecordType, RequestRecord};
use crate::engine::Verdict;
use crate::policy::Enforcement;

/// Read the decision log, and show that nobody changed it.
///
/// Works on a log that is being written, and on a copy. Exit codes: 0 fine, 1 a negative finding (no such decision, a
/// record that is not what was signed), 2 could not run.
#[derive(Debug, Args)]
pub(super) struct DecisionsArgs {
    #[command(subcommand)]
    command: DecisionsCommand,
}

#[derive(Debug, Subcommand)]
enum DecisionsCommand {
    List(Box<ListArgs>),
    Show(ShowArgs),
    Verify(verify::VerifyArgs),
    Prove(prove::ProveArgs),
    VerifyProof(prove::VerifyProofArgs),
    Key(key::KeyArgs),
    Anchor(anchor::AnchorArgs),
    Tail(Box<tail::TailArgs>),
    Stats(Box<stats::StatsArgs>),
    Query(query::QueryArgs),
    Join(Box<join::JoinArgs>),
    Replay(Box<replay::ReplayArgs>),
    Export(Box<export::ExportArgs>),
    Reconcile(reconcile::ReconcileArgs),
    Hold(Box<keep::HoldArgs>),
    Release(Box<keep::ReleaseArgs>),
    Holds(keep::HoldsArgs),
    Erase(Box<keep::EraseArgs>),
    Prune(Box<keep::PruneArgs>),
    Reveal(Box<reveal::RevealArgs>),
}

/// Where the log is.
#[derive(Debug, Args)]
struct LogArgs {
    /// Directory of the decision log. Default: `decisions` in the state directory.
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_DECISION_LOG")]
    decision_log: Option<PathBuf>,
    /// State directory of `portcullis serve`.
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_STATE_DIR", default_value = ".portcullis")]
    state_dir: PathBuf,
}

impl LogArgs {
    fn dir(&self) -> PathBuf {
        self.decision_log.clone().unwrap_or_else(|| self.state_dir.join("decisions"))
    }

    fn reader(&self) -> anyhow::Result<LogReader> {
        let dir = self.dir();
        LogReader::open(&dir).with_context(|| {
            format!("no decision log in `{}`; name one with --decision-log or --state-dir", dir.display())
        })
    }
}

/// List decisions, newest last.
///
/// Names may be globs: `--namespace 'tenant-*'`. All filters must hold.
#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only the last N.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,
    /// How to print; `json` gives one record a line, as it stands in the log, `csv` what most people ask of it.
    #[arg(short, long, value_enum, default_value_t = ListOutput::Table)]
    output: ListOutput,
}

/// Show one decision: who, what, when, why, and whether its body is what was recorded.
#[derive(Debug, Args)]
struct ShowArgs {
    /// The decision's id, or as much of its beginning as no other has.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    log: LogArgs,
    /// How to print; `json` gives `{envelope, body, bodyState}`, `body` the line of the body as it is stored, with the
    /// salt that its digest is made with.
    #[arg(short, long, value_enum, default_value_t = ShowOutput::Pretty)]
    output: ShowOutput,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ListOutput {
    Table,
    Json,
    Csv,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ShowOutput {
    Pretty,
    Json,
    Body,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "write a whole number from 1".to_owned())
}

pub(super) fn run(args: &DecisionsArgs) -> anyhow::Result<Exit> {
    let result = match &args.command {
        DecisionsCommand::List(args) => list(args),
        DecisionsCommand::Show(args) => show::show(args),
        DecisionsCommand::Verify(args) => verify::verify(args),
        DecisionsCommand::Prove(args) => prove::prove(args),
        DecisionsCommand::VerifyProof(args) => prove::verify_proof(args),
        DecisionsCommand::Key(args) => key::key(args),
        DecisionsCommand::Anchor(args) => anchor::anchor(args),
        DecisionsCommand::Tail(args) => tail::tail(args),
        DecisionsCommand::Stats(args) => stats::stats(args),
        DecisionsCommand::Query(args) => query::query(args),
        DecisionsCommand::Join(args) => join::join(args),
        DecisionsCommand::Replay(args) => replay::replay(args),
        DecisionsCommand::Export(args) => export::export(args),
        DecisionsCommand::Reconcile(args) => reconcile::reconcile(args),
        DecisionsCommand::Hold(args) => keep::hold(args),
        DecisionsCommand::Release(args) => keep::release(args),
        DecisionsCommand::Holds(args) => keep::holds(args),
        DecisionsCommand::Erase(args) => keep::erase(args),
        DecisionsCommand::Prune(args) => keep::prune(args),
        DecisionsCommand::Reveal(args) => reveal::reveal(args),
    };
    match result {
        // Whoever reads has seen enough.
        Err(e) if e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            Ok(Exit::Fine)
        }
        other => other,
    }
}

fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let reader = args.log.reader()?;
    let filter = args.filter.filter()?;
    let mut table = Table::new(args.output);
    // Of which time it is told whether decisions are missing: that of the list.
    let mut told = Filter { since: filter.since, until: filter.until, ..Filter::default() };
    let flaws = if let Some(limit) = args.limit {
        let (records, flaws) = reader.last(&filter, limit)?;
        for record in &records {
            table.row(record)?;
        }
        let oldest = records.first().and_then(|r| r.head.timestamp.parse().ok());
        told.since = if records.len() == limit { oldest.max(told.since) } else { told.since };
        flaws
    } else {
        let mut failed = Ok(());
        let flaws = reader.for_each(&filter, |record| {
            failed = table.row(&record);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        flaws
    };
    table.finish()?;
    mention_flaws(&flaws, "the log");
    if filter.r#type == Some(RecordType::Decision) {
        mention_gaps(&reader, &told)?;
    }
    Ok(Exit::Fine)
}

/// What is read may not be all there was.
fn mention_flaws(flaws: &Flaws, log: &str) {
    let warning = Style::stderr().yellow("warning");
    if flaws.unreadable > 0 {
        eprintln!("{warning}: {} lines of {log} are no records", flaws.unreadable);
    }
    if let Some(first) = flaws.first_missing {
        let records = if flaws.missing == 1 { "record is" } else { "records are" };
        eprintln!(
            "{warning}: in {log} {} {records} missing, the first is {first}; see `portcullis decisions verify`",
            flaws.missing
        );
    }
    mention_unjudged(flaws.unjudged, log);
}

/// Nor may what is there say all that was asked.
fn mention_unjudged(count: u64, log: &str) {
    if count > 0 {
        eprintln!(
            "{}: in {log} {} more may be meant: what would say so was cut from their records (`.._omitted`); see `portcullis decisions show`",
            Style::stderr().yellow("warning"),
            decisions(count)
        );
    }
}

fn decisions(count: u64) -> String {
    if count == 1 { "1 decision".to_owned() } else { format!("{count} decisions") }
}

/// Decisions that are not on record must not be overlooked.
fn mention_gaps(reader: &LogReader, filter: &Filter) -> anyhow::Result<()> {
    let gaps = Filter { since: filter.since, until: filter.until, r#type: Some(RecordType::Gap), ..Filter::default() };
    let (mut records, mut count, mut unconfirmed) = (0_u64, 0_u64, 0_u64);
    reader.for_each(&gaps, |record| {
        if let Some(gap) = record.gap() {
            records += 1;
            count += gap.count;
            unconfirmed += gap.unconfirmed;
        }
        ControlFlow::Continue(())
    })?;
    if records > 0 {
        let style = Style::stderr();
        eprintln!(
            "{}: {count} decisions of this time are not in the log and {unconfirmed} are unconfirmed ({records} gap records; see --type gap)",
            style.yellow("warning")
        );
    }
    Ok(())
}

/// Rows as they come; columns have fixed widths so that a long log needs no memory.
struct Table {
    out: BufWriter<io::Stdout>,
    style: Style,
    output: ListOutput,
    begun: bool,
}

impl Table {
    fn new(output: ListOutput) -> Self {
        Self { out: BufWriter::new(io::stdout()), style: Style::stdout(), output, begun: false }
    }

    fn row(&mut self, record: &Record) -> io::Result<()> {
        match self.output {
            ListOutput::Json => return writeln!(self.out, "{}", record.line),
            ListOutput::Csv => {
                let begun = std::mem::replace(&mut self.begun, true);
                return rows::csv(&mut self.out, record, !begun);
            }
            ListOutput::Table => {}
        }
        if !self.begun {
            self.begun = true;
            let head = format!(
                "{:<23}  {:<36}  {:<7}  {:<12}  {:<8}  {:<28}  {:<40}  {:<32}  POLICIES",
                "TIME", "ID", "VERDICT", "CAUSE", "OPERATION", "RESOURCE", "OBJECT", "USER"
            );
            writeln!(self.out, "{}", self.style.bold(&head))?;
        }
        let time = record.head.timestamp.get(..23).unwrap_or(&record.head.timestamp);
        let Some(d) = record.decision() else {
            let members = own_members(record);
            return writeln!(
                self.out,
                "{}  {:<36}  {members}",
                plain(time),
                format!("({})", record.head.r#type.as_str())
            );
        };
        let verdict = self.verdict(d.verdict, 7);
        writeln!(
            self.out,
            "{}  {:<36}  {verdict}  {:<12}  {:<8}  {:<28}  {:<40}  {:<32}  {}",
            plain(time),
            plain(&d.decision_id),
            d.cause.as_str(),
            d.request.operation.as_str(),
            resource(&d.request),
            plain(&object(&d.request)),
            plain(&d.request.user.username),
            plain(&policies(&d))
        )
    }

    /// Writes what is held back. CSV has the names of its columns also when there is no row.
    fn finish(&mut self) -> io::Result<()> {
        if matches!(self.output, ListOutput::Csv) && !std::mem::replace(&mut self.begun, true) {
            rows::head(&mut self.out)?;
        }
        self.out.flush()
    }

    fn verdict(&self, verdict: Verdict, width: usize) -> String {
        match verdict {
            Verdict::Allow => self.style.green(&format!("{:<width$}", "allow")),
            Verdict::Deny => self.style.red(&format!("{:<width$}", "deny")),
        }
    }
}

/// What a record that is no decision says, as `key=value`.
fn own_members(record: &Record) -> String {
    const HEAD: [&str; 6] = ["v", "type", "seq", "origin", "labels", "timestamp"];
    let Ok(Value::Object(members)) = serde_json::from_str(&record.line) else { return String::new() };
    let own = members.iter().filter(|(key, _)| !HEAD.contains(&key.as_str()));
    own.map(|(key, value)| plain(&format!("{key}={value}"))).collect::<Vec<_>>().join(" ")
}

fn resource(request: &RequestRecord) -> String {
    let mut text = plain(&request.resource);
    if !request.subresource.is_empty() {
        text = format!("{text}/{}", plain(&request.subresource));
    }
    if request.group.is_empty() { text } else { format!("{text}.{}", plain(&request.group)) }
}

fn object(request: &RequestRecord) -> String {
    let name = match &request.generate_name {
        _ if !request.name.is_empty() => request.name.clone(),
        Some(prefix) => format!("{prefix}*"),
        None => "-".to_owned(),
    };
    if request.namespace.is_empty() { name } else { format!("{}/{name}", request.namespace) }
}

/// The policies that found something, each once.
fn policies(d: &DecisionRecord) -> String {
    let mut names: Vec<String> = Vec::new();
    for (policy, enforcement) in d.violations.iter().map(|v| (&v.policy, v.enforcement)) {
        let name = if enforcement == Enforcement::Deny {
            policy.clone()
        } else {
            format!("{policy}({})", enforcement.as_str())
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.extend(d.errors.iter().map(|e| format!("{}(error: {})", e.policy, e.code.as_str())));
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}

/// Text from requests and policies without what a terminal would obey: control characters, and those that turn the
/// direction of a text, hide in it or break a line.
fn plain(text: &str) -> String {
    if text.chars().all(|c| !c.is_control() && !unseen(c)) {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() => plain.push('\u{fffd}'),
            c if unseen(c) => plain.extend(c.escape_unicode()),
            c => plain.push(c),
        }
    }
    plain
}

/// Characters of Unicode's category Cf that make a text look like another one, and its separators of lines.
fn unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_in_a_record() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(plain("a\u{202e}b\u{2028}c\u{200b}"), "a\\u{202e}b\\u{2028}c\\u{200b}");
        assert_eq!(plain("Grüße, 東京 ✓"), "Grüße, 東京 ✓");
    }
}
