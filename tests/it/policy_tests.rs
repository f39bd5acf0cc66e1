//! The shipped policies' own tests, run as the README says: everything passes, and the tests reach nearly every line.

use std::path::Path;

use serde_json::Value;

use crate::support::server::command;

#[test]
fn the_shipped_policies_pass_their_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let args = ["test", "policies", "--coverage", "--threshold", "95", "-o", "json"];
    let output = command(root, &args).output().expect("runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let failed: Vec<&Value> = report["results"]
        .as_array()
        .expect("results")
        .iter()
        .filter(|r| !["pass", "skip"].contains(&r["result"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(output.status.code(), Some(0), "{failed:#?} {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_shipped_policies_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = command(root, &["check", "policies"]).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains(" 0 errors, 0 notes"), "{text}");
}
