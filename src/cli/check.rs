//! `portcullis check`: parse and validate policies, METADATA, bindings and data, with the place of every error.

mod exceptions;
mod plan;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::check::exceptions::Exceptions;
use crate::cli::style::Style;
use crate::cli::{Exit, HttpArgs, PolicyArgs, now_ns};
use crate::engine::{BindingSummary, CompileOptions, PolicySummary, check_tests, compile};
use crate::policy::{Digest, Instant, LoadError, Sources};
use crate::source;

/// Check policies, their METADATA, bindings, exceptions and data without judging anything.
///
/// Every error has its file, line and column. An exception that has expired or refers to no policy is an error, one that
/// expires within 14 days a note. Exit codes: 0 no errors, 1 errors, 2 could not read.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Files and directories of policies. Default: `./policies`, else the shipped ones.
    paths: Vec<PathBuf>,
    #[command(flatten)]
    policies: PolicyArgs,
    #[command(flatten)]
    http: HttpArgs,
    /// Directory of a decision log: says when each exception was last used, and notes those that nobody used.
    #[arg(long, value_name = "DIR")]
    decision_log: Option<PathBuf>,
    /// Count notes as errors.
    #[arg(long)]
    strict: bool,
    /// Show how each policy is run, by a plan or by the interpreter, and why.
    #[arg(long, conflicts_with = "differential")]
    explain_plan: bool,
    /// Run each policy both ways on the inputs of its tests, on those of --inputs and on mutations of them; any difference
    /// is a finding.
    #[arg(long)]
    differential: bool,
    /// AdmissionReviews and manifests for --differential: a file or directory; may be given more than once.
    #[arg(long, value_name = "PATH", requires = "differential")]
    inputs: Vec<PathBuf>,
    /// Mutations for each policy.
    #[arg(long, value_name = "N", requires = "differential", default_value_t = 1000)]
    mutations: usize,
    /// Write the result of --differential here as JSON, by policy digest and engine version.
    #[arg(long, value_name = "FILE", requires = "differential")]
    write: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Pretty)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Pretty,
    Json,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let loaded = match source::load(&args.policies.load_options(&args.paths, false)?) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let unreadable = errors.iter().any(|e| ["io", "key", "remote"].contains(&e.code));
            print(args, &Report { errors, ..Report::default() });
            return Ok(if unreadable { Exit::CouldNotRun } else { Exit::Finding });
        }
    };
    let options = CompileOptions { http_send: args.http.http_send(), ..CompileOptions::default() };
    let mut report = Report::default();
    match compile(&loaded.sources, options) {
        Err(errors) => report.errors = errors,
        Ok(compiled) => {
            let (snapshot, now) = (&compiled.snapshot, Instant::from_nanos(now_ns()));
            report.policies = snapshot.policies().cloned().collect();
            report.bindings = snapshot.bindings();
            report.exceptions = Exceptions::new(snapshot, now, args.decision_log.as_deref())?;
            report.policy_set = Some(snapshot.policy_set());
            let (errors, notes) = report.exceptions.findings();
            // Here somebody looks who can mend it; a server starts all the same.
            let dangling = |n: &LoadError| n.code == "exception_policy";
            report.errors = compiled.notes.iter().filter(|n| dangling(n)).cloned().chain(errors).collect();
            let odd = compiled.notes.into_iter().filter(|n| !dangling(n));
            report.notes = odd.chain(loaded.notes.iter().cloned()).chain(notes).collect();
            report.errors.extend(check_tests(&loaded.sources));
        }
    }
    if args.strict {
        report.errors.append(&mut report.notes);
    }
    if args.differential && report.errors.is_empty() && !report.policies.is_empty() {
        return compare(args, &loaded.sources);
    }
    print(args, &report);
    if report.policies.is_empty() && report.errors.is_empty() {
        anyhow::bail!("no policy was found in {}", loaded.from.join(", "));
    }
    Ok(if report.errors.is_empty() { Exit::Fine } else { Exit::Finding })
}

fn compare(args: &CheckArgs, sources: &Sources) -> anyhow::Result<Exit> {
    let report = match plan::compare(sources, &args.inputs, args.mutations)? {
        Ok(report) => report,
        Err(errors) => {
            print(args, &Report { errors, ..Report::default() });
            return Ok(Exit::Finding);
        }
    };
    let json = plan::report(&report);
    if let Some(file) = &args.write {
        std::fs::write(file, format!("{json:#}\n")).with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    match args.output {
        Output::Json => println!("{json:#}"),
        Output::Pretty => plan::print_report(&report),
    }
    Ok(if report.agrees() { Exit::Fine } else { Exit::Finding })
}

/// What is said.
#[derive(Default)]
struct Report {
    policies: Vec<PolicySummary>,
    bindings: Vec<BindingSummary>,
    exceptions: Exceptions,
    policy_set: Option<Digest>,
    errors: Vec<LoadError>,
    notes: Vec<LoadError>,
}

fn print(args: &CheckArgs, report: &Report) {
    let Report { policies, bindings, exceptions, policy_set, errors, notes } = report;
    match args.output {
        Output::Json => {
            let finding = |e: &LoadError| json!({"file": e.file, "line": e.line, "column": e.column, "code": e.code, "message": e.message});
            let policy = |p: &PolicySummary| {
                json!({"name": &*p.name, "title": p.title, "file": p.file, "enforcement": p.enforcement,
                "severity": p.severity, "controls": &*p.controls, "digest": p.digest, "onUpdate": p.on_update, "plan": plan::way_of(p)})
            };
            let binding =
                |b: &BindingSummary| json!({"name": b.name, "policy": b.policy, "enforcement": b.enforcement});
            let report = json!({
                "policySet": policy_set,
                "policies": policies.iter().map(policy).collect::<Vec<Value>>(),
                "bindings": bindings.iter().map(binding).collect::<Vec<Value>>(),
                "exceptions": exceptions.to_json(),
                "errors": errors.iter().map(finding).collect::<Vec<Value>>(),
                "notes": notes.iter().map(finding).collect::<Vec<Value>>(),
            });
            println!("{report:#}");
        }
        Output::Pretty => {
            let style = Style::stdout();
            if args.explain_plan && errors.is_empty() {
                plan::print_ways(policies);
                return;
            }
            for policy in policies {
                let title = policy.title.as_deref().unwrap_or_default();
                println!(
                    "{} {} {} {}",
                    style.green("ok"),
                    style.bold(&policy.name),
                    policy.enforcement.as_str(),
                    style.dim(title)
                );
            }
            for b in bindings {
                println!("{} {} {} {}", style.green("binding"), style.bold(&b.name), b.enforcement.as_str(), b.policy);
            }
            exceptions.print(style);
            for note in notes {
                println!("{} {note}", style.yellow("note"));
            }
            for error in errors {
                println!("{} {error}", style.red("error"));
            }
            println!("{} policies, {} errors, {} notes", policies.len(), errors.len(), notes.len());
        }
    }
}
