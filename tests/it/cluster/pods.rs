//! Pods: what runs as root, what is defaulted, and who may touch them by any door.

use std::rc::Rc;

use serde_json::{Value, json};

use super::objects::{pod, root_pod};
use super::{Answer, Cluster};

const PODS: &str = "/api/v1/namespaces/tenant-b/pods";

/// What tenant_ownership says to those who do not belong to tenant-b.
const NOT_A_MEMBER: [&str; 2] = ["namespace `tenant-b` belongs to tenant `tenant-b`", "is not a member"];

pub(super) async fn root_is_refused_with_policy_container_and_field(cluster: Rc<Cluster>) {
    let ben = cluster.member_of_b();
    let answer = ben.post(PODS, &root_pod("root")).await;
    // Everything that is wrong, at once.
    for (msg, field) in [("runAsUser to 0", "runAsUser"), ("runAsNonRoot to false", "runAsNonRoot")] {
        let field = format!("[spec.containers[0].securityContext.{field}]");
        answer.refused("run_as_non_root", &[&format!("container `app` sets {msg} {field}")]);
    }
    ben.get(&format!("{PODS}/root")).await.has_code(404);
    let mut unsaid = pod("unsaid");
    unsaid["spec"]["securityContext"] = json!({});
    let field = "spec.initContainers[0].securityContext.runAsNonRoot";
    ben.post(PODS, &unsaid).await.refused("run_as_non_root", &["container `setup`", field]);
}

pub(super) async fn a_good_pod_comes_back_with_its_defaults(cluster: Rc<Cluster>) {
    let ben = cluster.member_of_b();
    let mut wanted = pod("good");
    let mut second = wanted["spec"]["containers"][0].clone();
    second["name"] = json!("chosen");
    second["securityContext"] = json!({"allowPrivilegeEscalation": true});
    wanted["spec"]["containers"].as_array_mut().expect("a list").push(second);
    let made = ben.post(PODS, &wanted).await.passed();
    let stored = ben.get(&format!("{PODS}/good")).await.passed();
    for pod in [made, stored] {
        let at = |pointer: &str| pod.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/metadata/labels"), json!({"app": "good", "tenant": "tenant-b"}));
        assert_eq!(at("/spec/securityContext/seccompProfile"), json!({"type": "RuntimeDefault"}));
        assert_eq!(at("/spec/initContainers/0/securityContext/allowPrivilegeEscalation"), false);
        assert_eq!(at("/spec/containers/0/securityContext/allowPrivilegeEscalation"), false);
        // What was set stays.
        assert_eq!(at("/spec/containers/1/securityContext/allowPrivilegeEscalation"), true);
        assert_eq!(at("/spec/securityContext/runAsNonRoot"), true);
    }
}

pub(super) async fn dry_runs_are_judged_and_leave_nothing(cluster: Rc<Cluster>) {
    let ben = cluster.member_of_b();
    let dry = format!("{PODS}?dryRun=All");
    ben.post(&dry, &root_pod("dry")).await.refused("run_as_non_root", &["container `app`"]);
    cluster.stranger().post(&dry, &pod("dry")).await.refused("tenant_ownership", &NOT_A_MEMBER);
    let made = ben.post(&dry, &pod("dry")).await.passed();
    assert_eq!(made["spec"]["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    ben.get(&format!("{PODS}/dry")).await.has_code(404);
}

pub(super) async fn ephemeral_containers_and_resizes_are_judged(cluster: Rc<Cluster>) {
    let ben = cluster.member_of_b();
    ben.post(PODS, &pod("debugged")).await.passed();
    let debugger = |security_context: Value| {
        let image = "registry.example.com/debug:1.0";
        let container = json!({"name": "debug", "image": image, "securityContext": security_context});
        json!({"spec": {"ephemeralContainers": [container]}})
    };
    let path = format!("{PODS}/debugged/ephemeralcontainers");
    let answer = ben.patch(&path, &debugger(json!({"runAsUser": 0}))).await;
    answer.refused("run_as_non_root", &["container `debug`", "spec.ephemeralContainers[0].securityContext.runAsUser"]);
    let stranger = cluster.stranger();
    stranger.patch(&path, &debugger(json!({}))).await.refused("tenant_ownership", &NOT_A_MEMBER);
    let debugged = ben.patch(&path, &debugger(json!({}))).await.passed();
    assert_eq!(debugged["spec"]["ephemeralContainers"][0]["name"], "debug");
    let resize = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "20m"}}}]}});
    let path = format!("{PODS}/debugged/resize");
    stranger.patch(&path, &resize).await.refused("tenant_ownership", &NOT_A_MEMBER);
    let resized = ben.patch(&path, &resize).await.passed();
    assert_eq!(resized["spec"]["containers"][0]["resources"]["requests"]["cpu"], "20m");
}

pub(super) async fn another_tenant_changes_and_deletes_nothing(cluster: Rc<Cluster>) {
    let (anna, ben) = (cluster.member_of_a(), cluster.member_of_b());
    ben.post(PODS, &pod("kept")).await.passed();
    let path = format!("{PODS}/kept");
    let annotated = json!({"metadata": {"annotations": {"touched": "yes"}}});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "kept"}});
    for answer in [
        anna.post(PODS, &pod("brought")).await,
        anna.merge(&path, &annotated).await,
        anna.merge(&format!("{path}/status"), &json!({"status": {"message": "touched"}})).await,
        anna.post(&format!("{path}/eviction"), &eviction).await,
        anna.delete(&path).await,
    ] {
        answer.refused("tenant_ownership", &NOT_A_MEMBER);
    }
    let found = ben.get(&path).await.passed();
    assert!(found["metadata"]["annotations"].is_null() && found["metadata"]["deletionTimestamp"].is_null(), "{found}");
    let changed = ben.merge(&path, &annotated).await.passed();
    assert_eq!(changed["metadata"]["annotations"]["touched"], "yes");
    ben.delete(&path).await.passed();
    ben.get(&path).await.has_code(404);
}

pub(super) async fn every_item_of_a_deletecollection_is_judged(cluster: Rc<Cluster>) {
    let (anna, ben) = (cluster.member_of_a(), cluster.member_of_b());
    for name in ["batch-1", "batch-2", "batch-3"] {
        let mut pod = pod(name);
        pod["metadata"]["labels"]["app"] = json!("batch");
        ben.post(PODS, &pod).await.passed();
    }
    let collection = format!("{PODS}?labelSelector=app%3Dbatch");
    let left = async || ben.get(&collection).await.passed()["items"].as_array().expect("a list").len();
    anna.delete(&collection).await.refused("tenant_ownership", &NOT_A_MEMBER);
    assert_eq!(left().await, 3);
    ben.delete(&collection).await.passed();
    assert_eq!(left().await, 0);
}

pub(super) async fn only_the_tenant_connects_to_its_pods(cluster: Rc<Cluster>) {
    let (ben, stranger) = (cluster.member_of_b(), cluster.stranger());
    ben.post(PODS, &pod("connected")).await.passed();
    let path = format!("{PODS}/connected");
    let past_admission = |answer: &Answer| {
        // There is no kubelet to connect to, and the API server says so only after admission.
        assert!(!answer.message().contains("admission webhook"), "{answer:?}");
        assert!(answer.code.is_client_error() || answer.code.is_server_error(), "{answer:?}");
        assert_ne!(answer.code, 403, "{answer:?}");
    };
    for door in ["exec?command=id&stdout=true", "attach?stdout=true", "portforward"] {
        let door = format!("{path}/{door}");
        stranger.post(&door, &Value::Null).await.refused("tenant_ownership", &NOT_A_MEMBER);
        past_admission(&ben.post(&door, &Value::Null).await);
    }
    let door = format!("{path}/proxy/");
    stranger.get(&door).await.refused("tenant_ownership", &NOT_A_MEMBER);
    past_admission(&ben.get(&door).await);
}
