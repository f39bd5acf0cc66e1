//! What people wrote: every setting once, as flag, as environment variable and as key of the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as WordError, StrDeserializer};

use crate::config::{AnchorSetting, BundleSettings, LogFormat, SinkSettings, WitnessSetting};
use crate::decisions::Durability;
use crate::engine::{FailureMode, Ways};
use crate::policy::{Enforcement, wording};
use crate::units::{ByteSize, Period, Span};

/// The settings of `serve`. A flag counts before its environment variable, that before the file, that before the
/// default. Keys of the file are the flags in camelCase (the flag's own spelling is understood too).
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// YAML file with any of these settings
    #[arg(long, env = "PORTCULLIS_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Of the file: `portcullis.io/v1alpha1`, if it is there.
    #[arg(skip)]
    pub api_version: Option<String>,
    /// Of the file: `Config`, if it is there.
    #[arg(skip)]
    pub kind: Option<String>,

    /// Policies: a file, directory or bundle (.tar.gz, https://.., oci://..); repeatable, or separated by commas
    /// [default: ./policies if it holds Rego, else the ones in the binary]
    #[arg(long, env = "PORTCULLIS_POLICIES", value_name = "PATH", value_delimiter = ',')]
    pub policies: Vec<PathBuf>,

    /// Data documents and Namespace manifests: a file or directory; repeatable, or separated by commas
    /// [default: the shipped example if no cluster is connected]
    #[arg(long, env = "PORTCULLIS_DATA", value_name = "PATH", value_delimiter = ',')]
    pub data: Vec<PathBuf>,

    /// Exceptions (`PolicyException`): a file or directory; repeatable, or separated by commas. They count from here
    /// and from nowhere else
    #[arg(long, env = "PORTCULLIS_EXCEPTIONS", value_name = "PATH", value_delimiter = ',')]
    pub exceptions: Vec<PathBuf>,

    /// How often policies and data are looked at for changes; 0: only at SIGHUP [default: 1s]
    #[arg(long, env = "PORTCULLIS_RELOAD_INTERVAL", value_name = "DURATION")]
    #[serde(alias = "reload-interval")]
    pub reload_interval: Option<Span>,

    /// Bundles: in the file below `bundle`.
    #[command(flatten)]
    pub bundle: BundleSettings,

    /// No policy does more than this, whatever it says: the brake while rolling out
    #[arg(long, env = "PORTCULLIS_MAX_ENFORCEMENT", value_name = "deny|warn|dryrun", value_parser = word::<Enforcement>)]
    #[serde(alias = "max-enforcement")]
    pub max_enforcement: Option<Enforcement>,

    /// Host that `http.send` may ask, at 80 and 443 where no port is named; `*.DOMAIN` are all below; repeatable, or
    /// separated by commas [default: none, and a policy that calls `http.send` is not loaded]
    #[arg(long, env = "PORTCULLIS_HTTP_ALLOW", value_name = "HOST[:PORT]", value_delimiter = ',')]
    #[serde(alias = "http-allow")]
    pub http_allow: Vec<String>,

    /// Allowed hosts may be on this machine: for sidecars and tests
    #[arg(long, env = "PORTCULLIS_HTTP_ALLOW_LOOPBACK")]
    #[serde(alias = "http-allow-loopback")]
    pub http_allow_loopback: bool,

    /// How policies are run: by a plan where there is one, or by the interpreter only [default: auto]
    #[arg(long, env = "PORTCULLIS_ENGINE", value_name = "auto|interpreter", value_parser = word::<Ways>)]
    pub engine: Option<Ways>,

    /// Where AdmissionReviews are answered (HTTPS) [default: 127.0.0.1:8443]
    #[arg(long, env = "PORTCULLIS_LISTEN", value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,

    /// Where health and metrics are shown (HTTP) [default: 127.0.0.1:8080]
    #[arg(long, env = "PORTCULLIS_ADMIN_LISTEN", value_name = "IP:PORT")]
    #[serde(alias = "admin-listen")]
    pub admin_listen: Option<SocketAddr>,

    /// Serving certificate chain, PEM [default: one of our own CA in the state directory]
    #[arg(long, env = "PORTCULLIS_TLS_CERT", value_name = "FILE")]
    #[serde(alias = "tls-cert")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the serving certificate, PEM
    #[arg(long, env = "PORTCULLIS_TLS_KEY", value_name = "FILE")]
    #[serde(alias = "tls-key")]
    pub tls_key: Option<PathBuf>,

    /// Further name or IP address in our own serving certificate; repeatable, or separated by commas
    #[arg(long, env = "PORTCULLIS_TLS_SAN", value_name = "NAME", value_delimiter = ',')]
    #[serde(alias = "tls-san")]
    pub tls_san: Vec<String>,

    /// Only callers with a certificate of this CA get an answer, PEM
    #[arg(long, env = "PORTCULLIS_CLIENT_CA", value_name = "FILE")]
    #[serde(alias = "client-ca")]
    pub client_ca: Option<PathBuf>,

    /// Where we keep our own files [default: .portcullis]
    #[arg(long, env = "PORTCULLIS_STATE_DIR", value_name = "DIR")]
    #[serde(alias = "state-dir")]
    pub state_dir: Option<PathBuf>,

    /// Where decisions are recorded [default: decisions in the state directory]
    #[arg(long, env = "PORTCULLIS_DECISION_LOG", value_name = "DIR")]
    #[serde(alias = "decision-log")]
    pub decision_log: Option<PathBuf>,

    /// Size of the decision log; past it the oldest bodies go first, then the oldest records [default: 10GiB]
    #[arg(long, env = "PORTCULLIS_DECISION_LOG_MAX_BYTES", value_name = "SIZE")]
    #[serde(alias = "decision-log-max-bytes")]
    pub decision_log_max_bytes: Option<ByteSize>,

    /// How long bodies are kept, such as `90d` [default: until the log is full]
    #[arg(long, env = "PORTCULLIS_DECISION_LOG_RETAIN_BODIES", value_name = "PERIOD")]
    #[serde(alias = "decision-log-retain-bodies")]
    pub decision_log_retain_bodies: Option<Period>,

    /// How long records are kept, with their bodies [default: until the log is full]
    #[arg(long, env = "PORTCULLIS_DECISION_LOG_RETAIN_RECORDS", value_name = "PERIOD")]
    #[serde(alias = "decision-log-retain-records")]
    pub decision_log_retain_records: Option<Period>,

    /// YAML file of those who may read the decision log over HTTPS [default: nobody]
    #[arg(long, env = "PORTCULLIS_READERS", value_name = "FILE")]
    pub readers: Option<PathBuf>,

    /// When an answer leaves: when the kernel has its record, when the disk has it, or at once [default: flush]
    #[arg(long, env = "PORTCULLIS_DURABILITY", value_name = "flush|fsync|best-effort", value_parser = word::<Durability>)]
    pub durability: Option<Durability>,

    /// Ed25519 private key that the decision log is signed with, PKCS #8 PEM; PORTCULLIS_SIGNING_KEY_DATA takes the key
    /// itself [default: decisions.key in the state directory, made at the first start]
    #[arg(long, env = "PORTCULLIS_SIGNING_KEY", value_name = "FILE")]
    #[serde(alias = "signing-key")]
    pub signing_key: Option<PathBuf>,

    /// Where records are sent on: opa+https://, otlp+https://, https://, s3://, gs://, az://, file:/// or kafka://;
    /// repeatable. The file says more, below `sinks`
    #[arg(long, env = "PORTCULLIS_SINK", value_name = "URL")]
    #[serde(skip)]
    pub sink: Vec<String>,

    /// Of the file: the sinks, if no flag names any.
    #[arg(skip)]
    pub sinks: Vec<SinkSettings>,
    /// The key that the signing key replaces, which vouches for it once: so auditors with the old key can follow
    #[arg(long, env = "PORTCULLIS_PREVIOUS_SIGNING_KEY", value_name = "FILE")]
    #[serde(alias = "previous-signing-key")]
    pub previous_signing_key: Option<PathBuf>,

    /// Where signed checkpoints are put: a file, `DIR/`, https://.., s3://.., gs://.., az://.., configmap://NAMESPACE/NAME
    /// or lease://NAMESPACE/NAME; repeatable, or separated by commas
    #[arg(long = "anchor", env = "PORTCULLIS_ANCHORS", value_name = "URL", value_delimiter = ',')]
    pub anchors: Vec<AnchorSetting>,

    /// How often at most, beside the start and the end; also for witnesses [default: 1m]
    #[arg(long, env = "PORTCULLIS_ANCHOR_INTERVAL", value_name = "DURATION")]
    #[serde(alias = "anchor-interval")]
    pub anchor_interval: Option<Span>,

    /// A witness (C2SP tlog-witness) that cosigns checkpoints; repeatable, or separated by commas
    #[arg(long = "witness", env = "PORTCULLIS_WITNESSES", value_name = "URL=VKEY", value_delimiter = ',')]
    pub witnesses: Vec<WitnessSetting>,

    /// What to answer when a policy fails, time runs out, too much comes at once, or the log cannot be written
    /// [default: deny]
    #[arg(long, env = "PORTCULLIS_FAILURE_MODE", value_name = "deny|allow", value_parser = word::<FailureMode>)]
    #[serde(alias = "failure-mode")]
    pub failure_mode: Option<FailureMode>,

    /// The failure modes one by one, only in the file; they count before `failureMode` there.
    #[arg(skip)]
    pub failure: FailureOverrides,

    /// Cluster whose Namespaces are looked up [default: the one we run in, if any]
    #[arg(long, env = "PORTCULLIS_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Name of the cluster in the records; required in a cluster [default elsewhere: local]
    #[arg(long, env = "PORTCULLIS_CLUSTER_NAME", value_name = "NAME")]
    #[serde(alias = "cluster-name")]
    pub cluster_name: Option<String>,

    /// Stable name of this replica in the records [default: the host name]
    #[arg(long, env = "PORTCULLIS_REPLICA", value_name = "NAME")]
    pub replica: Option<String>,

    /// How long new requests are still taken after SIGTERM [default: 5s]
    #[arg(long, env = "PORTCULLIS_DRAIN_DELAY", value_name = "DURATION")]
    #[serde(alias = "drain-delay")]
    pub drain_delay: Option<Span>,

    /// Largest body that is read [default: 8MiB]
    #[arg(long, env = "PORTCULLIS_MAX_BODY_BYTES", value_name = "SIZE")]
    #[serde(alias = "max-body-bytes")]
    pub max_body_bytes: Option<ByteSize>,

    /// Reviews under way at once; more are shed [default: 128 a thread]
    #[arg(long, env = "PORTCULLIS_MAX_IN_FLIGHT", value_name = "N")]
    #[serde(alias = "max-in-flight")]
    pub max_in_flight: Option<usize>,

    /// Threads that evaluate policies [default: one a processor]
    #[arg(long, env = "PORTCULLIS_THREADS", value_name = "N")]
    pub threads: Option<usize>,

    /// A policy that passes its budget, panics or does not stop so many times in a row is not run for a while: its
    /// failure mode answers; 0 is never [default: 5]
    #[arg(long, env = "PORTCULLIS_QUARANTINE_AFTER", value_name = "N")]
    #[serde(alias = "quarantine-after")]
    pub quarantine_after: Option<u32>,

    /// How long it is not run; then one request is tried [default: 1m]
    #[arg(long, env = "PORTCULLIS_QUARANTINE_PAUSE", value_name = "DURATION")]
    #[serde(alias = "quarantine-pause")]
    pub quarantine_pause: Option<Span>,

    /// Format of our own messages on stderr [default: text]
    #[arg(long, env = "PORTCULLIS_LOG_FORMAT", value_name = "text|json", value_parser = word::<LogFormat>)]
    #[serde(alias = "log-format")]
    pub log_format: Option<LogFormat>,

    /// Least level of our own messages, or a filter such as `info,portcullis=debug` [default: info]
    #[arg(long, env = "PORTCULLIS_LOG_LEVEL", value_name = "LEVEL")]
    #[serde(alias = "log-level")]
    pub log_level: Option<String>,
}

/// Failure modes that were named one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct FailureOverrides {
    /// A `deny` policy could not be judged.
    #[serde(alias = "policy-error")]
    pub policy_error: Option<FailureMode>,
    /// The request's time ran out.
    pub deadline: Option<FailureMode>,
    /// Too many requests at once.
    pub overload: Option<FailureMode>,
    /// The decision log could not be written.
    pub log: Option<FailureMode>,
}

impl Settings {
    /// Lays these settings (flags and environment) over those of a file.
    #[must_use]
    pub fn over(self, file: Self) -> Self {
        // `--failure-mode` sets all four: what the file says one by one is beneath it.
        let failure = if self.failure_mode.is_some() { self.failure } else { file.failure };
        Self {
            config: self.config,
            api_version: file.api_version,
            kind: file.kind,
            policies: first(self.policies, file.policies),
            data: first(self.data, file.data),
            exceptions: first(self.exceptions, file.exceptions),
            bundle: self.bundle.over(file.bundle),
            reload_interval: self.reload_interval.or(file.reload_interval),
            max_enforcement: self.max_enforcement.or(file.max_enforcement),
            http_allow: first(self.http_allow, file.http_allow),
            http_allow_loopback: self.http_allow_loopback || file.http_allow_loopback,
            engine: self.engine.or(file.engine),
            listen: self.listen.or(file.listen),
            admin_listen: self.admin_listen.or(file.admin_listen),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            tls_san: first(self.tls_san, file.tls_san),
            client_ca: self.client_ca.or(file.client_ca),
            state_dir: self.state_dir.or(file.state_dir),
            decision_log: self.decision_log.or(file.decision_log),
            decision_log_max_bytes: self.decision_log_max_bytes.or(file.decision_log_max_bytes),
            decision_log_retain_bodies: self.decision_log_retain_bodies.or(file.decision_log_retain_bodies),
            decision_log_retain_records: self.decision_log_retain_records.or(file.decision_log_retain_records),
            readers: self.readers.or(file.readers),
            durability: self.durability.or(file.durability),
            signing_key: self.signing_key.or(file.signing_key),
            sink: self.sink,
            sinks: file.sinks,
            previous_signing_key: self.previous_signing_key.or(file.previous_signing_key),
            anchors: first(self.anchors, file.anchors),
            anchor_interval: self.anchor_interval.or(file.anchor_interval),
            witnesses: first(self.witnesses, file.witnesses),
            failure_mode: self.failure_mode.or(file.failure_mode),
            failure,
            kubeconfig: self.kubeconfig.or(file.kubeconfig),
            cluster_name: self.cluster_name.or(file.cluster_name),
            replica: self.replica.or(file.replica),
            drain_delay: self.drain_delay.or(file.drain_delay),
            max_body_bytes: self.max_body_bytes.or(file.max_body_bytes),
            max_in_flight: self.max_in_flight.or(file.max_in_flight),
            threads: self.threads.or(file.threads),
            quarantine_after: self.quarantine_after.or(file.quarantine_after),
            quarantine_pause: self.quarantine_pause.or(file.quarantine_pause),
            log_format: self.log_format.or(file.log_format),
            log_level: self.log_level.or(file.log_level),
        }
    }
}

fn first<T>(above: Vec<T>, below: Vec<T>) -> Vec<T> {
    if above.is_empty() { below } else { above }
}

/// A value from a closed list, spelled as in the file.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(StrDeserializer::<WordError>::new(text)).map_err(|e| wording::plain(&e.to_string()))
}
