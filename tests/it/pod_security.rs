//! The Pod Security Standards as upstream tests them, level by level and version by version.
//!
//! `POD_SECURITY_TESTDATA` names the folder `test/testdata` of <https://github.com/kubernetes/pod-security-admission> (some
//! 4,500 Pods: `<level>/<version>/{pass,fail}/<case>.yaml`); without it the test says that it was skipped.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis::admission::decode;
use portcullis::engine::{CompileOptions, Context, Endpoint, FailureModes, Inventory, compile, decide};
use portcullis::source::{LoadOptions, load};
use serde_json::{Value, json};

/// One Pod of the matrix, in a namespace that asks for its level and version.
struct Pod {
    file: PathBuf,
    namespace: String,
    passes: bool,
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned()
}

#[test]
fn verdicts_are_upstreams() {
    let Some(matrix) = std::env::var_os("POD_SECURITY_TESTDATA").filter(|a| !a.is_empty()).map(PathBuf::from) else {
        let text = "skipped: pod_security::verdicts_are_upstreams needs POD_SECURITY_TESTDATA, the folder test/testdata of \
                    kubernetes/pod-security-admission\n";
        // Past the harness, which shows nothing of a test that passes.
        let _ = std::io::stderr().write_all(text.as_bytes());
        return;
    };
    let (mut pods, mut namespaces) = (Vec::new(), String::new());
    for level in folders(&matrix) {
        for version in folders(&level) {
            let namespace = format!("{}-{}", name(&level), name(&version).replace('.', "-"));
            let _ = write!(
                namespaces,
                "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: \
                 {{pod-security.kubernetes.io/enforce: {}, pod-security.kubernetes.io/enforce-version: {}}}}}\n",
                name(&level),
                name(&version)
            );
            for (verdict, passes) in [("pass", true), ("fail", false)] {
                let files = fs::read_dir(version.join(verdict)).into_iter().flatten().flatten();
                pods.extend(files.map(|f| Pod { file: f.path(), namespace: namespace.clone(), passes }));
            }
        }
    }
    assert!(pods.len() > 1000, "{} has no matrix", matrix.display());
    let data = tempfile::tempdir().expect("a directory");
    fs::write(data.path().join("namespaces.yaml"), namespaces).expect("written");
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let options = LoadOptions {
        policies: vec![policies.join("guard/pod_security.rego"), policies.join("lib")],
        data: vec![data.path().to_path_buf()],
        ..LoadOptions::default()
    };
    let loaded = load(&options).expect("the policy loads");
    let snapshot = Arc::new(compile(&loaded.sources, CompileOptions::default()).expect("it compiles").snapshot);
    let inventory = Inventory::fixed(snapshot.fixed_namespaces());
    let mut others = Vec::new();
    for pod in &pods {
        let text = fs::read_to_string(&pod.file).expect("a Pod");
        let mut object: Value =
            portcullis::policy::yaml::parse(&name(&pod.file), &text, Default::default()).expect("YAML");
        object["metadata"]["namespace"] = json!(pod.namespace);
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "operation": "CREATE", "namespace": pod.namespace, "name": object["metadata"]["name"],
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {"username": "admin", "groups": ["system:masters"]}, "object": object}});
        let request = Arc::new(decode(review.to_string().as_bytes()).expect("a review"));
        let context = Context {
            endpoint: Endpoint::Validate,
            now_ns: 0,
            seed: 0,
            deadline: None,
            failure: FailureModes::default(),
            http: None,
        };
        let decision = decide(&snapshot, &inventory, &request, &context);
        assert_eq!(decision.failures, [], "{}", pod.file.display());
        assert_eq!(decision.runs.len(), 1, "{} is judged", pod.file.display());
        if decision.allowed() != pod.passes {
            others.push(format!("{}: {:?}", pod.file.display(), decision.violations));
        }
    }
    assert!(others.is_empty(), "{} of {}:\n{}", others.len(), pods.len(), others.join("\n"));
}
