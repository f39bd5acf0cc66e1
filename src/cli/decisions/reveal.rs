//! `portcullis decisions reveal`: the key of one masked value for an auditor, and the auditor's check of a value. Knows
//! arguments and layout; commitments are `decisions`' business.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::output::ShortOutput;
use super::plain;
use super::reach::{Reached, WriterArgs, reach};
use super::show::find;
use crate::cli::Exit;
use crate::cli::style::Style;
use crate::decisions::{
    Author, BodyLine, BodyState, Command, MaskKey, Masked, ReadAction, ReadRecord, Record, WrittenBy, candidates,
    commitment, commitments_at, written_by,
};
use crate::tlog::InclusionProof;

/// Show what a masked value was, to somebody who may know it and to nobody else.
///
/// The owner of the log gives an auditor the key of one place, which says nothing of any other:
///   portcullis decisions reveal ID /request/object/data/password --mask-key .portcullis/mask.key
/// The auditor, who is given that key and the value, checks that this value stood there:
///   portcullis decisions reveal ID /request/object/data/password --k HEX --value-file FILE
///
/// POINTER is one of `input.masked` in the record, or /violations/N, /warnings/N, /errors/N, /details/N, /patch/N/value. A
/// commitment within a text was made where the value was found first; with --value-file the owner finds that place. Handing
/// out a key is a record of the log. Exit codes: 0 confirmed (or the key is printed), 1 not confirmed, 2 could not run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct RevealArgs {
    /// The decision's id, or as much of its beginning as no other has
    #[arg(value_name = "ID")]
    id: String,
    /// Where the value stood: a JSON pointer
    #[arg(value_name = "POINTER")]
    pointer: String,
    /// The owner's mask key: prints the key of this place
    #[arg(long, value_name = "FILE", conflicts_with = "k", required_unless_present = "k")]
    mask_key: Option<PathBuf>,
    /// The key of this place, 64 hex digits: checks the value of --value-file
    #[arg(long, value_name = "HEX", requires = "value_file")]
    k: Option<String>,
    /// File with the value, `-` for standard input: a string's own text, the JSON text of anything else
    #[arg(long, value_name = "FILE")]
    value_file: Option<PathBuf>,
    /// A proof of the decision (`decisions prove`), if there is no log
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// The decision's body as it is stored (`decisions show ID -o body`), if there is no log
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Why a key is handed out
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print the key although that cannot be recorded: the log is a copy
    #[arg(long)]
    unrecorded: bool,
    #[command(flatten)]
    writer: WriterArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = ShortOutput::Table)]
    output: ShortOutput,
}

/// Bytes of pointers that one record of a reading names: its text has room for 2,048 with what stands around them.
const NAMED: usize = 1536;

/// A decision, as far as it is at hand.
struct Decision {
    id: String,
    record: Record,
    body: Option<Value>,
}

/// Runs the command.
///
/// # Errors
/// What cannot be read, or is no key.
pub(super) fn reveal(args: &RevealArgs) -> anyhow::Result<Exit> {
    if !args.pointer.starts_with('/') {
        bail!("`{}` is no JSON pointer: it begins with `/`", args.pointer);
    }
    let Some(decision) = decision(args)? else { return Ok(Exit::Finding) };
    let value = args.value_file.as_deref().map(value).transpose()?;
    match (&args.mask_key, &args.k, value) {
        (Some(key), _, value) => {
            hand_out(args, &decision, &MaskKey::load(key).context("--mask-key")?, value.as_deref())
        }
        (None, Some(k), Some(value)) => check(args, &decision, k, &value),
        _ => bail!("give --mask-key, or --k and --value-file"),
    }
}

fn value(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() != "-" {
        return std::fs::read(path).with_context(|| format!("--value-file: cannot read `{}`", path.display()));
    }
    let mut value = Vec::new();
    io::stdin().read_to_end(&mut value).context("--value-file: cannot read standard input")?;
    Ok(value)
}

/// The decision, from the log or from the files of an auditor. A body that is not the one on record is refused.
fn decision(args: &RevealArgs) -> anyhow::Result<Option<Decision>> {
    let body = match &args.body {
        None => None,
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("--body: cannot read `{}`", path.display()))?;
            Some(BodyLine::parse(text.trim_end()).with_context(|| format!("--body: `{}` is no body", path.display()))?)
        }
    };
    let (record, stored) = match &args.proof {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("--proof: cannot read `{}`", path.display()))?;
            let proof = InclusionProof::parse(&text).with_context(|| format!("--proof: `{}`", path.display()))?;
            let line = proof.extra.and_then(|line| String::from_utf8(line).ok());
            let record = line.and_then(|line| Record::parse(&line));
            (record.with_context(|| format!("--proof: `{}` holds no record", path.display()))?, None)
        }
        None => {
            let reader = args.writer.log.reader()?;
            let Some(record) = find(&reader, &args.id)? else { return Ok(None) };
            let found = record.decision().context("the record cannot be read")?;
            let stored = match reader.body(&record, &found)? {
                BodyState::Intact(line) => Some(line),
                BodyState::Altered(_) => bail!("the body of the decision is not the one on record"),
                BodyState::Missing | BodyState::Deleted | BodyState::Erased => None,
            };
            (record, stored)
        }
    };
    let found = record.decision().context("the record is no decision")?;
    if !found.decision_id.starts_with(&args.id.to_ascii_lowercase()) {
        bail!("--proof is of decision `{}`, not of `{}`", plain(&found.decision_id), args.id);
    }
    let body = body.or(stored);
    if body.as_ref().is_some_and(|b| b.digest() != *found.input.digest.as_bytes()) {
        bail!("--body is not the body on record: its digest is another");
    }
    let body = body.map(|line| serde_json::from_str(&line.body)).transpose()?;
    Ok(Some(Decision { id: found.decision_id, record, body }))
}

/// The owner's side: the key of the place that a commitment was made at.
fn hand_out(args: &RevealArgs, decision: &Decision, key: &MaskKey, value: Option<&[u8]>) -> anyhow::Result<Exit> {
    let there = commitments_at(&decision.record, decision.body.as_ref(), &args.pointer);
    if there.is_empty() {
        bail!("there is no masked value at `{}`{}", args.pointer, without_body(decision));
    }
    let of_request = |m: &Masked| written_by(&decision.record, decision.body.as_ref(), m) == WrittenBy::Request;
    if value.is_none() && there.iter().all(of_request) {
        bail!("what stands at `{}` was not masked: whoever made the request wrote it", args.pointer);
    }
    let mut keys: Vec<(Masked, [u8; 32])> = Vec::new();
    for mut masked in there {
        if value.is_none() && of_request(&masked) {
            continue;
        }
        let mut places: Vec<String> = Vec::new();
        if !masked.whole {
            places.extend(candidates(decision.body.as_ref(), &masked.commitment).into_iter().map(|m| m.pointer));
        }
        places.push(masked.pointer.clone());
        if value.is_some() {
            places.extend(all_masked(decision));
        }
        let k = |pointer: &String| key.derive(&decision.id, pointer);
        let made = match value {
            Some(value) => places.iter().find(|p| confirms(&k(p), value, std::slice::from_ref(&masked)).is_some()),
            None => places.first(),
        };
        if let Some(pointer) = made
            && keys.iter().all(|(given, _)| given.pointer != *pointer)
        {
            let k = k(pointer);
            masked.pointer.clone_from(pointer);
            keys.push((masked, k));
        }
    }
    if keys.is_empty() {
        eprintln!("no commitment at `{}` is of this value, or the mask key is another", args.pointer);
        return Ok(Exit::Finding);
    }
    let places: Vec<&str> = keys.iter().map(|(masked, _)| masked.pointer.as_str()).collect();
    note(args, decision, &places)?;
    let mut out = io::stdout().lock();
    for (masked, k) in keys {
        let k = data_encoding::HEXLOWER.encode(&k);
        match args.output {
            ShortOutput::Json => {
                let line = json!({"decision": decision.id, "pointer": args.pointer, "madeAt": masked.pointer,
                    "commitment": masked.commitment, "k": k});
                writeln!(out, "{line}")?;
            }
            ShortOutput::Table => {
                writeln!(out, "decision:   {}", decision.id)?;
                writeln!(out, "pointer:    {}", plain(&args.pointer))?;
                if masked.pointer != args.pointer {
                    writeln!(out, "made at:    {}", plain(&masked.pointer))?;
                }
                writeln!(out, "commitment: {}\nk:          {k}", masked.commitment)?;
            }
        }
    }
    Ok(Exit::Fine)
}

/// Every place of the decision that was masked.
fn all_masked(decision: &Decision) -> Vec<String> {
    decision.record.decision().map(|d| d.input.masked).unwrap_or_default()
}

/// Writes down which keys were handed out, before they are: every place by name, in as many records as that takes.
fn note(args: &RevealArgs, decision: &Decision, places: &[&str]) -> anyhow::Result<()> {
    if args.unrecorded {
        eprintln!("{}: nothing says that this key was handed out", Style::stderr().yellow("warning"));
        return Ok(());
    }
    let seq = decision.record.head.seq;
    for named in chunks(places) {
        let (key, of) = if named.len() == 1 { ("key", "") } else { ("keys", " places") };
        let number = if named.len() == 1 { String::new() } else { format!(" {}", named.len()) };
        let what = format!("in decision {} the {key} of{number}{of} {}", decision.id, named.join(", "));
        let record = ReadRecord {
            timestamp: String::new(),
            action: ReadAction::Reveal,
            reader: String::new(),
            caller: None,
            what,
            first_seq: Some(seq),
            last_seq: Some(seq),
            count: 1,
            bodies: false,
            reason: args.reason.clone(),
        };
        let reached = reach(&args.writer, &Command::Note(record), &Author::default());
        let hint = "that the key is handed out cannot be recorded; on a copy of the log use --unrecorded";
        match reached.context(hint)? {
            Reached::Done(_) => {}
            Reached::Refused(_, message) => bail!("{hint}: {message}"),
        }
    }
    Ok(())
}

/// Places in lots that a record has room for.
fn chunks<'p>(places: &[&'p str]) -> Vec<Vec<&'p str>> {
    let (mut lots, mut room): (Vec<Vec<&str>>, usize) = (Vec::new(), 0);
    for place in places {
        // As JSON, where a character may take six bytes.
        let length = serde_json::to_string(place).map_or(place.len(), |json| json.len());
        match lots.last_mut().filter(|_| length <= room) {
            Some(lot) => lot.push(place),
            None => {
                lots.push(vec![place]);
                room = NAMED;
            }
        }
        room = room.saturating_sub(length);
    }
    lots
}

/// The auditor's side: whether the value is the one that was committed to.
fn check(args: &RevealArgs, decision: &Decision, k: &str, value: &[u8]) -> anyhow::Result<Exit> {
    let Some(k) = hex(k) else { bail!("--k: write 64 hex digits") };
    let there = commitments_at(&decision.record, decision.body.as_ref(), &args.pointer);
    if there.is_empty() {
        bail!("there is no masked value at `{}`{}", args.pointer, without_body(decision));
    }
    let made = confirms(&k, value, &there);
    let by = made.as_ref().map(|(m, _)| written_by(&decision.record, decision.body.as_ref(), m));
    let confirmed = by == Some(WrittenBy::Log);
    if confirmed && decision.body.is_none() {
        eprintln!("the body is not at hand, so whether the request itself held this commitment is not known");
    }
    let style = Style::stdout();
    let mut out = io::stdout().lock();
    match (args.output, &made) {
        (ShortOutput::Json, _) => {
            let commitment = made.as_ref().map(|(m, _)| m.commitment.clone());
            let written_by = by.map(|by| match by {
                WrittenBy::Log => "log",
                WrittenBy::Unsaid => "unsaid",
                WrittenBy::Request => "request",
            });
            let all = json!({"confirmed": confirmed, "decision": decision.id, "pointer": args.pointer,
                "commitment": commitment, "writtenBy": written_by, "bodyAtHand": decision.body.is_some()});
            writeln!(out, "{all}")?;
        }
        (ShortOutput::Table, Some((masked, _))) if !confirmed => {
            let why = if by == Some(WrittenBy::Unsaid) {
                "the record's list of what was masked was cut and does not say that this place was"
            } else {
                "this place was not masked: whoever made the request wrote it there"
            };
            writeln!(out, "{}: {} is of this value, but {why}", style.red("NOT CONFIRMED"), masked.commitment)?;
        }
        (ShortOutput::Table, Some((masked, trimmed))) => {
            let trimmed = if *trimmed { " (without the line feed at its end)" } else { "" };
            writeln!(
                out,
                "{}: {} is the commitment of this value{trimmed}",
                style.green("confirmed"),
                masked.commitment
            )?;
        }
        (ShortOutput::Table, None) => {
            writeln!(out, "{}: no commitment at this place is of this value and key", style.red("NOT CONFIRMED"))?;
        }
    }
    Ok(if confirmed { Exit::Fine } else { Exit::Finding })
}

/// The commitment that is of this value, and whether its last line feed had to go for that: editors add one.
fn confirms(k: &[u8; 32], value: &[u8], there: &[Masked]) -> Option<(Masked, bool)> {
    let is = |value: &[u8]| {
        let made = commitment(k, value);
        there.iter().find(|m| m.commitment == made).cloned()
    };
    is(value).map(|m| (m, false)).or_else(|| is(value.strip_suffix(b"\n")?).map(|m| (m, true)))
}

fn without_body(decision: &Decision) -> &'static str {
    if decision.body.is_some() { "" } else { "; the body is not at hand, only the envelope was looked at" }
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
