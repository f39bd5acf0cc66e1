//! `portcullis check`: parse and validate policies, METADATA, bindings and data, with the place of every error.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::style::Style;
use crate::cli::{Exit, PolicyArgs};
use crate::engine::{CompileOptions, PolicySummary, check_tests, compile};
use crate::policy::LoadError;
use crate::source;

/// Check policies, their METADATA, bindings and data without judging anything.
///
/// Every error has its file, line and column. Exit codes: 0 no errors, 1 errors, 2 could not read.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Files and directories of policies. Default: `./policies`, else the shipped ones.
    paths: Vec<PathBuf>,
    #[command(flatten)]
    policies: PolicyArgs,
    /// Count notes as errors.
    #[arg(long)]
    strict: bool,
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
            print(args, &[], &errors, &[]);
            return Ok(if unreadable { Exit::CouldNotRun } else { Exit::Finding });
        }
    };
    let (policies, mut errors, mut notes) = match compile(&loaded.sources, CompileOptions::default()) {
        Ok(compiled) => {
            let notes = compiled.notes.into_iter().chain(loaded.notes.iter().cloned()).collect();
            (compiled.snapshot.policies().cloned().collect(), Vec::new(), notes)
        }
        Err(errors) => (Vec::new(), errors, Vec::new()),
    };
    if errors.is_empty() {
        errors.extend(check_tests(&loaded.sources));
    }
    if args.strict {
        errors.append(&mut notes);
    }
    print(args, &policies, &errors, &notes);
    if policies.is_empty() && errors.is_empty() {
        anyhow::bail!("no policy was found in {}", loaded.from.join(", "));
    }
    Ok(if errors.is_empty() { Exit::Fine } else { Exit::Finding })
}

fn print(args: &CheckArgs, policies: &[PolicySummary], errors: &[LoadError], notes: &[LoadError]) {
    match args.output {
        Output::Json => {
            let finding = |e: &LoadError| json!({"file": e.file, "line": e.line, "column": e.column, "code": e.code, "message": e.message});
            let policy = |p: &PolicySummary| {
                json!({"name": &*p.name, "title": p.title, "file": p.file, "enforcement": p.enforcement,
                "severity": p.severity, "controls": &*p.controls, "digest": p.digest, "onUpdate": p.on_update})
            };
            let report = json!({
                "policies": policies.iter().map(policy).collect::<Vec<Value>>(),
                "errors": errors.iter().map(finding).collect::<Vec<Value>>(),
                "notes": notes.iter().map(finding).collect::<Vec<Value>>(),
            });
            println!("{report:#}");
        }
        Output::Pretty => {
            let style = Style::stdout();
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
