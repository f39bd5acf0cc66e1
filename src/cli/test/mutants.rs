//! `portcullis test --mutate`: the mutation score of policies and what survived, for people and for programs.

use std::num::NonZeroUsize;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::now_ns;
use crate::cli::style::Style;
use crate::engine::{MutantOptions, PolicyMutants, test_mutants};
use crate::policy::{LoadError, PolicyCases, Sources};

#[derive(Debug, Args)]
pub(super) struct MutantArgs {
    /// Change policies in one place at a time, and tell how many of the changes their tests notice. `--mutate=NAME` takes
    /// some of the policies, by name with `*`.
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "*")]
    mutate: Option<String>,
    /// Changes of one policy at most; which, depends on the policies alone.
    #[arg(long, value_name = "N", default_value = "20", requires = "mutate")]
    mutants: NonZeroUsize,
    /// Fail when less than this percentage of the changes is noticed.
    #[arg(long, value_name = "PERCENT", value_parser = super::percentage, requires = "mutate")]
    mutation_threshold: Option<f64>,
}

/// What came of the mutants.
pub(super) struct Score {
    policies: Vec<PolicyMutants>,
    threshold: Option<f64>,
}

impl MutantArgs {
    pub(super) fn wanted(&self) -> bool {
        self.mutate.is_some()
    }

    /// Makes and tests the mutants. `asked` are the sources that case files are judged with.
    pub(super) fn run(
        &self,
        sources: &Sources,
        asked: &Sources,
        cases: &[PolicyCases],
    ) -> Result<Score, Vec<LoadError>> {
        let policies = self.mutate.clone().unwrap_or_default();
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let options = MutantOptions { policies, most: self.mutants.get(), threads, now_ns: now_ns() };
        let found = test_mutants(sources, asked, cases, &options)?;
        if found.is_empty() {
            let message = format!("`--mutate={}` names no policy that is loaded", options.policies);
            return Err(vec![LoadError::new("", "mutants", message)]);
        }
        Ok(Score { policies: found, threshold: self.mutation_threshold })
    }
}

impl Score {
    fn tested(&self) -> usize {
        self.policies.iter().map(|p| p.tested).sum()
    }

    fn killed(&self) -> usize {
        self.policies.iter().map(PolicyMutants::killed).sum()
    }

    /// Of no mutant, all are killed.
    fn percent(&self) -> f64 {
        if self.tested() == 0 { 100.0 } else { self.killed() as f64 * 100.0 / self.tested() as f64 }
    }

    /// Whether the score is below what was asked for; told on stderr.
    pub(super) fn is_low(&self) -> bool {
        let Some(threshold) = self.threshold.filter(|t| self.percent() < *t) else { return false };
        eprintln!("mutation score {:.1}% is below the threshold of {threshold}%", self.percent());
        true
    }

    pub(super) fn print(&self, verbose: bool) {
        let style = Style::stdout();
        for policy in &self.policies {
            for survivor in &policy.survivors {
                println!("{} {}: {}", style.red("SURVIVED"), survivor.at, survivor.change);
            }
        }
        for policy in self.policies.iter().filter(|_| verbose) {
            println!("  {} {} of {} mutants killed", policy.policy, policy.killed(), policy.tested);
        }
        let (killed, tested) = (self.killed(), self.tested());
        println!("mutation score: {:.1}% ({killed} of {tested} mutants killed)", self.percent());
    }

    pub(super) fn to_json(&self) -> Value {
        let policy = |p: &PolicyMutants| {
            let survivors: Vec<Value> =
                p.survivors.iter().map(|s| json!({"location": s.at, "change": s.change})).collect();
            json!({"policy": p.policy, "mutants": p.tested, "killed": p.killed(), "survivors": survivors})
        };
        json!({"score": self.percent(), "mutants": self.tested(), "killed": self.killed(),
               "policies": self.policies.iter().map(policy).collect::<Vec<_>>()})
    }
}
