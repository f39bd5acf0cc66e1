//! The real binary beside the API server, registered as both webhooks. Knows its flags and what it prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use portcullis::engine::{CompileOptions, PolicySummary, compile};
use portcullis::source::{LoadOptions, load};
use portcullis::webhook::{RegistrationOptions, Target, mutating, validating};
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
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
    pub(super) process: Process,
    state: PathBuf,
    url: String,
}

impl Gate {
    /// Starts the server with its state in `dir`, and waits until it says it is ready.
    pub(super) async fn start(control_plane: &ControlPlane, dir: &Path) -> Self {
        let state = dir.join("state");
        let tenants = dir.join("tenants.yaml");
        fs::write(&tenants, TENANTS).expect("a data file can be written");
        let mut command = portcullis();
        command.arg("serve");
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--cluster-name", "e2e"]);
        command.arg("--kubeconfig").arg(control_plane.webhook_kubeconfig());
        command.arg("--state-dir").arg(&state).arg("--data").arg(&tenants).arg("--policies").arg(policies());
        let mut process = Process::start("portcullis", command, dir);
        let (url, admin) = listening(&mut process).await;
        let ready = async || ureq::get(format!("{admin}/readyz")).call().map(drop).map_err(|e| format!("/readyz: {e}"));
        process.wait(READY_WITHIN, ready).await.unwrap_or_else(|fault| panic!("{fault}"));
        Self { process, state, url }
    }

    /// Both webhook configurations, by URL, for the policies that the server has loaded.
    pub(super) fn registrations(&self) -> [Value; 2] {
        let options = RegistrationOptions {
            name: REGISTRATION.to_owned(),
            target: Target::Url(self.url.clone()),
            ca_bundle: Some(fs::read(self.state.join("tls/ca.crt")).expect("the server has written its CA")),
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
        let dir = self.state.join("decisions");
        let files = fs::read_dir(&dir).expect("there is a decision log").map(|f| f.expect("a directory entry").path());
        let mut segments: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect();
        segments.sort();
        let text: String = segments.iter().map(|p| fs::read_to_string(p).expect("a segment can be read")).collect();
        let records =
            text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record is one line of JSON"));
        records.filter(|r| r["type"] == "decision").collect()
    }

    /// `portcullis decisions show ID`, as an auditor runs it beside the running server.
    pub(super) fn show(&self, id: &str) -> Output {
        let mut command = portcullis();
        command.args(["decisions", "show", id, "--decision-log"]).arg(self.state.join("decisions"));
        command.output().expect("the binary runs")
    }
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

/// The policies of the repository.
fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

fn summaries() -> Vec<PolicySummary> {
    let options = LoadOptions { policies: vec![policies()], ..LoadOptions::default() };
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
