//! Namespaces: whose they are, and that nobody makes them somebody else's.

use std::rc::Rc;

use serde_json::{Value, json};

use super::Cluster;
use super::objects::{config_map, namespace, pod};

const NAMESPACES: &str = "/api/v1/namespaces";

pub(super) async fn nobody_takes_a_namespace_over(cluster: Rc<Cluster>) {
    let admin = cluster.admin();
    let path = format!("{NAMESPACES}/tenant-b");
    let now = admin.get(&path).await.passed();
    let labelled = |tenant: Value| json!({"metadata": {"labels": {"tenant": tenant}}});
    // Of the tenant that would get it, of the one that has it, and of the platform itself.
    for person in [cluster.member_of_a(), cluster.member_of_b(), cluster.admin()] {
        for door in [path.clone(), format!("{path}/status")] {
            let taken = person.merge(&door, &labelled(json!("tenant-a"))).await;
            taken.refused(
                "tenant_ownership",
                &["its tenant label cannot be changed to `tenant-a`", "metadata.labels.tenant"],
            );
            let freed = person.merge(&door, &labelled(Value::Null)).await;
            freed.refused("tenant_ownership", &["its tenant label cannot be removed"]);
        }
        let mut finalized = now.clone();
        finalized["metadata"]["labels"]["tenant"] = json!("tenant-a");
        let taken = person.put(&format!("{path}/finalize"), &finalized).await;
        taken.refused("tenant_ownership", &["its tenant label cannot be changed to `tenant-a`"]);
    }
    let anna = cluster.member_of_a();
    let annotated = json!({"metadata": {"annotations": {"touched": "yes"}}});
    anna.merge(&path, &annotated).await.refused("tenant_ownership", &["`anna@example.com` is not a member"]);
    assert_eq!(admin.get(&path).await.passed()["metadata"]["labels"], now["metadata"]["labels"]);
    cluster.member_of_b().merge(&path, &annotated).await.passed();
}

pub(super) async fn only_the_platform_gives_a_namespace_to_a_tenant(cluster: Rc<Cluster>) {
    let anna = cluster.member_of_a();
    let labels = json!({"tenant": "tenant-a"});
    let own = anna.post(NAMESPACES, &namespace("annas", &labels)).await;
    own.refused("tenant_ownership", &["only the platform gives a namespace to a tenant", "metadata.labels.tenant"]);
    anna.post(NAMESPACES, &namespace("free", &json!({}))).await.passed();
    let claimed = anna.merge(&format!("{NAMESPACES}/free"), &json!({"metadata": {"labels": labels}})).await;
    claimed.refused("tenant_ownership", &["only the platform gives a namespace to a tenant"]);
    let unknown = cluster.admin().post(NAMESPACES, &namespace("odd", &json!({"tenant": "tenant-x"}))).await;
    let warning = "tenant `tenant-x` is not in data.tenants";
    assert!(unknown.warnings.iter().any(|w| w.contains(warning)), "no warning: {unknown:?}");
    unknown.passed();
}

pub(super) async fn what_is_marked_phi_stays_so_and_is_safeguarded(cluster: Rc<Cluster>) {
    let (admin, ben) = (cluster.admin(), cluster.member_of_b());
    let labels = json!({"tenant": "tenant-b", "classification": "phi"});
    admin.post(NAMESPACES, &namespace("records", &labels)).await.passed();
    let pods = format!("{NAMESPACES}/records/pods");
    let unmarked = ben.post(&pods, &pod("unmarked")).await;
    unmarked
        .refused("phi_classification", &["must carry the label `classification`", "metadata.labels.classification"]);
    let mut marked = pod("marked");
    marked["metadata"]["labels"]["classification"] = json!("phi");
    marked["spec"]["hostPID"] = json!(true);
    ben.post(&pods, &marked).await.refused("phi_classification", &["spec.hostPID"]);
    marked["spec"]["hostPID"] = json!(false);
    ben.post(&pods, &marked).await.passed();
    let lowered = json!({"metadata": {"labels": {"classification": "internal"}}});
    for door in [format!("{pods}/marked"), format!("{pods}/marked/status"), format!("{NAMESPACES}/records")] {
        ben.merge(&door, &lowered).await.refused("phi_classification", &["cannot be lowered to `internal`"]);
    }
}

/// The webhook's own view may be a moment behind the API server's, and nobody sees it.
pub(super) async fn a_namespace_is_known_at_once(cluster: Rc<Cluster>) {
    let (admin, ben, stranger) = (cluster.admin(), cluster.member_of_b(), cluster.stranger());
    for i in 0..8 {
        let name = format!("fresh-{i}");
        let path = format!("{NAMESPACES}/{name}");
        admin.post(NAMESPACES, &namespace(&name, &json!({"tenant": "tenant-b"}))).await.passed();
        // In turn, each as the very first request after the namespace was made.
        if i % 2 == 0 {
            let made = ben.post(&format!("{path}/pods"), &pod("first")).await.passed();
            assert_eq!(made["metadata"]["labels"]["tenant"], "tenant-b");
        } else {
            let refused = stranger.post(&format!("{path}/configmaps"), &config_map("first", &json!({}))).await;
            refused.refused("tenant_ownership", &[&format!("namespace `{name}` belongs to tenant `tenant-b`")]);
        }
    }
}

pub(super) async fn the_namespace_controller_empties_and_finalizes(cluster: Rc<Cluster>) {
    let (admin, ben) = (cluster.admin(), cluster.member_of_b());
    admin.post(NAMESPACES, &namespace("leaving", &json!({"tenant": "tenant-b"}))).await.passed();
    let path = format!("{NAMESPACES}/leaving");
    ben.post(&format!("{path}/pods"), &pod("last")).await.passed();
    ben.delete(&path).await.refused("tenant_ownership", &["may not delete it"]);
    cluster.stranger().delete(&path).await.refused("tenant_ownership", &["may not delete it"]);
    let mut leaving = admin.delete(&path).await.passed();
    assert_eq!(leaving["status"]["phase"], "Terminating");
    let controller = cluster.service_account("kube-system", "namespace-controller");
    controller.delete(&format!("{path}/pods")).await.passed();
    controller.get(&format!("{path}/pods/last")).await.has_code(404);
    leaving["spec"]["finalizers"] = json!([]);
    controller.put(&format!("{path}/finalize"), &leaving).await.passed();
    admin.get(&path).await.has_code(404);
}
