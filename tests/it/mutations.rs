//! Mutations of several policies as an author meets them: their order, their conflicts, objects that do not settle.

use std::fs;

use serde_json::Value;

use crate::support::server::command;

fn policy(name: &str, body: &str) -> String {
    let rules = "rules: [{apiGroups: [''], apiVersions: [v1], resources: [configmaps], operations: [CREATE]}]";
    format!("# METADATA\n# scope: package\n# custom:\n#   match: {{{rules}}}\npackage portcullis.{name}\n\n{body}\n")
}

fn set(path: &str, value: &str) -> String {
    format!("patch := [{{\"op\": \"add\", \"path\": \"{path}\", \"value\": \"{value}\"}}]")
}

const OBJECT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: default}\ndata: {kept: x}\n";

/// What `eval` says of the object under these policies.
fn eval(policies: &[(&str, String)]) -> (Option<i32>, Value, String) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("policies")).expect("made");
    for (name, body) in policies {
        fs::write(dir.path().join(format!("policies/{name}.rego")), policy(name, body)).expect("written");
    }
    fs::write(dir.path().join("c.yaml"), OBJECT).expect("written");
    let run = |args: &[&str]| {
        let output = command(dir.path(), args).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, json) = run(&["eval", "c.yaml", "-o", "json"]);
    let report: Value = serde_json::from_str(&json).expect("JSON");
    let (same, text) = run(&["eval", "c.yaml"]);
    assert_eq!(code, same);
    (code, report["results"][0].clone(), text)
}

#[test]
fn they_run_by_name_and_what_one_undoes_of_another_is_told() {
    let policies =
        [("b", set("/data/owner", "bob")), ("a", set("/data/owner", "alice")), ("c", set("/data/other", "carol"))];
    let (code, result, text) = eval(&policies);
    let wanted = serde_json::json!([
        {"op": "add", "path": "/data/other", "value": "carol"}, {"op": "add", "path": "/data/owner", "value": "bob"}]);
    assert_eq!((code, &result["mutate"]["patch"]), (Some(0), &wanted), "{text}");
    let conflict = serde_json::json!([{"path": "/data/owner", "first": "a", "second": "b"}]);
    assert_eq!(result["mutate"]["conflicts"], conflict);
    assert!(text.contains("conflict `b` writes over what `a` wrote at /data/owner"), "{text}");
}

#[test]
fn an_object_must_settle() {
    let (code, result, text) = eval(&[
        ("grows", "patch := [{\"op\": \"add\", \"path\": \"/data/n\", \"value\": sprintf(\"%sx\", [object.get(input.request.object.data, \"n\", \"\")])}]".to_owned()),
        ("settled", set("/data/other", "carol")),
    ]);
    assert_eq!((code, &result["verdict"]), (Some(1), &"unsettled".into()), "{text}");
    assert_eq!(result["unsettled"], serde_json::json!([{"policy": "grows", "path": "/data/n"}]));
    assert!(
        text.starts_with("UNSETTLED CREATE ConfigMap") && text.contains("unsettled grows at /data/n: a second pass"),
        "{text}"
    );
}

#[test]
fn what_is_the_api_servers_is_not_touched() {
    let (code, result, text) = eval(&[("uid", set("/metadata/uid", "mine"))]);
    assert_eq!((code, &result["verdict"]), (Some(2), &"error".into()), "{text}");
    let told = "the patch changes `/metadata/uid`, which is the API server's to set";
    assert_eq!(result["mutate"]["errors"][0]["msg"], told);
}

#[test]
fn suites_judge_whole_requests_and_tell_what_does_not_hold() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mutations");
    let output = command(&root, &["test", "policies", "-o", "json"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let told: Vec<(String, &str, &str)> = report["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|r| {
            let text = |key: &str| r[key].as_str().unwrap_or_default();
            let name = text("name").trim_start_matches("policies/suite.yaml//").to_owned();
            (name, text("result"), text("message"))
        })
        .collect();
    let wanted = [
        ("a default is filled in, and settles", "pass", ""),
        ("root is refused", "pass", ""),
        ("but not with an exception", "pass", ""),
        ("which ends", "pass", ""),
        ("wrong verdict", "fail", "verdict deny (got allow: nothing was found)"),
        ("wrong message", "fail", "a violation of `root` with `toor` (got root: root is not let in)"),
        ("more violations than told", "fail", "no other violation (got root: root is not let in)"),
        ("wrong result", "fail", "the result is another at /spec/securityContext/runAsUser (got `1000`)"),
        (
            "wrong patch",
            "fail",
            r#"the patch [] (got [{"op":"add","path":"/spec/securityContext","value":{"runAsUser":1000}}])"#,
        ),
        ("what does not settle", "fail", "a second pass changes nothing (policy `grows` changes /data/n again)"),
        ("no such file", "error", "policies/nowhere.yaml: cannot read: No such file or directory (os error 2)"),
    ];
    assert_eq!(told, wanted.map(|(name, result, message)| (name.to_owned(), result, message)));
    assert_eq!(report["results"][4]["location"]["line"], 36);
    let output = command(&root, &["check", "policies"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(0), "a suite among the policies is none of them");
}
