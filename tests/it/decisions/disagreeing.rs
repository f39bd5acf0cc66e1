//! `portcullis decisions join` where one of the logs is not what it seems: it never says that logs agree which cannot be
//! held against one another, and accuses nobody where nothing is wrong.

use portcullis::engine::Endpoint;
use serde_json::{Value, json};

use super::allowed;
use super::joining::{MUTATE, REGISTRATION, Story, VALIDATE, a_quiet_minute, refused, time};

const NONE: [&str; 0] = [];

/// One creation that was decided, so that both logs have begun, and one at the end.
fn framed(tell: impl FnOnce(&mut Story)) -> Story {
    let mut story = Story { registration: Some(validating_only()), ..Story::default() };
    decided(&mut story, 1, ("create", "first", 201));
    tell(&mut story);
    decided(&mut story, 55, ("create", "last", 201));
    story
}

fn validating_only() -> String {
    REGISTRATION.split("---").next().unwrap_or_default().to_owned()
}

fn decided(story: &mut Story, second: u32, (verb, name, code): (&str, &str, u16)) -> String {
    let operation = match verb {
        "create" => "CREATE",
        "delete" => "DELETE",
        _ => "UPDATE",
    };
    let decision = if code == 403 { refused() } else { allowed() };
    let id = story.decides(second, (operation, name, Endpoint::Validate), &format!("u-{second}"), decision);
    story.audits(second, (verb, name, code), &[(VALIDATE, &id)]);
    id
}

fn last(story: &mut Story) -> &mut Value {
    story.events.last_mut().expect("an event")
}

#[test]
fn an_unmarked_deletion_is_excused_by_one_that_was_done_alone() {
    for (name, tell, expected) in [
        ("done before", (|s| drop(decided(s, 5, ("delete", "x", 200)))) as fn(&mut Story), "perhaps_undecided x"),
        ("refused before", |s| drop(decided(s, 5, ("delete", "x", 403))), "undecided x"),
        ("not done before", |s| drop(decided(s, 5, ("delete", "x", 409))), "undecided x"),
        (
            "only tried before",
            |s| {
                decided(s, 5, ("delete", "x", 200));
                last(s)["requestURI"] = json!("/api/v1/namespaces/shop/pods/x?dryRun=All");
            },
            "undecided x",
        ),
        (
            "made anew",
            |s| {
                decided(s, 5, ("delete", "x", 200));
                decided(s, 8, ("create", "x", 201));
            },
            "undecided x",
        ),
        ("another before", |s| drop(decided(s, 5, ("delete", "y", 200))), "undecided x"),
        (
            "with its collection",
            |s| {
                let id = s.decides(5, ("DELETE", "x", Endpoint::Validate), "u-5", allowed());
                s.audits(5, ("deletecollection", "", 200), &[(VALIDATE, &id)]);
            },
            "perhaps_undecided x",
        ),
    ] {
        let story = framed(|s| {
            tell(s);
            s.audits(12, ("delete", "x", 200), &[]);
        });
        let (code, findings, _) = story.findings();
        let found: Vec<_> = findings.iter().filter(|f| f.ends_with("undecided x")).collect();
        assert_eq!(found, [expected], "{name}: {findings:?}");
        assert_eq!(code, Some(i32::from(expected.starts_with("undecided"))), "{name}: {findings:?}");
    }
}

#[test]
fn a_registration_without_webhooks_of_ours_joins_nothing() {
    let others = "kind: ValidatingWebhookConfiguration\nwebhooks:\n  - name: validate.kyverno.svc\n    rules:\n      \
        - {apiGroups: ['*'], apiVersions: ['*'], resources: ['*'], operations: ['*']}\n";
    for (registration, says) in [
        ("apiVersion: v1\nkind: List\nitems: []\n", "there is no webhook in it"),
        ("kind: ValidatingWebhookConfiguration\nwebhooks: []\n", "there is no webhook in it"),
        (others, "none of the webhooks in it is ours"),
    ] {
        let mut story = Story { registration: Some(registration.to_owned()), ..Story::default() };
        story.decides(1, ("CREATE", "x", Endpoint::Validate), "u", allowed());
        story.audits(1, ("create", "x", 201), &[]);
        let (code, out, err) = story.join(&[]);
        assert!(code == Some(2) && err.contains(says), "{registration}: {code:?} {out} {err}");
    }
    // Beside ours they count for nothing; renamed ones of ours are known by their decisions.
    let mut story = framed(|s| {
        s.audits(5, ("create", "unseen", 201), &[]);
    });
    story.registration = Some(format!("{}---\n{others}", validating_only()));
    assert_eq!(story.findings().1, ["undecided unseen"]);
    let mut story = a_quiet_minute();
    story.registration = Some(others.to_owned());
    for event in &mut story.events {
        let text = event.to_string().replace("enforce.validate.portcullis.io", "validate.kyverno.svc");
        *event = serde_json::from_str(&text).expect("JSON");
    }
    story.audits(40, ("create", "unseen", 201), &[]);
    let (code, findings, _) = story.findings();
    assert_eq!((code, findings), (Some(1), vec!["undecided unseen".to_owned()]));
}

#[test]
fn two_requests_of_one_audit_id_are_two() {
    let story = framed(|s| {
        decided(s, 5, ("create", "good", 201));
        last(s)["auditID"] = json!("chosen");
        s.audits(7, ("create", "evil", 201), &[]);
        last(s)["auditID"] = json!("chosen");
    });
    let (code, findings, summary) = story.findings();
    assert_eq!((code, findings), (Some(1), vec!["undecided evil".to_owned(), "shared_audit_id evil".to_owned()]));
    assert_eq!((&summary["due"], &summary["decided"]), (&json!(4), &json!(3)), "{summary}");
}

#[test]
fn an_emptied_log_does_not_agree() {
    // As it was: agrees.
    assert_eq!(a_quiet_minute().findings().0, Some(0));
    // Its front is gone: the record of the start and two decisions.
    let mut story = a_quiet_minute();
    story.cut = 3;
    let (code, findings, _) = story.findings();
    assert_eq!(code, Some(1));
    assert!(
        findings.contains(&"missing ".to_owned()) && findings.contains(&"unrecorded good".to_owned()),
        "{findings:?}"
    );
    // All decisions are gone, what was written later is left: by its name it is the log that the audit log speaks of.
    let mut story = a_quiet_minute();
    story.cut = 10;
    for event in &mut story.events {
        let checkpoint = |webhook: &str| (format!("{webhook}.portcullis.io/checkpoint"), json!("test/r-0 7 AAAA"));
        let annotations = event["annotations"].as_object_mut().expect("annotations");
        annotations.extend([checkpoint(VALIDATE), checkpoint(MUTATE)]);
    }
    let (code, findings, summary) = story.findings();
    assert_eq!((code, &summary["decisions"]), (Some(1), &json!(0)));
    assert_eq!(findings.iter().filter(|f| f.starts_with("unrecorded")).count(), 9, "{findings:?}");
    // A record says that they were deleted.
    let mut story = a_quiet_minute();
    story.cut = 3;
    story
        .records
        .push(json!({"type": "prune", "what": "segment", "reason": "retention", "first_seq": 0, "last_seq": 2,
        "count": 3, "bytes": 1}));
    let (code, findings, _) = story.findings();
    assert_eq!(code, Some(0), "{findings:?}");
    assert!(findings.iter().all(|f| f.starts_with("pruned ")) && findings.len() == 2, "{findings:?}");
}

#[test]
fn logs_of_other_times_are_not_held_against_one_another() {
    let story = framed(|_| {});
    let mut moved = framed(|_| {});
    for event in &mut moved.events {
        let text = event.to_string().replace("2026-03-01T10", "2025-03-01T10");
        *event = serde_json::from_str(&text).expect("JSON");
        event["annotations"] = json!({});
    }
    let (code, out, err) = moved.join(&[]);
    assert!(code == Some(2) && err.contains("no time in common"), "{code:?} {out} {err}");
    assert_eq!(story.findings().0, Some(0));
    // Decisions before the first event are another file's, also where a connection began long before it.
    let mut story = Story { registration: Some(validating_only()), ..Story::default() };
    story.decides(1, ("CREATE", "before", Endpoint::Validate), "u-1", allowed());
    decided(&mut story, 20, ("create", "x", 201));
    story.audits(22, ("get", "pod", 101), &[]);
    last(&mut story)["requestReceivedTimestamp"] = json!("2026-03-01T09:00:00Z");
    let (code, findings, summary) = story.findings();
    assert_eq!((code, findings), (Some(0), Vec::new()), "{summary}");
    assert_eq!((&summary["outside"], &summary["confirmed"]), (&json!(1), &json!(1)), "{summary}");
}

#[test]
fn what_cannot_be_read_is_no_agreement() {
    let quiet = || framed(|s| drop(decided(s, 20, ("create", "x", 201))));
    for (raw, unreadable) in [
        ("{\"auditID\": \"half\n", 1),
        ("not an event\n", 1),
        ("{\"message\": 7}\n", 1),
        // A good one beside a bad one counts.
        ("{\"kind\": \"EventList\", \"items\": [{\"kind\": \"Event\"}]}\n\n", 1),
        ("\n", 0),
    ] {
        let mut story = quiet();
        story.raw = raw.to_owned();
        let (code, findings, summary) = story.findings();
        assert_eq!((code, findings), (Some(i32::from(unreadable > 0)), Vec::new()), "{raw}");
        assert_eq!(summary["unreadable"], json!(unreadable), "{summary}");
    }
    let mut story = quiet();
    story.raw = "x\n".to_owned();
    let (_, out, _) = story.join(&[]);
    assert!(out.contains("cannot be read") && out.contains("agree in what can be read"), "{out}");
}

#[test]
fn a_gap_explains_as_many_as_it_counts() {
    let lost = |n: u32| format!("019ca8c5-aaaa-7000-8000-0000000000{n:02}");
    let gap =
        |count: u64| json!({"type": "gap", "count": count, "from": time(10), "to": time(20), "reason": "no space"});
    for (count, within, without) in [(2, 2, 1), (9, 3, 0), (0, 0, 3)] {
        let mut story = framed(|s| {
            for n in 0..3 {
                s.audits(12 + n, ("create", "lost", 201), &[(VALIDATE, &lost(n))]);
            }
        });
        story.records.push(gap(count));
        let (code, findings, _) = story.findings();
        let found = |kind: &str| findings.iter().filter(|f| f.starts_with(kind)).count();
        assert_eq!((found("in_gap"), found("unrecorded")), (within, without), "{count}: {findings:?}");
        assert_eq!(code, Some(i32::from(without > 0)), "{count}");
    }
    // Of another time it explains none.
    let mut story = framed(|s| s.audits(30, ("create", "lost", 201), &[(VALIDATE, &lost(0))]));
    story.records.push(gap(5));
    assert_eq!(story.findings().1, ["unrecorded lost"]);
}

#[test]
fn who_waited_no_longer_was_answered_by_the_failure_mode() {
    for (named, expected) in [(true, "failure_mode x"), (false, "overruled x")] {
        let mut refused_id = String::new();
        let mut story = framed(|s| {
            refused_id = s.decides(12, ("CREATE", "x", Endpoint::Validate), "u", refused());
            s.audits(12, ("create", "x", 201), &[(VALIDATE, &refused_id)]);
        });
        let ids = if named { vec![refused_id] } else { Vec::new() };
        story.records.push(json!({"type": "gap", "count": 0, "from": time(10), "to": time(20), "reason": "slow",
            "unconfirmed": ids.len(), "unconfirmed_ids": ids}));
        let (code, findings, _) = story.findings();
        assert_eq!((code, findings), (Some(i32::from(!named)), vec![expected.to_owned()]));
    }
}

#[test]
fn requests_are_what_admission_takes_them_for() {
    let creations = validating_only().replace("\"*\", CREATE, UPDATE, DELETE", "CREATE");
    let proxied = validating_only()
        .replace("resources: [\"*\"]", "resources: [\"*\", \"services/proxy\"]")
        .replace("DELETE]", "DELETE, CONNECT]");
    let failed_open =
        [("failed-open.validating.webhook.admission.k8s.io/round_0_index_0", "enforce.validate.portcullis.io")];
    for (name, registration, tell, expected) in [
        // A PUT of what was not there.
        ("put", creations, (|s| s.audits(5, ("update", "x", 201), &[])) as fn(&mut Story), &["undecided x"][..]),
        // A backend that answers 404 through the API server.
        (
            "proxy",
            proxied,
            |s| {
                let id = s.decides(5, ("CONNECT", "x", Endpoint::Validate), "u", allowed());
                s.audits(5, ("get", "x", 404), &[(VALIDATE, &id)]);
                last(s)["objectRef"]["resource"] = json!("services");
                last(s)["objectRef"]["subresource"] = json!("proxy");
            },
            &NONE,
        ),
    ] {
        let mut story = framed(tell);
        story.registration = Some(registration);
        assert_eq!(story.findings().1, expected, "{name}");
    }
    for (code, expected) in [(201, &["failed_open x"][..]), (409, &NONE), (0, &["failed_open x"])] {
        let story = framed(|s| {
            s.audits(5, ("create", "x", code), &failed_open);
            if code == 0 {
                last(s).as_object_mut().expect("fields").remove("responseStatus");
            }
        });
        assert_eq!(story.findings().1, expected, "{code}");
    }
}

#[test]
fn one_name_in_both_configurations_is_told_apart_by_the_records() {
    let both = REGISTRATION.replace("enforce.mutate.portcullis.io", "enforce.validate.portcullis.io");
    for (endpoints, expected) in [
        (&[Endpoint::Mutate, Endpoint::Validate][..], &NONE[..]),
        (&[Endpoint::Validate], &["undecided x"]),
        (&[Endpoint::Mutate], &["undecided x"]),
    ] {
        let mut story = Story { registration: Some(both.clone()), ..Story::default() };
        let mut ids = Vec::new();
        for (n, endpoint) in endpoints.iter().enumerate() {
            ids.push(story.decides(5, ("CREATE", "x", *endpoint), &format!("u{n}"), allowed()));
        }
        let marks: Vec<(&str, &str)> = ids.iter().map(|id| (VALIDATE, id.as_str())).collect();
        story.audits(5, ("create", "x", 201), &marks);
        let (_, findings, summary) = story.findings();
        assert_eq!(findings, expected, "{endpoints:?} {summary}");
    }
    // Whose records are not there is told by its name.
    let mut story = framed(|_| {});
    let id = story.decides(50, ("CREATE", "y", Endpoint::Mutate), "u", allowed());
    story.audits(50, ("create", "y", 201), &[(MUTATE, &id)]);
    assert_eq!(story.findings().1, ["undecided y"]);
}

#[test]
fn the_working_file_goes_where_it_is_told() {
    let story = framed(|_| {});
    let (code, _, err) = story.join(&["--work-dir", "/nowhere/at/all"]);
    assert!(code == Some(2) && err.contains("/nowhere/at/all"), "{code:?} {err}");
    let dir = tempfile::tempdir().expect("a directory");
    let (code, _, err) = framed(|_| {}).join(&["--work-dir", dir.path().to_str().expect("UTF-8")]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 0);
}

/// An event that makes or deletes the validating registration.
fn registers(second: u32, verb: &str, name: &str) -> Value {
    let code = if verb == "create" { 201 } else { 200 };
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": format!("registers-{second}"),
        "stage": "ResponseComplete", "verb": verb, "user": {"username": "root"}, "sourceIPs": ["192.0.2.7"],
        "requestURI": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        "objectRef": {"resource": "validatingwebhookconfigurations", "apiGroup": "admissionregistration.k8s.io",
            "apiVersion": "v1", "name": name},
        "responseStatus": {"code": code}, "requestReceivedTimestamp": time(second), "stageTimestamp": time(second + 1)})
}

/// On the day of installation the server is there before its registration is.
#[test]
fn what_came_before_the_first_registration_was_not_due() {
    let day = |earlier: Option<Value>| {
        let mut story = Story {
            registration: Some(
                REGISTRATION.replace("    webhooks:", "    metadata: {name: portcullis}\n    webhooks:"),
            ),
            records: vec![json!({"type": "start", "timestamp": time(1), "durability": "flush", "after_crash": false})],
            ..Story::default()
        };
        story.events.extend(earlier);
        story.audits(5, ("update", "early", 200), &[]);
        story.events.push(registers(10, "create", "portcullis"));
        let id = story.decides(20, ("UPDATE", "late", Endpoint::Validate), "u1", allowed());
        story.audits(20, ("update", "late", 200), &[(VALIDATE, &id)]);
        story.findings()
    };
    let (code, findings, _) = day(None);
    assert_eq!(findings, ["unguarded portcullis", "perhaps_undecided early"]);
    assert_eq!(code, Some(0));
    // Not when it was there before: then it was missing for a time.
    let (code, findings, _) = day(Some(registers(3, "delete", "portcullis")));
    assert_eq!(findings, ["undecided early", "unguarded portcullis", "unguarded portcullis"]);
    assert_eq!(code, Some(1));
    let (_, findings, _) = day(Some(registers(3, "delete", "of-others")));
    assert!(findings.contains(&"perhaps_undecided early".to_owned()), "{findings:?}");
}

#[test]
fn a_decision_that_cannot_be_read_is_counted() {
    let mut story = a_quiet_minute();
    story.records = vec![json!({"type": "decision", "decision_id": 7, "timestamp": time(30)})];
    let (code, _, summary) = story.findings();
    assert_eq!((code, &summary["unreadable_records"]), (Some(1), &json!(1)), "{summary}");
}
