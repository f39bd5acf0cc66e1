//! Policies as OPA's admission webhook runs them, unmodified: what `opa_admission.yaml` says of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis::admission::decode;
use portcullis::engine::{
    CompileOptions, Context, Decision, Endpoint, FailureModes, Inventory, Snapshot, compile, decide,
};
use portcullis::policy::{SourceFile, Sources};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    note: String,
    modules: BTreeMap<String, String>,
    #[serde(default)]
    data: serde_json::Map<String, Value>,
    /// Names of the policies it comes to, with their endpoints.
    policies: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default = "validate")]
    endpoint: Endpoint,
    /// Laid over a CREATE of a Pod.
    #[serde(default)]
    request: serde_json::Map<String, Value>,
    allow: bool,
    /// `policy: message (file:line)` of each violation and each failure.
    #[serde(default)]
    says: Vec<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    patch: Value,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn validate() -> Endpoint {
    Endpoint::Validate
}

fn judge(snapshot: &Arc<Snapshot>, case: &Case) -> Decision {
    let mut request = json!({
        "uid": "u-1", "operation": "CREATE", "name": "p", "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": "ann", "groups": []},
        "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}},
    });
    let fields = request.as_object_mut().expect("an object");
    fields.extend(case.request.clone());
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    let request = Arc::new(decode(review.to_string().as_bytes()).expect("decodes"));
    let context = Context {
        endpoint: case.endpoint,
        now_ns: 1,
        seed: 1,
        deadline: None,
        failure: FailureModes::default(),
        http: None,
    };
    decide(snapshot, &Inventory::fixed(BTreeMap::new()), &request, &context)
}

#[test]
fn policies_of_opa_run_unmodified() {
    let sets: Vec<Set> = serde_saphyr::from_str(include_str!("opa_admission.yaml")).expect("cases");
    for set in sets {
        let modules = set.modules.iter().map(|(path, text)| SourceFile { path: path.clone(), text: text.clone() });
        let sources = Sources { modules: modules.collect(), data: set.data.clone(), ..Sources::default() };
        let compiled = compile(&sources, CompileOptions::default());
        let compiled = compiled.unwrap_or_else(|errors| panic!("{}: {errors:?}", set.note));
        let names: Vec<String> = compiled
            .snapshot
            .policies()
            .map(|p| {
                let endpoints: Vec<&str> = p.endpoints.iter().map(|e| e.as_str()).collect();
                format!("{} {}", p.name, endpoints.join("+"))
            })
            .collect();
        assert_eq!(names, set.policies, "{}", set.note);
        assert_eq!(compiled.notes.iter().map(ToString::to_string).collect::<Vec<_>>(), set.notes, "{}", set.note);
        let snapshot = Arc::new(compiled.snapshot);
        for (number, case) in set.cases.iter().enumerate() {
            let name = format!("{}, case {}", set.note, number + 1);
            let decision = judge(&snapshot, case);
            let says: Vec<String> = decision
                .violations
                .iter()
                .map(|v| match &v.location {
                    Some(at) => format!("{}: {} ({}:{})", v.policy, v.msg, at.file, at.line),
                    None => format!("{}: {}", v.policy, v.msg),
                })
                .chain(decision.failures.iter().map(|f| format!("{}: {}: {}", f.policy, f.code.as_str(), f.msg)))
                .collect();
            assert_eq!(says, case.says, "{name}");
            assert_eq!(decision.allowed(), case.allow, "{name}");
            assert_eq!(decision.warnings, case.warnings, "{name}");
            assert_eq!(serde_json::to_value(&decision.patch).expect("JSON"), case.patch, "{name}");
            assert_eq!(decision.audit_annotations, case.annotations, "{name}");
        }
    }
}
