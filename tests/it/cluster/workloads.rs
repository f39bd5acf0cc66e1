//! What is not a Pod: workloads and their templates, scale, labels of tenants, service accounts.

use std::rc::Rc;

use serde_json::{Value, json};

use super::Cluster;
use super::objects::{config_map, deployment, pod, root_workloads};

pub(super) async fn templates_are_judged_where_the_user_wrote_them(cluster: Rc<Cluster>) {
    let ben = cluster.member_of_b();
    for (collection, template, workload) in root_workloads() {
        let (api, resource) = collection.rsplit_once('/').expect("a path");
        let answer = ben.post(&format!("/{api}/namespaces/tenant-b/{resource}"), &workload).await;
        let field = format!("[{template}.containers[0].securityContext.runAsUser]");
        answer.refused("run_as_non_root", &["container `app`", &field]);
    }
}

pub(super) async fn a_deployment_is_changed_and_scaled_by_its_tenant(cluster: Rc<Cluster>) {
    let (ben, stranger) = (cluster.member_of_b(), cluster.stranger());
    let deployments = "/apis/apps/v1/namespaces/tenant-b/deployments";
    let path = format!("{deployments}/web");
    let made = ben.post(deployments, &deployment("web")).await.passed();
    let template = &made["spec"]["template"];
    let unchanged = template["spec"]["securityContext"]["seccompProfile"].is_null();
    assert!(unchanged, "a changed template rolls the workload out again: {template}");
    let scale = format!("{path}/scale");
    let three = json!({"spec": {"replicas": 3}});
    let rooted = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "securityContext": {"runAsUser": 0}}]}}}});
    stranger.merge(&scale, &three).await.refused("tenant_ownership", &["is not a member"]);
    stranger.merge(&path, &three).await.refused("tenant_ownership", &["is not a member"]);
    stranger.delete(&path).await.refused("tenant_ownership", &["is not a member"]);
    let field = "spec.template.spec.containers[0].securityContext.runAsUser";
    ben.patch(&path, &rooted).await.refused("run_as_non_root", &["container `app`", field]);
    ben.merge(&scale, &three).await.passed();
    assert_eq!(ben.get(&path).await.passed()["spec"]["replicas"], 3);
    ben.delete(&path).await.passed();
}

pub(super) async fn objects_name_no_other_tenant(cluster: Rc<Cluster>) {
    let ben = cluster.member_of_b();
    let path = "/api/v1/namespaces/tenant-b/configmaps";
    let other = ben.post(path, &config_map("other", &json!({"tenant": "tenant-a"}))).await;
    other.refused("tenant_ownership", &["names tenant `tenant-a`", "metadata.labels.tenant"]);
    ben.post(path, &config_map("own", &json!({"tenant": "tenant-b"}))).await.passed();
    let mut placed = pod("placed");
    placed["spec"]["nodeSelector"] = json!({"tenant": "tenant-a"});
    let placed = ben.post("/api/v1/namespaces/tenant-b/pods", &placed).await;
    placed.refused("tenant_ownership", &["names tenant `tenant-a`", "spec.nodeSelector.tenant"]);
}

pub(super) async fn service_accounts_belong_to_the_tenant_of_their_namespace(cluster: Rc<Cluster>) {
    let builder = cluster.service_account("tenant-b", "builder");
    let pipeline = cluster.user("pipeline@tenant-b.example.com", &["contractors"]);
    for (person, name) in [(&builder, "built"), (&pipeline, "piped")] {
        let own = person.post("/api/v1/namespaces/tenant-b/configmaps", &config_map(name, &json!({}))).await;
        own.passed();
        let other = person.post("/api/v1/namespaces/tenant-a/configmaps", &config_map(name, &json!({}))).await;
        other.refused("tenant_ownership", &["namespace `tenant-a` belongs to tenant `tenant-a`"]);
    }
    let account: Value = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "builder"}});
    let accounts = "/api/v1/namespaces/tenant-b/serviceaccounts";
    builder.post(accounts, &account).await.passed();
    // Who gets its token is the service account.
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let path = format!("{accounts}/builder/token");
    cluster.stranger().post(&path, &token).await.refused("tenant_ownership", &["is not a member"]);
    let granted = builder.post(&path, &token).await.passed();
    assert!(granted["status"]["token"].is_string(), "{granted}");
}
