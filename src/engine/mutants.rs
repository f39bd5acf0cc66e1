//! Mutation testing: how many small changes to policies their tests would notice.
//!
//! Each policy is changed in one place at a time, and its Rego tests and its case file are run: where one of them no
//! longer holds, the mutant is killed; where all still hold, it survives, and something is not tested. Which mutants are
//! made depends on the text alone. Knows nothing of files and of printing.

mod changes;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::check::{self, Package};
use crate::engine::compile::{compile_here, policy_name};
use crate::engine::parse::{Parsed, parse_all};
use crate::engine::policy_cases::{CaseAsker, case_misses};
use crate::engine::rewrite::line_and_column;
use crate::engine::{CompileOptions, Location, Pool, PoolOptions, TestEnding, run_tests, system_main};
use crate::policy::{Digest, LoadError, PolicyCases, Sources, glob_matches};
use changes::{Change, changes};

/// A mutant whose tests take longer is killed: with the policy as it stands they end.
const MUTANT_BUDGET: Duration = Duration::from_secs(30);

/// Stack of a thread that compiles and tests.
const STACK_BYTES: usize = 64 << 20;

/// What is to be changed, and how often.
#[derive(Debug, Clone)]
pub struct MutantOptions {
    /// Names of policies, with `*`.
    pub policies: String,
    /// Mutants of one policy at most.
    pub most: usize,
    /// Threads that run tests.
    pub threads: usize,
    /// What `time.now_ns()` gives to Rego tests.
    pub now_ns: i64,
}

/// A change that no test noticed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Survivor {
    /// Where it was made.
    pub at: Location,
    /// What was changed.
    pub change: String,
}

/// The mutants of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyMutants {
    /// The policy's name.
    pub policy: String,
    /// Mutants that were tested: those that are policies.
    pub tested: usize,
    /// In the order of the text.
    pub survivors: Vec<Survivor>,
}

impl PolicyMutants {
    /// Mutants that a test noticed.
    #[must_use]
    pub fn killed(&self) -> usize {
        self.tested - self.survivors.len()
    }
}

/// One policy with what is needed to test it.
struct Subject<'s> {
    name: String,
    /// The policy with what it reads, and the test packages that read it.
    rego: Sources,
    /// What their tests' names begin with.
    tests: Vec<String>,
    /// The policy with what it reads, for its case files.
    asked: Sources,
    cases: Vec<&'s PolicyCases>,
    /// Each with the place of its file among the modules of `rego`.
    changes: Vec<(String, Change)>,
}

/// Makes and tests mutants of policies. Case files are judged with `asked`, whose policies are those of `sources`.
///
/// # Errors
/// Everything that keeps the files, tests included, from being loaded.
pub fn test_mutants(
    sources: &Sources,
    asked: &Sources,
    cases: &[PolicyCases],
    options: &MutantOptions,
) -> Result<Vec<PolicyMutants>, Vec<LoadError>> {
    let mut errors = Vec::new();
    let parsed = parse_all(sources.modules.iter(), &sources.rego_versions, &mut errors);
    if !errors.is_empty() {
        errors.sort();
        return Err(errors);
    }
    let packages = check::packages(&parsed);
    // Rules of a policy count without the tests that may stand in its package.
    let own = parse_all(sources.modules.iter().filter(|m| !m.is_test()), &sources.rego_versions, &mut errors);
    let own = check::packages(&own);
    let mut subjects = Vec::new();
    for policy in system_main::policies(&own) {
        let name = policy_name(&policy.path).to_string();
        if !glob_matches(&options.policies, &name) {
            continue;
        }
        let readers: Vec<&Package<'_>> = packages
            .values()
            .filter(|p| has_tests(p) && check::closure(p, &packages).iter().any(|q| q.path == policy.path))
            .collect();
        let read = check::closure(policy, &own);
        let files = |of: &[&Package<'_>]| -> BTreeSet<String> {
            of.iter().flat_map(|p| &p.modules).map(|m| m.source.path.clone()).collect()
        };
        let needed: BTreeSet<String> =
            readers.iter().map(|p| files(&check::closure(p, &packages))).chain([files(&read)]).flatten().collect();
        subjects.push(Subject {
            rego: narrowed(sources, &needed),
            tests: readers.iter().map(|p| format!("data.{}.", p.path.join("."))).collect(),
            asked: narrowed(asked, &files(&read)),
            cases: cases.iter().filter(|c| c.policy == name).collect(),
            changes: candidates(&policy.modules),
            name,
        });
    }
    Ok(each_tested(&subjects, options))
}

fn has_tests(package: &Package<'_>) -> bool {
    package.rules().any(|r| r.name.starts_with("test_"))
}

fn narrowed(all: &Sources, files: &BTreeSet<String>) -> Sources {
    let modules = all.modules.iter().filter(|m| files.contains(&m.path)).cloned().collect();
    Sources { modules, bindings: Vec::new(), exceptions: Vec::new(), gatekeeper: Vec::new(), ..all.clone() }
}

/// All changes of a policy's files, mixed by their content: the same ones come first each time.
fn candidates(modules: &[&Parsed<'_>]) -> Vec<(String, Change)> {
    let mut seen = BTreeSet::new();
    let files = modules.iter().filter(|m| seen.insert(&m.source.path));
    let mut found: Vec<(String, Change)> = files
        .flat_map(|m| changes(&m.source.text, m.version).into_iter().map(|c| (m.source.path.clone(), c)))
        .collect();
    found.sort_by_cached_key(|(file, c)| {
        let what = format!("{}\0{}", c.told, c.put);
        (Digest::of(what.as_bytes()).to_string(), file.clone(), c.span.start)
    });
    found
}

/// Tests the subjects on several threads; the results are in their order.
fn each_tested(subjects: &[Subject<'_>], options: &MutantOptions) -> Vec<PolicyMutants> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let Ok(pool) = Pool::start(PoolOptions { threads: 1, queue: 1 }) else { return };
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(subject) = subjects.get(index) else { return };
            let tested = subject.tested(&pool, options);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, tested));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            let thread = std::thread::Builder::new().name("mutants".to_owned()).stack_size(STACK_BYTES);
            // Fewer threads do the same work.
            drop(thread.spawn_scoped(scope, work));
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, tested)| tested).collect()
}

impl Subject<'_> {
    fn tested(&self, pool: &Pool, options: &MutantOptions) -> PolicyMutants {
        let mut result = PolicyMutants { policy: self.name.clone(), tested: 0, survivors: Vec::new() };
        for (file, change) in &self.changes {
            if result.tested >= options.most {
                break;
            }
            let (rego, asked) = (changed(&self.rego, file, change), changed(&self.asked, file, change));
            if compile_here(&asked, CompileOptions::default()).is_err() {
                continue;
            }
            result.tested += 1;
            if !self.killed(&rego, &asked, pool, options.now_ns) {
                let text = self.rego.modules.iter().find(|m| m.path == *file).map_or("", |m| &m.text);
                let (line, column) = line_and_column(text, change.span.start);
                let at = Location { file: file.as_str().into(), line, column };
                result.survivors.push(Survivor { at, change: change.told.clone() });
            }
        }
        result.survivors.sort();
        result
    }

    /// Whether a test notices, or the tests do not come to an end.
    fn killed(&self, rego: &Sources, asked: &Sources, pool: &Pool, now_ns: i64) -> bool {
        let started = Instant::now();
        let late = || started.elapsed() > MUTANT_BUDGET;
        for file in &self.cases {
            let mut asker = CaseAsker::new(file, asked);
            for case in &file.cases {
                let misses = asker.ask(case, pool).map(|decision| case_misses(case, &decision));
                if late() || !matches!(misses, Ok(None)) {
                    return true;
                }
            }
        }
        if self.tests.is_empty() {
            return false;
        }
        let wanted = |name: &str| !late() && self.tests.iter().any(|t| name.starts_with(t.as_str()));
        let failed = |e: &TestEnding| matches!(e, TestEnding::Fail { .. } | TestEnding::Error { .. });
        match run_tests(rego, &wanted, now_ns) {
            Ok(report) => late() || report.results.iter().any(|r| failed(&r.ending)),
            Err(_) => true,
        }
    }
}

fn changed(sources: &Sources, file: &str, change: &Change) -> Sources {
    let mut changed = sources.clone();
    for module in changed.modules.iter_mut().filter(|m| m.path == file) {
        module.text = change.of(&module.text);
    }
    changed
}
