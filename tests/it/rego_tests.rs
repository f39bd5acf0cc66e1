//! The test runner for Rego: it must pass what holds, fail what does not, and say where.

use portcullis::engine::{TestEnding, TestReport, run_tests};
use portcullis::policy::{SourceFile, Sources};

const POLICY: &str = r#"package portcullis.p

deny contains msg if {
	input.request.object.spec.hostNetwork
	msg := "host network"
}

deny contains "never reached" if {
	input.never
	input.ever
}
"#;

const TESTS: &str = r#"package portcullis.p_test

import data.portcullis.p

host := {"request": {"object": {"spec": {"hostNetwork": true}}}}

test_holds if {
	count(p.deny) == 1 with input as host
}

test_fails if {
	x := 1
	x == 1
	count(p.deny) == 2 with input as host # a comment
	x == 3
}

test_errs if to_number("x") == 1

todo_test_later if false

test_table[name] if {
	some name, want in {"one": 1, "two": 2, "three": 4}
	count(name) > 1
	{"one": 1, "two": 2, "three": 3}[name] == want
}

test_prints if {
	print("seen", 5)
	true
}

helper if false
"#;

fn run(wanted: &dyn Fn(&str) -> bool) -> TestReport {
    let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
    let policy = format!("# METADATA\n# scope: package\n# custom: {{severity: low}}\n{POLICY}");
    let modules = vec![file("p.rego", &policy), file("p_test.rego", TESTS)];
    run_tests(&Sources { modules, ..Sources::default() }, wanted, 0).expect("loads")
}

#[test]
fn every_ending_is_told_apart() {
    let report = run(&|_| true);
    let endings: Vec<(String, &str)> = report
        .results
        .iter()
        .map(|r| {
            let ending = match &r.ending {
                TestEnding::Pass => "pass",
                TestEnding::Fail { .. } => "fail",
                TestEnding::Error { .. } => "error",
                TestEnding::Skip => "skip",
            };
            (r.name.replace("data.portcullis.p_test.", ""), ending)
        })
        .collect();
    let wanted = [
        ("test_holds", "pass"),
        ("test_fails", "fail"),
        ("test_errs", "error"),
        ("todo_test_later", "skip"),
        ("test_table[\"one\"]", "pass"),
        ("test_table[\"three\"]", "fail"),
        ("test_table[\"two\"]", "pass"),
        ("test_prints", "pass"),
    ];
    assert_eq!(endings, wanted.map(|(n, e)| (n.to_owned(), e)));
    let prints = &report.results.last().expect("a result").prints;
    assert_eq!(prints.len(), 1);
    assert!(prints[0].starts_with("p_test.rego:") && prints[0].ends_with("seen 5"), "{prints:?}");
}

#[test]
fn a_failure_names_the_expression_that_did_not_hold() {
    let report = run(&|name| name.ends_with("test_fails"));
    let [result] = report.results.as_slice() else { panic!("one test: {:?}", report.results) };
    let TestEnding::Fail { at, expression } = &result.ending else { panic!("fails: {result:?}") };
    assert_eq!(expression.lines().next(), Some("count(p.deny) == 2 with input as host # a comment"));
    assert_eq!(at.as_ref().map(|l| (l.file.as_str(), l.line, l.column)), Some(("p_test.rego", 14, 2)));
}

#[test]
fn coverage_tells_the_lines_that_were_not_reached() {
    let report = run(&|_| true);
    let [file] = report.coverage.as_slice() else { panic!("one file: {:?}", report.coverage) };
    assert_eq!(file.file, "p.rego");
    assert!(file.covered.contains(&7) && file.covered.contains(&8), "{file:?}");
    assert_eq!(file.not_covered, [11, 13]);
}

#[test]
fn a_filter_that_takes_nothing_runs_nothing() {
    assert!(run(&|_| false).results.is_empty());
}

/// Each of these fails; a runner that passes one of them cannot fail on a wrong expectation.
#[test]
fn what_is_not_true_does_not_pass() {
    let text = r#"package q_test

cases := {"one": 1, "two": 2}

test_number := 0
test_string := "false"
test_empty := []
test_null := null

test_twice if true
test_twice if 1 == 2

test_set contains "a" if true
test_set contains "b" if false

test_by_reference[name] if {
	tc := cases[name]
	tc == 1
}

test_by_some[name] if {
	some name
	tc := cases[name]
	tc == 1
}

test_note[note] if {
	some tc in [{"note": "one", "x": 1}, {"note": "two", "x": 2}]
	note := tc.note
	tc.x == 1
}

test_path[tc.note] if {
	some tc in [{"note": "one", "x": 1}, {"note": "two", "x": 2}]
	tc.x == 1
}

test_none[name] if {
	some name, _ in {}
}
"#;
    let modules = vec![SourceFile { path: "q_test.rego".into(), text: text.into() }];
    let report = run_tests(&Sources { modules, ..Sources::default() }, &|_| true, 0).expect("loads");
    let fails = |r: &&portcullis::engine::TestResult| !matches!(r.ending, TestEnding::Pass);
    let failed: Vec<&str> =
        report.results.iter().filter(fails).map(|r| r.name.trim_start_matches("data.q_test.")).collect();
    let wanted = [
        "test_number",
        "test_string",
        "test_empty",
        "test_null",
        "test_twice",
        "test_set[\"b\"]",
        "test_by_reference[\"two\"]",
        "test_by_some[\"two\"]",
        "test_note[\"two\"]",
        "test_path[\"two\"]",
        "test_none",
    ];
    assert_eq!(failed, wanted, "{:#?}", report.results);
    assert_eq!(report.results.len() - failed.len(), 5, "{:#?}", report.results);
}
