//! What 995 loaded policies that do not match add to one review that 5 policies match: a ratio, taken in one run.
//!
//! `cargo bench --bench index`. Both policy sets judge the same review in turns, so that neither has the machine's
//! better half; the medians are compared. Ends with exit code 1 where the ratio passes 1.10.

#![allow(clippy::expect_used, reason = "a benchmark that cannot set up its subject has nothing to measure")]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::admission::{Request, decode};
use portcullis::engine::{CompileOptions, Context, Endpoint, FailureModes, Inventory, Snapshot, compile, decide};
use portcullis::policy::gatekeeper::Document;
use portcullis::policy::{SourceFile, Sources};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: portcullis::memory::Counting<mimalloc::MiMalloc> = portcullis::memory::Counting(mimalloc::MiMalloc);

const REVIEW: &str = include_str!("../tests/it/reviews/validate/create-pods-1.json");
const MATCHING: usize = 5;
const LOADED: usize = 1_000;
const ROUNDS: usize = 400;
const REVIEWS_A_ROUND: u32 = 4;
const MOST: f64 = 1.10;

/// The review is a CREATE of a Pod in the namespace `tenant-b`: none of these takes it.
const OTHERS: [(&str, &str); 6] = [
    ("another resource", "kinds: [Service]"),
    ("custom resources", "rules: [{apiGroups: [example.com], resources: [widgets{n}]}]"),
    ("another operation", "kinds: [Pod], operations: [DELETE]"),
    ("a subresource", "rules: [{resources: [pods/exec], operations: [CONNECT]}]"),
    ("a namespace each", "kinds: [Pod], namespaces: [team-{n}]"),
    ("a namespace glob each", "kinds: [Pod], namespaces: ['team-{n}-*']"),
];

fn main() -> ExitCode {
    println!("{:24} {:>12} {:>12} {:>7}", "995 others match by", "5 loaded", "1000 loaded", "ratio");
    let few = snapshot(policies(MATCHING, "kinds: [Pod]"), Vec::new());
    let mut worst = 0f64;
    for (name, block) in OTHERS {
        let mut modules = policies(MATCHING, "kinds: [Pod]");
        modules.extend((MATCHING..LOADED).map(|n| policy(n, &block.replace("{n}", &n.to_string()))));
        worst = worst.max(compare(name, &few, &snapshot(modules, Vec::new())));
    }
    let many = snapshot(policies(MATCHING, "kinds: [Pod]"), constraints(LOADED - MATCHING));
    worst = worst.max(compare("constraints by kind, ns", &few, &many));
    println!("worst ratio {worst:.3}, at most {MOST:.2} wanted");
    if worst <= MOST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compare(name: &str, few: &Arc<Snapshot>, many: &Arc<Snapshot>) -> f64 {
    let request = Arc::new(decode(REVIEW.as_bytes()).expect("the review decodes"));
    let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Who goes first changes each time.
        if round % 2 == 0 {
            of_few.push(time(few, &request));
        }
        of_many.push(time(many, &request));
        if round % 2 == 1 {
            of_few.push(time(few, &request));
        }
    }
    let (few, many) = (median(of_few), median(of_many));
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    println!("{name:24} {few:>12.1?} {many:>12.1?} {ratio:>7.3}");
    ratio
}

fn time(snapshot: &Arc<Snapshot>, request: &Arc<Request>) -> Duration {
    let inventory = Inventory::fixed(snapshot.fixed_namespaces());
    let failure = FailureModes::default();
    let context = Context { endpoint: Endpoint::Validate, now_ns: 0, seed: 0, deadline: None, failure, http: None };
    let started = Instant::now();
    for _ in 0..REVIEWS_A_ROUND {
        let decision = decide(snapshot, &inventory, black_box(request), &context);
        assert_eq!(black_box(decision).runs.len(), MATCHING, "five policies run, whatever is loaded");
    }
    started.elapsed() / REVIEWS_A_ROUND
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn snapshot(modules: Vec<SourceFile>, gatekeeper: Vec<Document>) -> Arc<Snapshot> {
    let sources = Sources { modules, gatekeeper, ..Sources::default() };
    Arc::new(compile(&sources, CompileOptions::default()).expect("the policies compile").snapshot)
}

fn policies(count: usize, block: &str) -> Vec<SourceFile> {
    (0..count).map(|n| policy(n, block)).collect()
}

/// A policy of the usual size: it looks at every container twice.
fn policy(number: usize, block: &str) -> SourceFile {
    let text = format!(
        r#"# METADATA
# scope: package
# title: Policy {number}
# custom:
#   match: {{{block}}}
package bench.policy{number}

deny contains {{"msg": msg, "field": field}} if {{
	some i, container in input.request.object.spec.containers
	some prefix in ["registry.invalid/", "other.invalid/"]
	startswith(container.image, prefix)
	msg := sprintf("container %s uses the image %s", [container.name, container.image])
	field := sprintf("spec.containers[%d].image", [i])
}}

deny contains {{"msg": msg}} if {{
	some container in input.request.object.spec.containers
	container.securityContext.privileged == true
	msg := sprintf("container %s is privileged", [container.name])
}}
"#
    );
    SourceFile { path: format!("policy{number}.rego"), text }
}

/// Constraints of one template on as many kinds, or on Pods in as many namespaces.
fn constraints(count: usize) -> Vec<Document> {
    let mut text = String::from(
        "apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nmetadata: {name: benchlabels}\n\
         spec:\n  crd: {spec: {names: {kind: BenchLabels}}}\n  targets:\n  - target: admission.k8s.gatekeeper.sh\n    \
         rego: |\n      package benchlabels\n      violation[{\"msg\": msg}] {\n        \
         not input.review.object.metadata.labels.team\n        msg := \"no team\"\n      }\n",
    );
    for n in 0..count {
        let block = match n % 2 {
            0 => format!("kinds: [{{apiGroups: [example.com], kinds: [Widget{n}]}}]"),
            _ => format!("kinds: [{{apiGroups: [''], kinds: [Pod]}}], namespaces: [team-{n}]"),
        };
        text.push_str(&format!(
            "---\napiVersion: constraints.gatekeeper.sh/v1beta1\nkind: BenchLabels\nmetadata: {{name: c{n}}}\n\
             spec: {{match: {{{block}}}}}\n"
        ));
    }
    Document::parse_all("constraints.yaml", &text).expect("the constraints parse")
}
