//! What deploy/ sends to a cluster: rendered as kustomize does, held against Kubernetes' types and the promises made
//! in docs/operations.md. Needs no cluster and no kubectl.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use portcullis::engine::{CompileOptions, PolicySummary, compile};
use portcullis::source::{self, LoadOptions};
use portcullis::webhook::{RegistrationOptions, Target as Webhook, mutating, validating};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const OVERLAYS: [&str; 2] = ["deploy/overlays/observe", "deploy/overlays/enforce"];
const OWN_NAMESPACE: &str = "portcullis-system";
const SYSTEM_NAMESPACES: [&str; 4] = ["kube-system", "kube-node-lease", "kube-public", OWN_NAMESPACE];

// --- rendering -----------------------------------------------------------------------------------------------------

/// What these files use of kustomize. Anything else fails, so nothing is silently left out of the tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "sortOptions")]
    _sort_options: Option<Value>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    patches: Vec<Patch>,
    #[serde(default)]
    images: Vec<Image>,
    #[serde(default)]
    config_map_generator: Vec<Generator>,
    #[serde(default)]
    replacements: Vec<Replacement>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    kind: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    target: Target,
    patch: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Image {
    name: String,
    new_name: String,
    new_tag: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generator {
    name: String,
    namespace: String,
    files: Vec<String>,
    options: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement {
    source: Source,
    targets: Vec<ReplacementTarget>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Source {
    kind: String,
    name: String,
    field_path: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ReplacementTarget {
    select: Target,
    field_paths: Vec<String>,
    #[serde(rename = "options")]
    _options: Value,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn documents<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    serde_saphyr::from_multiple(&text(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn kustomization(dir: &Path) -> Kustomization {
    documents(&dir.join("kustomization.yaml")).pop().expect("one document")
}

/// In place of the file that every cluster makes for itself and that is never committed.
fn certificate() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "portcullis-tls", "namespace": OWN_NAMESPACE, "labels": {"app.kubernetes.io/name": "portcullis"}},
        "data": {"ca.crt": "Q0E=", "tls.crt": "Q1JU", "tls.key": "S0VZ"}})
}

/// The objects of a kustomization, as `kubectl kustomize` prints them but for the suffixes of ConfigMap names.
fn render(dir: &str) -> Vec<Value> {
    let mut objects = Vec::new();
    accumulate(&root().join(dir), &mut objects);
    objects
}

fn accumulate(dir: &Path, objects: &mut Vec<Value>) {
    let k = kustomization(dir);
    for resource in &k.resources {
        let path = dir.join(resource);
        if path.is_dir() {
            accumulate(&path, objects);
        } else if resource == "secret.yaml" {
            objects.push(certificate());
        } else {
            objects.extend(documents::<Value>(&path));
        }
    }
    for component in &k.components {
        accumulate(&dir.join(component), objects);
    }
    for generator in &k.config_map_generator {
        let data: BTreeMap<&String, String> = generator.files.iter().map(|f| (f, text(&dir.join(f)))).collect();
        objects.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data, "metadata":
            {"name": generator.name, "namespace": generator.namespace, "labels": generator.options["labels"]}}));
    }
    for image in &k.images {
        let used: Vec<&mut Value> = objects
            .iter_mut()
            .filter_map(|o| o.pointer_mut("/spec/template/spec/containers/0/image"))
            .filter(|i| i.as_str().is_some_and(|i| i.split(':').next() == Some(&image.name)))
            .collect();
        assert!(!used.is_empty(), "no container has the image {}", image.name);
        for place in used {
            *place = Value::String(format!("{}:{}", image.new_name, image.new_tag));
        }
    }
    for replacement in &k.replacements {
        replace(replacement, objects);
    }
    for patch in &k.patches {
        let operations: json_patch::Patch = serde_saphyr::from_str(&patch.patch).expect("JSON patch");
        let places = select(&patch.target, objects);
        assert!(!places.is_empty(), "{:?} is not there", patch.target);
        for place in places {
            json_patch::patch(place, &operations).expect("patch applies");
        }
    }
}

fn select<'a>(target: &Target, objects: &'a mut [Value]) -> Vec<&'a mut Value> {
    let fits = |o: &&mut Value| o["kind"] == target.kind.as_str() && o["metadata"]["name"] == target.name.as_str();
    objects.iter_mut().filter(fits).collect()
}

fn replace(replacement: &Replacement, objects: &mut [Value]) {
    let Source { kind, name, field_path } = &replacement.source;
    let source = Target { kind: kind.clone(), name: name.clone() };
    let value = {
        let places = select(&source, objects);
        let [place] = places.as_slice() else { panic!("not one {source:?}") };
        steps(field_path).iter().fold(&**place, |at, step| &at[step]).clone()
    };
    assert!(value.is_string(), "{source:?} has no {field_path}");
    for target in &replacement.targets {
        for place in select(&target.select, objects) {
            for path in &target.field_paths {
                set(place, &steps(path), &value);
            }
        }
    }
}

/// `data.ca\.crt` is two steps.
fn steps(path: &str) -> Vec<String> {
    path.replace("\\.", "\u{0}").split('.').map(|s| s.replace('\u{0}', ".")).collect()
}

fn set(place: &mut Value, path: &[String], value: &Value) {
    match path.split_first() {
        None => *place = value.clone(),
        Some((star, rest)) if star == "*" => {
            place.as_array_mut().expect("a list").iter_mut().for_each(|item| set(item, rest, value));
        }
        Some((step, rest)) => set(&mut place[step], rest, value),
    }
}

fn of_kind<T: DeserializeOwned>(objects: &[Value], kind: &str) -> Vec<T> {
    let typed = |o: &Value| serde_json::from_value(o.clone()).unwrap_or_else(|e| panic!("{kind}: {e}"));
    objects.iter().filter(|o| o["kind"] == kind).map(typed).collect()
}

fn one<T: DeserializeOwned>(objects: &[Value], kind: &str) -> T {
    let mut found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{kind}");
    found.remove(0)
}

fn webhooks(objects: &[Value]) -> Vec<Value> {
    objects.iter().filter_map(|o| o["webhooks"].as_array()).flatten().cloned().collect()
}

// --- the files -----------------------------------------------------------------------------------------------------

#[test]
fn every_file_is_there_and_every_file_is_used() {
    let mut named = BTreeSet::new();
    for dir in ["base", "cluster", "overlays/observe", "overlays/enforce", "policy-objects", "anchors"] {
        let dir = root().join("deploy").join(dir);
        named.insert(dir.join("kustomization.yaml"));
        let k = kustomization(&dir);
        let files = k.config_map_generator.iter().flat_map(|g| &g.files);
        for file in k.resources.iter().chain(&k.components).chain(files) {
            let path = dir.join(file);
            let made_by_the_user = text(&root().join("deploy/cluster/.gitignore")).contains(&format!("/{file}\n"));
            assert!(path.exists() || made_by_the_user, "{} names {file}", dir.display());
            named.insert(path);
        }
    }
    // For the AWS account, not for the cluster.
    named.insert(root().join("deploy/policy-objects/cloudformation.yaml"));
    let unused: Vec<_> = yaml_files(&root().join("deploy")).into_iter().filter(|f| !named.contains(f)).collect();
    assert_eq!(unused, Vec::<PathBuf>::new());
}

fn yaml_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("lists").map(|e| e.expect("entry").path());
    entries
        .flat_map(|path| if path.is_dir() { yaml_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect()
}

#[test]
fn every_field_is_one_that_kubernetes_knows() {
    for overlay in OVERLAYS {
        for object in render(overlay) {
            let kind = object["kind"].as_str().expect("kind");
            let known = match kind {
                "ClusterRole" => known::<ClusterRole>(&object),
                "ClusterRoleBinding" => known::<ClusterRoleBinding>(&object),
                "ConfigMap" => known::<ConfigMap>(&object),
                "MutatingWebhookConfiguration" => known::<MutatingWebhookConfiguration>(&object),
                "Namespace" => known::<Namespace>(&object),
                "NetworkPolicy" => known::<NetworkPolicy>(&object),
                "PodDisruptionBudget" => known::<PodDisruptionBudget>(&object),
                "ResourceQuota" => known::<ResourceQuota>(&object),
                "Secret" => known::<Secret>(&object),
                "Service" => known::<Service>(&object),
                "ServiceAccount" => known::<ServiceAccount>(&object),
                "StatefulSet" => known::<StatefulSet>(&object),
                "ValidatingWebhookConfiguration" => known::<ValidatingWebhookConfiguration>(&object),
                other => panic!("{other} is new here"),
            };
            let mut lost = Vec::new();
            differences(&object, &known, kind, &mut lost);
            assert_eq!(lost, Vec::<String>::new(), "{overlay}");
        }
    }
}

/// What the typed object keeps of it.
fn known<T: DeserializeOwned + serde::Serialize>(object: &Value) -> Value {
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|e| panic!("{object}: {e}"));
    serde_json::to_value(typed).expect("serializes")
}

fn differences(written: &Value, kept: &Value, at: &str, lost: &mut Vec<String>) {
    match (written, kept) {
        (Value::Object(w), Value::Object(k)) => {
            for (key, value) in w {
                match k.get(key) {
                    Some(kept) => differences(value, kept, &format!("{at}.{key}"), lost),
                    None => lost.push(format!("{at}.{key}")),
                }
            }
        }
        (Value::Array(w), Value::Array(k)) if w.len() == k.len() => {
            w.iter().zip(k).for_each(|(w, k)| differences(w, k, at, lost));
        }
        _ if written == kept => {}
        _ => lost.push(format!("{at}: {written} became {kept}")),
    }
}

#[test]
fn names_agree() {
    for overlay in OVERLAYS {
        let objects = render(overlay);
        let set: StatefulSet = one(&objects, "StatefulSet");
        let spec = set.spec.expect("spec");
        let pod = spec.template.spec.expect("pod");
        let labels = spec.template.metadata.and_then(|m| m.labels).expect("labels");
        let covers = |selector: &BTreeMap<String, String>| selector.iter().all(|(k, v)| labels.get(k) == Some(v));
        let services: Vec<Service> = of_kind(&objects, "Service");
        let name = |s: &Service| s.metadata.name.clone().unwrap_or_default();
        assert!(services.iter().all(|s| covers(s.spec.as_ref().and_then(|s| s.selector.as_ref()).expect("selector"))));
        assert!(services.iter().any(|s| Some(name(s)) == spec.service_name
            && s.spec.as_ref().is_some_and(|s| s.cluster_ip.as_deref() == Some("None"))));
        assert!(covers(&spec.selector.match_labels.expect("match labels")));
        let budget: PodDisruptionBudget = one(&objects, "PodDisruptionBudget");
        assert!(covers(&budget.spec.and_then(|s| s.selector?.match_labels).expect("match labels")));
        let network: NetworkPolicy = one(&objects, "NetworkPolicy");
        assert!(covers(&network.spec.and_then(|s| s.pod_selector?.match_labels).expect("match labels")));

        let front = services.iter().find(|s| name(s) == "portcullis").and_then(|s| s.spec.as_ref()).expect("service");
        let port = front.ports.iter().flatten().next().expect("port");
        let ports = pod.containers.first().and_then(|c| c.ports.clone()).expect("ports");
        let target = serde_json::to_value(&port.target_port).expect("port");
        assert!(ports.iter().any(|p| p.name.as_deref() == target.as_str() && p.container_port == 8443));
        for webhook in webhooks(&objects) {
            let service = &webhook["clientConfig"]["service"];
            assert_eq!(service["name"], "portcullis");
            assert_eq!(service["namespace"], OWN_NAMESPACE);
            assert_eq!(service["port"], port.port);
        }

        let volumes = serde_json::to_value(&pod.volumes).expect("volumes");
        for volume in volumes.as_array().expect("volumes") {
            let (kind, name) = match volume.get("configMap") {
                Some(map) => ("ConfigMap", &map["name"]),
                None => ("Secret", &volume["secret"]["secretName"]),
            };
            assert!(objects.iter().any(|o| o["kind"] == kind && o["metadata"]["name"] == *name), "{volume}");
        }
        let account: ServiceAccount = one(&objects, "ServiceAccount");
        assert_eq!(pod.service_account_name, account.metadata.name);
        let binding: ClusterRoleBinding = one(&objects, "ClusterRoleBinding");
        assert_eq!(Some(binding.role_ref.name), one::<ClusterRole>(&objects, "ClusterRole").metadata.name);
        let subject = binding.subjects.and_then(|mut s| s.pop()).expect("subject");
        assert_eq!((Some(subject.name), subject.namespace.as_deref()), (account.metadata.name, Some(OWN_NAMESPACE)));
        let clusterwide = [
            "Namespace",
            "ClusterRole",
            "ClusterRoleBinding",
            "ValidatingWebhookConfiguration",
            "MutatingWebhookConfiguration",
        ];
        for object in &objects {
            let kind = object["kind"].as_str().expect("kind");
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
            assert_eq!(namespace, (!clusterwide.contains(&kind)).then_some(OWN_NAMESPACE), "{kind}");
            assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/name"], "portcullis", "{kind}");
        }
    }
}

// --- the process ---------------------------------------------------------------------------------------------------

#[test]
fn the_pods_are_hardened_and_the_log_outlives_them() {
    for overlay in OVERLAYS {
        let set = render(overlay).into_iter().find(|o| o["kind"] == "StatefulSet").expect("set");
        let expected = [
            ("/spec/replicas", json!(3)),
            ("/spec/podManagementPolicy", json!("Parallel")),
            ("/spec/persistentVolumeClaimRetentionPolicy", json!({"whenDeleted": "Retain", "whenScaled": "Retain"})),
            ("/spec/template/spec/securityContext/runAsNonRoot", json!(true)),
            ("/spec/template/spec/securityContext/runAsUser", json!(65532)),
            ("/spec/template/spec/securityContext/seccompProfile", json!({"type": "RuntimeDefault"})),
            ("/spec/template/spec/priorityClassName", json!("system-cluster-critical")),
            ("/spec/template/spec/enableServiceLinks", json!(false)),
            (
                "/spec/template/spec/containers/0/securityContext",
                json!({
                "allowPrivilegeEscalation": false, "privileged": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]}}),
            ),
            ("/spec/template/spec/containers/0/resources/limits", json!({"memory": "1Gi"})),
            ("/spec/template/spec/containers/0/readinessProbe/httpGet", json!({"path": "/readyz", "port": "admin"})),
            ("/spec/template/spec/containers/0/livenessProbe/httpGet", json!({"path": "/livez", "port": "admin"})),
            ("/spec/volumeClaimTemplates/0/spec/accessModes", json!(["ReadWriteOnce"])),
        ];
        for (pointer, value) in expected {
            assert_eq!(set.pointer(pointer), Some(&value), "{overlay}: {pointer}");
        }
        let pod = &set["spec"]["template"]["spec"];
        assert_eq!(pod["containers"].as_array().map(Vec::len), Some(1));
        for never in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
            assert_eq!(pod.get(never), None, "{never}");
        }
    }
}

#[test]
fn a_replica_has_time_to_drain() {
    let set = render("deploy/overlays/enforce").into_iter().find(|o| o["kind"] == "StatefulSet").expect("set");
    let drain = arguments(&set)
        .into_iter()
        .find_map(|a| a.strip_prefix("--drain-delay=")?.strip_suffix('s')?.parse::<u64>().ok())
        .expect("a drain delay in seconds");
    let grace = set.pointer("/spec/template/spec/terminationGracePeriodSeconds").and_then(Value::as_u64);
    // 30 s is the longest timeout a webhook may have.
    assert!(grace.is_some_and(|grace| grace > drain + 30), "{grace:?} {drain}");
}

#[test]
fn the_volume_holds_more_than_the_log_may_grow_to() {
    let set = render("deploy/overlays/enforce").into_iter().find(|o| o["kind"] == "StatefulSet").expect("set");
    let size = set.pointer("/spec/volumeClaimTemplates/0/spec/resources/requests/storage").and_then(Value::as_str);
    let gib: u64 = size.and_then(|s| s.strip_suffix("Gi")).and_then(|s| s.parse().ok()).expect("GiB");
    assert!(gib > 10, "the decision log alone may take 10 GiB");
    assert!(!arguments(&set).iter().any(|a| a.starts_with("--decision-log-max-bytes")));
}

#[test]
fn everything_the_process_is_told_is_in_the_readme() {
    let readme = text(&root().join("README.md"));
    for overlay in OVERLAYS {
        let set = render(overlay).into_iter().find(|o| o["kind"] == "StatefulSet").expect("set");
        let arguments = arguments(&set);
        assert_eq!(arguments.first().map(String::as_str), Some("serve"));
        for argument in arguments.iter().skip(1) {
            let flag = argument.split('=').next().unwrap_or(argument);
            assert!(readme.contains(&format!("| `{flag}")), "{flag}");
        }
        for variable in environment(&set).keys() {
            assert!(readme.contains(&format!("`{variable}`")), "{variable}");
        }
        let mounts = set.pointer("/spec/template/spec/containers/0/volumeMounts").and_then(Value::as_array);
        for file in arguments.iter().filter_map(|a| a.split_once('=')).map(|(_, v)| v).filter(|v| v.starts_with('/')) {
            let mounted = |m: &Value| m["mountPath"].as_str().is_some_and(|p| file.starts_with(p));
            assert!(mounts.is_some_and(|m| m.iter().any(mounted)), "{file} is on no volume");
        }
    }
}

fn arguments(set: &Value) -> Vec<String> {
    let arguments = set.pointer("/spec/template/spec/containers/0/args").and_then(Value::as_array).expect("args");
    arguments.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn environment(set: &Value) -> BTreeMap<String, Value> {
    let env = set.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array).expect("env");
    env.iter().map(|e| (e["name"].as_str().expect("name").to_owned(), e["value"].clone())).collect()
}

#[test]
fn images_are_pinned() {
    let set = render("deploy/overlays/enforce").into_iter().find(|o| o["kind"] == "StatefulSet").expect("set");
    let image = set.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).expect("image");
    assert_eq!(image, format!("registry.example.com/portcullis:{}", env!("CARGO_PKG_VERSION")));
    let dockerfile = text(&root().join("Dockerfile"));
    let bases: Vec<&str> = dockerfile.lines().filter_map(|l| l.strip_prefix("FROM ")?.split(' ').next()).collect();
    assert_eq!(bases.len(), 2);
    for base in bases {
        let tag = base.rsplit_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|t| t != "latest"), "{base}");
    }
    assert!(
        dockerfile.contains(&format!("FROM rust:{}.", env!("CARGO_PKG_RUST_VERSION"))),
        "the toolchain we test with"
    );
    assert!(dockerfile.contains("USER 65532:65532") && dockerfile.contains("ENTRYPOINT [\"/portcullis\"]"));
}

/// What no webhook is asked about has its own roles and alarms, beside the overlays.
#[test]
fn policy_objects_are_guarded_without_a_webhook() {
    let objects = render("deploy/policy-objects");
    let kinds = ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"];
    let policies = ["validatingadmissionpolicies", "mutatingadmissionpolicies"];
    let bindings = ["validatingadmissionpolicybindings", "mutatingadmissionpolicybindings"];
    let all: BTreeSet<&str> = kinds.into_iter().chain(policies).chain(bindings).collect();
    for (name, changes) in [("portcullis-policy-objects-admin", true), ("portcullis-policy-objects-reader", false)] {
        let role = objects.iter().find(|o| o["kind"] == "ClusterRole" && o["metadata"]["name"] == name).expect("role");
        let role: ClusterRole = serde_json::from_value(role.clone()).expect("a role");
        let rules = role.rules.expect("rules");
        let [rule] = rules.as_slice() else { panic!("{rules:?}") };
        let resources: BTreeSet<&str> = rule.resources.iter().flatten().map(String::as_str).collect();
        assert_eq!((&rule.api_groups, resources), (&Some(vec!["admissionregistration.k8s.io".into()]), all.clone()));
        assert_eq!(rule.verbs.iter().any(|v| ["create", "update", "patch", "delete"].contains(&v.as_str())), changes);
        let bound = |o: &&Value| o["kind"] == "ClusterRoleBinding" && o["roleRef"]["name"] == name;
        assert_eq!(objects.iter().filter(bound).count(), 1, "{name}");
    }
    let rules = objects.iter().find(|o| o["kind"] == "PrometheusRule").expect("alerts");
    let alerts = rules["spec"]["groups"][0]["rules"].as_array().expect("rules");
    for (alert, metric) in [
        ("AdmissionRegistrationChanged", "apiserver_request_total{group=\"admissionregistration.k8s.io\""),
        ("PortcullisIsNotAsked", "apiserver_admission_webhook_admission_duration_seconds_count"),
        ("PortcullisFailsOpen", "apiserver_admission_webhook_fail_open_count"),
    ] {
        let found = alerts.iter().find(|a| a["alert"] == alert).unwrap_or_else(|| panic!("{alert}"));
        assert!(found["expr"].as_str().is_some_and(|e| e.contains(metric)), "{found}");
    }
    // The webhooks' own names are those that the alerts look for.
    for webhook in webhooks(&render("deploy/overlays/enforce")) {
        assert!(webhook["name"].as_str().is_some_and(|n| n.ends_with(".portcullis.io")), "{webhook}");
    }
}

#[test]
fn it_may_read_namespaces_and_nothing_else() {
    let objects = render("deploy/overlays/enforce");
    let role = objects.iter().find(|o| o["kind"] == "ClusterRole").expect("role");
    let rules = json!([{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]}]);
    assert_eq!(role["rules"], rules);
    let others = ["Role", "RoleBinding"];
    assert!(!objects.iter().any(|o| others.contains(&o["kind"].as_str().unwrap_or_default())));
}

/// What anchors in the cluster need, and only for the two objects that the configuration names.
#[test]
fn anchors_have_rights_to_their_objects_only() {
    let objects = render("deploy/anchors");
    let role: Role = one(&objects, "Role");
    let binding: RoleBinding = one(&objects, "RoleBinding");
    let base = render("deploy/overlays/enforce");
    let account: ServiceAccount = one(&base, "ServiceAccount");
    assert_eq!(binding.role_ref.name, role.metadata.name.clone().expect("a name"));
    let [subject] = &binding.subjects.expect("subjects")[..] else { panic!("one subject") };
    assert_eq!(
        (Some(&subject.name), subject.namespace.as_ref()),
        (account.metadata.name.as_ref(), account.metadata.namespace.as_ref())
    );
    assert_eq!(role.metadata.namespace, account.metadata.namespace);
    for rule in role.rules.expect("rules") {
        let creates = rule.verbs == ["create"];
        assert!(creates || rule.verbs == ["get", "patch"], "{rule:?}");
        assert_eq!(rule.resource_names.is_none(), creates, "{rule:?}");
    }
}

// --- the registration ----------------------------------------------------------------------------------------------

#[test]
fn webhooks_are_registered_as_promised() {
    for overlay in OVERLAYS {
        for webhook in webhooks(&render(overlay)) {
            let name = webhook["name"].as_str().expect("name");
            let expected = [
                ("sideEffects", json!("None")),
                ("matchPolicy", json!("Equivalent")),
                ("admissionReviewVersions", json!(["v1"])),
                ("timeoutSeconds", json!(5)),
            ];
            for (field, value) in expected {
                assert_eq!(webhook[field], value, "{name}: {field}");
            }
            assert_eq!(webhook["clientConfig"]["caBundle"], certificate()["data"]["ca.crt"], "{name}");
            let path = if name.contains(".validate.") { "/v1/validate" } else { "/v1/mutate" };
            assert_eq!(webhook["clientConfig"]["service"]["path"], path);
        }
    }
}

/// What an unanswered call does, and what an answer may do, in each overlay.
#[test]
fn observe_refuses_nothing_and_enforce_does() {
    let policies = |overlay: &str| -> BTreeMap<String, String> {
        let of = |w: Value| Some((w["name"].as_str()?.to_owned(), w["failurePolicy"].as_str()?.to_owned()));
        webhooks(&render(overlay)).into_iter().filter_map(of).collect()
    };
    let entries = |enforce: &str| -> BTreeMap<String, String> {
        let pair = |name: &str, policy: &str| (format!("{name}.portcullis.io"), policy.to_owned());
        [
            pair("enforce.validate", enforce),
            pair("enforce.mutate", enforce),
            pair("observe.validate", "Ignore"),
            pair("observe.mutate", "Ignore"),
        ]
        .into()
    };
    assert_eq!(policies("deploy/overlays/enforce"), entries("Fail"));
    assert_eq!(policies("deploy/overlays/observe"), entries("Ignore"));

    let settings = |overlay: &str| {
        let set = render(overlay).into_iter().find(|o| o["kind"] == "StatefulSet").expect("set");
        environment(&set)
    };
    let observe = settings("deploy/overlays/observe");
    assert_eq!(observe.get("PORTCULLIS_MAX_ENFORCEMENT"), Some(&json!("dryrun")));
    // Without it a shed or late request would be refused although no policy may refuse.
    assert_eq!(observe.get("PORTCULLIS_FAILURE_MODE"), Some(&json!("allow")));
    let enforce = settings("deploy/overlays/enforce");
    assert_eq!(enforce.keys().collect::<Vec<_>>(), ["PORTCULLIS_REPLICA", "PORTCULLIS_STATE_DIR"]);
}

/// A request as the API server's rules see it: `group/resource[/subresource]`, and the namespace it is in. For a
/// Namespace that is its own name.
struct Sent<'a> {
    operation: &'a str,
    resource: &'a str,
    namespace: Option<&'a str>,
}

impl Sent<'_> {
    fn group(&self) -> &str {
        self.resource.split('/').next().unwrap_or_default()
    }

    fn plural(&self) -> &str {
        self.resource.split('/').nth(1).unwrap_or_default()
    }

    /// `resource` or `resource/subresource`.
    fn path(&self) -> &str {
        self.resource.split_once('/').map_or("", |(_, path)| path)
    }

    /// As in the API server's rule matcher: a Namespace is cluster-scoped although it has its own name as namespace.
    fn fits(&self, rule: &RuleWithOperations) -> bool {
        let any = |list: &Option<Vec<String>>, value: &str| list.iter().flatten().any(|i| i == "*" || i == value);
        let namespaced = self.namespace.is_some() && self.plural() != "namespaces";
        let scope = match rule.scope.as_deref() {
            Some("Namespaced") => namespaced,
            Some("Cluster") => !namespaced,
            _ => true,
        };
        let resources = rule.resources.iter().flatten().any(|pattern| match pattern.split_once('/') {
            Some((r, s)) => {
                let (resource, sub) = self.path().split_once('/').unwrap_or((self.path(), ""));
                (r == "*" || r == resource) && (s == "*" || s == sub)
            }
            None => pattern == self.path() || pattern == "*" && !self.path().contains('/'),
        });
        scope && resources && any(&rule.api_groups, self.group()) && any(&rule.operations, self.operation)
    }

    fn meets(&self, expression: &str) -> bool {
        let mut cel = Cel { rest: expression, sent: self };
        let met = cel.or();
        assert_eq!(cel.rest, "", "{expression}");
        met
    }

    /// Selectors on the namespace's name are the only ones used.
    fn selected(&self, webhook: &Value) -> bool {
        let Some(namespace) = self.namespace else { return true };
        let expressions = webhook["namespaceSelector"]["matchExpressions"].as_array().expect("selector");
        expressions.iter().all(|e| {
            assert_eq!(e["key"], "kubernetes.io/metadata.name");
            let values: Vec<&str> = e["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            assert_eq!(values, SYSTEM_NAMESPACES);
            match e["operator"].as_str() {
                Some("In") => values.contains(&namespace),
                Some("NotIn") => !values.contains(&namespace),
                other => panic!("{other:?}"),
            }
        })
    }

    fn takers(&self, webhooks: &[Value]) -> Vec<String> {
        let takes = |w: &&Value| {
            let rules: Vec<RuleWithOperations> = serde_json::from_value(w["rules"].clone()).expect("rules");
            let conditions = w["matchConditions"].as_array().into_iter().flatten();
            rules.iter().any(|r| self.fits(r))
                && self.selected(w)
                && conditions.filter_map(|c| c["expression"].as_str()).all(|c| self.meets(c))
        };
        let name = |w: &Value| w["name"].as_str().map(|n| n.trim_end_matches(".portcullis.io").to_owned());
        webhooks.iter().filter(takes).filter_map(name).collect()
    }
}

/// As much of CEL as the match conditions use: `! && || == in`, brackets, lists, two fields of the request.
struct Cel<'a> {
    rest: &'a str,
    sent: &'a Sent<'a>,
}

impl<'a> Cel<'a> {
    fn or(&mut self) -> bool {
        let mut value = self.and();
        while self.eat("||") {
            value |= self.and();
        }
        value
    }

    fn and(&mut self) -> bool {
        let mut value = self.unary();
        while self.eat("&&") {
            value &= self.unary();
        }
        value
    }

    fn unary(&mut self) -> bool {
        if self.eat("!") {
            return !self.unary();
        }
        if self.eat("(") {
            let value = self.or();
            assert!(self.eat(")"), "a bracket is open before {}", self.rest);
            return value;
        }
        let field = if self.eat("request.resource.group") {
            self.sent.group()
        } else {
            assert!(self.eat("request.resource.resource"), "{}", self.rest);
            self.sent.plural()
        };
        if self.eat("==") {
            return self.text() == field;
        }
        assert!(self.eat("in") && self.eat("["), "{}", self.rest);
        let mut found = self.text() == field;
        while self.eat(",") {
            found |= self.text() == field;
        }
        assert!(self.eat("]"), "{}", self.rest);
        found
    }

    fn text(&mut self) -> &'a str {
        assert!(self.eat("\""), "{}", self.rest);
        let (text, rest) = self.rest.split_once('"').expect("a closing quote");
        self.rest = rest.trim_start();
        text
    }

    fn eat(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = if token == "\"" { rest } else { rest.trim_start() };
        true
    }
}

/// Which entry gets which request: operation, group/resource, namespace, entries.
const ROUTES: &[(&str, &str, Option<&str>, &[&str])] = &[
    // Pods in all their shapes, and the ways around a policy.
    ("CREATE", "/pods", Some("tenant-b"), &["enforce.validate", "enforce.mutate"]),
    ("UPDATE", "/pods", Some("tenant-b"), &["enforce.validate"]),
    ("UPDATE", "/pods/ephemeralcontainers", Some("tenant-b"), &["enforce.validate"]),
    ("UPDATE", "/pods/resize", Some("tenant-b"), &["enforce.validate"]),
    ("CREATE", "/pods/binding", Some("tenant-b"), &["enforce.validate"]),
    ("CREATE", "/pods/eviction", Some("tenant-b"), &["enforce.validate"]),
    ("CONNECT", "/pods/exec", Some("tenant-b"), &["enforce.validate"]),
    ("CONNECT", "/services/proxy", Some("tenant-b"), &["enforce.validate"]),
    ("DELETE", "apps/deployments", Some("tenant-b"), &["enforce.validate"]),
    ("UPDATE", "apps/deployments/scale", Some("tenant-b"), &["enforce.validate"]),
    ("CREATE", "batch/cronjobs", Some("default"), &["enforce.validate"]),
    ("CREATE", "rds.services.k8s.aws/dbinstances", Some("tenant-b"), &["enforce.validate"]),
    ("CREATE", "/serviceaccounts/token", Some("tenant-b"), &["enforce.validate"]),
    // Namespaces, by their own name.
    ("CREATE", "/namespaces", Some("tenant-b"), &["enforce.validate", "enforce.mutate"]),
    ("UPDATE", "/namespaces/finalize", Some("tenant-b"), &["enforce.validate"]),
    ("UPDATE", "/namespaces/status", Some("tenant-b"), &["enforce.validate"]),
    ("DELETE", "/namespaces", Some("kube-system"), &["observe.validate"]),
    // Where the cluster mends itself, and Portcullis itself.
    ("CREATE", "/pods", Some("kube-system"), &["observe.validate", "observe.mutate"]),
    ("CREATE", "/pods", Some(OWN_NAMESPACE), &["observe.validate", "observe.mutate"]),
    ("UPDATE", "apps/statefulsets", Some(OWN_NAMESPACE), &["observe.validate"]),
    ("CREATE", "/configmaps", Some("kube-public"), &["observe.validate"]),
    ("CREATE", "/nodes", None, &["observe.validate"]),
    ("CONNECT", "/nodes/proxy", None, &["observe.validate"]),
    ("DELETE", "karpenter.sh/nodeclaims", None, &["observe.validate"]),
    ("CREATE", "certificates.k8s.io/certificatesigningrequests", None, &["observe.validate"]),
    ("UPDATE", "certificates.k8s.io/certificatesigningrequests/approval", None, &["observe.validate"]),
    ("CREATE", "/persistentvolumes", None, &["observe.validate"]),
    ("CREATE", "storage.k8s.io/volumeattachments", None, &["observe.validate"]),
    ("CREATE", "storage.k8s.io/storageclasses", None, &["observe.validate"]),
    ("DELETE", "apiextensions.k8s.io/customresourcedefinitions", None, &["observe.validate"]),
    ("DELETE", "snapshot.storage.k8s.io/volumesnapshotcontents", None, &["observe.validate"]),
    ("DELETE", "storage.k8s.io/csinodes", None, &["observe.validate"]),
    ("CREATE", "karpenter.sh/nodepools", None, &["observe.validate"]),
    ("UPDATE", "eks.amazonaws.com/nodeclasses", None, &["observe.validate"]),
    ("CREATE", "rbac.authorization.k8s.io/clusterrolebindings", None, &["observe.validate"]),
    ("UPDATE", "rbac.authorization.k8s.io/clusterroles", None, &["observe.validate"]),
    ("CREATE", "rbac.authorization.k8s.io/rolebindings", Some("tenant-b"), &["enforce.validate"]),
    ("CREATE", "templates.gatekeeper.sh/constrainttemplates", None, &["enforce.validate"]),
    ("CREATE", "kro.run/resourcegraphdefinitions", None, &["enforce.validate"]),
    // Never sent.
    ("UPDATE", "/nodes/status", None, &[]),
    ("UPDATE", "coordination.k8s.io/leases", Some("kube-node-lease"), &[]),
    ("UPDATE", "coordination.k8s.io/leases", Some("tenant-b"), &[]),
    ("CREATE", "/events", Some("tenant-b"), &[]),
    ("CREATE", "events.k8s.io/events", Some("kube-system"), &[]),
    ("CREATE", "authentication.k8s.io/tokenreviews", None, &[]),
    ("CREATE", "authorization.k8s.io/subjectaccessreviews", None, &[]),
    ("CREATE", "authorization.k8s.io/localsubjectaccessreviews", Some("tenant-b"), &[]),
    ("UPDATE", "admissionregistration.k8s.io/validatingwebhookconfigurations", None, &[]),
    // Of the cluster itself, and no shipped policy's business: without these Portcullis could not come back.
    ("UPDATE", "apiregistration.k8s.io/apiservices/status", None, &[]),
];

#[test]
fn each_request_goes_to_the_right_entry() {
    route(&webhooks(&render("deploy/overlays/enforce")));
}

fn route(webhooks: &[Value]) {
    for (operation, resource, namespace, expected) in ROUTES {
        let sent = Sent { operation, resource, namespace: *namespace };
        let mut takers = sent.takers(webhooks);
        let mut expected: Vec<&str> = expected.to_vec();
        takers.sort_unstable();
        expected.sort_unstable();
        assert_eq!(takers, expected, "{operation} {resource} in {namespace:?}");
    }
}

#[test]
fn one_command_takes_the_webhooks_away() {
    let undo = "kubectl delete validatingwebhookconfigurations,mutatingwebhookconfigurations -l app.kubernetes.io/name=portcullis";
    for file in ["README.md", "docs/operations.md"] {
        assert!(text(&root().join(file)).contains(undo), "{file}");
    }
    let configurations = render("deploy/overlays/enforce").into_iter().filter(|o| o.get("webhooks").is_some());
    assert_eq!(configurations.filter(|o| o["metadata"]["labels"]["app.kubernetes.io/name"] == "portcullis").count(), 2);
}

/// The files and the program agree on what the shipped policies need: the same in all but the wording of the rules,
/// and these send the same requests to the same entries.
#[test]
fn the_registration_is_what_the_program_derives_from_the_shipped_policies() {
    let options = LoadOptions { policies: vec![root().join("policies")], ..LoadOptions::default() };
    let loaded = source::load(&options).expect("loads");
    let compiled = compile(&loaded.sources, CompileOptions::default()).expect("compiles");
    let policies: Vec<PolicySummary> = compiled.snapshot.policies().cloned().collect();
    let options = RegistrationOptions {
        name: "portcullis".into(),
        target: Webhook::Service { name: "portcullis".into(), namespace: OWN_NAMESPACE.into() },
        ca_bundle: Some(b"CA".to_vec()),
        excluded_namespaces: vec![OWN_NAMESPACE.into()],
        failure_policy: "Fail".into(),
        timeout_seconds: 5,
    };
    let derived = [
        serde_json::to_value(validating(&policies, &options)).expect("serializes"),
        serde_json::to_value(mutating(&policies, &options)).expect("serializes"),
    ];
    route(&webhooks(&derived));

    let written = render("deploy/overlays/enforce").into_iter().filter(|o| o.get("webhooks").is_some());
    for mut written in written {
        let mut derived = derived.iter().find(|d| d["kind"] == written["kind"]).expect("of that kind").clone();
        for configuration in [&mut written, &mut derived] {
            for webhook in configuration["webhooks"].as_array_mut().expect("webhooks") {
                assert!(webhook.as_object_mut().and_then(|w| w.remove("rules")).is_some());
            }
        }
        assert_eq!(written, derived);
    }
}
