//! `check --explain-plan` and `check --differential`: how each policy is run, and whether both ways say the same.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::admission::{Operation, Request, decode};
use crate::cli::eval::read_documents;
use crate::cli::manifest::{self, Circumstances};
use crate::cli::now_ns;
use crate::cli::style::Style;
use crate::engine::{
    Difference, DifferentialOptions, DifferentialReport, PolicyComparison, PolicySummary, Way, differential,
};
use crate::policy::{LoadError, Sources};

/// A row for each policy: its way, its name, and what keeps it on the interpreter.
pub(super) fn print_ways(policies: &[PolicySummary]) {
    let style = Style::stdout();
    let width = policies.iter().map(|p| p.name.len()).max().unwrap_or_default();
    for policy in policies {
        let way = policy.way();
        let shown = format!("{:<11}", way.as_str());
        let shown = if way == Way::Plan { style.green(&shown) } else { style.yellow(&shown) };
        let why = policy.obstacle.as_ref().map(ToString::to_string).unwrap_or_default();
        println!("{}", format!("{shown} {:<width$}  {}", policy.name, style.dim(&why)).trim_end());
    }
    let plans = policies.iter().filter(|p| p.way() == Way::Plan).count();
    println!("{} policies: {plans} by a plan, {} by the interpreter", policies.len(), policies.len() - plans);
}

/// The way of a policy as JSON.
pub(super) fn way_of(policy: &PolicySummary) -> Value {
    let at = policy.obstacle.as_ref().and_then(|o| o.at.as_ref());
    json!({
        "way": policy.way(),
        "reason": policy.obstacle.as_ref().map(|o| &o.reason),
        "at": at.map(|at| json!({"file": at.file, "line": at.line, "column": at.column})),
    })
}

/// Reads the inputs and holds the ways against one another.
pub(super) fn compare(
    sources: &Sources,
    inputs: &[PathBuf],
    generated: usize,
) -> anyhow::Result<Result<DifferentialReport, Vec<LoadError>>> {
    let mut requests: Vec<Arc<Request>> = Vec::new();
    for (number, document) in read_documents(inputs)?.into_iter().enumerate() {
        let review = if document.value.get("kind").and_then(Value::as_str) == Some("AdmissionReview") {
            document.value.to_string()
        } else {
            let who = Circumstances {
                operation: Operation::Create,
                user: "kubernetes-admin".to_owned(),
                groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
                namespace: "default".to_owned(),
            };
            let review = manifest::review(&document.value, None, &who, number + 1).map_err(anyhow::Error::msg);
            review.with_context(|| format!("`{}`", document.source))?.to_string()
        };
        let request = decode(review.as_bytes()).with_context(|| format!("`{}`", document.source))?;
        requests.push(Arc::new(request));
    }
    Ok(differential(sources, DifferentialOptions { requests: &requests, generated, now_ns: now_ns() }))
}

/// The report as JSON: the form of `--write` too.
pub(super) fn report(report: &DifferentialReport) -> Value {
    let difference = |d: &Difference| json!({"endpoint": d.endpoint, "input": d.input, "interpreter": d.interpreter, "plan": d.plan});
    let policy = |p: &PolicyComparison| {
        json!({
            "policy": &*p.policy, "digest": p.digest, "way": p.way,
            "inputs": {"tests": p.of_tests, "requests": p.of_requests, "generated": p.generated},
            "compared": p.compared, "left": p.left, "differing": p.differing,
            "differences": p.differences.iter().map(difference).collect::<Vec<_>>(),
        })
    };
    json!({
        "engine": report.engine, "agrees": report.agrees(),
        "policies": report.policies.iter().map(policy).collect::<Vec<_>>(),
    })
}

/// A row for each policy, and each difference in full.
pub(super) fn print_report(report: &DifferentialReport) {
    let style = Style::stdout();
    for p in &report.policies {
        let inputs = p.of_tests + p.of_requests + p.generated;
        let (word, rest) = if p.way == Way::Interpreter {
            (style.dim("one way"), "run by the interpreter only".to_owned())
        } else {
            let word = if p.differing == 0 { style.green("same") } else { style.red("differs") };
            (
                word,
                format!(
                    "{inputs} inputs ({} of tests, {} given, {} generated), {} answers compared, {} left to the interpreter",
                    p.of_tests, p.of_requests, p.generated, p.compared, p.left
                ),
            )
        };
        println!("{word} {} {}", style.bold(&p.policy), style.dim(&rest));
        for d in &p.differences {
            println!("  {} on {}", d.endpoint.as_str(), d.input);
            println!("    interpreter: {}", d.interpreter);
            println!("    plan:        {}", d.plan);
        }
        if p.differing > p.differences.len() {
            println!("  and {} more", p.differing - p.differences.len());
        }
    }
    let differing = report.policies.iter().filter(|p| p.differing > 0).count();
    println!("{} policies, {differing} differ ({})", report.policies.len(), report.engine);
}
