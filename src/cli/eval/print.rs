//! What `eval` prints of a judged request: for people, and as JSON. Must not judge.

use serde_json::{Value, json};

use super::Judged;
use crate::admission::Request;
use crate::cli::Exit;
use crate::cli::style::Style;
use crate::engine::{Decision, Excepted, Violation};
use crate::policy::Enforcement;

fn subject(request: &Request) -> String {
    let name = if request.name.is_empty() { request.generate_name().unwrap_or_default() } else { &request.name };
    let sub = if request.sub_resource.is_empty() { String::new() } else { format!("/{}", request.sub_resource) };
    match request.namespace.as_str() {
        "" => format!("{}{sub} {name}", request.kind.kind),
        _ if request.is_on_namespace() => format!("{}{sub} {name}", request.kind.kind),
        namespace => format!("{}{sub} {namespace}/{name}", request.kind.kind),
    }
}

pub(super) fn print_pretty(judged: &Judged) {
    let style = Style::stdout();
    let word = match judged.exit() {
        Exit::Fine => style.green("ALLOW"),
        Exit::Finding if !judged.denied() => style.red("UNSETTLED"),
        Exit::Finding => style.red("DENY"),
        Exit::CouldNotRun => style.red("ERROR"),
    };
    let request = &judged.request;
    println!(
        "{word} {} {} by {} {}",
        request.operation,
        style.bold(&subject(request)),
        request.user.username,
        style.dim(&format!("({})", judged.source))
    );
    for decision in judged.decisions() {
        for violation in &decision.violations {
            let word = match violation.enforcement {
                Enforcement::Deny => style.red("deny"),
                Enforcement::Warn => style.yellow("warn"),
                Enforcement::Dryrun => style.dim("dryrun"),
            };
            println!("  {word} {}: {}", style.bold(&violation.policy), violation.msg);
            if let Some(field) = &violation.field {
                println!("       at  {field}");
            }
            if let Some(fix) = &violation.fix {
                println!("       fix {fix}");
            }
            if let Some(location) = &violation.location {
                println!("       {}", style.dim(&format!("by  {location}")));
            }
        }
        for excepted in &decision.exceptions {
            let (violation, exception) = (&excepted.violation, &excepted.exception);
            println!("  {} {}: {}", style.yellow("let pass"), style.bold(&violation.policy), violation.msg);
            if let Some(field) = &violation.field {
                println!("       at  {field}");
            }
            println!("       by  exception {} ({}) until {}", exception.name, exception.ticket, exception.expires);
        }
        for failure in &decision.failures {
            println!(
                "  {} {}: {} ({})",
                style.red("error"),
                style.bold(&failure.policy),
                failure.msg,
                failure.code.as_str()
            );
            if let Some(location) = &failure.location {
                println!("       {}", style.dim(&format!("at  {location}")));
            }
            if failure.code == crate::engine::ErrorCode::UnknownNamespace {
                println!("       fix give its labels with --namespace-labels, or its manifest with --data");
            }
        }
        for c in &decision.conflicts {
            println!("  {} {}", style.yellow("conflict"), c.sentence());
        }
        if let Some(patch) = &decision.patch {
            println!("  {} {} operations:", style.yellow("patch"), patch.0.len());
            for operation in &patch.0 {
                println!("       {}", serde_json::to_string(operation).unwrap_or_default());
            }
        }
    }
    for u in &judged.unsettled {
        let told = "a second pass changes it again: write the rule so that it has nothing to say on its own result";
        println!("  {} {} at {}: {told}", style.red("unsettled"), style.bold(&u.policy), u.path);
    }
}

pub(super) fn to_json(judged: &Judged) -> Value {
    let request = &judged.request;
    let verdict = match judged.exit() {
        Exit::Fine => "allow",
        Exit::Finding if !judged.denied() => "unsettled",
        Exit::Finding => "deny",
        Exit::CouldNotRun => "error",
    };
    json!({
        "source": judged.source, "uid": request.uid, "operation": request.operation, "kind": request.kind,
        "resource": request.resource_path(), "namespace": request.namespace, "name": request.name,
        "user": request.user.username, "verdict": verdict,
        "unsettled": judged.unsettled.iter().map(|u| json!({"policy": u.policy, "path": u.path})).collect::<Vec<_>>(),
        "mutate": judged.mutation.as_ref().map(decision_json), "validate": judged.validation.as_ref().map(decision_json),
    })
}

fn violation_json(v: &Violation) -> Value {
    json!({
        "policy": &*v.policy, "enforcement": v.enforcement, "severity": v.severity, "controls": &*v.controls, "msg": v.msg,
        "field": v.field, "details": v.details, "fix": v.fix, "location": v.location.as_ref().map(ToString::to_string),
    })
}

fn decision_json(decision: &Decision) -> Value {
    let violations: Vec<Value> = decision.violations.iter().map(violation_json).collect();
    let excepted = |e: &Excepted| {
        let given = &e.exception;
        json!({"name": given.name, "policy": &*e.violation.policy, "ticket": given.ticket, "approver": given.approver,
               "reason": given.reason, "expires": given.expires.to_string(), "violation": violation_json(&e.violation)})
    };
    let exceptions: Vec<Value> = decision.exceptions.iter().map(excepted).collect();
    let errors: Vec<Value> = decision
        .failures
        .iter()
        .map(|f| {
            json!({
                "policy": &*f.policy, "enforcement": f.enforcement, "code": f.code, "msg": f.msg,
                "location": f.location.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    let runs: Vec<Value> = decision.runs.iter().map(|r| json!({
        "policy": &*r.policy, "result": r.ending.as_str(), "duration_ns": u64::try_from(r.took.as_nanos()).unwrap_or(u64::MAX),
    })).collect();
    json!({"verdict": decision.verdict, "cause": decision.cause, "violations": violations, "exceptions": exceptions,
           "errors": errors,
           "conflicts": decision.conflicts.iter().map(|c| json!({"path": c.path, "first": &*c.first, "second": &*c.second}))
               .collect::<Vec<_>>(),
           "warnings": decision.warnings, "patch": decision.patch, "auditAnnotations": decision.audit_annotations,
           "reads": decision.reads, "policies": runs})
}
