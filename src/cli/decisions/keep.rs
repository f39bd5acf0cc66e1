//! `portcullis decisions hold`, `release`, `holds`, `erase` and `prune`: what is kept and what goes. Knows arguments and
//! layout; the records and files are `decisions`' business.

use std::io::{self, Write as _};

use anyhow::bail;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::filter::{since, until};
use super::output::ShortOutput;
use super::reach::{Reached, WriterArgs, reach};
use super::show::find;
use super::{LogArgs, plain};
use crate::cli::Exit;
use crate::cli::style::Style;
use crate::decisions::{self, Author, Command, Erasure, HoldRequest, Selection};
use crate::units::Period;

/// Place a legal hold: nothing that it is about is deleted or erased until it is released.
///
/// Neither age nor a full log nor an erasure takes what is held; when nothing else is left to go, the log grows until the
/// disk is full and the failure mode for the log answers. Works while the server runs, and while none does.
#[derive(Debug, Args)]
pub(super) struct HoldArgs {
    /// A name for it, such as `case-2026-17`
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    what: SelectionArgs,
    /// Hold the whole log, from now on as well
    #[arg(long, conflicts_with_all = ["since", "until", "namespace", "user", "policy", "id"])]
    all: bool,
    #[command(flatten)]
    why: WhyArgs,
    #[command(flatten)]
    writer: WriterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What a hold is placed or released for.
#[derive(Debug, Args)]
struct WhyArgs {
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Where it was asked for
    #[arg(long, value_name = "TEXT", value_parser = ticket)]
    ticket: String,
}

/// Release a legal hold.
#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    why: WhyArgs,
    #[command(flatten)]
    writer: WriterArgs,
}

/// List the legal holds in force.
#[derive(Debug, Args)]
pub(super) struct HoldsArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Erase the bodies that belong to somebody, for good.
///
/// Bodies (the objects that were sent, patches, details) are taken out of their files; the envelopes stay, with who asked
/// for what, and so do all proofs. A record says which were erased, when, by whom and on what ground. What is under legal
/// hold is refused: nothing is erased then. Copies that left the log (sinks, backups) are not reached.
#[derive(Debug, Args)]
pub(super) struct EraseArgs {
    #[command(flatten)]
    what: SelectionArgs,
    /// Also bodies of others that hold this text, as it stands; repeatable
    #[arg(long, value_name = "TEXT")]
    mentions: Vec<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Where it was asked for
    #[arg(long, value_name = "TEXT", value_parser = ticket)]
    ticket: String,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    writer: WriterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Delete what is old, once, whatever the server's own periods are.
///
/// Whole files go, so what is younger than the last record of its file waits. What is under legal hold stays.
#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// Bodies older than this, such as `90d`
    #[arg(long, value_name = "PERIOD", required_unless_present = "records_older_than")]
    bodies_older_than: Option<Period>,
    /// Records older than this, with their bodies
    #[arg(long, value_name = "PERIOD")]
    records_older_than: Option<Period>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Where it was asked for
    #[arg(long, value_name = "TEXT", value_parser = ticket)]
    ticket: Option<String>,
    #[command(flatten)]
    writer: WriterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which decisions. All that is given must hold, of a repeated flag one; names may be globs.
#[derive(Debug, Args)]
struct SelectionArgs {
    /// Not older than this: a duration (`2h`, `7d`), an RFC 3339 time or a date (UTC)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Not younger than this, likewise; of a date, the end of that day
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<Timestamp>,
    /// Namespace of the request; repeatable
    #[arg(short, long)]
    namespace: Vec<String>,
    /// Who asked: the user name, or a value of the user's extra fields; repeatable
    #[arg(long)]
    user: Vec<String>,
    /// A policy that found something; repeatable
    #[arg(long)]
    policy: Vec<String>,
    /// A decision's id, or as much of its beginning as no other has; repeatable
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
}

impl SelectionArgs {
    fn selection(&self, log: &LogArgs) -> anyhow::Result<Selection> {
        let mut ids = Vec::new();
        if !self.id.is_empty() {
            let reader = log.reader()?;
            for id in &self.id {
                let decision = find(&reader, id)?.and_then(|record| record.decision());
                let Some(decision) = decision else { bail!("--id: there is no decision `{id}`") };
                ids.push(decision.decision_id);
            }
        }
        Ok(Selection {
            since: self.since,
            until: self.until,
            namespaces: self.namespace.clone(),
            users: self.user.clone(),
            policies: self.policy.clone(),
            ids,
        })
    }
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = ShortOutput::Table)]
    output: ShortOutput,
}

/// Places a hold.
///
/// # Errors
/// The writer cannot be reached.
pub(super) fn hold(args: &HoldArgs) -> anyhow::Result<Exit> {
    let selection = args.what.selection(&args.writer.log)?;
    if selection.is_all() && !args.all {
        bail!("say what to hold: --since, --until, --namespace, --user, --policy, --id, or --all");
    }
    let request = HoldRequest { name: args.name.clone(), selection, reason: args.why.reason.clone() };
    let author = author(Some(&args.why.ticket), None);
    let reached = reach(&args.writer, &Command::Hold(request), &author)?;
    done(reached, args.output.output, |hold| {
        let of = |key: &str| plain(hold.get(key).and_then(Value::as_str).unwrap_or_default());
        format!("hold `{}` is in force since {}, on record as {}", of("name"), of("placed"), of("by"))
    })
}

/// Releases a hold.
///
/// # Errors
/// The writer cannot be reached.
pub(super) fn release(args: &ReleaseArgs) -> anyhow::Result<Exit> {
    let command = Command::Release { name: args.name.clone() };
    let reached = reach(&args.writer, &command, &author(Some(&args.why.ticket), Some(&args.why.reason)))?;
    done(reached, ShortOutput::Table, |_| format!("hold `{}` is released", plain(&args.name)))
}

/// Lists the holds.
///
/// # Errors
/// A log that cannot be read.
pub(super) fn holds(args: &HoldsArgs) -> anyhow::Result<Exit> {
    args.log.reader()?;
    let holds = decisions::holds(&args.log.dir())?;
    let mut out = io::stdout().lock();
    if args.output.output == ShortOutput::Json {
        for hold in &holds {
            writeln!(out, "{}", serde_json::to_string(hold)?)?;
        }
        return Ok(Exit::Fine);
    }
    if holds.is_empty() {
        eprintln!("no legal hold is in force");
        return Ok(Exit::Fine);
    }
    let head = format!("{:<24}  {:<23}  {:<20}  {:<16}  {:<40}  REASON", "NAME", "SINCE", "BY", "TICKET", "HOLDS");
    writeln!(out, "{}", Style::stdout().bold(&head))?;
    for hold in &holds {
        writeln!(
            out,
            "{:<24}  {:<23}  {:<20}  {:<16}  {:<40}  {}",
            plain(&hold.name),
            plain(hold.placed.get(..23).unwrap_or(&hold.placed)),
            plain(&hold.by),
            plain(&hold.ticket),
            plain(&told(&hold.selection)),
            plain(&hold.reason)
        )?;
    }
    Ok(Exit::Fine)
}

/// Erases bodies.
///
/// # Errors
/// The writer cannot be reached.
pub(super) fn erase(args: &EraseArgs) -> anyhow::Result<Exit> {
    let selection = args.what.selection(&args.writer.log)?;
    let erasure = Erasure { selection, mentions: args.mentions.clone(), dry_run: args.dry_run };
    let author = author(Some(&args.ticket), args.reason.as_deref());
    let reached = reach(&args.writer, &Command::Erase(erasure), &author)?;
    let exit = done(reached, args.output.output, |erased| {
        let of = |key: &str| erased.get(key).and_then(Value::as_u64).unwrap_or_default();
        let unrecorded = match of("unrecorded") {
            0 => String::new(),
            count => format!(" and {count} that no record has"),
        };
        if args.dry_run {
            return format!(
                "{} decisions have such a body or had one{unrecorded}; nothing was erased",
                of("decisions")
            );
        }
        format!(
            "erased {} bodies, of {} decisions{unrecorded}, {} bytes in {} files; envelopes stay",
            of("bodies"),
            of("decisions"),
            of("bytes"),
            of("files")
        )
    })?;
    let dir = args.writer.log.dir();
    for place in ["cut", "damaged"].map(|name| dir.join(name)).into_iter().filter(|p| p.exists()) {
        eprintln!("{}: `{}` was not looked into", Style::stderr().yellow("note"), place.display());
    }
    Ok(exit)
}

/// Deletes what is old.
///
/// # Errors
/// The writer cannot be reached.
pub(super) fn prune(args: &PruneArgs) -> anyhow::Result<Exit> {
    let before = |period: &Option<Period>| -> anyhow::Result<Option<Timestamp>> {
        let Some(Period(period)) = period else { return Ok(None) };
        Ok(Some(Timestamp::now().checked_sub(SignedDuration::try_from(*period)?)?))
    };
    let command =
        Command::Prune { bodies: before(&args.bodies_older_than)?, records: before(&args.records_older_than)? };
    let reached = reach(&args.writer, &command, &author(args.ticket.as_deref(), args.reason.as_deref()))?;
    done(reached, args.output.output, |pruned| {
        let of = |key: &str| pruned.get(key).and_then(Value::as_u64).unwrap_or_default();
        let holds = pruned.get("holds").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let holds = holds.map(plain).collect::<Vec<_>>().join(", ");
        let kept = if holds.is_empty() { String::new() } else { format!("; kept by legal hold: {holds}") };
        format!("deleted {} body files and {} segments, {} bytes{kept}", of("bodies"), of("segments"), of("bytes"))
    })
}

fn author(ticket: Option<&str>, note: Option<&str>) -> Author {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Author { by: String::new(), ticket: owned(ticket), note: owned(note) }
}

/// Says what came of it. What the writer refused is a finding; what it could not do is an error.
fn done(reached: Reached, output: ShortOutput, say: impl Fn(&Value) -> String) -> anyhow::Result<Exit> {
    match reached {
        Reached::Done(value) => {
            let mut out = io::stdout().lock();
            match output {
                ShortOutput::Table => writeln!(out, "{}", say(&value))?,
                ShortOutput::Json => writeln!(out, "{value}")?,
            }
            Ok(Exit::Fine)
        }
        Reached::Refused(code, message) if code == "held" => {
            eprintln!("{}: {}", Style::stderr().red("refused"), plain(&message));
            Ok(Exit::Finding)
        }
        Reached::Refused(_, message) => bail!("{}", plain(&message)),
    }
}

/// What is held, in words.
fn told(selection: &Selection) -> String {
    if selection.is_all() {
        return "everything".to_owned();
    }
    let mut parts = Vec::new();
    for (name, values) in [
        ("namespace", &selection.namespaces),
        ("user", &selection.users),
        ("policy", &selection.policies),
        ("id", &selection.ids),
    ] {
        if !values.is_empty() {
            parts.push(format!("{name} {}", values.join(",")));
        }
    }
    parts.extend(selection.since.map(|t| format!("since {t}")));
    parts.extend(selection.until.map(|t| format!("until {t}")));
    parts.join(", ")
}

/// Whoever looks at the record later is to find where it was asked for.
fn ticket(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("write where it was asked for".to_owned()) } else { Ok(text.to_owned()) }
}
