//! Case files of the shipped policies: `policies/<pack>/cases/<policy>.yaml`, real manifests with what one policy must
//! say to each. The other policies are not asked; what all of them say together is held by `reviews`.
//!
//! One `check()` holds every case. The example data is there; a case may lay an inventory, a contract or parameters
//! over it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis::admission::decode;
use portcullis::engine::{
    CompileOptions, Context, Decision, Endpoint, FailureModes, Inventory, Snapshot, compile, decide,
};
use portcullis::policy::gatekeeper::Document;
use portcullis::policy::kinds::{built_in, is_cluster_scoped};
use portcullis::policy::{Enforcement, PolicyBinding, Sources, yaml};
use portcullis::source::{LoadOptions, load};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A file of cases for one policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    policy: String,
    /// Laid over the policy's parameters in every case.
    #[serde(default)]
    parameters: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Default: a cluster administrator (`admin` of `system:masters`).
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    groups: Option<Vec<String>>,
    /// Default: CREATE, with `old` UPDATE.
    #[serde(default)]
    operation: Option<String>,
    /// `pods/exec`, `deployments.apps/scale`, where it is not plain from the kind.
    #[serde(default)]
    resource: Option<String>,
    /// In place of the object's own.
    #[serde(default)]
    namespace: Option<String>,
    /// In place of the object's own.
    #[serde(default)]
    request_name: Option<String>,
    /// The object; on DELETE the one that goes.
    object: Value,
    #[serde(default)]
    old: Option<Value>,
    /// RFC 3339; default: a Wednesday noon, 2026-11-18T12:00:00Z.
    #[serde(default)]
    now: Option<String>,
    /// More manifests in `data.inventory`.
    #[serde(default)]
    inventory: Vec<Value>,
    /// Data in place of the example's, by its first key.
    #[serde(default)]
    data: Map<String, Value>,
    #[serde(default)]
    parameters: Map<String, Value>,
    /// Messages of violations with the policy's enforcement. Absent and empty: none.
    #[serde(default)]
    denied: BTreeSet<String>,
    #[serde(default)]
    fields: Option<BTreeSet<String>>,
    /// Messages of `warn`.
    #[serde(default)]
    warned: BTreeSet<String>,
    /// What the mutating endpoint makes of it, instead of a verdict.
    #[serde(default)]
    patch: Option<Value>,
    #[serde(default)]
    annotations: Option<Value>,
}

const NOON: &str = "2026-11-18T12:00:00Z";

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pack in fs::read_dir(policies()).expect("packs").flatten() {
        for file in fs::read_dir(pack.path().join("cases")).into_iter().flatten().flatten() {
            found.push(file.path());
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> CaseFile {
    let text = fs::read_to_string(path).expect("a case file");
    let name = path.display().to_string();
    yaml::parse(&name, &text, yaml::Offset::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// The sources with one policy left.
fn alone(all: &Sources, policy: &str) -> Sources {
    let package = format!("package portcullis.{policy}\n");
    let kept = |text: &str| text.contains(&package) || text.contains("package portcullis.lib.");
    let modules = all.modules.iter().filter(|m| !m.is_test() && kept(&m.text)).cloned().collect();
    Sources { modules, ..all.clone() }
}

fn with_case(base: &Sources, file: &CaseFile, case: &Case) -> Sources {
    let mut sources = base.clone();
    for (key, value) in &case.data {
        sources.data.insert(key.clone(), value.clone());
    }
    for manifest in &case.inventory {
        let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let place = match text("/metadata/namespace") {
            "" => vec!["inventory", "cluster", version, kind, name],
            namespace => vec!["inventory", "namespace", namespace, version, kind, name],
        };
        if kind == "Namespace" {
            sources.namespaces.insert(name.to_owned(), manifest["metadata"].clone());
        }
        let mut at = &mut sources.data;
        let (last, steps) = place.split_last().expect("a place");
        for step in steps {
            at = at.entry(*step).or_insert_with(|| json!({})).as_object_mut().expect("an object");
        }
        at.insert((*last).to_owned(), manifest.clone());
    }
    let mut parameters = file.parameters.clone();
    parameters.extend(case.parameters.clone());
    if !parameters.is_empty() {
        let binding = json!({"apiVersion": "portcullis.io/v1alpha1", "kind": "PolicyBinding", "metadata": {"name": "case"},
            "spec": {"policyRef": {"name": file.policy}, "parameters": parameters}});
        sources.bindings.push(binding_of(&binding));
    }
    sources
}

fn binding_of(document: &Value) -> PolicyBinding {
    let documents = Document::parse_all("case", &document.to_string()).expect("a document");
    PolicyBinding::read(documents.first().expect("one document")).expect("a binding")
}

fn review(case: &Case) -> Value {
    let text = |pointer: &str| case.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let known = built_in(kind).into_iter().find(|k| k.group == group);
    let usual = known.map_or_else(|| plural(kind), |k| k.resource.to_owned());
    let given = case.resource.clone().unwrap_or(usual);
    let (main, subresource) = given.split_once('/').map_or((given.as_str(), None), |(main, sub)| (main, Some(sub)));
    // Options of a connection are of the core group, as is what they belong to.
    let own_group = if main == "pods" { "" } else { group };
    let (resource, resource_group) = main.split_once('.').unwrap_or((main, own_group));
    let own = match text("/metadata/namespace") {
        _ if kind == "Namespace" => text("/metadata/name"),
        "" if is_cluster_scoped(kind) || !(known.is_some() || subresource.is_some()) => "",
        "" => "default",
        given => given,
    };
    let namespace = case.namespace.as_deref().unwrap_or(own);
    let name = case.request_name.as_deref().unwrap_or_else(|| text("/metadata/name"));
    let operation =
        case.operation.clone().unwrap_or_else(|| if case.old.is_some() { "UPDATE" } else { "CREATE" }.to_owned());
    let (new, old) = match operation.as_str() {
        "DELETE" => (Value::Null, case.object.clone()),
        "UPDATE" => (case.object.clone(), case.old.clone().unwrap_or_else(|| case.object.clone())),
        _ => (case.object.clone(), Value::Null),
    };
    let mut groups = case.groups.clone().unwrap_or_else(|| match case.user {
        None => vec!["system:masters".to_owned()],
        Some(_) => Vec::new(),
    });
    groups.push("system:authenticated".to_owned());
    let gvk = json!({"group": group, "version": version, "kind": kind});
    let gvr = json!({"group": resource_group, "version": version, "resource": resource});
    let mut request = json!({
        "uid": case.name, "kind": gvk, "resource": gvr, "requestKind": gvk, "requestResource": gvr,
        "name": name, "namespace": namespace, "operation": operation,
        "userInfo": {"username": case.user.as_deref().unwrap_or("admin"), "groups": groups},
        "object": new, "oldObject": old, "dryRun": false, "options": null});
    if let Some(sub) = subresource {
        request["subResource"] = json!(sub);
        request["requestSubResource"] = json!(sub);
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
}

/// The usual plural of a custom kind.
fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if lower.ends_with(['s', 'x']) => format!("{lower}es"),
        _ => format!("{lower}s"),
    }
}

fn judged(snapshot: Snapshot, case: &Case) -> Decision {
    let inventory = Inventory::fixed(snapshot.fixed_namespaces());
    let body = serde_json::to_vec(&review(case)).expect("JSON");
    let request = Arc::new(decode(&body).unwrap_or_else(|e| panic!("{}: {e}", case.name)));
    let now: jiff::Timestamp = case.now.as_deref().unwrap_or(NOON).parse().expect("a time");
    let endpoint = if case.patch.is_some() { Endpoint::Mutate } else { Endpoint::Validate };
    let now_ns = i64::try_from(now.as_nanosecond()).expect("in range");
    let context = Context { endpoint, now_ns, seed: 0, deadline: None, failure: FailureModes::default(), http: None };
    decide(&Arc::new(snapshot), &inventory, &request, &context)
}

/// Holds one case; gives what is wrong.
fn check(base: &Sources, file: &CaseFile, case: &Case) -> Result<(), String> {
    let compiled = compile(&with_case(base, file, case), CompileOptions::default())
        .unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
    let decision = judged(compiled.snapshot, case);
    if !decision.failures.is_empty() {
        return Err(format!("the policy failed: {:?}", decision.failures));
    }
    if decision.runs.is_empty() {
        return Err("the policy does not match the request; a case must be judged".to_owned());
    }
    let differ = |what: &str, got: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
        Err(format!("{what}:\n  got    {got:#?}\n  wanted {wanted:#?}"))
    };
    if let Some(patch) = &case.patch {
        let mut got = serde_json::to_value(&decision.patch).expect("JSON").as_array().cloned().unwrap_or_default();
        let mut wanted = patch.as_array().cloned().unwrap_or_default();
        got.sort_by_key(Value::to_string);
        wanted.sort_by_key(Value::to_string);
        return if got == wanted { Ok(()) } else { differ("patch", &got, &wanted) };
    }
    let own = |v: &&portcullis::engine::Violation| v.enforcement != Enforcement::Warn;
    let denied: BTreeSet<String> = decision.violations.iter().filter(own).map(|v| v.msg.clone()).collect();
    if denied != case.denied {
        return differ("denied", &denied, &case.denied);
    }
    if let Some(without) = decision.violations.iter().filter(own).find(|v| v.fix.is_none()) {
        return Err(format!("no fix in `{}`", without.msg));
    }
    let fields: BTreeSet<String> = decision.violations.iter().filter(own).filter_map(|v| v.field.clone()).collect();
    if case.fields.as_ref().is_some_and(|wanted| *wanted != fields) {
        return differ("fields", &fields, &case.fields);
    }
    let warned: BTreeSet<String> = decision.violations.iter().filter(|v| !own(v)).map(|v| v.msg.clone()).collect();
    if warned != case.warned {
        return differ("warned", &warned, &case.warned);
    }
    let annotations = json!(decision.audit_annotations);
    match &case.annotations {
        Some(wanted) if *wanted != annotations => differ("annotations", &annotations, wanted),
        _ => Ok(()),
    }
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
    let mut faults = Vec::new();
    for path in files() {
        let file = read(&path);
        if !path.display().to_string().contains(&only) {
            continue;
        }
        assert_eq!(path.file_stem().and_then(|s| s.to_str()), Some(file.policy.as_str()), "{}", path.display());
        let base = alone(&all, &file.policy);
        let verdicts: BTreeSet<bool> =
            file.cases.iter().filter(|c| c.patch.is_none()).map(|c| c.denied.len() + c.warned.len() == 0).collect();
        assert_ne!(verdicts.len(), 1, "{}: cases that pass and cases that do not", path.display());
        for case in &file.cases {
            if let Err(fault) = check(&base, &file, case) {
                faults.push(format!("{}: {}: {fault}", path.display(), case.name));
            }
        }
    }
    assert!(faults.is_empty(), "{} cases do not hold\n{}", faults.len(), faults.join("\n"));
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
