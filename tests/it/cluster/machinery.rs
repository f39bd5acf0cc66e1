//! Controllers, scheduler, kubelets: they act for users, and the cluster stands still without them.

use std::rc::Rc;

use serde_json::{Value, json};

use super::Cluster;
use super::objects::{config_map, deployment, pod, root_pod};

const PODS: &str = "/api/v1/namespaces/tenant-b/pods";

pub(super) async fn controllers_create_and_collect_pods(cluster: Rc<Cluster>) {
    let replica_sets = cluster.service_account("kube-system", "replicaset-controller");
    let collector = cluster.service_account("kube-system", "generic-garbage-collector");
    let made = replica_sets.post(PODS, &pod("replica")).await.passed();
    assert_eq!(made["metadata"]["labels"]["tenant"], "tenant-b");
    // Acting for a user makes no root Pod good.
    replica_sets.post(PODS, &root_pod("replica-root")).await.refused("run_as_non_root", &["container `app`"]);
    let status = json!({"status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}});
    replica_sets.patch(&format!("{PODS}/replica/status"), &status).await.passed();
    replica_sets.delete(&format!("{PODS}/replica")).await.passed();
    let deployments = "/apis/apps/v1/namespaces/tenant-b/deployments";
    cluster.member_of_b().post(deployments, &deployment("orphan")).await.passed();
    collector.delete(&format!("{deployments}/orphan")).await.passed();
    collector.get(&format!("{deployments}/orphan")).await.has_code(404);
}

pub(super) async fn scheduler_and_kubelet_run_a_pod(cluster: Rc<Cluster>) {
    let scheduler = cluster.user("system:kube-scheduler", &[]);
    let kubelet = cluster.user("system:node:n1", &["system:nodes"]);
    let path = format!("{PODS}/scheduled");
    cluster.member_of_b().post(PODS, &pod("scheduled")).await.passed();
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "scheduled"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "n1"},
    });
    let door = format!("{path}/binding");
    cluster.stranger().post(&door, &binding).await.refused("tenant_ownership", &["is not a member"]);
    scheduler.post(&door, &binding).await.passed();
    let running = json!({"status": {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]}});
    let found = kubelet.patch(&format!("{path}/status"), &running).await.passed();
    assert_eq!((&found["spec"]["nodeName"], &found["status"]["phase"]), (&json!("n1"), &json!("Running")));
    // What ends a bound Pod is its kubelet, which has waited for the containers.
    kubelet.delete(&format!("{path}?gracePeriodSeconds=0")).await.passed();
    kubelet.get(&path).await.has_code(404);
}

/// The `observe` entries are asked there and hold nothing up; leases and events are never sent.
pub(super) async fn system_namespaces_and_nodes_are_observed(cluster: Rc<Cluster>) {
    let (admin, kubelet) = (cluster.admin(), cluster.user("system:node:n2", &["system:nodes"]));
    let node: Value = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"}});
    kubelet.post("/api/v1/nodes", &node).await.passed();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "n2"},
        "spec": {"holderIdentity": "n2"},
    });
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    kubelet.post(leases, &lease).await.passed();
    admin.post("/api/v1/namespaces/kube-system/configmaps", &config_map("observed", &json!({}))).await.passed();
    admin.post("/api/v1/namespaces/kube-system/pods", &root_pod("agent")).await.passed();

    let sent: Vec<(String, String)> = cluster.gate.lock().await.decisions().iter().map(seen).collect();
    for (resource, name) in [("nodes", "n2"), ("configmaps", "observed"), ("pods", "agent")] {
        assert!(sent.iter().any(|(r, n)| r == resource && n == name), "{resource} {name} was not asked about");
    }
    assert!(!sent.iter().any(|(r, _)| r == "leases" || r == "events"), "leases or events were sent");
}

fn seen(envelope: &Value) -> (String, String) {
    let text = |key: &str| envelope["request"][key].as_str().unwrap_or_default().to_owned();
    (text("resource"), text("name"))
}
