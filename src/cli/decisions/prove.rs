//! `portcullis decisions prove` and `verify-proof`: one decision as evidence that needs no log. Knows arguments and
//! layout.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::Exit;
use crate::cli::decisions::show::find;
use crate::cli::decisions::verify::keys;
use crate::cli::decisions::witness::{self, WitnessArgs};
use crate::cli::decisions::{LogArgs, plain};
use crate::cli::style::Style;
use crate::decisions::{self, LogError, Record};
use crate::engine::Verdict;
use crate::tlog::{InclusionProof, TlogError, cosignatures};

/// Write a proof that one decision is in the log: the record, its place, and the signed checkpoint.
///
/// The proof (C2SP tlog-proof) can be checked with the public key alone: `portcullis decisions verify-proof`.
#[derive(Debug, Args)]
pub(super) struct ProveArgs {
    /// The decision's id, or as much of its beginning as no other has.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    log: LogArgs,
    /// Where to write it, by custom as `<id>.tlog-proof`. Default: standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Check a proof with the public key alone.
///
/// Shows that the record in it is in the log of that key, unchanged, in its place. It does not show what else is there.
#[derive(Debug, Args)]
pub(super) struct VerifyProofArgs {
    /// The proof; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Verifier key of the log, or a file with such keys; repeatable.
    #[arg(long, value_name = "VKEY|FILE", required = true)]
    key: Vec<String>,
    #[command(flatten)]
    witnesses: WitnessArgs,
    /// How to print; `json` gives `{valid, index, origin, size, root, key, cosigned, record}`.
    #[arg(short, long, value_enum, default_value_t = ProofOutput::Table)]
    output: ProofOutput,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProofOutput {
    Table,
    Json,
}

pub(super) fn prove(args: &ProveArgs) -> anyhow::Result<Exit> {
    let Some(record) = find(&args.log.reader()?, &args.id)? else { return Ok(Exit::Finding) };
    let proof = match decisions::prove(&args.log.dir(), &record) {
        Err(error @ LogError::Altered { .. }) => {
            eprintln!("{}: {error}", Style::stderr().red("not proven"));
            return Ok(Exit::Finding);
        }
        other => other?,
    };
    match &args.output {
        Some(path) => {
            std::fs::write(path, proof.to_string()).with_context(|| format!("cannot write `{}`", path.display()))?;
            eprintln!("wrote `{}`; check it with `portcullis decisions verify-proof`", path.display());
        }
        None => io::stdout().write_all(proof.to_string().as_bytes())?,
    }
    Ok(Exit::Fine)
}

pub(super) fn verify_proof(args: &VerifyProofArgs) -> anyhow::Result<Exit> {
    let (keys, policy) = (keys(&args.key)?, args.witnesses.policy()?);
    let mut text = String::new();
    if args.file.as_os_str() == "-" {
        io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(&args.file).with_context(|| format!("cannot read `{}`", args.file.display()))?;
    }
    let place = args.file.display();
    let proof = InclusionProof::parse(&text).with_context(|| format!("`{place}`"))?;
    let Some(line) = proof.extra.as_deref() else { bail!("`{place}` holds no record, only a proof") };
    let checked = proof.verify(line, &keys).and_then(|(checkpoint, key)| {
        // What was proven are bytes; that they are a record with this number makes them evidence.
        let record = std::str::from_utf8(line).ok().and_then(Record::parse);
        let record = record.filter(|r| r.head.seq == proof.index && r.head.origin == checkpoint.origin);
        let record = record.ok_or(TlogError::Proof("what it proves is no record of this log"))?;
        let cosigned = cosignatures(&proof.checkpoint, &policy.keys)?;
        if cosigned.len() < policy.quorum {
            return Err(TlogError::Unwitnessed { wanted: policy.quorum, found: cosigned.len() });
        }
        Ok((checkpoint, key, record, cosigned))
    });
    let style = Style::stdout();
    let mut out = io::stdout().lock();
    match (args.output, checked) {
        (ProofOutput::Table, Ok((checkpoint, key, record, cosigned))) => {
            writeln!(out, "{}: record {} of `{}`", style.green("valid"), proof.index, plain(&checkpoint.origin))?;
            if let Some(d) = record.decision() {
                let verdict = match d.verdict {
                    Verdict::Allow => "allowed",
                    Verdict::Deny => "denied",
                };
                writeln!(out, "  decision:   {} ({verdict})", plain(&d.decision_id))?;
            }
            writeln!(out, "  when:       {}", plain(&record.head.timestamp))?;
            writeln!(out, "  checkpoint: {} records, root {}", checkpoint.size, checkpoint.root)?;
            writeln!(out, "  signed by:  {}", key.short())?;
            if !cosigned.is_empty() {
                let by = witness::named(cosigned.iter().map(|c| (c.witness, c.time)));
                writeln!(out, "  cosigned:   {by}")?;
            }
            Ok(Exit::Fine)
        }
        (ProofOutput::Json, Ok((checkpoint, key, record, cosigned))) => {
            let record: serde_json::Value = serde_json::from_str(&record.line)?;
            let all = json!({
                "valid": true, "index": proof.index, "origin": checkpoint.origin, "size": checkpoint.size,
                "root": checkpoint.root.to_string(), "key": key.to_string(), "record": record,
                "cosigned": witness::as_json(cosigned.iter().map(|c| (c.witness, c.time))),
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
            Ok(Exit::Fine)
        }
        (ProofOutput::Table, Err(error)) => {
            writeln!(out, "{}: {}", style.red("not valid"), plain(&error.to_string()))?;
            Ok(Exit::Finding)
        }
        (ProofOutput::Json, Err(error)) => {
            let all = json!({"valid": false, "code": error.code(), "message": error.to_string()});
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
            Ok(Exit::Finding)
        }
    }
}
