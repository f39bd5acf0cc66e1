//! What was meant: settings with defaults filled in and contradictions refused.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::{ConfigError, Settings, sinks};
use crate::decisions::sinks::SinkSpec;
use crate::decisions::{AnchorAddress, Durability, Retention, SigningSeed, Witness, is_below};
use crate::engine::{FailureModes, Quarantine, Ways};
use crate::outbound::{Hosts, Loopback};
use crate::policy::Enforcement;
use crate::source::BundleOptions;
use crate::units::{Period, Span, shown};

/// Reviews under way for each evaluating thread. A review takes a few milliseconds, so a full house is worked off
/// in about half a second, well within the shortest budget (1 s).
const IN_FLIGHT_PER_THREAD: usize = 128;

/// Past this many threads or reviews the number is a slip.
const MOST_THREADS: usize = 1024;
const MOST_IN_FLIGHT: usize = 65_536;

/// A decision log smaller than this could not hold one segment beside its bodies.
const LEAST_LOG_BYTES: u64 = 1 << 20;

/// The API server sends at most the etcd limit of 1.5 MiB an object, twice for an update; past this a body is a slip.
const MOST_BODY_BYTES: u64 = 256 << 20;

/// Once may be a slow machine, and a handful in a row with no other outcome between is a policy that does not work.
const QUARANTINE_AFTER: u32 = 5;
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// What the process finds around itself.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Whether it runs in a Pod (`KUBERNETES_SERVICE_HOST` is set).
    pub in_cluster: bool,
    /// The host name; in a StatefulSet the Pod's stable name.
    pub hostname: Option<String>,
    /// Processors it may use.
    pub processors: usize,
    /// `PORTCULLIS_SIGNING_KEY_DATA`.
    pub signing_key: Option<String>,
}

/// Format of messages on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the serving certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificates {
    /// Our own authority in this directory, with these further names.
    Own {
        /// Directory of `ca.crt`, `ca.key`, `tls.crt`, `tls.key`.
        dir: PathBuf,
        /// Further subject alternative names.
        names: Vec<String>,
    },
    /// Files that somebody else keeps up to date.
    Files {
        /// Certificate chain, PEM.
        cert: PathBuf,
        /// Private key, PEM.
        key: PathBuf,
    },
}

/// Where the key that signs the decision log comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningKeySource {
    /// Our own file, made if it is not there.
    Own(PathBuf),
    /// A file that somebody else put there, such as a mounted Secret.
    File(PathBuf),
    /// The environment.
    Environment(SigningSeed),
}

/// How the cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterAccess {
    /// Not at all.
    None,
    /// By a kubeconfig's current context.
    Kubeconfig(PathBuf),
    /// By the Pod's service account.
    InCluster,
}

/// The checked configuration of `serve`.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files and directories of policies.
    pub policies: Vec<PathBuf>,
    /// Files and directories of data.
    pub data: Vec<PathBuf>,
    /// Files and directories of exceptions.
    pub exceptions: Vec<PathBuf>,
    /// How bundles are fetched and whom they must be from.
    pub bundles: BundleOptions,
    /// How often servers of bundles are asked.
    pub bundle_poll: Duration,
    /// How often policies and data are looked at for changes; zero: never.
    pub reload_interval: Duration,
    /// Ceiling over the policies' enforcement.
    pub max_enforcement: Option<Enforcement>,
    /// Hosts that policies may ask.
    pub http_allow: Hosts,
    /// Whether these may be on this machine.
    pub http_loopback: Loopback,
    /// How policies are run.
    pub engine: Ways,
    /// Address of the webhook.
    pub listen: SocketAddr,
    /// Address of health and metrics.
    pub admin_listen: SocketAddr,
    /// Serving certificate.
    pub certificates: Certificates,
    /// CA of the callers, if they must have one.
    pub client_ca: Option<PathBuf>,
    /// Our own files.
    pub state_dir: PathBuf,
    /// Directory of the decision log.
    pub decision_log: PathBuf,
    /// Bound of the decision log, bytes.
    pub decision_log_max_bytes: u64,
    /// How long bodies and records are kept.
    pub retention: Retention,
    /// Who may read the decision log over HTTPS.
    pub readers: Option<PathBuf>,
    /// When a record counts as written.
    pub durability: Durability,
    /// What the decision log is signed with.
    pub signing_key: SigningKeySource,
    /// Where records are sent on.
    pub sinks: Vec<SinkSpec>,
    /// The key that it replaces.
    pub previous_signing_key: Option<PathBuf>,
    /// Where checkpoints are put.
    pub anchors: Vec<AnchorAddress>,
    /// How often at most.
    pub anchor_interval: Duration,
    /// Who cosigns them.
    pub witnesses: Vec<Witness>,
    /// What failures come to.
    pub failure: FailureModes,
    /// Cluster, if any.
    pub cluster: ClusterAccess,
    /// Its name in the records.
    pub cluster_name: String,
    /// Our name in the records.
    pub replica: String,
    /// How long new requests are taken after SIGTERM.
    pub drain_delay: Duration,
    /// Largest body, bytes.
    pub max_body_bytes: usize,
    /// Reviews under way at once.
    pub max_in_flight: usize,
    /// Evaluating threads.
    pub threads: usize,
    /// When a policy is not run for a while.
    pub quarantine: Quarantine,
    /// Format of messages.
    pub log_format: LogFormat,
    /// Filter of messages.
    pub log_level: String,
}

impl Options {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first that cannot be right, by its flag.
    pub fn check(settings: Settings, environment: &Environment) -> Result<Self, ConfigError> {
        let state_dir = settings.state_dir.clone().unwrap_or_else(|| PathBuf::from(".portcullis"));
        let cluster = match &settings.kubeconfig {
            Some(path) => ClusterAccess::Kubeconfig(path.clone()),
            None if environment.in_cluster => ClusterAccess::InCluster,
            None => ClusterAccess::None,
        };
        let processors = environment.processors.max(1);
        let threads = within("threads", settings.threads.unwrap_or(processors), 1, MOST_THREADS)?;
        let max_in_flight = settings.max_in_flight.unwrap_or(threads * IN_FLIGHT_PER_THREAD);
        let max_body_bytes = settings.max_body_bytes.map_or(8 << 20, |size| size.0);
        let decision_log = settings.decision_log.clone().unwrap_or_else(|| state_dir.join("decisions"));
        let log_bytes = settings.decision_log_max_bytes.map_or(10 << 30, |size| size.0);
        Ok(Self {
            certificates: certificates(&settings, &state_dir)?,
            quarantine: quarantine(&settings)?,
            cluster_name: cluster_name(&settings, environment)?,
            replica: replica(&settings, environment)?,
            failure: failure_modes(&settings),
            sinks: sinks::check(&settings.sink, &settings.sinks)?,
            anchors: anchors(&settings, &cluster, &decision_log)?,
            anchor_interval: anchor_interval(settings.anchor_interval)?,
            witnesses: witnesses(&settings)?,
            previous_signing_key: settings.previous_signing_key.clone(),
            signing_key: signing_key(&settings, environment, &state_dir, &decision_log)?,
            decision_log,
            decision_log_max_bytes: within("decision-log-max-bytes", log_bytes, LEAST_LOG_BYTES, u64::MAX)?,
            retention: retention(&settings)?,
            max_body_bytes: usize::try_from(within("max-body-bytes", max_body_bytes, 1024, MOST_BODY_BYTES)?)
                .unwrap_or(usize::MAX),
            max_in_flight: within("max-in-flight", max_in_flight, 1, MOST_IN_FLIGHT)?,
            threads,
            listen: settings.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8443))),
            admin_listen: settings.admin_listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            http_allow: Hosts::parse(&settings.http_allow)
                .map_err(|e| ConfigError::value("http-allow", e.to_string()))?,
            http_loopback: if settings.http_allow_loopback { Loopback::Allow } else { Loopback::Forbid },
            policies: settings.policies,
            data: settings.data,
            exceptions: settings.exceptions,
            bundles: settings.bundle.check(Some(state_dir.join("bundles")))?,
            bundle_poll: settings.bundle.poll()?,
            reload_interval: reload_interval(settings.reload_interval)?,
            max_enforcement: settings.max_enforcement,
            engine: settings.engine.unwrap_or_default(),
            client_ca: settings.client_ca,
            readers: settings.readers,
            durability: settings.durability.unwrap_or(Durability::Flush),
            // Endpoints need a second or two to leave every kube-proxy; the default grace of a Pod is 30 s.
            drain_delay: settings.drain_delay.map_or(Duration::from_secs(5), |span| span.0),
            log_format: settings.log_format.unwrap_or_default(),
            log_level: settings.log_level.unwrap_or_else(|| "info".to_owned()),
            cluster,
            state_dir,
        })
    }
}

/// A period of less than a minute is a slip: what is deleted does not come back.
fn retention(settings: &Settings) -> Result<Retention, ConfigError> {
    const SHORTEST: Duration = Duration::from_secs(60);
    let period = |flag: &'static str, found: Option<Period>| match found {
        Some(Period(period)) if period < SHORTEST => {
            Err(ConfigError::value(flag, format!("`{}` is too short; write 1m or more, such as `90d`", shown(period))))
        }
        other => Ok(other.map(|p| p.0)),
    };
    let bodies = period("decision-log-retain-bodies", settings.decision_log_retain_bodies)?;
    let records = period("decision-log-retain-records", settings.decision_log_retain_records)?;
    if bodies.zip(records).is_some_and(|(bodies, records)| bodies > records) {
        let message = "is longer than --decision-log-retain-records, and bodies go with their records";
        return Err(ConfigError::value("decision-log-retain-bodies", message));
    }
    Ok(Retention { bodies, records })
}

fn quarantine(settings: &Settings) -> Result<Quarantine, ConfigError> {
    let pause = settings.quarantine_pause.map_or(Quarantine::default().pause, |span| span.0);
    let after = settings.quarantine_after.unwrap_or(QUARANTINE_AFTER);
    let pause = within("quarantine-pause", pause.as_millis(), 1, LONGEST_PAUSE.as_millis())?;
    let pause = Duration::from_millis(u64::try_from(pause).unwrap_or(u64::MAX));
    Ok(Quarantine { after: (after > 0).then_some(after), pause })
}

/// Looking more often than ten times a second is a slip, and of no use: a reload takes longer.
fn reload_interval(found: Option<Span>) -> Result<Duration, ConfigError> {
    let interval = found.map_or(Duration::from_secs(1), |span| span.0);
    if !interval.is_zero() && interval < Duration::from_millis(100) {
        return Err(ConfigError::value(
            "reload-interval",
            format!("`{}` is too short; write 100ms or more, or 0", shown(interval)),
        ));
    }
    Ok(interval)
}

fn certificates(settings: &Settings, state_dir: &std::path::Path) -> Result<Certificates, ConfigError> {
    match (&settings.tls_cert, &settings.tls_key) {
        (Some(_), Some(_)) if !settings.tls_san.is_empty() => {
            Err(ConfigError::value("tls-san", "has no effect on the certificate of --tls-cert; leave one of them out"))
        }
        (Some(cert), Some(key)) => Ok(Certificates::Files { cert: cert.clone(), key: key.clone() }),
        (None, None) => {
            if let Some(wrong) = settings.tls_san.iter().find(|name| !is_san(name)) {
                return Err(ConfigError::value(
                    "tls-san",
                    format!("`{wrong}` is neither a DNS name nor an IP address"),
                ));
            }
            Ok(Certificates::Own { dir: state_dir.join("tls"), names: settings.tls_san.clone() })
        }
        (Some(_), None) => Err(ConfigError::value("tls-key", "is missing; --tls-cert needs its private key")),
        (None, Some(_)) => Err(ConfigError::value("tls-cert", "is missing; --tls-key needs its certificate")),
    }
}

/// Whoever can change the log must not find its key beside it.
fn signing_key(
    settings: &Settings,
    environment: &Environment,
    state_dir: &std::path::Path,
    decision_log: &std::path::Path,
) -> Result<SigningKeySource, ConfigError> {
    let source = match (&settings.signing_key, &environment.signing_key) {
        (Some(_), Some(_)) => {
            let message = "is set beside PORTCULLIS_SIGNING_KEY_DATA; leave one of them out";
            return Err(ConfigError::value("signing-key", message));
        }
        (Some(path), None) => SigningKeySource::File(path.clone()),
        (None, Some(text)) => SigningKeySource::Environment(SigningSeed::parse(text).ok_or_else(|| {
            ConfigError::value("signing-key", "PORTCULLIS_SIGNING_KEY_DATA is no Ed25519 private key (PKCS #8 PEM)")
        })?),
        (None, None) => SigningKeySource::Own(state_dir.join("decisions.key")),
    };
    if let SigningKeySource::Own(path) | SigningKeySource::File(path) = &source
        && is_below(path, decision_log)
    {
        let message = format!("`{}` is in the directory of the decision log; keep it elsewhere", path.display());
        return Err(ConfigError::value("signing-key", message));
    }
    Ok(source)
}

/// What lies in the log would go with it, and prove nothing.
fn anchors(
    settings: &Settings,
    cluster: &ClusterAccess,
    decision_log: &std::path::Path,
) -> Result<Vec<AnchorAddress>, ConfigError> {
    let mut found: Vec<AnchorAddress> = Vec::new();
    for setting in &settings.anchors {
        let wrong = |message: String| ConfigError::value("anchor", message);
        let address = setting.0.clone().map_err(wrong)?;
        if address.is_below(decision_log) {
            return Err(wrong(format!("`{address}` is in the directory of the decision log; keep it elsewhere")));
        }
        if address.is_in_cluster() && *cluster == ClusterAccess::None {
            return Err(wrong(format!("`{address}` is in a cluster, and none is connected; give --kubeconfig")));
        }
        if found.contains(&address) {
            return Err(wrong(format!("`{address}` is there twice")));
        }
        found.push(address);
    }
    Ok(found)
}

/// More often than checkpoints are made is of no use, and less than once a day hardly an anchor.
fn anchor_interval(found: Option<Span>) -> Result<Duration, ConfigError> {
    let interval = found.map_or(Duration::from_secs(60), |span| span.0);
    if interval < Duration::from_secs(1) || interval > LONGEST_PAUSE {
        return Err(ConfigError::value("anchor-interval", format!("`{}` is not within 1s and 24h", shown(interval))));
    }
    Ok(interval)
}

fn witnesses(settings: &Settings) -> Result<Vec<Witness>, ConfigError> {
    let mut found: Vec<Witness> = Vec::new();
    for setting in &settings.witnesses {
        let witness = setting.0.clone().map_err(|message| ConfigError::value("witness", message))?;
        if found.iter().any(|w| w.key == witness.key) {
            return Err(ConfigError::value("witness", format!("`{}` is there twice", witness.key.short())));
        }
        found.push(witness);
    }
    Ok(found)
}

fn is_san(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok()
        || (!name.is_empty()
            && name.len() <= 253
            && name.strip_prefix("*.").unwrap_or(name).split('.').all(|label| {
                !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            }))
}

fn cluster_name(settings: &Settings, environment: &Environment) -> Result<String, ConfigError> {
    match &settings.cluster_name {
        Some(name) => label("cluster-name", name),
        None if environment.in_cluster => Err(ConfigError::value(
            "cluster-name",
            "is required in a cluster: records of different clusters must be told apart (or set PORTCULLIS_CLUSTER_NAME)",
        )),
        None => Ok("local".to_owned()),
    }
}

fn replica(settings: &Settings, environment: &Environment) -> Result<String, ConfigError> {
    let found = settings.replica.as_ref().or(environment.hostname.as_ref());
    let found = found.ok_or_else(|| ConfigError::value("replica", "is required: the host has no name"))?;
    label("replica", found)
}

/// Names in records are also part of origins, whose lines are split at white space.
fn label(flag: &'static str, name: &str) -> Result<String, ConfigError> {
    let fits = !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_graphic() && b != b'+');
    if fits {
        Ok(name.to_owned())
    } else {
        Err(ConfigError::value(flag, format!("`{name}` must be 1 to 253 visible ASCII characters without `+`")))
    }
}

fn failure_modes(settings: &Settings) -> FailureModes {
    let base = settings.failure_mode.unwrap_or_default();
    let named = settings.failure;
    FailureModes {
        policy_error: named.policy_error.unwrap_or(base),
        deadline: named.deadline.unwrap_or(base),
        overload: named.overload.unwrap_or(base),
        log: named.log.unwrap_or(base),
    }
}

fn within<T>(flag: &'static str, found: T, least: T, most: T) -> Result<T, ConfigError>
where
    T: PartialOrd + std::fmt::Display,
{
    if found < least || found > most {
        return Err(ConfigError::value(flag, format!("`{found}` is not within {least} and {most}")));
    }
    Ok(found)
}
