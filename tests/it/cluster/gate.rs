//! The real binary beside the API server, registered as both webhooks. Knows its flags and what it prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use portcullis::engine::{CompileOptions, PolicySummary, compile};
use portcullis::source::{LoadOptions, load};
use portcullis::webhook::{RegistrationOptions, Target, mutating, validating};
use serde_json::{Value, json};

use super::control_plane::{Account, ControlPlane};
use super::process::Process;

/// `metadata.name` of both webhook configurations.
pub(super) const REGISTRATION: &str = "portcullis";

const READY_WITHIN: Duration = Duration::from_secs(60);

/// The tenants of the test; the shipped policies read them as `data.tenants`.
const TENANTS: &str = "\
tenants:
  tenant-a: {groups: [tenant-a-devs], users: []}
  tenant-b: {groups: [tenant-b-devs], users: [pipeline@tenant-b.example.com]}
";

/// A running `portcullis serve`.
pub(super) struct Gate {
    process: Process,
    dir: PathBuf,
    webhook: String,
    admin: String,
}

impl Gate {
    /// Starts the server with its files in `dir`, and waits until it says it is ready.
    pub(super) async fn start(control_plane: &ControlPlane, dir: &Path) -> Self {
        fs::write(dir.join("tenants.yaml"), TENANTS).expect("a data file can be written");
        let kubeconfig = control_plane.kubeconfig(Account::Deployed);
        let mut process = Process::start("portcullis", serve(dir, &kubeconfig, "127.0.0.1:0"), dir);
        let (webhook, admin) = listening(&mut process).await;
        let mut gate = Self { process, dir: dir.to_owned(), webhook, admin };
        gate.wait_until("/readyz").await;
        gate
    }

    /// Kills the server, as a node that loses its power would.
    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again under another account, with the same state and at the same address; waits until it lives.
    pub(super) async fn restart(&mut self, control_plane: &ControlPlane, account: Account) {
        self.kill();
        let listen = self.webhook.trim_start_matches("https://").to_owned();
        let command = serve(&self.dir, &control_plane.kubeconfig(account), &listen);
        self.process = Process::start("portcullis-restarted", command, &self.dir);
        (self.webhook, self.admin) = listening(&mut self.process).await;
        self.wait_until("/livez").await;
    }

    async fn wait_until(&mut self, path: &str) {
        let url = format!("{}{path}", self.admin);
        let ready = async || ureq::get(&url).call().map(drop).map_err(|e| format!("{path}: {e}"));
        self.process.wait(READY_WITHIN, ready).await.unwrap_or_else(|fault| panic!("{fault}"));
    }

    /// Whether `/readyz` says yes.
    pub(super) fn is_ready(&self) -> bool {
        match ureq::get(format!("{}/readyz", self.admin)).call() {
            Ok(_) => true,
            Err(ureq::Error::StatusCode(503)) => false,
            Err(other) => panic!("/readyz: {other}"),
        }
    }

    /// The last that it said, for people.
    pub(super) fn tail(&self) -> String {
        self.process.tail()
    }

    /// Both webhook configurations, by URL, for the policies that the server has loaded.
    pub(super) fn registrations(&self) -> [Value; 2] {
        let options = RegistrationOptions {
            name: REGISTRATION.to_owned(),
            target: Target::Url(self.webhook.clone()),
            ca_bundle: Some(fs::read(self.dir.join("state/tls/ca.crt")).expect("the server has written its CA")),
            excluded_namespaces: vec!["portcullis-system".to_owned()],
            failure_policy: "Fail".to_owned(),
            // The longest there is: a slow machine is no reason to fail.
            timeout_seconds: 30,
        };
        let policies = summaries();
        let validating = validating(&policies, &options).expect("some policy validates");
        let mutating = mutating(&policies, &options).expect("some policy mutates");
        [json!(validating), json!(mutating)]
    }

    /// The envelopes of all decisions so far.
    pub(super) fn decisions(&self) -> Vec<Value> {
        self.records().into_iter().filter(|r| r["type"] == "decision").collect()
    }

    /// All envelopes so far: decisions, starts and so on.
    pub(super) fn records(&self) -> Vec<Value> {
        let files = fs::read_dir(self.decision_log()).expect("there is a decision log");
        let files = files.map(|f| f.expect("a directory entry").path());
        let mut segments: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect();
        segments.sort();
        let text: String = segments.iter().map(|p| fs::read_to_string(p).expect("a segment can be read")).collect();
        text.lines().map(|line| serde_json::from_str(line).expect("a record is one line of JSON")).collect()
    }

    /// `portcullis decisions show ID`, as an auditor runs it beside the running server.
    pub(super) fn show(&self, id: &str) -> Output {
        let mut command = portcullis();
        command.args(["decisions", "show", id, "--decision-log"]).arg(self.decision_log());
        command.output().expect("the binary runs")
    }

    /// `portcullis decisions verify` against the checkpoints in the API server's audit log.
    pub(super) fn verify(&self, audit_log: &Path) -> Output {
        let mut command = portcullis();
        command.args(["decisions", "verify", "-o", "json", "--decision-log"]).arg(self.decision_log());
        command.arg("--checkpoint").arg(audit_log).output().expect("the binary runs")
    }

    fn decision_log(&self) -> PathBuf {
        self.dir.join("state/decisions")
    }
}

fn serve(dir: &Path, kubeconfig: &Path, listen: &str) -> Command {
    let mut command = portcullis();
    command.args(["serve", "--listen", listen, "--admin-listen", "127.0.0.1:0", "--cluster-name", "e2e"]);
    command.arg("--kubeconfig").arg(kubeconfig);
    command.arg("--state-dir").arg(dir.join("state"));
    command.arg("--data").arg(dir.join("tenants.yaml"));
    for place in policies() {
        command.arg("--policies").arg(place);
    }
    command
}

/// The binary, with nothing of the caller's own settings.
fn portcullis() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("PORTCULLIS_") || name_text.starts_with("KUBERNETES_SERVICE_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The four policies that these cases are about; the other packs have cases of their own.
fn policies() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let own = ["pods", "data/phi_classification.rego", "tenancy/tenant_ownership.rego", "lib"];
    own.into_iter().map(|place| root.join(place)).collect()
}

fn summaries() -> Vec<PolicySummary> {
    let options = LoadOptions { policies: policies(), ..LoadOptions::default() };
    let loaded = load(&options).unwrap_or_else(|e| panic!("the shipped policies do not load: {e:?}"));
    let compiled = compile(&loaded.sources, CompileOptions::default());
    let compiled = compiled.unwrap_or_else(|e| panic!("the shipped policies do not compile: {e:?}"));
    compiled.snapshot.policies().cloned().collect()
}

/// The base URLs of the webhook and of health, with the real ports, as they are printed at the start.
async fn listening(process: &mut Process) -> (String, String) {
    let log = process.output_file();
    let said = async || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        // `webhook:      https://127.0.0.1:41237/v1/validate and /v1/mutate`
        let url = |label: &str| {
            let line = text.split_inclusive('\n').find(|l| l.starts_with(label) && l.ends_with('\n'))?;
            let words = line.split_whitespace();
            let (scheme, rest) = words.skip(1).find_map(|word| word.split_once("://"))?;
            Some(format!("{scheme}://{}", rest.split('/').next()?))
        };
        url("webhook:").zip(url("admin:")).ok_or_else(|| "it has not said where it listens".to_owned())
    };
    process.wait(READY_WITHIN, said).await.unwrap_or_else(|fault| panic!("{fault}"))
}
