//! `portcullis decisions show`: one decision, for a person or a program.

use std::io::{self, BufWriter, Write};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::cli::Exit;
use crate::cli::decisions::{ShowArgs, ShowOutput, object, plain, resource};
use crate::cli::style::Style;
use crate::decisions::{Body, BodyState, DecisionRecord, Found, LogReader, Record};
use crate::engine::{Cause, Verdict};
use crate::policy::Enforcement;

/// The decision that `id` is the beginning of; says so when there is none.
pub(super) fn find(reader: &LogReader, id: &str) -> anyhow::Result<Option<Record>> {
    const SHORTEST: usize = 4;
    if id.len() < SHORTEST || !id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        bail!("`{id}` is no decision id: write the UUID, or at least its first {SHORTEST} characters");
    }
    match reader.find(id)? {
        Found::None => {
            eprintln!("no decision `{id}` in the log");
            Ok(None)
        }
        Found::Several(ids) => bail!("`{id}` is the beginning of several decisions:\n  {}", ids.join("\n  ")),
        Found::One(record) => Ok(Some(*record)),
    }
}

pub(super) fn show(args: &ShowArgs) -> anyhow::Result<Exit> {
    let reader = args.log.reader()?;
    let Some(record) = find(&reader, &args.id)? else { return Ok(Exit::Finding) };
    let decision = record.decision().context("the record cannot be read")?;
    let body = reader.body(&record, &decision)?;
    let mut out = BufWriter::new(io::stdout());
    match args.output {
        ShowOutput::Json => {
            let envelope: Value = serde_json::from_str(&record.line)?;
            let text = match &body {
                BodyState::Intact(line) | BodyState::Altered(line) => serde_json::from_str(&line.body)?,
                BodyState::Missing | BodyState::Deleted | BodyState::Erased => Value::Null,
            };
            let all = json!({"envelope": envelope, "body": text, "bodyState": state_name(&body)});
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        }
        ShowOutput::Body => match &body {
            BodyState::Intact(line) | BodyState::Altered(line) => {
                out.write_all(&line.encode())?;
                writeln!(out)?;
            }
            BodyState::Missing | BodyState::Deleted | BodyState::Erased => {
                eprintln!("the body is {}", state_name(&body));
                return Ok(Exit::Finding);
            }
        },
        ShowOutput::Pretty => pretty(&mut out, &record, &decision, &body)?,
    }
    out.flush()?;
    Ok(match body {
        BodyState::Intact(_) | BodyState::Deleted | BodyState::Erased => Exit::Fine,
        BodyState::Altered(_) | BodyState::Missing => Exit::Finding,
    })
}

fn state_name(body: &BodyState) -> &'static str {
    match body {
        BodyState::Intact(_) => "intact",
        BodyState::Altered(_) => "altered",
        BodyState::Missing => "missing",
        BodyState::Deleted => "deleted",
        BodyState::Erased => "erased",
    }
}

fn pretty(out: &mut impl Write, record: &Record, d: &DecisionRecord, body: &BodyState) -> anyhow::Result<()> {
    let style = Style::stdout();
    let verdict = match d.verdict {
        Verdict::Allow => style.green("allowed"),
        Verdict::Deny => style.red("denied"),
    };
    let mutated = if d.mutated { ", with a patch" } else { "" };
    writeln!(out, "{} {}", style.bold("Decision"), plain(&d.decision_id))?;
    let mut line = |name: &str, value: &str| writeln!(out, "  {:<11} {}", format!("{name}:"), value);
    let r = &d.request;
    line("verdict", &verdict)?;
    line("cause", &format!("{}{mutated}", why(d.cause)))?;
    line("when", &plain(&d.timestamp))?;
    let dry_run = if r.dry_run { " (dry run)" } else { "" };
    line("what", &format!("{} {} {}{dry_run}", r.operation.as_str(), resource(r), plain(&object(r))))?;
    line("who", &who(d))?;
    line("request", &format!("uid {}, endpoint {}", plain(&r.uid), d.endpoint.as_str()))?;
    line("caller", &plain(&caller(d)))?;
    line("recorded", &recorded(record))?;
    line("policy set", &d.policy_set.to_string())?;
    line("data", &d.data_digest.to_string())?;
    if let Some(inventory) = d.inventory {
        line("inventory", &format!("{} ms old", inventory.age_ms))?;
    }
    for read in &d.reads {
        line("read", &format!("{} {}", plain(&read.path), read.digest))?;
    }
    let details = details(body);
    violations(out, d, &details, style)?;
    for warning in &d.warnings {
        writeln!(out, "  {} {}", style.yellow("warning:"), plain(warning))?;
    }
    omitted(out, d.warnings_omitted, "warnings")?;
    let state = match body {
        BodyState::Intact(_) => style.green("intact: its digest is the one on record"),
        BodyState::Altered(_) => style.red("ALTERED: its digest is not the one on record"),
        BodyState::Missing => style.red("MISSING from its file"),
        BodyState::Deleted => style.yellow("deleted (retention or erasure); its digest stays on record"),
        BodyState::Erased => style.yellow("erased (see `list --type prune`); its digest stays on record"),
    };
    writeln!(out, "  {:<11} {state}", "body:")?;
    writeln!(out, "  {:<11} {}", "digest:", d.input.digest)?;
    if d.input.mask_failed {
        writeln!(out, "  {:<11} {}", "masked:", style.red("everything, because masking failed"))?;
    } else if !d.input.masked.is_empty() {
        let more =
            if d.input.masked_omitted > 0 { format!(" and {} more", d.input.masked_omitted) } else { String::new() };
        writeln!(out, "  {:<11} {}{more}", "masked:", plain(&d.input.masked.join(", ")))?;
    }
    Ok(())
}

fn violations(out: &mut impl Write, d: &DecisionRecord, details: &Body, style: Style) -> io::Result<()> {
    for (i, v) in d.violations.iter().chain(&details.violations).enumerate() {
        let enforcement = match v.enforcement {
            Enforcement::Deny => style.red("deny"),
            Enforcement::Warn => style.yellow("warn"),
            Enforcement::Dryrun => style.dim("dryrun"),
        };
        let severity = v.severity.map(|s| format!(", severity {}", s.as_str())).unwrap_or_default();
        writeln!(out, "  {enforcement}  {}{severity}", style.bold(&plain(&v.policy)))?;
        writeln!(out, "        {}", plain(&v.msg))?;
        let mut line = |name: &str, value: &str| writeln!(out, "        {:<10} {}", format!("{name}:"), plain(value));
        if let Some(field) = &v.field {
            line("field", field)?;
        }
        if let Some(location) = &v.location {
            line("rule", &location.to_string())?;
        }
        if !v.controls.is_empty() {
            line("controls", &v.controls.join("; "))?;
        }
        for detail in details.details.iter().filter(|d| usize::try_from(d.violation).is_ok_and(|n| n == i)) {
            if let Some(fix) = &detail.fix {
                line("fix", fix)?;
            }
            if !detail.details.is_null() {
                line("details", &detail.details.to_string())?;
            }
        }
        line("content", &v.digest.to_string())?;
    }
    for e in &d.exceptions {
        let v = &e.violation;
        let (name, policy) = (style.bold(&plain(&e.name)), plain(&e.policy));
        writeln!(out, "  {}  {policy}, by exception {name}", style.yellow("let pass"))?;
        writeln!(out, "        {} ({})", plain(&v.msg), v.enforcement.as_str())?;
        let mut line = |name: &str, value: &str| writeln!(out, "        {:<10} {}", format!("{name}:"), plain(value));
        if let Some(field) = &v.field {
            line("field", field)?;
        }
        line("ticket", &e.ticket)?;
        line("approver", &e.approver)?;
        line("expires", &e.expires)?;
    }
    omitted(out, d.exceptions_omitted, "exceptions")?;
    let shown = u64::try_from(details.violations.len()).unwrap_or(u64::MAX);
    omitted(out, d.violations_omitted.saturating_sub(shown), "violations")?;
    for e in &d.errors {
        writeln!(
            out,
            "  {}  {} could not be judged ({})",
            style.red("error"),
            style.bold(&plain(&e.policy)),
            e.code.as_str()
        )?;
        writeln!(out, "        {}", plain(&e.msg))?;
        if let Some(location) = &e.location {
            writeln!(out, "        {:<10} {}", "rule:", plain(&location.to_string()))?;
        }
    }
    omitted(out, d.errors_omitted, "errors")
}

fn omitted(out: &mut impl Write, count: u64, what: &str) -> io::Result<()> {
    if count > 0 { writeln!(out, "  ({count} more {what} had no room)") } else { Ok(()) }
}

/// The body, as far as there is one.
fn details(body: &BodyState) -> Body {
    let text = match body {
        BodyState::Intact(line) | BodyState::Altered(line) => line.body.as_str(),
        BodyState::Missing | BodyState::Deleted | BodyState::Erased => r#"{"input":null}"#,
    };
    serde_json::from_str(text).unwrap_or(Body {
        input: Value::Null,
        patch: None,
        details: Vec::new(),
        details_omitted: 0,
        violations: Vec::new(),
        audit_annotations: Value::Null,
        reads: std::collections::BTreeMap::new(),
    })
}

fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Policy => "policy: a policy was violated",
        Cause::PolicyError => "policy_error: a policy could not be judged; the failure mode decided",
        Cause::Deadline => "deadline: time ran out; the failure mode decided",
        Cause::Overload => "overload: too many requests at once; the failure mode decided",
        Cause::Log => "log: the decision log could not be written; the failure mode decided",
        Cause::None => "none: nothing stood against it",
    }
}

fn who(d: &DecisionRecord) -> String {
    let user = &d.request.user;
    let mut text = plain(&user.username);
    if !user.groups.is_empty() {
        text = format!("{text} (groups {}", plain(&user.groups.join(", ")));
        if user.groups_omitted > 0 {
            text = format!("{text} and {} more", user.groups_omitted);
        }
        text.push(')');
    }
    for (key, values) in &user.extra {
        text = format!("{text}\n              {}: {}", plain(key), plain(&values.join(", ")));
    }
    text
}

fn recorded(record: &Record) -> String {
    let (head, labels) = (&record.head, &record.head.labels);
    plain(&format!(
        "seq {} of {}, cluster {}, replica {}, version {}",
        head.seq, head.origin, labels.cluster, labels.replica, labels.version
    ))
}

fn caller(d: &DecisionRecord) -> String {
    let addr = d.caller.addr.as_deref().unwrap_or("unknown address");
    let subject = d.caller.tls_subject.as_ref().map(|s| format!(", certificate {s}")).unwrap_or_default();
    let checked = if d.caller.authenticated { "authenticated" } else { "not authenticated" };
    format!("{addr}{subject}, {checked}")
}
