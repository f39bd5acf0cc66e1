//! The mutation score: what tests notice is killed, what they do not is told with its place.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

const POLICY: &str = r#"# METADATA
# scope: package
# title: No host network
# custom:
#   match: {kinds: [Pod]}
package portcullis.host

deny contains {"msg": msg} if {
	spec := input.request.object.spec
	spec.hostNetwork == true
	not spec.serviceAccountName in ["cni", "dns"]
	msg := "host network"
}
"#;

const TESTS: &str = r#"package portcullis.host_test

import data.portcullis.host

on(spec) := {"request": {"object": {"spec": spec}}}

test_denied if host.deny == {{"msg": "host network"}} with input as on({"hostNetwork": true, "serviceAccountName": "x"})

test_off if host.deny == set() with input as on({"hostNetwork": false, "serviceAccountName": "x"})

test_cni if host.deny == set() with input as on({"hostNetwork": true, "serviceAccountName": "cni"})
"#;

const CASES: &str = r#"policy: host
cases:
- name: the resolver of the cluster
  object:
    apiVersion: v1
    kind: Pod
    metadata: {name: dns, namespace: shop}
    spec: {hostNetwork: true, serviceAccountName: dns, containers: []}
"#;

fn test(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("test")
        .args(arguments)
        .arg(".")
        .current_dir(folder)
        .output()
        .expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("cases")).expect("a directory");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("written");
    }
    dir
}

#[test]
fn tests_and_cases_that_notice_everything_kill_every_mutant() {
    let dir = folder(&[("host.rego", POLICY), ("host_test.rego", TESTS), ("cases/host.yaml", CASES)]);
    let (code, out, err) = test(dir.path(), &["--mutate", "--mutants", "100", "--mutation-threshold", "100"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let last = out.lines().last().expect("a line");
    assert!(last.starts_with("mutation score: 100.0% (") && !last.contains("(0 of"), "{out}");
    assert!(!out.contains("SURVIVED"), "{out}");
    // So many may be asked for, and the same are made each time.
    let few = ["--mutate=ho*", "--mutants", "3"];
    assert!(test(dir.path(), &few).1.ends_with("mutation score: 100.0% (3 of 3 mutants killed)\n"));
}

#[test]
fn what_survives_is_told_with_its_place() {
    // Without the case nobody asks for the resolver.
    let dir = folder(&[("host.rego", POLICY), ("host_test.rego", TESTS)]);
    let (code, out, err) =
        test(dir.path(), &["--mutate", "--mutants", "100", "--mutation-threshold", "99", "--output", "json"]);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    let mutation = &told["mutation"];
    let survivors: Vec<(&Value, &Value)> = mutation["policies"][0]["survivors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|s| (&s["location"]["line"], &s["change"]))
        .collect();
    let wanted = ["`\"dns\"` is left out of `[\"cni\", \"dns\"]`", "`\"dns\"` is `\"\"`"];
    assert_eq!(survivors, wanted.map(|w| json!([11, w])).each_ref().map(|w| (&w[0], &w[1])), "{mutation:#}");
    let (mutants, killed) = (mutation["mutants"].as_u64().expect("a number"), mutation["killed"].as_u64());
    assert_eq!(killed, Some(mutants - 2));
    assert_eq!(code, Some(1));
    assert!(err.contains("is below the threshold of 99%"), "{err}");
    let (code, out, _) = test(dir.path(), &["--mutate", "--mutants", "100"]);
    assert_eq!(code, Some(0), "without a threshold the score is told, no more");
    assert!(out.contains("host.rego:11:"), "{out}");
}

#[test]
fn mutants_want_tests_that_pass() {
    let dir = folder(&[("host.rego", POLICY), ("host_test.rego", &TESTS.replace("\"cni\"}", "\"other\"}"))]);
    let (code, out, err) = test(dir.path(), &["--mutate"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("`--mutate` wants Rego tests and case files that pass") && !out.contains("mutation score"),
        "{out}{err}"
    );
    let dir = folder(&[("host.rego", POLICY), ("host_test.rego", TESTS)]);
    for (arguments, wanted) in [
        (vec!["--mutate=hots"], "`--mutate=hots` names no policy that is loaded"),
        (vec!["--mutate", "--run", "x"], "leave out `--run`"),
        (vec!["--mutants", "3"], "--mutate"),
    ] {
        let (code, _, err) = test(dir.path(), &arguments);
        assert!(code == Some(2) && err.contains(wanted), "{arguments:?}: {err}");
    }
}
