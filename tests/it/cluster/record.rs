//! What stays: the API server's audit log, the decision log, and that one leads to the other.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use portcullis::policy::Digest;
use serde_json::{Value, json};

use super::objects::{pod, root_pod};
use super::{Cluster, eventually};

const PODS: &str = "/api/v1/namespaces/tenant-b/pods";

/// An audit event is written after the answer.
const AUDITED_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn the_audit_log_leads_to_the_decision_log(cluster: Rc<Cluster>) {
    let ben = cluster.member_of_b();
    ben.post(PODS, &root_pod("audited-root")).await.refused("run_as_non_root", &["container `app`"]);
    ben.post(PODS, &pod("audited")).await.passed();
    let denied = audited(&cluster, "audited-root").await;
    assert_eq!(denied["responseStatus"]["code"], 403);
    let allowed = audited(&cluster, "audited").await;
    let gate = cluster.gate.lock().await;
    let records = gate.decisions();
    let by_id: BTreeMap<&str, &Value> = records.iter().filter_map(|r| Some((r["decision_id"].as_str()?, r))).collect();
    assert_eq!(by_id.len(), records.len(), "every decision has an id of its own");

    // Asked to mutate and to validate, each with a decision of its own.
    for (event, name, verdict) in [(&denied, "audited-root", "deny"), (&allowed, "audited", "allow")] {
        let ids = decision_ids(event);
        let webhooks: Vec<&str> = ids.iter().map(|(webhook, _)| webhook.as_str()).collect();
        assert_eq!(webhooks, ["enforce.mutate.portcullis.io", "enforce.validate.portcullis.io"], "{event}");
        for ((_, id), endpoint) in ids.iter().zip(["mutate", "validate"]) {
            let record = by_id.get(id.as_str()).unwrap_or_else(|| panic!("{id} is not in the decision log"));
            let request = &record["request"];
            assert_eq!((&request["name"], &request["namespace"]), (&json!(name), &json!("tenant-b")), "{record}");
            assert_eq!(request["user"]["username"], "ben@example.com", "{record}");
            assert_eq!(record["labels"]["cluster"], "e2e", "{record}");
            let verdict = if endpoint == "mutate" { "allow" } else { verdict };
            assert_eq!((&record["endpoint"], &record["verdict"]), (&json!(endpoint), &json!(verdict)), "{record}");
            let violations = record["violations"].as_array().cloned().unwrap_or_default();
            let of_root = violations.iter().filter(|v| v["policy"] == "run_as_non_root").count();
            assert_eq!(of_root > 0, verdict == "deny", "{record}");
            let shown = gate.show(id);
            let text = String::from_utf8_lossy(&shown.stdout);
            assert!(shown.status.success() && text.contains(id.as_str()) && text.contains(name), "{shown:?}");
        }
    }

    // And so for everything that happened in this test.
    let events = events(&cluster);
    let ids = audited_ids(&cluster);
    assert_none_lost(&ids, &records);
    let verdict = |wanted: &str| ids.iter().filter(|id| by_id[id.as_str()]["verdict"] == wanted).count();
    assert!(
        verdict("deny") >= 20 && verdict("allow") >= 40,
        "{} denied, {} allowed",
        verdict("deny"),
        verdict("allow")
    );
    // The checkpoints that the API server was told are all of this log.
    let verified = gate.verify(&cluster.control_plane.audit_file());
    let report: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert!(verified.status.success() && report["verified"] == true, "{report}");
    assert!(report["anchors"]["compared"].as_u64().is_some_and(|n| n > 1), "{report}");
    let unjudged: Vec<_> = records.iter().filter(|r| !matches!(r["cause"].as_str(), Some("none" | "policy"))).collect();
    assert!(unjudged.is_empty(), "decisions that were not the policies': {unjudged:?}");
    let open: Vec<_> = events.iter().filter(|e| annotations(e).any(|(k, _)| k.starts_with("failed-open."))).collect();
    assert!(open.is_empty(), "requests that passed because the webhook was not heard: {open:?}");
}

/// The event of the creation of a Pod in tenant-b.
async fn audited(cluster: &Cluster, name: &str) -> Value {
    eventually(AUDITED_WITHIN, async || {
        let found = events(cluster).into_iter().find(|e| {
            let about = &e["objectRef"];
            about["resource"] == "pods"
                && about["name"] == name
                && about["namespace"] == "tenant-b"
                && e["verb"] == "create"
        });
        found.ok_or_else(|| format!("there is no audit event for Pod {name}"))
    })
    .await
}

/// Every decision that the API server has heard of is in the decision log.
pub(super) fn assert_none_lost(ids: &BTreeSet<String>, records: &[Value]) {
    let there: BTreeSet<&str> = records.iter().filter_map(|r| r["decision_id"].as_str()).collect();
    let lost: Vec<&String> = ids.iter().filter(|id| !there.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "decisions in the audit log that the decision log does not have: {lost:?}");
}

/// The ids of all decisions in the audit log.
pub(super) fn audited_ids(cluster: &Cluster) -> BTreeSet<String> {
    events(cluster).iter().flat_map(decision_ids).map(|(_, id)| id).collect()
}

/// All events; the last line may still be on its way.
fn events(cluster: &Cluster) -> Vec<Value> {
    let text = cluster.control_plane.audit_log();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).expect("an audit event is one line of JSON")).collect()
}

fn annotations(event: &Value) -> impl Iterator<Item = (&String, &str)> {
    event["annotations"].as_object().into_iter().flatten().filter_map(|(k, v)| Some((k, v.as_str()?)))
}

/// The webhooks that were asked, sorted, with the id of the decision of each. Keys are
/// `<webhook>/decision-id.<first 8 hex of SHA-256(id)>`, so that a webhook which is asked again writes another one.
fn decision_ids(event: &Value) -> Vec<(String, String)> {
    let ours = annotations(event).filter_map(|(key, id)| {
        let (webhook, rest) = key.split_once('/')?;
        let digest = rest.strip_prefix("decision-id.")?;
        assert_eq!(digest, &Digest::of(id.as_bytes()).hex()[..8], "{key} is not of {id}");
        Some((webhook.to_owned(), id.to_owned()))
    });
    ours.collect()
}
