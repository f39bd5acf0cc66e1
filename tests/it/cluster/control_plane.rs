//! etcd and kube-apiserver on loopback, in a directory of their own. Knows flags and files; not what is tested.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kube::config::AuthInfo;
use kube::{Client, Config};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use super::process::Process;

/// On a busy machine of two cores an API server takes about 15 s.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A free port may be taken by somebody else before its new owner binds it.
const ATTEMPTS: usize = 4;

/// One look at whether the API server is ready.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

const ADMIN_TOKEN: &str = "platform-admin-token";

/// Accounts that Portcullis may run under.
#[derive(Clone, Copy)]
pub(super) enum Account {
    /// The one that `deploy/` makes.
    Deployed,
    /// One that may read a Namespace, but neither list nor watch them.
    Unwatching,
}

impl Account {
    const ALL: [Self; 2] = [Self::Deployed, Self::Unwatching];

    /// The service account in `portcullis-system`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Deployed => "portcullis",
            Self::Unwatching => "portcullis-unwatching",
        }
    }

    /// The API server's name for it.
    pub(super) fn username(self) -> String {
        format!("system:serviceaccount:portcullis-system:{}", self.name())
    }

    fn token(self) -> String {
        format!("{}-token", self.name())
    }
}

/// Metadata is the level at which an audit trail is usually kept; annotations appear from there on.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: None, users: [\"system:apiserver\"]}
- {level: None, verbs: [list, watch]}
- {level: Metadata}
";

/// A control plane without nodes, scheduler or controllers.
pub(super) struct ControlPlane {
    pub(super) apiserver: Process,
    _etcd: Process,
    url: String,
    ca: String,
    dir: PathBuf,
}

impl ControlPlane {
    /// Starts both programs of `assets` with their files in `dir`, and waits until requests are served.
    pub(super) async fn start(assets: &Path, dir: &Path) -> Self {
        let ca = write_credentials(dir);
        let (etcd, etcd_url) = retried(async |attempt| start_etcd(assets, dir, attempt).await).await;
        let (apiserver, url) = retried(async |_| start_apiserver(assets, dir, &etcd_url, &ca).await).await;
        Self { apiserver, _etcd: etcd, url, ca, dir: dir.to_owned() }
    }

    /// A client with an administrator's token; as somebody else, by impersonation, if `user` says who.
    pub(super) fn client(&self, user: Option<(&str, &[&str])>) -> Client {
        client(&self.url, &self.ca, user)
    }

    /// A kubeconfig for Portcullis itself.
    pub(super) fn kubeconfig(&self, account: Account) -> PathBuf {
        let path = self.dir.join(format!("{}.kubeconfig", account.name()));
        let ca = self.dir.join("ca.crt");
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": {"server": self.url, "certificate-authority": ca}}],
            "users": [{"name": "portcullis", "user": {"token": account.token()}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "portcullis"}}],
            "current-context": "e2e",
        });
        fs::write(&path, kubeconfig.to_string()).expect("a kubeconfig can be written");
        path
    }

    /// The audit log: one event a line.
    pub(super) fn audit_log(&self) -> String {
        fs::read_to_string(self.audit_file()).unwrap_or_default()
    }

    /// The file of the audit log.
    pub(super) fn audit_file(&self) -> PathBuf {
        self.dir.join("audit.log")
    }
}

fn client(url: &str, ca: &str, user: Option<(&str, &[&str])>) -> Client {
    let mut config = Config::new(url.parse().expect("a URL"));
    config.root_cert = Some(vec![CertificateDer::from_pem_slice(ca.as_bytes()).expect("a certificate").to_vec()]);
    config.default_retry = false;
    config.auth_info = AuthInfo {
        token: Some(ADMIN_TOKEN.to_owned().into()),
        impersonate: user.map(|(name, _)| name.to_owned()),
        impersonate_groups: user.map(|(_, groups)| groups.iter().map(|g| (*g).to_owned()).collect()),
        ..AuthInfo::default()
    };
    Client::try_from(config).expect("a client can be made")
}

async fn start_etcd(assets: &Path, dir: &Path, attempt: usize) -> Result<(Process, String), String> {
    let (client, peer) = (format!("http://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
    let mut command = Command::new(assets.join("etcd"));
    command.args(["--name=e2e", "--unsafe-no-fsync"]);
    command.arg(format!("--data-dir={}", dir.join(format!("etcd-{attempt}")).display()));
    command.arg(format!("--listen-client-urls={client}")).arg(format!("--advertise-client-urls={client}"));
    command.arg(format!("--listen-peer-urls={peer}")).arg(format!("--initial-advertise-peer-urls={peer}"));
    command.arg(format!("--initial-cluster=e2e={peer}"));
    let mut process = Process::start("etcd", command, dir);
    let health = format!("{client}/health");
    let ready = async || ureq::get(&health).call().map(drop).map_err(|e| format!("/health: {e}"));
    process.wait(READY_WITHIN, ready).await?;
    Ok((process, client))
}

async fn start_apiserver(assets: &Path, dir: &Path, etcd: &str, ca: &str) -> Result<(Process, String), String> {
    let port = free_port();
    let file = |name: &str| dir.join(name).display().to_string();
    let mut command = Command::new(assets.join("kube-apiserver"));
    command.args([
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--authorization-mode=RBAC",
        // Pods would wait for service accounts that no controller makes.
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--audit-log-mode=blocking",
    ]);
    command.arg(format!("--etcd-servers={etcd}")).arg(format!("--secure-port={port}"));
    for (flag, name) in [
        ("cert-dir", "certs"),
        ("tls-cert-file", "apiserver.crt"),
        ("tls-private-key-file", "apiserver.key"),
        ("service-account-key-file", "sa.pub"),
        ("service-account-signing-key-file", "sa.key"),
        ("token-auth-file", "tokens.csv"),
        ("audit-policy-file", "audit-policy.yaml"),
        ("audit-log-path", "audit.log"),
    ] {
        command.arg(format!("--{flag}={}", file(name)));
    }
    let mut process = Process::start("kube-apiserver", command, dir);
    let url = format!("https://127.0.0.1:{port}");
    let client = client(&url, ca, None);
    // Covers the built-in roles too, without which nobody is let in.
    let ready = async || {
        let request = hyper::Request::get("/readyz").body(Vec::new()).expect("a request");
        match tokio::time::timeout(ANSWER_WITHIN, client.request_text(request)).await {
            Ok(answer) => answer.map(drop).map_err(|e| format!("/readyz: {e}")),
            Err(_) => Err(format!("/readyz: no answer within {ANSWER_WITHIN:?}")),
        }
    };
    process.wait(READY_WITHIN, ready).await?;
    Ok((process, url))
}

/// The first attempt that succeeds; what each of them said if none does.
async fn retried<T>(mut start: impl AsyncFnMut(usize) -> Result<T, String>) -> T {
    let mut faults = Vec::new();
    for attempt in 0..ATTEMPTS {
        match start(attempt).await {
            Ok(started) => return started,
            Err(fault) => faults.push(fault),
        }
    }
    panic!("{}", faults.join("\n"));
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of loopback is free");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// Writes keys, certificates, tokens and the audit policy; gives the CA's certificate (PEM).
fn write_credentials(dir: &Path) -> String {
    let write = |name: &str, text: String| fs::write(dir.join(name), text).expect("a file can be written");
    let (authority, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let ca = params.self_signed(&authority).expect("a CA").pem();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let issuer = Issuer::new(params, authority);
    let certificate = CertificateParams::new(names).and_then(|p| p.signed_by(&key, &issuer)).expect("a certificate");
    write("ca.crt", ca.clone());
    write("apiserver.crt", certificate.pem());
    write("apiserver.key", key.serialize_pem());
    let signing = KeyPair::generate().expect("a key");
    write("sa.key", signing.serialize_pem());
    write("sa.pub", signing.public_key_pem());
    let groups = "system:serviceaccounts,system:serviceaccounts:portcullis-system";
    let mut tokens = format!("{ADMIN_TOKEN},platform-admin,admin-uid,\"system:masters\"\n");
    for account in Account::ALL {
        let (token, name) = (account.token(), account.username());
        tokens.push_str(&format!("{token},{name},{}-uid,\"{groups}\"\n", account.name()));
    }
    write("tokens.csv", tokens);
    write("audit-policy.yaml", AUDIT_POLICY.to_owned());
    ca
}
