//! `portcullis decisions export` and `reconcile`: records in the formats of others, and what was delivered held against
//! the log. Knows arguments and layout.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use serde_json::json;
use url::Url;

use super::filter::FilterArgs;
use super::output::ShortOutput;
use super::{LogArgs, mention_flaws, plain};
use crate::cli::Exit;
use crate::cli::style::Style;
use crate::decisions::replay::BodyCursor;
use crate::decisions::sinks::{Event, Format};
use crate::decisions::{BodyState, Deliveries, DeliveryFault};

/// Write records in the formats of others, a document a line.
///
/// The same documents as the server's sinks send. Records that a format has no word for are left out: OPA and OCSF have
/// decisions only. What is read here from files is not recorded; what a server sends is.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// The format
    #[arg(long, value_enum, default_value_t = FormatArg::Native)]
    format: FormatArg,
    /// With the masked bodies
    #[arg(long)]
    bodies: bool,
    /// Where to write. Default: standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
enum FormatArg {
    Native,
    Opa,
    Ocsf,
    CloudEvents,
}

impl FormatArg {
    fn format(self) -> Format {
        match self {
            Self::Native => Format::Native,
            Self::Opa => Format::Opa,
            Self::Ocsf => Format::Ocsf,
            Self::CloudEvents => Format::CloudEvents,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A log that cannot be read, a file that cannot be written.
pub(super) fn export(args: &ExportArgs) -> anyhow::Result<Exit> {
    let reader = args.log.reader()?;
    let filter = args.filter.filter()?;
    let mut bodies = BodyCursor::new(&args.log.dir());
    let mut out: Box<dyn Write> = match &args.output {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("--output: cannot write `{}`", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(io::stdout())),
    };
    let mut write = |record: crate::decisions::Record| -> anyhow::Result<()> {
        let body = match record.decision().filter(|_| args.bodies) {
            Some(decision) => match bodies.body(&record, &decision)? {
                BodyState::Intact(body) => Some(body),
                BodyState::Altered(_) | BodyState::Missing | BodyState::Deleted | BodyState::Erased => None,
            },
            None => None,
        };
        if let Some(text) = args.format.format().write(&Event::of(record, body)) {
            writeln!(out, "{text}")?;
        }
        Ok(())
    };
    let mut failed = Ok(());
    let flaws = reader.for_each(&filter, |record| {
        failed = write(record);
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed?;
    out.flush()?;
    mention_flaws(&flaws, "the log");
    Ok(Exit::Fine)
}

/// Hold what was delivered against the log: which records arrived once, twice, not at all or altered.
///
/// Takes what sinks deliver and `export` writes, in every format: Parquet, JSON lines, uploads to OPA's API (arrays); gzip
/// is recognised. Each event names its record and the record's leaf in the tree; what is made of a record is made again
/// and compared. `decisions verify` says whether the log itself is what was signed.
///
/// Exit codes: 0 all that lies between the first and the last arrived as it is, 1 something did not, 2 could not run.
#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    /// What was delivered: a file, a directory, or a prefix in object storage (`s3://..`, `gs://..`, `az://..`)
    #[arg(value_name = "PATH|URL", required = true)]
    delivered: Vec<String>,
    #[command(flatten)]
    log: LogArgs,
    /// Faults of a kind that the table shows; the others are counted
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
    /// How to print; `json` gives one fault a line, the summary last
    #[arg(short, long, value_enum, default_value_t = ShortOutput::Table)]
    output: ShortOutput,
}

/// Runs the command.
///
/// # Errors
/// A log or a delivery that cannot be read.
pub(super) fn reconcile(args: &ReconcileArgs) -> anyhow::Result<Exit> {
    let dir = args.log.dir();
    let mut deliveries = Deliveries::new(&dir).with_context(|| {
        format!("no decision log in `{}`; name one with --decision-log or --state-dir", dir.display())
    })?;
    for delivered in &args.delivered {
        if delivered.contains("://") {
            let url = Url::parse(delivered).with_context(|| format!("`{delivered}` is no URL"))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(deliveries.take_url(&url)).map_err(|e| anyhow!("`{delivered}`: {e}"))?;
        } else {
            deliveries.take_path(&PathBuf::from(delivered)).map_err(|e| anyhow!(e))?;
        }
    }
    let mut out = BufWriter::new(io::stdout());
    let style = Style::stdout();
    let mut counts = std::collections::BTreeMap::<DeliveryFault, u64>::new();
    let mut failed = Ok(());
    let found = deliveries.finish(&mut |fault, seq, detail| {
        let count = counts.entry(fault).or_default();
        *count += 1;
        if failed.is_err() {
            return;
        }
        failed = match args.output {
            ShortOutput::Json => {
                writeln!(out, "{}", json!({"type": "fault", "fault": fault, "seq": seq, "detail": detail}))
            }
            ShortOutput::Table if *count <= args.limit => {
                let name = if fault.is_negative() { style.red(fault.as_str()) } else { style.yellow(fault.as_str()) };
                let detail = if detail.is_empty() { String::new() } else { format!(": {}", plain(detail)) };
                writeln!(out, "{name} record {seq}{detail}")
            }
            ShortOutput::Table => Ok(()),
        };
    })?;
    failed?;
    let negative = counts.iter().any(|(fault, count)| fault.is_negative() && *count > 0) || found.strange > 0;
    match args.output {
        ShortOutput::Json => {
            let mut summary = serde_json::to_value(&found)?;
            if let Some(map) = summary.as_object_mut() {
                map.insert("type".to_owned(), json!("summary"));
                for fault in DeliveryFault::ALL {
                    map.insert(fault.as_str().to_owned(), json!(counts.get(&fault).copied().unwrap_or_default()));
                }
            }
            writeln!(out, "{summary}")?;
        }
        ShortOutput::Table => {
            for (fault, count) in counts.iter().filter(|(_, count)| **count > args.limit) {
                writeln!(out, "and {} more {} (-o json lists all)", count - args.limit, fault.as_str())?;
            }
            let range = found.range.map_or("none".to_owned(), |(first, last)| format!("{first} to {last}"));
            writeln!(out, "log:       {}", plain(&found.origin))?;
            writeln!(out, "delivered: {} events of {} records, {range}", found.delivered, found.records)?;
            writeln!(out, "intact:    {}", found.intact)?;
            for (count, text) in [
                (found.behind, "records of the log come after the last that was delivered"),
                (found.of_others, "events are of other logs"),
                (found.strange, "lines or files are no events of a decision log"),
                (found.leaf_only, "events could be checked by their leaf only: the body or the record is deleted"),
            ] {
                if count > 0 {
                    writeln!(out, "{count} {text}")?;
                }
            }
            let verdict = match (negative, found.records) {
                (true, _) => style.red("what was delivered is not what the log has"),
                (false, 0) => style.yellow("nothing of this log was delivered"),
                (false, _) => style.green("what was delivered is what the log has"),
            };
            writeln!(out, "{verdict}")?;
        }
    }
    out.flush()?;
    Ok(if negative || found.records == 0 { Exit::Finding } else { Exit::Fine })
}
