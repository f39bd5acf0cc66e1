//! The gate is killed, comes back, and is taken away for good.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::control_plane::Account;
use super::objects::{config_map, namespace, pod};
use super::record::{assert_none_lost, audited_ids};
use super::{Cluster, REGISTRATION, eventually};

const PODS: &str = "/api/v1/namespaces/tenant-b/pods";

/// API servers hear of a deleted webhook configuration within a second or so.
const UNDONE_WITHIN: Duration = Duration::from_secs(60);

/// `Fail` in tenants' namespaces, `Ignore` in the system's.
pub(super) async fn without_the_gate_tenants_stand_still_and_the_system_goes_on(cluster: Rc<Cluster>) {
    cluster.gate.lock().await.kill();
    let ben = cluster.member_of_b();
    let refused = ben.post(PODS, &pod("unguarded")).await;
    refused.has_code(500);
    assert!(refused.message().contains("failed calling webhook"), "{refused:?}");
    ben.get(&format!("{PODS}/unguarded")).await.has_code(404);
    let repair = config_map("repair", &json!({}));
    cluster.admin().post("/api/v1/namespaces/kube-system/configmaps", &repair).await.passed();
}

/// Comes back with its certificate and its log. It may not list Namespaces any more, so it is not ready; whoever asks
/// it all the same gets an answer from what the API server says at that moment.
pub(super) async fn a_restarted_gate_goes_on_and_reads_what_it_cannot_watch(cluster: Rc<Cluster>) {
    let mut gate = cluster.gate.lock().await;
    let before = gate.records().len();
    gate.restart(&cluster.control_plane, Account::Unwatching).await;
    assert!(!gate.is_ready(), "without namespaces it must not say that it is ready");
    let (ben, stranger) = (cluster.member_of_b(), cluster.stranger());
    let made = ben.post(PODS, &pod("guarded-again")).await.passed();
    assert_eq!(made["metadata"]["labels"]["tenant"], "tenant-b");
    stranger.delete(&format!("{PODS}/guarded-again")).await.refused("tenant_ownership", &["is not a member"]);
    let owned = namespace("late", &json!({"tenant": "tenant-b"}));
    cluster.admin().post("/api/v1/namespaces", &owned).await.passed();
    let refused = stranger.post("/api/v1/namespaces/late/configmaps", &config_map("first", &json!({}))).await;
    refused.refused("tenant_ownership", &["namespace `late` belongs to tenant `tenant-b`"]);

    // Killed without warning, it lost nothing that it had answered, and counts on.
    let records = gate.records();
    assert!(records.len() > before, "{} records, {before} before", records.len());
    assert_none_lost(&audited_ids(&cluster), &records);
    let seqs: Vec<u64> = records.iter().map(|r| r["seq"].as_u64().expect("a number")).collect();
    assert!(seqs.iter().zip(0..).all(|(seq, wanted)| *seq == wanted), "seq has gaps: {seqs:?}");
    assert_eq!(records.iter().filter(|r| r["type"] == "start").count(), 2);
}

/// As `kubectl delete validatingwebhookconfigurations,mutatingwebhookconfigurations -l ...` does it.
pub(super) async fn one_deletion_undoes_the_registration(cluster: Rc<Cluster>) {
    cluster.gate.lock().await.kill();
    let (admin, ben) = (cluster.admin(), cluster.member_of_b());
    for resource in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{resource}");
        admin.get(&format!("{path}/{REGISTRATION}")).await.passed();
        admin.delete(&format!("{path}?labelSelector=app.kubernetes.io%2Fname%3Dportcullis")).await.passed();
        admin.get(&format!("{path}/{REGISTRATION}")).await.has_code(404);
    }
    eventually(UNDONE_WITHIN, async || {
        let answer = ben.post(PODS, &pod("unguarded")).await;
        if answer.code.is_success() { Ok(()) } else { Err(format!("the webhook is still asked: {answer:?}")) }
    })
    .await;
}
