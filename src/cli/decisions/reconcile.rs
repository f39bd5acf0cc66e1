//! `portcullis decisions reconcile`: what was delivered held against the log. Knows arguments and layout.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;
use serde_json::json;
use url::Url;

use super::output::ShortOutput;
use super::{LogArgs, plain};
use crate::cli::Exit;
use crate::cli::style::Style;
use crate::decisions::{Deliveries, DeliveryFault, Expected, Reconciliation};

/// Hold what was delivered against the log: which records arrived once, twice, not at all or altered.
///
/// Takes what sinks deliver and `export` writes, in every format: Parquet, JSON lines, uploads to OPA's API (arrays); gzip
/// is recognised. Each event names its record and the record's leaf in the tree; what is made of a record is made again
/// and compared. `decisions verify` says whether the log itself is what was signed.
///
/// What lies between the first and the last that arrived must have arrived. What comes before and after is counted;
/// --from and --to say that it must have arrived, too.
///
/// Exit codes: 0 all that had to arrived as it is, 1 something did not, 2 could not run.
#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    /// What was delivered: a file, a directory, or a prefix in object storage (`s3://..`, `gs://..`, `az://..`)
    #[arg(value_name = "PATH|URL", required = true)]
    delivered: Vec<String>,
    #[command(flatten)]
    log: LogArgs,
    /// Number of the first record that must have arrived, at the latest: what is missing before the first that did is a
    /// finding. 0 is the log's first
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Number of the last record that must have arrived, at least: what is missing after the last that did is a finding
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
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
    let expected = Expected { from: args.from, to: args.to };
    ensure!(args.from.zip(args.to).is_none_or(|(from, to)| from <= to), "--from is after --to");
    let deliveries = gather(&args.log.dir(), &args.delivered)?;
    let mut out = BufWriter::new(io::stdout());
    let mut counts = BTreeMap::<DeliveryFault, u64>::new();
    let mut failed = Ok(());
    let found = deliveries.finish(expected, &mut |fault, seq, detail| {
        let count = counts.entry(fault).or_default();
        *count += 1;
        if failed.is_ok() {
            failed = match args.output {
                ShortOutput::Table if *count > args.limit => Ok(()),
                output => print_fault(&mut out, output, fault, seq, detail),
            };
        }
    })?;
    failed?;
    let negative = counts.keys().any(|fault| fault.is_negative()) || found.strange > 0;
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
            print_summary(&mut out, &found, negative)?;
        }
    }
    out.flush()?;
    Ok(if negative || found.records == 0 { Exit::Finding } else { Exit::Fine })
}

/// All that was delivered.
fn gather(dir: &Path, delivered: &[String]) -> anyhow::Result<Deliveries> {
    let mut deliveries = Deliveries::new(dir).with_context(|| {
        format!("no decision log in `{}`; name one with --decision-log or --state-dir", dir.display())
    })?;
    for delivered in delivered {
        if delivered.contains("://") {
            let url = Url::parse(delivered).with_context(|| format!("`{delivered}` is no URL"))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(deliveries.take_url(&url)).map_err(|e| anyhow!("`{delivered}`: {e}"))?;
        } else {
            deliveries.take_path(&PathBuf::from(delivered)).map_err(|e| anyhow!(e))?;
        }
    }
    Ok(deliveries)
}

fn print_fault(
    out: &mut impl Write,
    output: ShortOutput,
    fault: DeliveryFault,
    seq: u64,
    detail: &str,
) -> io::Result<()> {
    if output == ShortOutput::Json {
        return writeln!(out, "{}", json!({"type": "fault", "fault": fault, "seq": seq, "detail": detail}));
    }
    let style = Style::stdout();
    let name = if fault.is_negative() { style.red(fault.as_str()) } else { style.yellow(fault.as_str()) };
    let detail = if detail.is_empty() { String::new() } else { format!(": {}", plain(detail)) };
    writeln!(out, "{name} record {seq}{detail}")
}

fn print_summary(out: &mut impl Write, found: &Reconciliation, negative: bool) -> io::Result<()> {
    let range = found.range.map_or("none".to_owned(), |(first, last)| format!("{first} to {last}"));
    writeln!(out, "log:       {}", plain(&found.origin))?;
    writeln!(out, "delivered: {} events of {} records, {range}", found.delivered, found.records)?;
    writeln!(out, "intact:    {}", found.intact)?;
    for (count, text) in [
        (found.leaf_only, "records could not be compared whole: the body or the record is deleted"),
        (found.before, "records of the log come before the first that was delivered or asked for"),
        (found.behind, "records of the log come after the last that was delivered or asked for"),
        (found.untold, "deleted records did not arrive; whether they were decisions cannot be told any more"),
        (found.of_others, "events are of other logs"),
        (found.strange, "lines or files are no events of a decision log"),
    ] {
        if count > 0 {
            writeln!(out, "{count} {text}")?;
        }
    }
    let style = Style::stdout();
    let verdict = match (negative, found.records) {
        (true, _) => style.red("what was delivered is not what the log has"),
        (false, 0) => style.yellow("nothing of this log was delivered"),
        (false, _) if found.leaf_only + found.untold > 0 => {
            style.green("what was delivered is what the log has, as far as it still has it")
        }
        (false, _) => style.green("what was delivered is what the log has"),
    };
    writeln!(out, "{verdict}")
}
