//! `portcullis decisions`: reads the decision log for people and programs. Knows arguments and layout; how a log is
//! read and checked is `decisions`' business.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::cli::Exit;
use crate::cli::style::Style;
use crate::decisions::{Body, BodyState, DecisionRecord, Filter, Found, LogReader, Record, RecordType, RequestRecord};
use crate::engine::{Cause, Verdict};
use crate::policy::Enforcement;

/// Read the decision log.
///
/// Works on a log that is being written, and on a copy. Exit codes: 0 fine, 1 a negative finding (no such decision, a
/// body that is not what was recorded), 2 could not run.
#[derive(Debug, Args)]
pub(super) struct DecisionsArgs {
    #[command(subcommand)]
    command: DecisionsCommand,
}

#[derive(Debug, Subcommand)]
enum DecisionsCommand {
    List(Box<ListArgs>),
    Show(ShowArgs),
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
    fn reader(&self) -> anyhow::Result<LogReader> {
        let dir = self.decision_log.clone().unwrap_or_else(|| self.state_dir.join("decisions"));
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
    /// Not older than this: a duration (`90s`, `10m`, `2h`, `7d`), an RFC 3339 time or a date (UTC).
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Not younger than this, likewise.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Namespace of the request.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Who asked: the user name, or a value of the user's extra fields (on EKS: the ARN or session name).
    #[arg(long)]
    user: Option<String>,
    /// A policy that found something or could not be judged.
    #[arg(long)]
    policy: Option<String>,
    /// The answer.
    #[arg(long, value_enum)]
    verdict: Option<VerdictArg>,
    /// Why.
    #[arg(long, value_enum)]
    cause: Option<CauseArg>,
    /// `request.uid` of the AdmissionReview.
    #[arg(long)]
    uid: Option<String>,
    /// Type of record.
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value_t = TypeArg::Decision)]
    kind: TypeArg,
    /// Only the last N.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// How to print; `json` gives one record a line, as it stands in the log.
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
    /// How to print; `json` gives `{envelope, body, bodyState}`.
    #[arg(short, long, value_enum, default_value_t = ShowOutput::Pretty)]
    output: ShowOutput,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ListOutput {
    Table,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ShowOutput {
    Pretty,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum VerdictArg {
    Allow,
    Deny,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum CauseArg {
    Policy,
    #[value(alias = "policy-error")]
    PolicyError,
    Deadline,
    Overload,
    Log,
    None,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TypeArg {
    Decision,
    Start,
    Stop,
    Gap,
    Prune,
    Key,
    Config,
    Read,
    All,
}

pub(super) fn run(args: &DecisionsArgs) -> anyhow::Result<Exit> {
    let result = match &args.command {
        DecisionsCommand::List(args) => list(args),
        DecisionsCommand::Show(args) => show(args),
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
    let filter = filter(args)?;
    let mut table = Table::new(args.output);
    let unreadable = if let Some(limit) = args.limit {
        let (records, unreadable) = reader.last(&filter, limit)?;
        for record in &records {
            table.row(record)?;
        }
        unreadable
    } else {
        let mut failed = Ok(());
        let unreadable = reader.for_each(&filter, |record| {
            failed = table.row(&record);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        unreadable
    };
    table.out.flush()?;
    if unreadable > 0 {
        let style = Style::stderr();
        eprintln!("{}: {unreadable} lines of the log are no records", style.yellow("warning"));
    }
    if filter.r#type == Some(RecordType::Decision) {
        mention_gaps(&reader, &filter)?;
    }
    Ok(Exit::Fine)
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

fn filter(args: &ListArgs) -> anyhow::Result<Filter> {
    let filter = Filter {
        since: args.since,
        until: args.until,
        namespace: args.namespace.clone(),
        user: args.user.clone(),
        policy: args.policy.clone(),
        verdict: args.verdict.map(|v| match v {
            VerdictArg::Allow => Verdict::Allow,
            VerdictArg::Deny => Verdict::Deny,
        }),
        cause: args.cause.map(|c| match c {
            CauseArg::Policy => Cause::Policy,
            CauseArg::PolicyError => Cause::PolicyError,
            CauseArg::Deadline => Cause::Deadline,
            CauseArg::Overload => Cause::Overload,
            CauseArg::Log => Cause::Log,
            CauseArg::None => Cause::None,
        }),
        uid: args.uid.clone(),
        r#type: match args.kind {
            TypeArg::Decision => Some(RecordType::Decision),
            TypeArg::Start => Some(RecordType::Start),
            TypeArg::Stop => Some(RecordType::Stop),
            TypeArg::Gap => Some(RecordType::Gap),
            TypeArg::Prune => Some(RecordType::Prune),
            TypeArg::Key => Some(RecordType::Key),
            TypeArg::Config => Some(RecordType::Config),
            TypeArg::Read => Some(RecordType::Read),
            TypeArg::All => None,
        },
    };
    if filter.asks_of_decisions() && !matches!(args.kind, TypeArg::Decision | TypeArg::All) {
        bail!("--namespace, --user, --policy, --verdict, --cause and --uid are about decisions; leave out --type");
    }
    Ok(filter)
}

/// A duration before now, an RFC 3339 time, or a date.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    if let Ok(timestamp) = format!("{text}T00:00:00Z").parse::<Timestamp>() {
        return Ok(timestamp);
    }
    let wrong =
        || "write a duration such as `10m`, an RFC 3339 time such as `2026-01-31T12:00:00Z`, or a date".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number: i64 = text.strip_suffix(unit).and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let seconds = number.checked_mul(seconds).filter(|s| *s >= 0).ok_or_else(wrong)?;
    Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).map_err(|_| wrong())
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
        if matches!(self.output, ListOutput::Json) {
            return writeln!(self.out, "{}", record.line);
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

/// Text from requests and policies without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn show(args: &ShowArgs) -> anyhow::Result<Exit> {
    const SHORTEST: usize = 4;
    if args.id.len() < SHORTEST || !args.id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        bail!("`{}` is no decision id: write the UUID, or at least its first {SHORTEST} characters", args.id);
    }
    let reader = args.log.reader()?;
    let record = match reader.find(&args.id)? {
        Found::None => {
            eprintln!("no decision `{}` in the log", args.id);
            return Ok(Exit::Finding);
        }
        Found::Several(ids) => bail!("`{}` is the beginning of several decisions:\n  {}", args.id, ids.join("\n  ")),
        Found::One(record) => record,
    };
    let decision = record.decision().context("the record cannot be read")?;
    let body = reader.body(&record, &decision)?;
    let mut out = BufWriter::new(io::stdout());
    match args.output {
        ShowOutput::Json => {
            let envelope: Value = serde_json::from_str(&record.line)?;
            let text = match &body {
                BodyState::Intact(line) | BodyState::Altered(line) => serde_json::from_str(&line.body)?,
                BodyState::Missing | BodyState::Deleted => Value::Null,
            };
            let all = json!({"envelope": envelope, "body": text, "bodyState": state_name(&body)});
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        }
        ShowOutput::Pretty => pretty(&mut out, &record, &decision, &body)?,
    }
    out.flush()?;
    Ok(match body {
        BodyState::Intact(_) | BodyState::Deleted => Exit::Fine,
        BodyState::Altered(_) | BodyState::Missing => Exit::Finding,
    })
}

fn state_name(body: &BodyState) -> &'static str {
    match body {
        BodyState::Intact(_) => "intact",
        BodyState::Altered(_) => "altered",
        BodyState::Missing => "missing",
        BodyState::Deleted => "deleted",
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
        BodyState::Missing | BodyState::Deleted => r#"{"input":null}"#,
    };
    serde_json::from_str(text).unwrap_or(Body {
        input: Value::Null,
        patch: None,
        details: Vec::new(),
        details_omitted: 0,
        violations: Vec::new(),
        audit_annotations: Value::Null,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let now = Timestamp::now();
        let ago = |text: &str| now.duration_since(time(text).expect(text)).as_secs();
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604_800), ("1w", 604_800)] {
            assert!((ago(text) - seconds).abs() <= 2, "{text}");
        }
        assert_eq!(time("2026-01-31").expect("a date").to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(time("2026-01-31T12:00:00+02:00").expect("a time").to_string(), "2026-01-31T10:00:00Z");
        for wrong in ["", "10", "m", "ten minutes", "-5m", "10y"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_terminal_obeys_nothing_in_a_record() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
