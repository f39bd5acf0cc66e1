//! `portcullis decisions replay`: decisions made again, and what other policies would have done. Knows arguments and the
//! flow of records over threads; how a decision is made again is `decisions::replay`'s business.

mod impact;
mod print;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};

use super::LogArgs;
use super::filter::FilterArgs;
use super::output::Output;
use super::show::find;
use crate::cli::{Exit, report_load_errors};
use crate::config::BundleSettings;
use crate::decisions::replay::{Asked, Candidate, ChangeKind, Judge};
use crate::decisions::{Filter, PolicySets, Record, RecordType};
use crate::engine::{CompileOptions, FailureMode, FailureModes, HttpSend, compile};
use crate::policy::Enforcement;
use crate::source::{self, LoadOptions};

/// Make recorded decisions again, and say whether they come out the same; or what other policies would have done.
///
/// Without `--policies` each decision is judged by the policy set that made it, which is kept by digest beside the log,
/// at the time of then and in the world of then. `identical` is the same verdict, the same findings and the same patch.
///
/// With `--policies` it is impact analysis: what would be newly denied, allowed, warned of or mutated, by policy,
/// namespace, user and kind. With `--kube-audit` the requests come from the API server's own audit log (level Request or
/// RequestResponse) in place of a decision log; of these only creations can be judged, and only time, namespace and user
/// can be filtered by.
///
/// What a record does not show is never guessed: a decision in which a masked value, a deleted body, an answer of
/// `http.send` or a namespace that was not read could have mattered is `indeterminate`, and says what it was.
///
/// Exit codes: 0 nothing that `--fail-on` names, 1 something of it, 2 could not run; also when `--policies` had nothing to
/// judge.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Ids of decisions, or their beginnings. Default: all that the filters take.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Policies to try out: file, directory or bundle; may be given more than once
    #[arg(
        short = 'b',
        long,
        visible_alias = "bundle",
        value_name = "PATH",
        value_delimiter = ',',
        help_heading = "Impact analysis"
    )]
    policies: Vec<PathBuf>,
    /// Data of these policies, and Namespaces that the records do not have; may be given more than once
    #[arg(short, long, value_name = "PATH", value_delimiter = ',', help_heading = "Impact analysis")]
    data: Vec<PathBuf>,
    /// Exceptions that count for these policies; may be given more than once
    #[arg(long, value_name = "PATH", value_delimiter = ',', help_heading = "Impact analysis")]
    exceptions: Vec<PathBuf>,
    /// No policy of these does more than this
    #[arg(long, value_name = "deny|warn|dryrun", value_parser = enforcement, help_heading = "Impact analysis")]
    max_enforcement: Option<Enforcement>,
    /// What a failure of a policy (an error, a budget) comes to under these policies
    #[arg(long, value_name = "deny|allow", value_parser = failure_mode, default_value = "deny", help_heading = "Impact analysis")]
    failure_mode: FailureMode,
    /// Audit log of an API server, `-` for standard input; may be given more than once. An event given twice counts
    /// once, if no more than 500,000 others stand between
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Impact analysis")]
    kube_audit: Vec<PathBuf>,
    /// Examples of each kind of change and policy
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Impact analysis")]
    examples: usize,
    /// What makes the exit code 1. Default: `different`; for impact analysis `newly-denied` and `newly-failed`
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    fail_on: Vec<FailOn>,
    /// Print every decision, not only those that are not identical
    #[arg(long)]
    all: bool,
    /// How to print; `json` gives one document a line, the summary last
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A decision that comes out otherwise
    Different,
    /// Something that could have mattered is not on record, or mutating policies could not be tried
    Indeterminate,
    NewlyDenied,
    NewlyAllowed,
    NewlyWarned,
    NoLongerWarned,
    NewlyMutated,
    NoLongerMutated,
    NewlyFailed,
    /// Any of the above but `indeterminate`
    Any,
    /// Nothing
    None,
}

impl FailOn {
    fn change(self) -> Option<ChangeKind> {
        ChangeKind::ALL
            .into_iter()
            .find(|kind| self.to_possible_value().is_some_and(|v| v.get_name().replace('-', "_") == kind.as_str()))
    }
}

fn enforcement(text: &str) -> Result<Enforcement, String> {
    let all = [Enforcement::Deny, Enforcement::Warn, Enforcement::Dryrun];
    all.into_iter().find(|e| e.as_str() == text).ok_or_else(|| "write deny, warn or dryrun".to_owned())
}

fn failure_mode(text: &str) -> Result<FailureMode, String> {
    match text {
        "deny" => Ok(FailureMode::Deny),
        "allow" => Ok(FailureMode::Allow),
        _ => Err("write deny or allow".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// A log, an audit log or policies that cannot be read.
pub(super) fn replay(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let trying = !args.policies.is_empty() || !args.kube_audit.is_empty();
    let of_candidates = !args.data.is_empty() || !args.exceptions.is_empty() || args.max_enforcement.is_some();
    if !trying && (of_candidates || args.failure_mode != FailureMode::Deny) {
        bail!(
            "--data, --exceptions, --max-enforcement and --failure-mode are about policies to try out: \
             name them with --policies"
        );
    }
    for wanted in &args.fail_on {
        let of_impact = wanted.change().is_some();
        if (of_impact && !trying) || (*wanted == FailOn::Different && trying) {
            let name = wanted.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
            let when = if trying { "without --policies" } else { "with --policies" };
            bail!("--fail-on {name} makes sense {when} only");
        }
    }
    if !trying {
        let judge = judge(args);
        return work::again(args, &judge);
    }
    let Some(candidate) = candidate(args)? else { return Ok(Exit::CouldNotRun) };
    if args.kube_audit.is_empty() {
        impact::of_log(args, &judge(args), &candidate)
    } else if args.ids.is_empty() {
        impact::of_audit(args, &candidate)
    } else {
        bail!("--kube-audit takes the place of a decision log: leave out the ids")
    }
}

fn judge(args: &ReplayArgs) -> Judge {
    Judge::new(PolicySets::beside(&args.log.dir()))
}

/// The policies to try out; `None` when they cannot be loaded, which has been said.
fn candidate(args: &ReplayArgs) -> anyhow::Result<Option<Candidate>> {
    let options = LoadOptions {
        policies: args.policies.clone(),
        data: args.data.clone(),
        exceptions: args.exceptions.clone(),
        example_data: false,
        bundles: BundleSettings::default().check(None)?,
    };
    let compiling = CompileOptions {
        max_enforcement: args.max_enforcement,
        // Answers are not on record; a policy that asks is uncertain, not refused.
        http_send: HttpSend::Allow,
        ..CompileOptions::default()
    };
    let compiled = source::load(&options).and_then(|loaded| compile(&loaded.sources, compiling));
    match compiled {
        Ok(compiled) if compiled.snapshot.policies().next().is_none() => {
            Err(anyhow!("--policies: there is no policy in it"))
        }
        Ok(compiled) => {
            let namespaces: BTreeMap<_, _> = compiled.snapshot.fixed_namespaces();
            Ok(Some(Candidate {
                snapshot: Arc::new(compiled.snapshot),
                namespaces: Arc::new(namespaces),
                failure: FailureModes::all(args.failure_mode),
            }))
        }
        Err(errors) => {
            report_load_errors(&errors);
            Ok(None)
        }
    }
}

/// The filter, for decisions only.
fn filter(args: &ReplayArgs) -> anyhow::Result<Filter> {
    let filter = args.filter.filter()?;
    if filter.r#type.is_some_and(|t| t != RecordType::Decision) {
        bail!("--type: only decisions can be made again");
    }
    Ok(Filter { r#type: Some(RecordType::Decision), ..filter })
}

/// The records that are named, in the order of the log.
fn named(args: &ReplayArgs) -> anyhow::Result<Option<Vec<Record>>> {
    let reader = args.log.reader()?;
    let mut records = Vec::new();
    for id in &args.ids {
        let Some(record) = find(&reader, id).with_context(|| format!("`{id}`"))? else { return Ok(None) };
        records.push(record);
    }
    records.sort_by_key(|r| r.head.seq);
    records.dedup_by_key(|r| r.head.seq);
    Ok(Some(records))
}

/// The filter, for requests of an audit log: of these only time, namespace and user are known.
fn audit_filter(args: &ReplayArgs) -> anyhow::Result<Filter> {
    let filter = filter(args)?;
    if filter.policy.is_some() || filter.verdict.is_some() || filter.cause.is_some() || filter.uid.is_some() {
        bail!("--policy, --verdict, --cause and --uid are about decisions; an audit log has none: leave them out");
    }
    Ok(filter)
}

/// Whether the filter takes a request of an audit log.
fn takes(filter: &Filter, asked: &Asked) -> bool {
    let time: Option<jiff::Timestamp> = asked.time.parse().ok();
    let fits = |wanted: &Option<String>, has: &[String]| {
        wanted.as_ref().is_none_or(|w| has.iter().any(|h| crate::policy::glob_matches(w, h)))
    };
    filter.since.is_none_or(|since| time.is_some_and(|t| t >= since))
        && filter.until.is_none_or(|until| time.is_some_and(|t| t <= until))
        && fits(&filter.namespace, std::slice::from_ref(&asked.namespace))
        && fits(&filter.user, &asked.users)
}
