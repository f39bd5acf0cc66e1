//! Objects of the test, as plain JSON.

use serde_json::{Value, json};

/// A Pod that the shipped policies let pass, with an init container.
pub(super) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": pod_spec(),
    })
}

/// A Pod whose container `app` asks for root.
pub(super) fn root_pod(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"] = root_spec();
    pod
}

fn pod_spec() -> Value {
    let resources = json!({"requests": {"cpu": "10m"}, "limits": {"cpu": "100m"}});
    json!({
        "securityContext": {"runAsNonRoot": true},
        "initContainers": [{"name": "setup", "image": "registry.example.com/setup:1.0"}],
        "containers": [{"name": "app", "image": "registry.example.com/app:1.0", "resources": resources}],
    })
}

fn root_spec() -> Value {
    let mut spec = pod_spec();
    spec["containers"][0]["securityContext"] = json!({"runAsUser": 0, "runAsNonRoot": false});
    spec
}

fn template(app: &str, spec: &Value) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": spec})
}

/// A Deployment of one good Pod.
pub(super) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, &pod_spec()),
        },
    })
}

/// Workloads whose Pods would ask for root: the collection's path after `/namespaces/<ns>/`, where the template's
/// `spec` is in them, and the object.
pub(super) fn root_workloads() -> Vec<(&'static str, &'static str, Value)> {
    let of = |api_version: &str, kind: &str, spec: Value| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "root"}, "spec": spec});
    let selected = || json!({"selector": {"matchLabels": {"app": "root"}}, "template": template("root", &root_spec())});
    let mut job_spec = root_spec();
    job_spec["restartPolicy"] = json!("Never");
    let job = json!({"template": template("root", &job_spec)});
    let mut stateful = selected();
    stateful["serviceName"] = json!("root");
    vec![
        ("apis/apps/v1/deployments", "spec.template.spec", of("apps/v1", "Deployment", selected())),
        ("apis/apps/v1/replicasets", "spec.template.spec", of("apps/v1", "ReplicaSet", selected())),
        ("apis/apps/v1/daemonsets", "spec.template.spec", of("apps/v1", "DaemonSet", selected())),
        ("apis/apps/v1/statefulsets", "spec.template.spec", of("apps/v1", "StatefulSet", stateful)),
        ("apis/batch/v1/jobs", "spec.template.spec", of("batch/v1", "Job", job.clone())),
        (
            "apis/batch/v1/cronjobs",
            "spec.jobTemplate.spec.template.spec",
            of("batch/v1", "CronJob", json!({"schedule": "@daily", "jobTemplate": {"spec": job}})),
        ),
    ]
}

/// A ConfigMap with labels.
pub(super) fn config_map(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels},
        "data": {"colour": "green"},
    })
}

/// A Namespace with labels.
pub(super) fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}
