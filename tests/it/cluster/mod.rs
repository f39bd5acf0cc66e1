//! End to end: the real binary as both webhooks of a real API server.
//!
//! By the envtest convention `KUBEBUILDER_ASSETS` names a folder with `etcd` and `kube-apiserver` (1.33 or newer);
//! without it the test says on stderr that it was skipped. Nothing leaves loopback, and nothing stays behind.

mod control_plane;
mod gate;
mod machinery;
mod namespaces;
mod objects;
mod outage;
mod people;
mod pods;
mod process;
mod record;
mod workloads;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Mutex;

use control_plane::{Account, ControlPlane};
use gate::{Gate, REGISTRATION};
use people::{Answer, Person};

/// API servers hear of a webhook configuration within a second or so.
const ACTIVE_WITHIN: Duration = Duration::from_secs(60);

/// An API server with Portcullis in front of it, and namespaces `tenant-a` and `tenant-b`.
struct Cluster {
    gate: Mutex<Gate>,
    control_plane: ControlPlane,
    _dir: TempDir,
}

type Case = Pin<Box<dyn Future<Output = ()>>>;

#[test]
fn a_real_api_server_asks_portcullis() {
    let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|a| !a.is_empty()).map(PathBuf::from) else {
        // Past the capture of the test harness: nobody should take a skipped test for one that passed.
        let text = "skipped: cluster::a_real_api_server_asks_portcullis needs KUBEBUILDER_ASSETS, a folder with etcd and \
                    kube-apiserver";
        writeln!(std::io::stderr(), "{text}").expect("stderr can be written");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let cluster = Rc::new(Cluster::start(&assets).await);
        let failed = run(&cluster).await;
        if !failed.is_empty() {
            let gate = cluster.gate.lock().await;
            let (gate, apiserver) = (gate.tail(), cluster.control_plane.apiserver.tail());
            panic!("{} failed: {}\n{gate}\n{apiserver}", failed.len(), failed.join(", "));
        }
    });
}

/// Every case in turn, whatever became of those before it; the names of those that failed.
async fn run(cluster: &Rc<Cluster>) -> Vec<&'static str> {
    macro_rules! cases {
        ($($room:ident :: $case:ident),* $(,)?) => {
            [$((
                concat!(stringify!($room), "::", stringify!($case)),
                Box::pin($room::$case(Rc::clone(cluster))) as Case,
            )),*]
        };
    }
    // The last ones read what the others left, and take the gate away.
    let cases = cases![
        pods::root_is_refused_with_policy_container_and_field,
        pods::a_good_pod_comes_back_with_its_defaults,
        pods::dry_runs_are_judged_and_leave_nothing,
        pods::ephemeral_containers_and_resizes_are_judged,
        pods::another_tenant_changes_and_deletes_nothing,
        pods::every_item_of_a_deletecollection_is_judged,
        pods::only_the_tenant_connects_to_its_pods,
        namespaces::nobody_takes_a_namespace_over,
        namespaces::only_the_platform_gives_a_namespace_to_a_tenant,
        namespaces::what_is_marked_phi_stays_so_and_is_safeguarded,
        namespaces::a_namespace_is_known_at_once,
        namespaces::the_namespace_controller_empties_and_finalizes,
        workloads::templates_are_judged_where_the_user_wrote_them,
        workloads::a_deployment_is_changed_and_scaled_by_its_tenant,
        workloads::objects_name_no_other_tenant,
        workloads::service_accounts_belong_to_the_tenant_of_their_namespace,
        machinery::controllers_create_and_collect_pods,
        machinery::scheduler_and_kubelet_run_a_pod,
        machinery::system_namespaces_and_nodes_are_observed,
        record::the_audit_log_leads_to_the_decision_log,
        outage::without_the_gate_tenants_stand_still_and_the_system_goes_on,
        outage::a_restarted_gate_goes_on_and_reads_what_it_cannot_watch,
        outage::one_deletion_undoes_the_registration,
    ];
    let mut failed = Vec::new();
    for (name, case) in cases {
        let started = Instant::now();
        let passed = tokio::task::spawn_local(case).await.is_ok();
        println!("{name}: {} ({:?})", if passed { "passed" } else { "FAILED, see above" }, started.elapsed());
        if !passed {
            failed.push(name);
        }
    }
    failed
}

impl Cluster {
    async fn start(assets: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let control_plane = ControlPlane::start(assets, dir.path()).await;
        let admin = Person::new(control_plane.client(None), "platform-admin");
        grant(&admin).await;
        let gate = Gate::start(&control_plane, dir.path()).await;
        let cluster = Self { gate: Mutex::new(gate), control_plane, _dir: dir };
        cluster.register(&admin).await;
        cluster
    }

    /// Registers both webhooks, waits until each is asked, and makes the tenants' namespaces.
    async fn register(&self, admin: &Person) {
        let [validating, mutating] = self.gate.lock().await.registrations();
        for (resource, configuration) in
            [("validatingwebhookconfigurations", validating), ("mutatingwebhookconfigurations", mutating)]
        {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{resource}");
            admin.post(&path, &configuration).await.passed();
        }
        let stranger = self.stranger();
        let claimed = objects::namespace("claimed", &json!({"tenant": "tenant-a"}));
        eventually(ACTIVE_WITHIN, async || {
            let answer = stranger.post("/api/v1/namespaces?dryRun=All", &claimed).await;
            if answer.code == 403 { Ok(()) } else { Err(format!("the validating webhook is not asked: {answer:?}")) }
        })
        .await;
        for tenant in ["tenant-a", "tenant-b"] {
            let namespace = objects::namespace(tenant, &json!({"tenant": tenant}));
            admin.post("/api/v1/namespaces", &namespace).await.passed();
        }
        let member = self.member_of_b();
        eventually(ACTIVE_WITHIN, async || {
            let answer = member.post("/api/v1/namespaces/tenant-b/pods?dryRun=All", &objects::pod("first")).await;
            let changed = !answer.at("/spec/securityContext/seccompProfile").is_null();
            if changed { Ok(()) } else { Err(format!("the mutating webhook is not asked: {answer:?}")) }
        })
        .await;
    }

    /// The platform's administrator, group `system:masters`.
    fn admin(&self) -> Person {
        Person::new(self.control_plane.client(None), "platform-admin")
    }

    /// A developer of tenant-a.
    fn member_of_a(&self) -> Person {
        self.user("anna@example.com", &["tenant-a-devs"])
    }

    /// A developer of tenant-b.
    fn member_of_b(&self) -> Person {
        self.user("ben@example.com", &["tenant-b-devs"])
    }

    /// Somebody of no tenant whom RBAC lets do anything.
    fn stranger(&self) -> Person {
        self.user("mallory@example.com", &["contractors"])
    }

    /// A service account, in the groups that the API server gives it.
    fn service_account(&self, namespace: &str, name: &str) -> Person {
        let group = format!("system:serviceaccounts:{namespace}");
        self.user(&format!("system:serviceaccount:{namespace}:{name}"), &["system:serviceaccounts", &group])
    }

    fn user(&self, name: &str, groups: &[&str]) -> Person {
        Person::new(self.control_plane.client(Some((name, groups))), name)
    }
}

/// Lets everybody of the test do anything, so that the webhook alone decides; and gives Portcullis itself what
/// `deploy/` gives it, and no more.
async fn grant(admin: &Person) {
    let base = "/apis/rbac.authorization.k8s.io/v1";
    let group = |name: &str| json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name});
    let everybody = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "everybody"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [
            group("tenant-a-devs"), group("tenant-b-devs"), group("contractors"), group("system:nodes"),
            group("system:serviceaccounts:kube-system"), group("system:serviceaccounts:tenant-b"),
            {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "system:kube-scheduler"},
        ],
    });
    admin.post(&format!("{base}/clusterrolebindings"), &everybody).await.passed();
    let reading = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "reads-namespaces"},
        "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}],
    });
    let unwatching = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "reads-namespaces"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reads-namespaces"},
        "subjects": [{
            "kind": "ServiceAccount", "namespace": "portcullis-system", "name": Account::Unwatching.name(),
        }],
    });
    admin.post(&format!("{base}/clusterroles"), &reading).await.passed();
    admin.post(&format!("{base}/clusterrolebindings"), &unwatching).await.passed();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base/rbac.yaml");
    let text = std::fs::read_to_string(&path).expect("the deployment has its RBAC");
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    for document in documents {
        let resource = match document["kind"].as_str() {
            Some("ClusterRole") => "clusterroles",
            Some("ClusterRoleBinding") => "clusterrolebindings",
            // Its namespace is not here; the token of the test is the same account's.
            Some("ServiceAccount") => continue,
            kind => panic!("{kind:?} in {} is not known to the test", path.display()),
        };
        admin.post(&format!("{base}/{resource}"), &document).await.passed();
    }
}

/// Asks until there is an answer; the last reason if time runs out.
async fn eventually<T>(within: Duration, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(found) => return found,
            Err(reason) if started.elapsed() > within => panic!("not within {within:?}: {reason}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
