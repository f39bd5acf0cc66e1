//! Case files of the shipped policies: `policies/<pack>/cases/<policy>.yaml`, real manifests with what one policy must
//! say to each, asked as `portcullis test` asks them. The other policies are not asked; what all of them say together is
//! held by `reviews`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis::engine::{CaseAsker, Pool, PoolOptions, TestEnding, case_misses, run_policy_cases};
use portcullis::policy::{Enforcement, PolicyCases, SourceFile, Sources, yaml};
use portcullis::source::{LoadOptions, load, policy_cases};
use serde_json::Value;

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

fn pool() -> Pool {
    Pool::start(PoolOptions { threads: 1, queue: 1 }).expect("a thread")
}

#[test]
fn every_case_of_every_policy_holds() {
    let all = load(&LoadOptions {
        data: vec![policies().join("example-data")],
        policies: vec![policies()],
        ..LoadOptions::default()
    })
    .expect("the shipped policies load")
    .sources;
    let only = std::env::var("CASES").unwrap_or_default();
    let pool = pool();
    let mut faults = Vec::new();
    for file in policy_cases(&[policies()]).expect("the case files can be read") {
        if !file.file.contains(&only) {
            continue;
        }
        let stem = Path::new(&file.file).file_stem().and_then(|s| s.to_str());
        assert_eq!(stem, Some(file.policy.as_str()), "{}", file.file);
        let verdicts: BTreeSet<bool> =
            file.cases.iter().filter(|c| c.patch.is_none()).map(|c| c.denied.len() + c.warned.len() == 0).collect();
        assert_ne!(verdicts.len(), 1, "{}: cases that pass and cases that do not", file.file);
        let mut asker = CaseAsker::new(&file, &all);
        for case in &file.cases {
            let fault = match asker.ask(case, &pool) {
                Err(fault) => Some(fault),
                Ok(decision) => case_misses(case, &decision).or_else(|| {
                    let own = decision.violations.iter().filter(|v| v.enforcement != Enforcement::Warn);
                    let mut without = own.filter(|v| v.fix.is_none() && case.patch.is_none());
                    without.next().map(|v| format!("no fix in `{}`", v.msg))
                }),
            };
            faults.extend(fault.map(|fault| format!("{}:{}: {}: {fault}", file.file, case.line, case.name)));
        }
    }
    assert!(faults.is_empty(), "{} cases do not hold\n{}", faults.len(), faults.join("\n"));
}

/// What a folder `cases` holds is of cases, and is read: none is passed over.
#[test]
fn every_file_of_cases_is_read() {
    let mut there = Vec::new();
    for pack in fs::read_dir(policies()).expect("packs").flatten() {
        let files = fs::read_dir(pack.path().join("cases")).into_iter().flatten().flatten();
        there.extend(files.map(|f| f.path().display().to_string()));
    }
    there.sort();
    let read: Vec<String> =
        policy_cases(&[policies()]).expect("the case files can be read").into_iter().map(|f| f.file).collect();
    assert!(!read.is_empty());
    assert_eq!(read, there);
}

const POLICY: &str = "# METADATA
# scope: package
# custom: {severity: low, match: {kinds: [Pod]}, parameters: {names: [bad]}}
package portcullis.names
deny contains {\"msg\": msg, \"fix\": \"rename it\"} if {
\tsome name in input.parameters.names
\tname == input.request.object.metadata.name
\tmsg := sprintf(\"`%s` is no name\", [name])
}
";

const CASES: &str = "policy: names
cases:
- name: holds
  object: &bad {apiVersion: v1, kind: Pod, metadata: {name: bad, namespace: a}}
  denied: [\"`bad` is no name\"]
- name: is another
  object: *bad
  denied: [\"`worse` is no name\"]
- name: by its parameters
  object: *bad
  parameters: {names: []}
- name: of another kind
  object: {apiVersion: v1, kind: ConfigMap, metadata: {name: bad, namespace: a}}
";

#[test]
fn a_case_that_does_not_hold_says_what_differs() {
    let modules = vec![SourceFile { path: "names.rego".to_owned(), text: POLICY.to_owned() }];
    let all = Sources { modules, ..Sources::default() };
    let file = PolicyCases::read("cases/names.yaml", CASES).expect("case file");
    let results = run_policy_cases(&file, &all, &pool(), &|_| true);
    let [holds, another, parameters, kind] = results.as_slice() else { panic!("{results:?}") };
    assert_eq!((holds.name.as_str(), &holds.ending), ("cases/names.yaml//holds", &TestEnding::Pass));
    assert_eq!(parameters.ending, TestEnding::Pass);
    let TestEnding::Fail { expression, .. } = &another.ending else { panic!("{another:?}") };
    assert!(expression.contains("missing: `worse` is no name\nunexpected: `bad` is no name"), "{expression}");
    assert_eq!(another.at.line, 6);
    let TestEnding::Error { msg, .. } = &kind.ending else { panic!("{kind:?}") };
    assert!(msg.contains("does not match the request"), "{msg}");
    assert_eq!(run_policy_cases(&file, &all, &pool(), &|name| name.ends_with("holds")).len(), 1);
}

#[test]
fn slips_in_case_files_are_errors() {
    let fault = |text: &str| PolicyCases::read("cases/names.yaml", text).expect_err("a slip").to_string();
    assert!(fault(&CASES.replace("  denied: [\"`worse`", "  refused: [\"`worse`")).contains("`refused`"));
    assert!(fault("policy: names\ncases: []\n").contains("policy `names` has no case"));
    let now = fault(&CASES.replace("  parameters:", "  now: noon\n  parameters:"));
    assert!(now.starts_with("cases/names.yaml:9:1: case `by its parameters`: now:"), "{now}");
    let modules = vec![SourceFile { path: "names.rego".to_owned(), text: POLICY.to_owned() }];
    let file = PolicyCases::read("cases/name.yaml", &CASES.replace("policy: names", "policy: name")).expect("read");
    let results = run_policy_cases(&file, &Sources { modules, ..Sources::default() }, &pool(), &|_| true);
    assert!(
        results
            .iter()
            .all(|r| matches!(&r.ending, TestEnding::Error { msg, .. } if msg.contains("did you mean `names`?")))
    );
}

/// What stands in for a cluster must not be what the policies would refuse to let into one.
#[test]
fn the_example_contracts_follow_their_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = fs::read_to_string(root.join("docs/tenants.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let held = |text: &str| {
        let contracts: Value = yaml::parse("tenants.yaml", text, yaml::Offset::default()).expect("YAML");
        validator.iter_errors(&contracts).map(|e| format!("{}: {e}", e.instance_path())).collect::<Vec<_>>()
    };
    let contracts =
        ["policies/example-data/tenants.yaml", "deploy/cluster/tenants.yaml", "docs/onboarding/contract/tenants.yaml"];
    for file in contracts {
        assert_eq!(held(&fs::read_to_string(root.join(file)).expect("contracts")), Vec::<String>::new(), "{file}");
    }
    assert_eq!(held("tenants: {a: {groups: [], hostnames: [x]}}\n").len(), 1);
    assert_eq!(held("tenants: {a: {groups: [], quotas: {pods: many}}}\n").len(), 1);
}
