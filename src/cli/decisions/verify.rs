//! `portcullis decisions verify`: whether the log is what was signed. Knows arguments, progress and layout.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::Exit;
use crate::cli::decisions::witness::{self, WitnessArgs};
use crate::cli::decisions::{LogArgs, plain, progress};
use crate::cli::style::Style;
use crate::decisions::{self, Finding, Neighbour, Report, VerifyOptions};
use crate::tlog::{VerifierKey, WitnessKey};

/// Check that the log is what was signed: no record altered, dropped, moved or added.
///
/// Needs no server and no network, and works on a log that is being written. Reads every record, tile, checkpoint and
/// body. A log proves nothing against whoever holds its key, nor that its tail was not cut off together with its
/// checkpoint: hold it against checkpoints that were kept elsewhere (--checkpoint), by default in the API server's
/// audit log. Exit codes: 0 fine, 1 something is wrong, 2 could not run.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Directory of the decision log, or a copy of it; the same as --decision-log.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
    /// Verifier key (`portcullis decisions key`), or a file with such keys; repeatable. Default: the keys in the log,
    /// which shows damage but no forgery.
    #[arg(long, value_name = "VKEY|FILE")]
    key: Vec<String>,
    /// File with checkpoints that were kept elsewhere: a signed checkpoint, lines of `<origin> <size> <root>`, what an
    /// anchor holds (its file, `kubectl get configmap|lease -o yaml`), or an audit log of the API server; or a directory
    /// of such files; repeatable.
    #[arg(long, value_name = "FILE|DIR")]
    checkpoint: Vec<PathBuf>,
    #[command(flatten)]
    witnesses: WitnessArgs,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = VerifyOutput::Table)]
    output: VerifyOutput,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum VerifyOutput {
    Table,
    Json,
}

pub(super) fn verify(args: &VerifyArgs) -> anyhow::Result<Exit> {
    let dir = args.dir.clone().unwrap_or_else(|| args.log.dir());
    if !dir.is_dir() {
        bail!("no decision log in `{}`; name its directory, or use --decision-log or --state-dir", dir.display());
    }
    let options = VerifyOptions { dir, keys: keys(&args.key)?, anchors: args.checkpoint.clone() };
    let policy = args.witnesses.policy()?;
    let bar = progress::bytes();
    let report = decisions::verify_witnessed(&options, &policy, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    let report = report?;
    let mut out = io::stdout().lock();
    match args.output {
        VerifyOutput::Table => table(&mut out, &report)?,
        VerifyOutput::Json => writeln!(out, "{}", serde_json::to_string_pretty(&as_json(&report))?)?,
    }
    Ok(if report.is_fine() { Exit::Fine } else { Exit::Finding })
}

/// Keys as they are given: verifier keys, or files with one a line.
pub(super) fn keys(given: &[String]) -> anyhow::Result<Vec<VerifierKey>> {
    let mut keys = Vec::new();
    for text in given {
        match (VerifierKey::parse(text), std::fs::read_to_string(Path::new(text))) {
            (Ok(key), _) => keys.push(key),
            (Err(_), Ok(file)) => {
                let before = keys.len();
                for line in file.lines().map(str::trim).filter(|line| !line.is_empty()) {
                    keys.push(VerifierKey::parse(line).with_context(|| format!("--key `{text}`"))?);
                }
                if keys.len() == before {
                    bail!("--key `{text}`: there is no verifier key in it");
                }
            }
            (Err(error), Err(_)) => return Err(error).context("--key: neither a file nor a key"),
        }
    }
    Ok(keys)
}

fn table(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let style = Style::stdout();
    let mut line = |name: &str, text: &str| writeln!(out, "{:<12}{}", format!("{name}:"), plain(text));
    line("log", report.origin.as_deref().unwrap_or("unknown"))?;
    if let Some(checkpoint) = &report.checkpoint {
        line("checkpoint", &format!("{} records, root {}", checkpoint.size, checkpoint.root))?;
    }
    if let Some(key) = &report.signed_by {
        let from = if report.keys_from_log {
            "its own list names this key; give yours with --key"
        } else if report.hand_overs.iter().any(|h| h.to == *key) {
            "a key of --key handed over to it"
        } else {
            "as given by --key"
        };
        line("signed by", &format!("{} ({from})", key.short()))?;
    }
    for hand_over in &report.hand_overs {
        line(
            "hand-over",
            &format!("by {} to {}, at {} records", hand_over.from.short(), hand_over.to.short(), hand_over.size),
        )?;
    }
    if report.cosigned > 0 {
        line("cosigned", &format!("{} records, by {}", report.cosigned, witness::named(cosigners(report))))?;
    }
    line("records", &records(report))?;
    line("bodies", &bodies(report))?;
    if report.anchors + report.anchors_of_others > 0 {
        line("elsewhere", &elsewhere(report))?;
    }
    if let Some(before) = &report.succeeded {
        line("note", &format!("this log was begun in the place of {}", before.told()))?;
    }
    for (count, text) in [
        (report.gaps, "decisions are not in the log (see `list --type gap`)"),
        (report.taken_over, "records were signed only after a crash, as they stood"),
        (report.disbelieved, "records of deletions explain nothing: they were not signed before it was deleted"),
        (
            if report.live { report.unsigned } else { 0 },
            "records at the end are not signed yet: the log is being written",
        ),
    ] {
        if count > 0 {
            line("note", &format!("{count} {text}"))?;
        }
    }
    for finding in &report.findings {
        writeln!(out, "{} {}", style.red(&format!("{}:", finding.code.as_str())), plain(&told(finding)))?;
        for (name, neighbour) in [("before it", &finding.before), ("after it", &finding.after)] {
            if let Some(neighbour) = neighbour {
                writeln!(out, "    {name}: {}", plain(&beside(neighbour)))?;
            }
        }
    }
    match report.findings.len() {
        0 => writeln!(out, "{}", style.green("verified: the log is what was signed")),
        n => {
            let all = report.findings_omitted + u64::try_from(n).unwrap_or(u64::MAX);
            let word = if all == 1 { "finding" } else { "findings" };
            let shown = if report.findings_omitted > 0 { format!(", the first {n} shown") } else { String::new() };
            writeln!(out, "{}", style.red(&format!("NOT VERIFIED: {all} {word}{shown}")))
        }
    }
}

fn records(report: &Report) -> String {
    let range = match report.end.checked_sub(1).filter(|last| *last >= report.first_seq) {
        Some(last) => {
            let plural = if report.segments == 1 { "" } else { "s" };
            format!(", {} to {last}, in {} segment{plural}", report.first_seq, report.segments)
        }
        None => String::new(),
    };
    let pruned =
        if report.first_seq > 0 { format!("; {} before them were deleted", report.first_seq) } else { String::new() };
    let kinds: Vec<String> = report.records.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    format!("{}{range}{pruned} ({})", report.total(), kinds.join(", "))
}

fn bodies(report: &Report) -> String {
    let count = &report.bodies;
    let mut text = format!("{} intact, {} deleted", count.intact, count.deleted);
    if count.untold > 0 {
        text = format!("{text} (no record tells of {} of these)", count.untold);
    }
    if count.erased > 0 {
        text = format!("{text}, {} erased by record", count.erased);
    }
    if count.orphaned > 0 {
        text = format!("{text}, {} of decisions that a crash kept from the log", count.orphaned);
    }
    text
}

fn elsewhere(report: &Report) -> String {
    let mut text = format!(
        "{} checkpoints kept elsewhere were compared",
        report.anchors - report.anchors_unchecked.min(report.anchors)
    );
    if report.anchors_unchecked > 0 {
        text = format!("{text}; {} are older than what is still there", report.anchors_unchecked);
    }
    if report.anchors_of_others > 0 {
        text = format!("{text}; {} of other logs were passed over", report.anchors_of_others);
    }
    text
}

fn cosigners(report: &Report) -> impl Iterator<Item = (&WitnessKey, u64)> {
    report.cosigned_by.iter().map(|c| (&c.witness, c.time))
}

fn told(finding: &Finding) -> String {
    match &finding.place {
        Some(place) => format!("{} ({place})", finding.message),
        None => finding.message.clone(),
    }
}

fn beside(neighbour: &Neighbour) -> String {
    let what = neighbour.decision_id.as_deref().unwrap_or(neighbour.r#type);
    format!("record {}, {what}, {}", neighbour.seq, neighbour.timestamp)
}

fn as_json(report: &Report) -> serde_json::Value {
    json!({
        "verified": report.is_fine(),
        "origin": report.origin,
        "checkpoint": report.checkpoint.as_ref().map(|c| json!({"size": c.size, "root": c.root.to_string()})),
        "signedBy": report.signed_by.as_ref().map(ToString::to_string),
        "keysFromLog": report.keys_from_log,
        "replacedKeys": report.replaced_keys,
        "handOvers": report.hand_overs.iter().map(|h| json!({
            "from": h.from.to_string(), "to": h.to.to_string(), "size": h.size,
        })).collect::<Vec<_>>(),
        "cosigned": {"size": report.cosigned, "by": witness::as_json(cosigners(report))},
        "firstSeq": report.first_seq,
        "end": report.end,
        "segments": report.segments,
        "records": report.records,
        "bodies": report.bodies,
        "gaps": report.gaps,
        "takenOver": report.taken_over,
        "disbelieved": report.disbelieved,
        "succeeded": report.succeeded.as_ref().map(|s| json!({
            "checkpoint": s.checkpoint.as_ref().map(ToString::to_string), "damage": s.damage, "setAside": s.set_aside,
        })),
        "unsigned": report.unsigned,
        "live": report.live,
        "anchors": {
            "compared": report.anchors.saturating_sub(report.anchors_unchecked),
            "unchecked": report.anchors_unchecked,
            "ofOthers": report.anchors_of_others,
        },
        "findings": report.findings,
        "findingsOmitted": report.findings_omitted,
    })
}
