//! The author's commands as a user calls them: output, places of errors, exit codes.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const POLICY: &str = "# METADATA
# scope: package
# title: No latest
# custom:
#   match: {kinds: [Pod]}
#   severity: high
package portcullis.no_latest

deny contains {\"msg\": sprintf(\"image %s\", [c.image]), \"field\": sprintf(\"spec.containers[%d].image\", [i]), \"fix\": \"name a version\"} if {
\tsome i, c in input.request.object.spec.containers
\tendswith(c.image, \":latest\")
}
";

const TEST: &str = "package portcullis.no_latest_test

import data.portcullis.no_latest

test_ok if count(no_latest.deny) == 0 with input as {\"request\": {\"object\": {\"spec\": {\"containers\": []}}}}
";

fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("policies")).expect("policies");
    write(dir.path(), "policies/no_latest.rego", POLICY);
    write(dir.path(), "policies/no_latest_test.rego", TEST);
    dir
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).expect("written");
}

fn run(dir: &Path, args: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(args)
        .current_dir(dir)
        .env_remove("PORTCULLIS_POLICIES")
        .env_remove("PORTCULLIS_DATA")
        .env_remove("PORTCULLIS_EXCEPTIONS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("stdin").write_all(stdin.as_bytes()).expect("writes");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("ends");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

fn pod(image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: shop}}\nspec: {{containers: [{{name: a, image: '{image}'}}]}}\n"
    )
}

#[test]
fn eval_judges_manifests() {
    let dir = project();
    let (code, out, _) = run(dir.path(), &["eval"], &pod("x:1"));
    assert_eq!((code, out.lines().next()), (Some(0), Some("ALLOW CREATE Pod shop/p by kubernetes-admin (<stdin>)")));
    let documents = format!("{}---\n{}", pod("x:1"), pod("x:latest"));
    let (code, out, _) = run(dir.path(), &["eval", "-"], &documents);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("deny no_latest: image x:latest\n       at  spec.containers[0].image\n       fix name a version"),
        "{out}"
    );
    assert!(out.contains("policies/no_latest.rego:9:1"), "{out}");
    assert!(out.ends_with("1 allowed, 1 denied, 0 could not be judged\n"), "{out}");
}

#[test]
fn eval_prints_json() {
    let dir = project();
    write(dir.path(), "p.yaml", &pod("x:latest"));
    let (code, out, _) =
        run(dir.path(), &["eval", "p.yaml", "-o", "json", "--operation", "update", "--old", "p.yaml"], "");
    assert_eq!(code, Some(0), "nothing changed, so nothing is judged: {out}");
    write(dir.path(), "q.yaml", &pod("x:latest").replace("name: p", "name: q"));
    for (args, wanted) in [
        (vec!["eval", "p.yaml", "--operation", "UPDATE"], "needs `--old`"),
        (vec!["eval", "p.yaml", "--old", "q.yaml"], "is another object: its `metadata/name` differs"),
        (vec!["eval", "p.yaml", "--old", "p.yaml", "--operation", "DELETE"], "goes with `--operation UPDATE`"),
        (vec!["eval", "p.yaml", "q.yaml", "--old", "p.yaml"], "goes with one document, not 2"),
    ] {
        let (code, _, err) = run(dir.path(), &args, "");
        assert_eq!(code, Some(2), "{args:?}");
        assert!(err.contains(wanted), "{args:?}: {err}");
    }
    let (code, out, _) = run(dir.path(), &["eval", "p.yaml", "--old", "p.yaml"], "");
    assert_eq!(code, Some(0));
    assert!(out.starts_with("ALLOW UPDATE Pod shop/p"), "{out}");
    let lines = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}});
    let (code, out, _) = run(dir.path(), &["eval"], &format!("{lines}\n[{lines}]\n"));
    assert_eq!((code, out.lines().count()), (Some(0), 3), "{out}");
    let (code, out, _) = run(dir.path(), &["eval", "p.yaml", "-o", "json", "--user", "alice", "--group", "devs"], "");
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let result = &report["results"][0];
    assert_eq!((code, &result["verdict"], &result["user"]), (Some(1), &"deny".into(), &"alice".into()));
    assert_eq!(result["validate"]["violations"][0]["policy"], "no_latest");
    assert!(report["policy_set"].as_str().is_some_and(|d| d.starts_with("sha256:")));
}

#[test]
fn eval_says_what_it_could_not_judge() {
    let dir = project();
    for (args, stdin, wanted) in [
        (vec!["eval"], "not: a manifest\n", "neither an AdmissionReview nor a manifest"),
        (vec!["eval"], "", "no document"),
        (vec!["eval", "missing.yaml"], "", "cannot read `missing.yaml`"),
        (vec!["eval", "--operation", "PATCH"], "", "CREATE, UPDATE, DELETE or CONNECT"),
        (vec!["eval"], "{\"apiVersion\": ", "is not JSON"),
        (vec!["eval"], "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\"}", "no `request`"),
    ] {
        let (code, _, err) = run(dir.path(), &args, stdin);
        assert_eq!(code, Some(2), "{args:?} {err}");
        assert!(err.contains(wanted), "{args:?}: {err}");
    }
    write(
        dir.path(),
        "policies/ns.rego",
        "# METADATA\n# scope: package\n# custom:\n#   match: {kinds: [Pod], namespaceSelector: {matchLabels: {env: prod}}}\npackage portcullis.ns\ndeny contains \"prod\" if input.request.name\n",
    );
    let (code, out, _) = run(dir.path(), &["eval"], &pod("x:1"));
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("--namespace-labels"), "{out}");
    assert_eq!(run(dir.path(), &["eval", "--namespace-labels", "env=dev"], &pod("x:1")).0, Some(0));
    assert_eq!(run(dir.path(), &["eval", "--namespace-labels", "env=prod,a=b"], &pod("x:1")).0, Some(1));
}

#[test]
fn check_names_every_place() {
    let dir = project();
    let (code, out, _) = run(dir.path(), &["check"], "");
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("ok no_latest deny No latest"), "{out}");
    write(dir.path(), "policies/bad.rego", "package bad\n\ndeny contains \"x\" if nonsense(1)\n");
    write(
        dir.path(),
        "policies/worse.rego",
        "# METADATA\n# scope: package\n# custom: {severity: huge}\npackage worse\n\ndeny contains \"x\"\n",
    );
    let (code, out, _) = run(dir.path(), &["check"], "");
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("error policies/worse.rego:3:"), "{out}");
    fs::remove_file(dir.path().join("policies/worse.rego")).expect("removed");
    let (_, out, _) = run(dir.path(), &["check"], "");
    assert!(out.contains("error policies/bad.rego:3:22: unknown function `nonsense`"), "{out}");
    assert_eq!(run(dir.path(), &["check", "nowhere"], "").0, Some(2));
}

#[test]
fn test_can_fail() {
    let dir = project();
    let (code, out, _) = run(dir.path(), &["test", "policies", "--coverage"], "");
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("1 passed, 0 failed, 0 errors, 0 skipped"), "{out}");
    assert!(out.contains("policies/no_latest.rego"), "{out}");
    assert_eq!(run(dir.path(), &["test", "--threshold", "100"], "").0, Some(1));
    write(dir.path(), "policies/bad_test.rego", "package bad_test\n\ntest_bad if {\n\t1 == 1\n\t1 == 2\n}\n");
    let (code, out, _) = run(dir.path(), &["test"], "");
    assert_eq!(code, Some(1));
    assert!(out.contains("FAIL data.bad_test.test_bad"), "{out}");
    assert!(out.contains("policies/bad_test.rego:5:2\n    this does not hold: 1 == 2"), "{out}");
    let (code, out, _) = run(dir.path(), &["test", "-o", "junit"], "");
    assert_eq!(code, Some(1));
    assert!(out.contains("<testsuite name=\"data.bad_test\" tests=\"1\" failures=\"1\""), "{out}");
    let (_, out, _) = run(dir.path(), &["test", "-o", "json", "--run", "test_ok"], "");
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(report["results"].as_array().map(Vec::len), Some(1));
    assert_eq!(run(dir.path(), &["test", "--run", "nothing_like_it"], "").0, Some(2));
    assert_eq!(run(dir.path(), &["test", "--run", "("], "").0, Some(2));
}

#[test]
fn check_explains_how_policies_are_run_and_holds_the_ways_against_one_another() {
    let dir = project();
    let with = "package other\n\ndeny contains \"m\" if {\n\tinput.x with input as {\"x\": false}\n}\n";
    write(dir.path(), "policies/other.rego", with);
    let (code, out, _) = run(dir.path(), &["check", "--explain-plan"], "");
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("plan        no_latest"), "{out}");
    assert!(out.contains("interpreter other      policies/other.rego:4:10: `with`"), "{out}");
    let (_, out, _) = run(dir.path(), &["check", "-o", "json"], "");
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["policies"][0]["plan"]["way"], "plan");
    assert_eq!(json["policies"][1]["plan"]["at"]["line"], 4);
    write(dir.path(), "pod.yaml", &pod("a:latest"));
    let args = ["check", "--differential", "--inputs", "pod.yaml", "--mutations", "50", "--write", "result.json"];
    let (code, out, err) = run(dir.path(), &args, "");
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("same no_latest 56 inputs (1 of tests, 1 given, 54 generated)"), "{out}");
    assert!(out.contains("one way other"), "{out}");
    let result = fs::read_to_string(dir.path().join("result.json")).expect("written");
    let result: serde_json::Value = serde_json::from_str(&result).expect("JSON");
    assert_eq!((&result["agrees"], &result["policies"][0]["differing"]), (&true.into(), &0.into()));
    assert!(result["engine"].as_str().is_some_and(|e| e.contains("regorus/")), "{result}");
    let (code, _, err) = run(dir.path(), &["check", "--inputs", "pod.yaml"], "");
    assert_eq!((code, err.contains("--differential")), (Some(2), true), "{err}");
}
