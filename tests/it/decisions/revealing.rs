//! Revealing: an auditor who is given a value and the key of its place can confirm it, and nothing else.

use std::fs;
use std::path::Path;

use portcullis::decisions::{DecisionLog, Entry, LogOptions, MaskKey, SigningSeed, commitment};
use portcullis::engine::Violation;
use serde_json::{Value, json};

use super::{denied, meta, options, request, runtime, soon, violation};
use crate::support::server::{command, records};

const PASSWORD: &str = "correct-horse-battery";

/// A state directory with a log of one denied Secret, whose password a policy printed; gives the decision's id.
fn state(dir: &Path) -> String {
    let object = json!({"kind": "Secret", "stringData": {"password": PASSWORD, "other": "another-secret-value"},
        "metadata": {"annotations": {"url": "postgres://app:s3cr3t-pw@db/app"}}});
    state_of(dir, object, vec![violation("p", &format!("the password {PASSWORD} is weak"))])
}

fn state_of(dir: &Path, object: Value, said: Vec<Violation>) -> String {
    let state = dir.join(".portcullis");
    let seed = SigningSeed::load_or_create(&state.join("decisions.key")).expect("made");
    let mask_key = MaskKey::load_or_create(&state.join("mask.key")).expect("made");
    let mut id = String::new();
    runtime().block_on(async {
        let options = LogOptions { mask_key, signing_seed: seed, ..options(&state.join("decisions")) };
        let log = DecisionLog::open(options).expect("opens");
        let masker = log.masker(Vec::new());
        let entry = Entry::decision(&meta(), &request("Secret", object), &denied(said), &masker);
        id = entry.decision_id().to_string();
        log.append(entry, soon()).await.expect("appends");
        log.close("test").await.expect("closes");
    });
    id
}

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = command(dir, &[&["decisions"], args].concat()).output().expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("a code"), text(&output.stdout), text(&output.stderr))
}

fn reveals(dir: &Path) -> Vec<Value> {
    let records = records(&dir.join(".portcullis/decisions"));
    records.into_iter().filter(|r| r["type"] == "read" && r["action"] == "reveal").collect()
}

#[test]
fn an_auditor_confirms_a_value_with_the_key_of_its_place_and_no_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let id = state(dir.path());
    let place = "/request/object/stringData/password";
    let (code, out, error) = run(
        dir.path(),
        &["reveal", &id, place, "--mask-key", ".portcullis/mask.key", "--reason", "audit 7", "-o", "json"],
    );
    assert_eq!(code, 0, "{error}");
    let handed: Value = serde_json::from_str(&out).expect("JSON");
    let k = handed["k"].as_str().expect("a key");
    let master = fs::read_to_string(dir.path().join(".portcullis/mask.key")).expect("read");
    assert!(k.len() == 64 && !master.contains(k), "never the key itself");
    let told = reveals(dir.path());
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["reason"], &told[0]["count"], &told[0]["first_seq"]),
        (&json!("audit 7"), &json!(1), &json!(1))
    );
    assert!(told[0]["what"].as_str().is_some_and(|w| w.contains(place) && w.contains(&id)), "{told:?}");
    assert!(told[0]["reader"].as_str().is_some_and(|r| r.starts_with("uid ")), "{told:?}");

    // The auditor has a proof, the body and the value; no log.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let at = |name: &str| elsewhere.path().join(name).display().to_string();
    assert_eq!(run(dir.path(), &["prove", &id, "-o", &at("proof")]).0, 0);
    let (code, body, error) = run(dir.path(), &["show", &id, "-o", "body"]);
    assert_eq!(code, 0, "{error}");
    fs::write(at("body"), &body).expect("written");
    fs::write(at("right"), PASSWORD).expect("written");
    fs::write(at("edited"), format!("{PASSWORD}\n")).expect("written");
    fs::write(at("wrong"), "correct-horse-batterie").expect("written");
    let check = |place: &str, k: &str, value: &str, files: &[&str]| {
        let args = ["reveal", &id, place, "--k", k, "--value-file", &at(value)];
        let (code, out, error) = run(elsewhere.path(), &[&args[..], files].concat());
        (code, format!("{out}{error}"))
    };
    let (proof, body) = (at("proof"), at("body"));
    let files = ["--proof", proof.as_str(), "--body", body.as_str()];
    for value in ["right", "edited"] {
        let (code, out) = check(place, k, value, &files);
        assert!(code == 0 && out.starts_with("confirmed"), "{out}");
    }
    let (code, out) = check(place, k, "wrong", &files);
    assert!(code == 1 && out.starts_with("NOT CONFIRMED"), "{out}");
    assert_eq!(check("/request/object/stringData/other", k, "right", &files).0, 1, "a key is of one place");
    // The policy's message in the envelope alone holds the same commitment.
    assert_eq!(check("/violations/0", k, "right", &["--proof", &proof]).0, 0);
    assert_eq!(check(place, &"0".repeat(64), "right", &files).0, 1);
    for (place, k, files) in [
        (place, "abc", &files[..]),
        ("request", k, &files),
        ("/request/object/kind", k, &files),
        (place, k, &["--proof", "/nonexistent"]),
        (place, k, &["--proof", &proof, "--body", &proof]),
    ] {
        let (code, out) = check(place, k, "right", files);
        assert_eq!(code, 2, "{place} {k}: {out}");
    }
    // A body that was changed is no body on record.
    fs::write(at("body"), fs::read_to_string(at("body")).expect("read").replace("alice", "mally")).expect("written");
    let (code, out) = check(place, k, "right", &files);
    assert!(code == 2 && out.contains("its digest is another"), "{out}");
}

#[test]
fn a_commitment_within_a_text_leads_to_the_place_it_was_made_at() {
    let dir = tempfile::tempdir().expect("a directory");
    let id = state(dir.path());
    let hand_out = |pointer: &str, more: &[&str]| {
        let args = ["reveal", &id, pointer, "--mask-key", ".portcullis/mask.key", "-o", "json"];
        let (code, out, error) = run(dir.path(), &[&args[..], more].concat());
        (code, serde_json::from_str::<Value>(&out).unwrap_or(Value::Null), error)
    };
    let (code, handed, error) = hand_out("/violations/0", &[]);
    assert_eq!((code, &handed["madeAt"]), (0, &json!("/request/object/stringData/password")), "{error}");
    // A credential within a string of the object.
    let url = "/request/object/metadata/annotations/url";
    let (code, handed, error) = hand_out(url, &[]);
    assert_eq!((code, &handed["madeAt"]), (0, &json!(url)), "{error}");
    let value = dir.path().join("value").display().to_string();
    fs::write(&value, "s3cr3t-pw").expect("written");
    let check = ["reveal", &id, url, "--k", handed["k"].as_str().expect("a key"), "--value-file", &value];
    assert_eq!(run(dir.path(), &check).0, 0);
    let (code, found, _) = hand_out(url, &["--value-file", &value]);
    assert_eq!((code, &found["k"]), (0, &handed["k"]));
    fs::write(&value, "something else").expect("written");
    assert_eq!(hand_out(url, &["--value-file", &value]).0, 1);
    assert_eq!(hand_out("/request/object/kind", &[]).0, 2, "it is not masked");
}

#[test]
fn a_key_is_not_handed_out_in_silence() {
    let dir = tempfile::tempdir().expect("a directory");
    let id = state(dir.path());
    let copy = tempfile::tempdir().expect("a directory");
    let key = dir.path().join(".portcullis/mask.key").display().to_string();
    let mut cp = std::process::Command::new("cp");
    cp.args(["-r", ".portcullis/decisions"]).arg(copy.path()).current_dir(dir.path());
    assert!(cp.status().expect("copies").success());
    let place = "/request/object/stringData/password";
    let args = ["reveal", &id, place, "--mask-key", &key, "--decision-log", "decisions"];
    let (code, out, error) = run(copy.path(), &args);
    assert!(code == 2 && out.is_empty() && error.contains("--unrecorded"), "{out}{error}");
    let (code, out, error) = run(copy.path(), &[&args[..], &["--unrecorded"]].concat());
    assert!(code == 0 && out.contains("k:") && error.contains("nothing says"), "{out}{error}");
    let (code, _, error) = run(dir.path(), &["reveal", &id, place, "--mask-key", ".portcullis/decisions.key"]);
    assert!(code == 2 && error.contains("no mask key"), "{error}");
}

/// What `reveal` says of a value at a place with a key, and its code.
fn checked(dir: &Path, id: &str, place: &str, k: &str, value: &str) -> (i32, String) {
    let file = dir.join("checked").display().to_string();
    fs::write(&file, value).expect("written");
    let (code, out, error) = run(dir, &["reveal", id, place, "--k", k, "--value-file", &file]);
    (code, format!("{out}{error}"))
}

#[test]
fn a_commitment_that_a_request_brought_confirms_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (k, value) = ([9; 32], "never-stood-there");
    let own = commitment(&k, value.as_bytes());
    let object = json!({"kind": "Thing", "metadata": {"annotations": {"note": own, "password": PASSWORD}},
        "spec": {"masked": own}});
    let id = state_of(dir.path(), object, vec![violation("p", &format!("{own} is no name, {PASSWORD} no password"))]);
    let k = "09".repeat(32);
    for place in ["/request/object/metadata/annotations/note", "/request/object/spec", "/request", "/violations/0"] {
        let (code, out) = checked(dir.path(), &id, place, &k, value);
        assert!(
            code == 1 && out.contains("NOT CONFIRMED") && out.contains("whoever made the request"),
            "{place}: {out}"
        );
    }
    let hand_out =
        |place: &str| run(dir.path(), &["reveal", &id, place, "--mask-key", ".portcullis/mask.key", "-o", "json"]);
    let (code, out, error) = hand_out("/request/object/spec");
    assert!(code == 2 && out.is_empty() && error.contains("was not masked"), "{out}{error}");
    assert!(reveals(dir.path()).is_empty());
    // What the log masked beside it is confirmed.
    let (code, out, error) = hand_out("/violations/0");
    let handed: Value = serde_json::from_str(&out).expect("one key");
    assert_eq!((code, &handed["madeAt"]), (0, &json!("/request/object/metadata/annotations/password")), "{error}");
    let k = handed["k"].as_str().expect("a key");
    let (code, out) = checked(dir.path(), &id, "/violations/0", k, PASSWORD);
    assert!(code == 0, "{out}");
}

#[test]
fn the_record_names_every_place_whose_key_was_handed_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let data: serde_json::Map<String, Value> =
        (0..40).map(|n| (format!("{}-{n:02}", "long".repeat(25)), json!(format!("secret-number-{n}")))).collect();
    let id = state_of(dir.path(), json!({"kind": "Secret", "stringData": data}), vec![violation("p", "no")]);
    let (code, out, error) = run(
        dir.path(),
        &["reveal", &id, "/request/object/stringData", "--mask-key", ".portcullis/mask.key", "-o", "json"],
    );
    assert_eq!((code, out.lines().count()), (0, 40), "{error}");
    let told: Vec<Value> = reveals(dir.path()).into_iter().map(|r| r["what"].clone()).collect();
    for line in out.lines() {
        let handed: Value = serde_json::from_str(line).expect("JSON");
        let place = handed["madeAt"].as_str().expect("a place");
        assert!(told.iter().any(|w| w.as_str().is_some_and(|w| w.contains(place) && w.contains(&id))), "{place}");
    }
    // The record has no room for all of them, and everything in a Secret is masked.
    let last: Value = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
    let (place, k) = (last["madeAt"].as_str().expect("a place"), last["k"].as_str().expect("a key"));
    let number = place.rsplit('-').next().expect("a number").trim_start_matches('0');
    let number = if number.is_empty() { "0" } else { number };
    let (code, out) = checked(dir.path(), &id, place, k, &format!("secret-number-{number}"));
    assert!(code == 0, "{place}: {out}");
}

#[test]
fn a_list_that_was_cut_does_not_vouch_for_what_it_may_have_held() {
    let dir = tempfile::tempdir().expect("a directory");
    let (k, value) = ([9; 32], "never-stood-there");
    let own = commitment(&k, value.as_bytes());
    let users: serde_json::Map<String, Value> = (0..40)
        .map(|n| (format!("{}-{n:02}", "long".repeat(25)), json!({"password": format!("secret-number-{n}")})))
        .collect();
    let object = json!({"kind": "Thing", "spec": users, "aa": own, "zz": {"masked": own}});
    let id = state_of(dir.path(), object, vec![violation("p", &format!("{own} is no name"))]);
    let k = "09".repeat(32);
    for (place, why) in [
        ("/request/object/aa", "whoever made the request"),
        ("/request/object/zz", "was cut"),
        ("/violations/0", "was cut"),
    ] {
        let (code, out) = checked(dir.path(), &id, place, &k, value);
        assert!(code == 1 && out.contains("NOT CONFIRMED") && out.contains(why), "{place}: {out}");
    }
}

#[test]
fn keys_of_what_policies_say_beside_a_message_open_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut second = violation("p", "no");
    second.details = Some(json!({"password": "only-in-details", "list": ["token=abcdef1234567890abcdef"]}));
    second.fix = Some("use https://user:only-in-a-fix-99@host".to_owned());
    let id = state_of(dir.path(), json!({"kind": "Thing"}), vec![violation("p", "fine"), second]);
    for (place, value) in [
        ("/details/1/password", "only-in-details"),
        ("/details/1/list/0", "abcdef1234567890abcdef"),
        ("/details/1/fix", "only-in-a-fix-99"),
    ] {
        let key = ["reveal", &id, place, "--mask-key", ".portcullis/mask.key", "-o", "json"];
        let (code, out, error) = run(dir.path(), &key);
        assert_eq!(code, 0, "{place}: {error}");
        let handed: Value = serde_json::from_str(&out).expect("one key");
        let k = handed["k"].as_str().expect("a key");
        let (code, out) = checked(dir.path(), &id, place, k, value);
        assert!(code == 0, "{place}: {out} {handed}");
    }
    // All of them at once.
    let (code, out, _) =
        run(dir.path(), &["reveal", &id, "/details/1", "--mask-key", ".portcullis/mask.key", "-o", "json"]);
    assert_eq!((code, out.lines().count()), (0, 3), "{out}");
}
