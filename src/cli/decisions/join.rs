//! `portcullis decisions join`: the decision log beside the API server's audit log. Knows arguments and layout; what
//! the logs say of each other is `decisions::join`'s business.

use std::io::{self, BufWriter, Stdout, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};

use super::output::{Output, csv_row};
use super::{mention_flaws, plain, progress};
use crate::cli::style::Style;
use crate::cli::{Exit, PolicyArgs};
use crate::decisions::join::{Finding, FindingKind, Join, Registered, Report, read_audit};
use crate::decisions::{Filter, LogReader};
use crate::engine::{CompileOptions, PolicySummary, compile};
use crate::policy::yaml;
use crate::source;
use crate::webhook::{RegistrationOptions, Target, mutating, validating};

/// Join decisions with the API server's audit events, and list what was not decided
///
/// Every answer of the webhook leaves the decision's id in the API server's own audit log. By it each decision gets the
/// request's source address, user agent and final status; and what is in one log only comes out: requests that passed
/// without a decision, decisions that no API server asked for, decisions that the log has lost.
///
/// What should have been decided is told from the registration: `--registration` names the webhook configurations
/// (`kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -l app.kubernetes.io/name=portcullis -o
/// yaml`); without it, it is derived from the policies as `portcullis webhook config` does. Webhooks of others in it count
/// only where the audit log has decisions of theirs. Requests before the log's first record are not held against it.
/// Decisions whose event is in the next audit file are unconfirmed until that file is given too; those of other times
/// than the audit log's are `outside`.
///
/// Exit codes: 0 the logs agree, 1 they do not (also: something of the audit log cannot be read), 2 could not run (also:
/// the two logs have no time in common, or no registered webhook is ours).
#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    /// Audit log of an API server (JSON lines, also gzipped or in the wrappings of CloudWatch), `-` for standard input;
    /// may be given more than once
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    kube_audit: Vec<PathBuf>,
    /// Directory of a decision log; once for each replica. Default: `decisions` in the state directory
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_DECISION_LOG", value_delimiter = ',')]
    decision_log: Vec<PathBuf>,
    /// State directory of `portcullis serve`
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_STATE_DIR", default_value = ".portcullis")]
    state_dir: PathBuf,
    /// The webhook configurations as they are registered (YAML or JSON); may be given more than once
    #[arg(long, value_name = "FILE")]
    registration: Vec<PathBuf>,
    #[command(flatten)]
    policies: PolicyArgs,
    /// Where the working file goes, about 600 bytes a decision and as much an event. Default: the system's folder for
    /// temporary files
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Print every decision with its event too, not the findings alone
    #[arg(long)]
    all: bool,
    /// Findings of a kind that the table shows; the others are counted
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
    /// How to print; `csv` gives every decision with its event, `json` one finding (with `--all`: or decision) a line
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Logs, registrations or policies that cannot be read.
pub(super) fn join(args: &JoinArgs) -> anyhow::Result<Exit> {
    let mut join = Join::new(args.work_dir.as_deref(), registered(args)?)?;
    fill(args, &mut join)?;
    let report = join.report()?;
    check(&join, &report)?;
    let mut out = BufWriter::new(io::stdout());
    let negative = match args.output {
        Output::Csv => csv(&join, &mut out)?,
        Output::Json => json_lines(args, &join, &report, &mut out)?,
        Output::Table => table(args, &join, &report, &mut out)?,
    };
    out.flush()?;
    let negative = negative || report.unreadable + report.unreadable_records > 0;
    Ok(if negative { Exit::Finding } else { Exit::Fine })
}

/// Whether the logs can be held against one another at all: whoever gave the wrong files must not hear that they agree.
fn check(join: &Join, report: &Report) -> anyhow::Result<()> {
    if report.requests == 0 {
        bail!("--kube-audit: there is no event in it that admission could have seen");
    }
    if join.expects_nothing() {
        bail!(
            "--registration: none of the webhooks in it is ours: no name ends with `.portcullis.io`, no configuration has \
             the label `app.kubernetes.io/name: portcullis`, and the audit log has no decision of any"
        );
    }
    if !report.meet() && report.confirmed == 0 && !join.is_named()? {
        bail!(
            "the logs have no time in common: the decision log has {}, the audit log {}",
            period(report.log.as_ref()),
            period(report.audit.as_ref())
        );
    }
    Ok(())
}

fn fill(args: &JoinArgs, join: &mut Join) -> anyhow::Result<()> {
    let mut dirs = args.decision_log.clone();
    if dirs.is_empty() {
        dirs.push(args.state_dir.join("decisions"));
    }
    let style = Style::stderr();
    let bar = progress::count("decisions and events read");
    join.fill(|filling| {
        for dir in &dirs {
            let reader = LogReader::open(dir).with_context(|| {
                format!("no decision log in `{}`; name one with --decision-log or --state-dir", dir.display())
            })?;
            let mut failed = Ok(());
            let flaws = reader.for_each(&Filter::default(), |record| {
                failed = filling.record(&record);
                bar.inc(1);
                if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            failed?;
            bar.suspend(|| mention_flaws(&flaws, &format!("`{}`", dir.display())));
        }
        for path in &args.kube_audit {
            let unreadable = read_audit(path, |event| {
                bar.inc(1);
                Ok::<(), anyhow::Error>(filling.event(&event)?)
            })?;
            filling.unreadable(unreadable);
            if unreadable > 0 {
                let path = path.display();
                let warning = style.yellow("warning");
                bar.suspend(|| eprintln!("{warning}: {unreadable} lines or items of `{path}` are no audit events"));
            }
        }
        Ok::<(), anyhow::Error>(())
    })?;
    bar.set_message("matched");
    let finished = join.finish();
    bar.finish_and_clear();
    Ok(finished?)
}

fn registered(args: &JoinArgs) -> anyhow::Result<Registered> {
    let registered = if args.registration.is_empty() { derived(args)? } else { named(args)? };
    if registered.is_empty() {
        match args.registration.is_empty() {
            false => bail!("--registration: there is no webhook in it"),
            true => bail!("the policies register no webhook; name the registered webhooks with --registration"),
        }
    }
    Ok(registered)
}

/// The webhooks of the configurations that are named.
fn named(args: &JoinArgs) -> anyhow::Result<Registered> {
    let mut registered = Registered::default();
    for path in &args.registration {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--registration: cannot read `{}`", path.display()))?;
        let documents: Vec<Value> =
            yaml::parse_all(&path.display().to_string(), &text).map_err(|e| anyhow!("--registration: {e}"))?;
        for document in documents {
            let items = document.get("items").and_then(Value::as_array).cloned();
            for item in items.unwrap_or_else(|| vec![document]) {
                registered.add(&item).with_context(|| format!("--registration: `{}`", path.display()))?;
            }
        }
    }
    Ok(registered)
}

/// The webhooks that the policies come to.
fn derived(args: &JoinArgs) -> anyhow::Result<Registered> {
    let mut registered = Registered::default();
    let loaded = source::load(&args.policies.load_options(&[], false)?);
    let compiled = loaded.and_then(|l| Ok((compile(&l.sources, CompileOptions::default())?, l.from)));
    let (compiled, from) = compiled.map_err(|errors| {
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        anyhow!("the policies cannot be loaded: {first}; name the registered webhooks with --registration")
    })?;
    eprintln!("registration: as `portcullis webhook config` derives it from {}", from.join(", "));
    let policies: Vec<PolicySummary> = compiled.snapshot.policies().cloned().collect();
    let options = RegistrationOptions {
        name: "portcullis".to_owned(),
        target: Target::Service { name: "portcullis".to_owned(), namespace: "portcullis-system".to_owned() },
        ca_bundle: None,
        excluded_namespaces: vec!["portcullis-system".to_owned()],
        failure_policy: "Fail".to_owned(),
        timeout_seconds: 5,
    };
    let documents = [
        validating(&policies, &options).map(serde_json::to_value).transpose()?,
        mutating(&policies, &options).map(serde_json::to_value).transpose()?,
    ];
    for document in documents.into_iter().flatten() {
        registered.add(&document)?;
    }
    Ok(registered)
}

fn csv(join: &Join, out: &mut BufWriter<Stdout>) -> anyhow::Result<bool> {
    let mut writer = csv::Writer::from_writer(out);
    let mut first = true;
    join.joined(|row| {
        // The columns are the row's own; its cells are written again as texts that no spreadsheet calculates with.
        let mut own = csv::WriterBuilder::new().has_headers(std::mem::take(&mut first)).from_writer(Vec::new());
        own.serialize(row)?;
        let own = own.into_inner().map_err(|e| anyhow::anyhow!("{e}"))?;
        for line in csv::ReaderBuilder::new().has_headers(false).from_reader(own.as_slice()).records() {
            csv_row(&mut writer, &line?)?;
        }
        Ok::<(), anyhow::Error>(())
    })?;
    writer.flush()?;
    let mut negative = false;
    for kind in FindingKind::ALL.into_iter().filter(|k| k.is_negative()) {
        join.findings(kind, |_| {
            negative = true;
            Ok::<(), anyhow::Error>(())
        })?;
    }
    Ok(negative)
}

fn json_lines(args: &JoinArgs, join: &Join, report: &Report, out: &mut BufWriter<Stdout>) -> anyhow::Result<bool> {
    let line = |out: &mut BufWriter<Stdout>, kind: &str, mut value: Value| -> anyhow::Result<()> {
        if let Some(map) = value.as_object_mut() {
            map.insert("type".to_owned(), json!(kind));
        }
        Ok(writeln!(out, "{value}")?)
    };
    if args.all {
        join.joined(|row| line(out, "decision", serde_json::to_value(row)?))?;
    }
    let mut counts = serde_json::Map::new();
    let mut negative = false;
    for kind in FindingKind::ALL {
        let mut count = 0_u64;
        join.findings(kind, |finding| {
            count += 1;
            line(out, "finding", serde_json::to_value(finding)?)
        })?;
        negative |= count > 0 && kind.is_negative();
        counts.insert(kind.as_str().to_owned(), json!(count));
    }
    join.outages(|outage| line(out, "outage", serde_json::to_value(outage)?))?;
    let mut summary = serde_json::to_value(report)?;
    if let Some(map) = summary.as_object_mut() {
        map.insert("findings".to_owned(), Value::Object(counts));
    }
    line(out, "summary", summary)?;
    Ok(negative)
}

fn table(args: &JoinArgs, join: &Join, report: &Report, out: &mut BufWriter<Stdout>) -> anyhow::Result<bool> {
    let style = Style::stdout();
    if args.all {
        let head = format!(
            "{:<23}  {:<36}  {:<7}  {:<4}  {:<15}  {:<28}  {:<40}  {:<32}  AGENT",
            "TIME", "ID", "VERDICT", "CODE", "FROM", "RESOURCE", "OBJECT", "USER"
        );
        writeln!(out, "{}", style.bold(&head))?;
        join.joined(|d| {
            let code = if d.code == 0 { "-".to_owned() } else { d.code.to_string() };
            let from = if d.source_ips.is_empty() { &d.status } else { &d.source_ips };
            let verdict = match d.verdict.as_str() {
                "deny" => style.red("deny   "),
                _ => style.green("allow  "),
            };
            Ok::<(), anyhow::Error>(writeln!(
                out,
                "{}  {:<36}  {verdict}  {code:<4}  {:<15}  {:<28}  {:<40}  {:<32}  {}",
                cut(&d.time),
                d.decision_id,
                plain(from),
                plain(&d.resource),
                plain(&object(&d.namespace, &d.name)),
                plain(&d.user),
                plain(&d.user_agent)
            )?)
        })?;
        writeln!(out)?;
    }
    let mut negative = false;
    for kind in FindingKind::ALL {
        let mut count = 0_u64;
        join.findings(kind, |finding| {
            count += 1;
            if count == 1 {
                let title = format!("{}: {}", kind.as_str(), kind.meaning());
                writeln!(out, "{}", if kind.is_negative() { style.red(&title) } else { style.yellow(&title) })?;
            }
            if count <= args.limit { write_finding(out, &finding) } else { Ok(()) }
        })?;
        if count > args.limit {
            writeln!(out, "  and {} more (-o json lists all)", count - args.limit)?;
        }
        negative |= count > 0 && kind.is_negative();
    }
    join.outages(|outage| {
        let (from, to) = (cut(&outage.from), cut(&outage.to));
        let missing = style.red("webhook missing");
        Ok::<(), anyhow::Error>(writeln!(out, "{missing} from {from} to {to}: {} requests in a row", outage.requests)?)
    })?;
    summary(report, negative, out)?;
    Ok(negative)
}

fn write_finding(out: &mut impl Write, finding: &Finding) -> anyhow::Result<()> {
    let code = finding.code.map(|c| format!(" {c}")).unwrap_or_default();
    let ids = [&finding.decision_id, &finding.audit_id].into_iter().zip(["decision", "audit"]);
    let ids: Vec<String> =
        ids.filter(|(id, _)| !id.is_empty()).map(|(id, what)| format!("{what} {}", plain(id))).collect();
    let detail = if finding.detail.is_empty() { String::new() } else { format!(" ({})", plain(&finding.detail)) };
    let about = match finding.operation.as_str() {
        // About no request: records that are missing.
        "" => String::new(),
        operation => format!(
            "{operation} {} {} by {}{code}",
            plain(&finding.resource),
            plain(&object(&finding.namespace, &finding.name)),
            plain(&finding.user)
        ),
    };
    Ok(writeln!(out, "  {}  {about}{detail}  {}", cut(&finding.time), ids.join(", "))?)
}

fn period(ends: Option<&(String, String)>) -> String {
    match ends {
        Some((first, last)) => format!("{} to {}", cut(first), cut(last)),
        None => "nothing".to_owned(),
    }
}

fn summary(report: &Report, negative: bool, out: &mut impl Write) -> io::Result<()> {
    let style = Style::stdout();
    writeln!(
        out,
        "{} of {} decisions are confirmed by the audit log ({} repeated as they should be)",
        report.confirmed, report.decisions, report.repeated
    )?;
    if report.outside > 0 {
        writeln!(out, "{} decisions are of other times than the audit log", report.outside)?;
    }
    writeln!(
        out,
        "{} of {} requests that had to be decided were, of {} that change something",
        report.decided, report.due, report.requests
    )?;
    writeln!(out, "decision log: {}", period(report.log.as_ref()))?;
    writeln!(out, "audit log:    {}", period(report.audit.as_ref()))?;
    if report.unreadable_records > 0 {
        let what = format!("{} decisions in the log have records that cannot be read", report.unreadable_records);
        writeln!(out, "{}", style.red(&what))?;
    }
    if report.unreadable > 0 {
        let what = format!("{} lines or items of the audit log cannot be read", report.unreadable);
        writeln!(out, "{}", style.red(&what))?;
    }
    let verdict = match (negative, report.unreadable + report.unreadable_records) {
        (true, _) => style.red("the logs do not agree"),
        (false, 0) => style.green("the logs agree"),
        (false, _) => style.red("the logs agree in what can be read"),
    };
    writeln!(out, "{verdict}")
}

fn cut(time: &str) -> &str {
    time.get(..23).unwrap_or(time)
}

fn object(namespace: &str, name: &str) -> String {
    let name = if name.is_empty() { "-" } else { name };
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}
