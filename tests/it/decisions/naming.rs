//! What the operator names beside what is hidden anyway, and secrets at the edges of what is kept.

use portcullis::decisions::{Entry, Masker, commitment};
use portcullis::engine::{Decision, Endpoint};
use serde_json::{Value, json};

use super::masking::{entry, stored};
use super::{allowed, denied, key, meta, request, review, violation};

fn naming(pointers: &[&str]) -> Masker {
    Masker::new(key(), pointers.iter().map(|p| format!("/input/request/{p}")).collect())
}

/// To hide more must never show more: what stands in a named place still says what is beside it.
#[test]
fn what_is_named_unmasks_nothing_that_hangs_on_it() {
    let container = json!({
        "args": ["--password", "violet-anchor"],
        "env": [{"name": "DB_PASSWORD", "value": "amber-anchor"}, {"name": "x", "key": "API_TOKEN", "value": "ochre-anchor"}],
    });
    let object = json!({
        "kind": "Pod", "spec": {"containers": [container]},
        "list": [{"kind": "Secret", "stringData": {"a": "green-anchor"}}],
    });
    let request = request("Pod", object);
    let secrets = ["violet-anchor", "amber-anchor", "ochre-anchor", "green-anchor"];
    for named in [
        &[][..],
        &["object/spec/containers/*/env/*/name"],
        &["object/spec/containers/*/env/*/key"],
        &["object/spec/containers/*/args/0"],
        &["object/list/*/kind", "object/kind", "kind/kind"],
        &["object/spec", "object/list"],
    ] {
        let (record, body) = stored(&Entry::decision(&meta(), &request, &allowed(), &naming(named)));
        let text = format!("{} {body}", serde_json::to_string(&record).expect("JSON"));
        for secret in secrets {
            assert!(!text.contains(secret), "{named:?}: {secret} in {text}");
        }
    }
}

#[test]
fn what_is_named_where_secrets_stand_is_committed_to_once_and_can_be_confirmed() {
    let object = json!({"kind": "Secret", "data": {"p": "aHVudGVyMi1odW50ZXIy"}, "type": "Opaque"});
    let request = request("Secret", object);
    for named in [&[][..], &["object/data/p"], &["object/data"], &["object"]] {
        let meta = meta();
        let (record, body) = stored(&Entry::decision(&meta, &request, &allowed(), &naming(named)));
        let pointer = "/request/object/data/p";
        assert_eq!(record.input.masked.iter().filter(|p| *p == pointer).count(), 1, "{:?}", record.input.masked);
        let k = key().derive(&meta.decision_id.to_string(), pointer);
        let wanted = json!({"masked": commitment(&k, b"aHVudGVyMi1odW50ZXIy")});
        assert_eq!(body["input"].pointer(pointer), Some(&wanted), "{named:?}");
    }
}

#[test]
fn what_is_named_is_hidden_in_patches_and_in_every_field_of_the_envelope() {
    let patch = json!([
        {"op": "add", "path": "/spec/patient", "value": "Jane"},
        {"op": "add", "path": "/spec", "value": {"patient": "Joan", "room": "seven"}},
        {"op": "add", "path": "/spec/patient/first", "value": "Jill"},
        {"op": "add", "path": "/spec/visits/-", "value": {"by": "Judy"}},
        {"op": "add", "path": "/metadata/labels", "value": {"plain": "label"}},
    ]);
    let decision = Decision {
        endpoint: Endpoint::Mutate,
        patch: Some(serde_json::from_value(patch).expect("a patch")),
        ..allowed()
    };
    let request = review(json!({
        "uid": "uid-of-it", "operation": "CREATE", "namespace": "shop", "name": "thing", "dryRun": true,
        "kind": {"group": "g", "version": "v7", "kind": "Visit"}, "subResource": "scale",
        "resource": {"group": "group-of-it", "version": "v8", "resource": "visits"},
        "userInfo": {"username": "alice"}, "object": {"kind": "Visit", "spec": {}},
    }));
    let named = ["uid", "kind", "resource", "subResource", "object/spec/patient", "object/spec/visits/0/by"];
    let (record, body) = stored(&Entry::decision(&meta(), &request, &decision, &naming(&named)));
    let text = format!("{} {body}", serde_json::to_string(&record).expect("JSON"));
    for hidden in
        ["Jane", "Joan", "Jill", "Judy", "uid-of-it", "\"Visit\"}", "\"v8\"", "group-of-it", "\"visits\"", "\"scale\""]
    {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    for shown in ["seven", "\"plain\"", "alice"] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    assert!(record.input.masked.contains(&"/patch/0/value".to_owned()), "{:?}", record.input.masked);
    assert!(record.input.masked.contains(&"/patch/1/value/patient".to_owned()), "{:?}", record.input.masked);
}

#[test]
fn a_secret_in_a_key_with_a_slash_is_hidden_in_the_list_of_what_was_masked() {
    let secret = "hunter2/hunter2~hunter2";
    let object = json!({"kind": "Secret", "stringData": {secret: secret}});
    let (record, body) = stored(&entry(&request("Secret", object), &allowed()));
    let text = format!("{} {body}", serde_json::to_string(&record).expect("JSON"));
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn no_part_of_a_secret_is_left_where_a_text_is_cut() {
    let long = "x1Y2".repeat(2000);
    let object = json!({"kind": "Secret", "stringData": {"a": "violet-anchor", "long": long}});
    let request = request("Secret", object);
    // What is before the secret gets shorter when it is masked, so that what was far comes near.
    for at in (8 * 1024 - 60)..(8 * 1024 + 3) {
        let filled = long.len() + 1;
        let msg = format!("{long} {} violet-anchor {}", ".".repeat(at - filled), "more ".repeat(2000));
        let decision = Decision { warnings: vec![msg.clone()], ..denied(vec![violation("p", &msg)]) };
        let (record, _) = stored(&entry(&request, &decision));
        let text = format!("{:?} {:?}", record.violations, record.warnings);
        assert!(!text.contains("viol") && !text.contains("x1Y2"), "{at}: {text}");
    }
}

#[test]
fn values_come_back_in_urls_and_by_line() {
    let many: String = (0..200).map(|n| format!("line-of-it-{n}\n")).collect();
    let binary = "a?>b~violet anchor/&";
    let object =
        json!({"kind": "Secret", "stringData": {"a": binary, "many": many, "env": "USER=me\nPIN=\"amber7\"\n"}});
    let request = request("Secret", object);
    for said in [
        "http://x/a%3F%3Eb~violet%20anchor%2F%26",
        "http://x/?q=a%3F%3Eb~violet+anchor%2F%26&r=1",
        "in url: YT8-Yn52aW9sZXQgYW5jaG9yLyY",
        "the last is line-of-it-199",
        "the pin amber7 is wrong",
    ] {
        let (record, _) = stored(&entry(&request, &denied(vec![violation("p", said)])));
        let msg = &record.violations[0].msg;
        assert!(msg.contains("hmac-sha256:"), "{said}: {msg}");
        for part in ["violet", "YT8", "line-of-it-199", "amber7"] {
            assert!(!msg.contains(part), "{said}: {msg}");
        }
    }
}

#[test]
fn what_a_client_writes_like_a_commitment_hides_nothing() {
    let data = json!({"a": "violet-anchor"});
    let object = json!({"kind": "Secret", "stringData": data, "metadata": {"annotations": {
        "x": {"masked": "hmac-sha256: violet-anchor"}, "y": "hmac-sha256:violet-anchor"}}});
    let (_, body) = stored(&entry(&request("Secret", object), &allowed()));
    let text = body["input"]["request"]["object"]["metadata"].to_string();
    assert!(!text.contains("violet"), "{text}");
    assert_eq!(
        body["input"]["request"]["object"]["metadata"]["annotations"].as_object().map(serde_json::Map::len),
        Some(2)
    );
    assert!(matches!(body["input"], Value::Object(_)));
}

/// Whoever may create objects must not make the log slow.
#[test]
fn a_string_with_more_credentials_than_can_be_told_apart_goes_as_a_whole() {
    let many: String = (0..2000).map(|n| format!("password = violet-{n} ")).collect();
    let object = json!({"kind": "Pod", "metadata": {"annotations": {"x": many}}});
    let said = format!("it is {}", "password=amber-1 ".repeat(300));
    let (record, body) = stored(&entry(&request("Pod", object), &denied(vec![violation("p", &said)])));
    let at = &body["input"]["request"]["object"]["metadata"]["annotations"]["x"];
    assert!(at["masked"].is_string(), "{at}");
    let text = format!("{} {body}", serde_json::to_string(&record).expect("JSON"));
    assert!(!text.contains("violet-") && !text.contains("amber-"), "{text}");
}
