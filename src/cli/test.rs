//! `portcullis test`: runs the Rego tests beside policies and reports them for people, programs and CI.

mod cases;
mod mutants;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use regex::Regex;
use serde_json::{Value, json};

use crate::cli::style::Style;
use crate::cli::{Exit, PolicyArgs, now_ns, report_load_errors};
use crate::engine::{
    FileCoverage, Pool, PoolOptions, TestEnding, TestReport, TestResult, run_policy_cases, run_suite, run_tests,
};
use crate::policy::{LoadError, Sources};
use crate::source::{self, LoadOptions, LoadedSuite};
use mutants::{MutantArgs, Score};

/// Run the Rego tests (`test_*` rules) of policies, and suites, ours and Gatekeeper's.
///
/// OPA's conventions: a rule `test_*` passes when it is true, `todo_test_*` is skipped, `test_x[case]` is a table of
/// cases. A failure names the expression that did not hold. Suites (`test.gatekeeper.sh`) run as `gator verify` runs
/// them; paths in them are relative to their file. Our own (`kind: Suite` of `portcullis.io/v1alpha1`) judge whole requests
/// under everything that is loaded, mutations and exceptions included. Case files (`cases/<policy>.yaml`) ask one policy
/// alone. `--mutate` changes policies in small ways and tells which changes no test notices. Exit codes: 0 all passed, 1 a
/// failure or an error (or coverage or the mutation score below its threshold), 2 could not run, also when no test was found.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// Files and directories of policies and tests. Default: `./policies`, else the shipped ones.
    paths: Vec<PathBuf>,
    #[command(flatten)]
    policies: PolicyArgs,
    /// Only tests whose full name (`data.<package>.test_<name>`, `<suite file>//<test>//<case>`,
    /// `<case file>//<case>`) matches. `TEST//CASE`
    /// takes cases of suites by the names of test and case.
    #[arg(short, long, value_name = "REGEX")]
    run: Option<Regex>,
    /// Report which lines the tests reached.
    #[arg(short, long)]
    coverage: bool,
    /// Fail when less than this percentage of lines is reached.
    #[arg(long, value_name = "PERCENT", value_parser = percentage)]
    threshold: Option<f64>,
    /// Print every test, not only those that did not pass.
    #[arg(short, long)]
    verbose: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Pretty)]
    output: Output,
    #[command(flatten)]
    mutants: MutantArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Pretty,
    Json,
    Junit,
}

fn percentage(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| (0.0..=100.0).contains(n));
    number.ok_or_else(|| "write a number from 0 to 100".to_owned())
}

pub(super) fn run(args: &TestArgs) -> anyhow::Result<Exit> {
    let options = args.policies.load_options(&args.paths, false)?;
    let selection = Selection::new(args.run.as_ref());
    let pool = Pool::start(PoolOptions { threads: 1, queue: 1 }).context("no thread can be started to judge on")?;
    if args.mutants.wanted() && (args.run.is_some() || matches!(args.output, Output::Junit)) {
        anyhow::bail!("`--mutate` runs all tests and has no JUnit report: leave out `--run` and `--output junit`");
    }
    let report = source::load(&options).and_then(|loaded| {
        let wanted = |name: &str| selection.takes(name);
        let mut report = run_tests(&loaded.sources, &wanted, now_ns())?;
        let files = source::policy_cases(&options.policies)?;
        let asked = if files.is_empty() { None } else { Some(sources_of_cases(&options, &loaded.sources)?) };
        let asked = asked.as_ref().unwrap_or(&loaded.sources);
        let of_cases: Vec<TestResult> = files.iter().flat_map(|f| run_policy_cases(f, asked, &pool, &wanted)).collect();
        // What fails already says nothing of a change. Suites take no part.
        let fine =
            failed(&report.results) + failed(&of_cases) == 0 && !(report.results.is_empty() && of_cases.is_empty());
        let score = args.mutants.wanted() && fine;
        let score = score.then(|| args.mutants.run(&loaded.sources, asked, &files)).transpose()?;
        for LoadedSuite { suite, files } in source::suites(&options.policies)? {
            report.results.extend(run_suite(&suite, &files, &pool, &wanted, now_ns()));
        }
        let suites = source::case_suites(&options.policies)?;
        let beside = sources_of_suites(&options)?;
        let sources = beside.as_ref().unwrap_or(&loaded.sources);
        report.results.extend(cases::run(&suites, sources, &pool, &wanted)?);
        report.results.extend(of_cases);
        Ok((report, score))
    });
    let (report, score) = match report {
        Ok(found) => found,
        Err(errors) => {
            report_load_errors(&errors);
            return Ok(Exit::CouldNotRun);
        }
    };
    if report.results.is_empty() {
        anyhow::bail!("no test was found{}", if args.run.is_some() { " that `--run` matches" } else { "" });
    }
    match args.output {
        Output::Pretty => {
            print_pretty(args, &report);
            score.iter().for_each(|s| s.print(args.verbose));
        }
        Output::Json => println!("{:#}", to_json(args, &report, score.as_ref())),
        Output::Junit => print_junit(&report),
    }
    let failed = failed(&report.results);
    if args.mutants.wanted() && score.is_none() {
        eprintln!("no policy was changed: `--mutate` wants Rego tests and case files that pass");
    }
    let thin = args.threshold.is_some_and(|t| percent(&report.coverage) < t);
    if thin {
        eprintln!(
            "coverage {:.1}% is below the threshold of {}%",
            percent(&report.coverage),
            args.threshold.unwrap_or(0.0)
        );
    }
    let low = score.as_ref().is_some_and(Score::is_low);
    Ok(if failed > 0 || thin || low { Exit::Finding } else { Exit::Fine })
}

/// What our own suites are judged with where no data is given and the example data is beside the policies.
fn sources_of_suites(options: &LoadOptions) -> Result<Option<Sources>, Vec<LoadError>> {
    let data = source::example_data(&options.policies);
    if !options.data.is_empty() || data.is_empty() {
        return Ok(None);
    }
    source::load(&LoadOptions { data, ..options.clone() }).map(|l| Some(l.sources))
}

/// What case files are judged with: where no data is given, the example data beside the packs, else the shipped one.
fn sources_of_cases(options: &LoadOptions, loaded: &Sources) -> Result<Sources, Vec<LoadError>> {
    if !options.data.is_empty() {
        return Ok(loaded.clone());
    }
    let data = source::example_data(&options.policies);
    source::load(&LoadOptions { data, example_data: true, ..options.clone() }).map(|l| l.sources)
}

/// What `--run` takes. As for `gator verify`, `test//case` takes suites' tests and cases apart.
struct Selection<'r> {
    whole: Option<&'r Regex>,
    parts: Option<(Regex, Regex)>,
}

impl<'r> Selection<'r> {
    fn new(run: Option<&'r Regex>) -> Self {
        let parts = run.and_then(|r| r.as_str().split_once("//"));
        let parts = parts.and_then(|(test, case)| Some((Regex::new(test).ok()?, Regex::new(case).ok()?)));
        Self { whole: run, parts }
    }

    fn takes(&self, name: &str) -> bool {
        let Some(whole) = self.whole else { return true };
        let mut parts = name.split("//").skip(1);
        match (&self.parts, parts.next(), parts.next()) {
            (Some((test, case)), Some(of_test), of_case) => {
                test.is_match(of_test) && of_case.is_none_or(|name| case.is_match(name))
            }
            _ => whole.is_match(name),
        }
    }
}

fn count(report: &TestReport, of: impl Fn(&TestEnding) -> bool) -> usize {
    report.results.iter().filter(|r| of(&r.ending)).count()
}

/// Tests that did not pass.
fn failed(results: &[TestResult]) -> usize {
    results.iter().filter(|r| matches!(r.ending, TestEnding::Fail { .. } | TestEnding::Error { .. })).count()
}

fn percent(coverage: &[FileCoverage]) -> f64 {
    let covered: usize = coverage.iter().map(|f| f.covered.len()).sum();
    let all: usize = coverage.iter().map(|f| f.covered.len() + f.not_covered.len()).sum();
    if all == 0 { 100.0 } else { covered as f64 * 100.0 / all as f64 }
}

fn print_pretty(args: &TestArgs, report: &TestReport) {
    let style = Style::stdout();
    for result in &report.results {
        let passed = result.ending == TestEnding::Pass;
        if passed && !args.verbose {
            continue;
        }
        let (word, detail) = match &result.ending {
            TestEnding::Pass => (style.green("PASS"), String::new()),
            TestEnding::Skip => (style.yellow("SKIP"), String::new()),
            TestEnding::Fail { at, expression } => (
                style.red("FAIL"),
                place(at.as_ref().unwrap_or(&result.at), &format!("this does not hold: {expression}")),
            ),
            TestEnding::Error { at, msg } => (style.red("ERROR"), place(at.as_ref().unwrap_or(&result.at), msg)),
        };
        println!("{word} {} {}", result.name, style.dim(&format!("({})", took(result.took))));
        if !detail.is_empty() {
            println!("{detail}");
        }
        for print in &result.prints {
            println!("  {}", style.dim(print));
        }
    }
    if args.coverage {
        println!("{}", style.bold("coverage"));
        for file in &report.coverage {
            let all = file.covered.len() + file.not_covered.len();
            let missing = if file.not_covered.is_empty() {
                String::new()
            } else {
                format!("  not reached: {}", ranges(&file.not_covered))
            };
            println!(
                "  {:>5.1}% {} ({}/{all}){missing}",
                percent(std::slice::from_ref(file)),
                file.file,
                file.covered.len()
            );
        }
        println!("  {:>5.1}% in all", percent(&report.coverage));
    }
    let summary = format!(
        "{} passed, {} failed, {} errors, {} skipped in {}",
        count(report, |e| *e == TestEnding::Pass),
        count(report, |e| matches!(e, TestEnding::Fail { .. })),
        count(report, |e| matches!(e, TestEnding::Error { .. })),
        count(report, |e| *e == TestEnding::Skip),
        took(report.results.iter().map(|r| r.took).sum()),
    );
    println!("{summary}");
}

fn place(at: &crate::engine::Location, text: &str) -> String {
    let text = text.lines().collect::<Vec<_>>().join("\n    ");
    format!("  {at}\n    {text}")
}

fn took(duration: Duration) -> String {
    if duration < Duration::from_millis(1) {
        format!("{} us", duration.as_micros())
    } else {
        format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
    }
}

/// `1-3, 7` for `1, 2, 3, 7`.
fn ranges(lines: &[u32]) -> String {
    let mut found: Vec<(u32, u32)> = Vec::new();
    for line in lines {
        match found.last_mut() {
            Some((_, end)) if *end + 1 == *line => *end = *line,
            _ => found.push((*line, *line)),
        }
    }
    let text = |(a, b): &(u32, u32)| if a == b { a.to_string() } else { format!("{a}-{b}") };
    found.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn to_json(args: &TestArgs, report: &TestReport, score: Option<&Score>) -> Value {
    let result = |r: &TestResult| {
        let (ending, at, text) = ending_parts(r);
        json!({"name": r.name, "location": r.at, "result": ending, "failed_at": at, "message": text,
               "duration_ns": u64::try_from(r.took.as_nanos()).unwrap_or(u64::MAX), "prints": r.prints})
    };
    let mut value = json!({"results": report.results.iter().map(result).collect::<Vec<_>>()});
    if let (true, Some(map)) = (args.coverage, value.as_object_mut()) {
        let file = |f: &FileCoverage| json!({"file": f.file, "covered": f.covered, "not_covered": f.not_covered});
        let files: Vec<Value> = report.coverage.iter().map(file).collect();
        map.insert("coverage".to_owned(), json!({"percent": percent(&report.coverage), "files": files}));
    }
    if let (Some(score), Some(map)) = (score, value.as_object_mut()) {
        map.insert("mutation".to_owned(), score.to_json());
    }
    value
}

fn ending_parts(result: &TestResult) -> (&'static str, Option<String>, Option<&str>) {
    let at = |at: &Option<crate::engine::Location>| at.as_ref().map(ToString::to_string);
    match &result.ending {
        TestEnding::Pass => ("pass", None, None),
        TestEnding::Skip => ("skip", None, None),
        TestEnding::Fail { at: place, expression } => ("fail", at(place), Some(expression)),
        TestEnding::Error { at: place, msg } => ("error", at(place), Some(msg)),
    }
}

/// The JUnit XML that CI systems read: one suite a package.
fn print_junit(report: &TestReport) {
    let package = |r: &TestResult| {
        let of_suite = r.name.split_once("//");
        let of_rego = || r.name.rsplit_once(".test_").or_else(|| r.name.rsplit_once(".todo_test_"));
        of_suite.or_else(of_rego).map_or("", |(p, _)| p).to_owned()
    };
    let mut packages: Vec<String> = report.results.iter().map(package).collect();
    packages.sort();
    packages.dedup();
    println!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>");
    for name in packages {
        let results: Vec<&TestResult> = report.results.iter().filter(|r| package(r) == name).collect();
        let number = |word: &str| results.iter().filter(|r| ending_parts(r).0 == word).count();
        println!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
            xml(&name),
            results.len(),
            number("fail"),
            number("error"),
            number("skip")
        );
        for result in results {
            let case = result.name.strip_prefix(&name).map_or(&*result.name, |n| n.trim_start_matches(['.', '/']));
            print!(
                "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.6}\"",
                xml(&name),
                xml(case),
                result.took.as_secs_f64()
            );
            let (ending, at, text) = ending_parts(result);
            let message = format!("{}: {}", at.unwrap_or_default(), text.unwrap_or_default());
            match ending {
                "fail" => println!("><failure message=\"{}\"/></testcase>", xml(&message)),
                "error" => println!("><error message=\"{}\"/></testcase>", xml(&message)),
                "skip" => println!("><skipped/></testcase>"),
                _ => println!("/>"),
            }
        }
        println!("  </testsuite>");
    }
    println!("</testsuites>");
}

fn xml(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        out
    })
}
