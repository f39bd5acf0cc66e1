//! The composition root: builds the rooms from checked options, joins them, drains them. No logic of its own.

mod anchors;
mod reload;
mod sinks;
mod standing;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::app::anchors::{Anchoring, Board};
use crate::app::reload::{Edition, Keeper, Loader, Reloader, announce, first, follow_remotes, in_force};
use crate::app::standing::Standing;
use crate::config::{Certificates, ClusterAccess, Options, SigningKeySource};
use crate::decisions::sinks::Sinks;
use crate::decisions::{
    Control, DecisionLog, Disk, Durability, Labels, LogOptions, MaskKey, PolicySets, ReadersFile, SigningSeed,
};
use crate::engine::{Compiled, FailureMode, HttpDoor, Pool, PoolOptions, Snapshot};
use crate::inventory::{self, ClusterNamespaces};
use crate::outbound::Client;
use crate::policy::{Instant, LoadError};
use crate::server::{
    Check, ConnectionLimits, InForce, Limits, Phase, Phases, Readiness, Reviewer, ServingCertificate, TlsIdentity,
    Transport, World, admin_router, reading_router, serve, server_config, webhook_router,
};
use crate::telemetry::Metrics;
use crate::webhook;

/// Records go into a new file past this size: small enough to copy about, large enough to be few.
const SEGMENT_BYTES: u64 = 64 << 20;

/// What the content of policy sets may take beside the log, of its bound: data documents may be large, and change often.
const SHARE_OF_SETS: u64 = 16;

/// Bodies held at once: thirty-two of the largest, and some thousand of the usual size (8 KiB).
const BODIES: usize = 32;

/// How often our own certificate is looked at. It is renewed 30 days before its end.
const RENEW_INTERVAL: Duration = Duration::from_secs(3600);

/// Reviews under way end by their deadlines, 30 s at most.
const LAST_REVIEW: Duration = Duration::from_secs(35);

/// A running server.
pub struct App {
    /// Where the webhook listens; the real port.
    pub webhook: SocketAddr,
    /// Where health and metrics are shown; the real port.
    pub admin: SocketAddr,
    /// The policies that were in force at the start.
    pub snapshot: Arc<Snapshot>,
    /// Where they came from, one line a place.
    pub from: Vec<String>,
    /// What is odd about them.
    pub notes: Vec<LoadError>,
    /// The CA that callers must trust, if it is our own.
    pub ca: Option<PathBuf>,
    log: DecisionLog,
    sinks: Option<Sinks>,
    anchoring: Anchoring,
    phase: watch::Sender<Phase>,
    admin_phase: watch::Sender<Phase>,
    underway: mpsc::Receiver<std::convert::Infallible>,
    webhook_task: JoinHandle<()>,
    admin_task: JoinHandle<()>,
    reload: Arc<Notify>,
    /// They watch the places of the policies.
    follow_tasks: [JoinHandle<()>; 2],
    /// Takes commands for the log.
    control_task: JoinHandle<()>,
}

impl App {
    /// Builds everything and begins to serve. Must be called within a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// Whatever is missing or wrong, named by its flag. Nothing is served then.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        let loader = Arc::new(Loader::new(options));
        let metrics = Metrics::new()?;
        let standing = Standing::new(metrics.clone());
        let admin_listener = bind("admin-listen", options.admin_listen).await?;
        let (admin_phase, admin_phases) = Phases::begin();
        let health = Arc::<OnceLock<Gauges>>::default();
        let router = admin_router(readiness(Arc::clone(&health), standing.clone()), metrics.clone());
        let admin = admin_listener.local_addr()?;
        let admin_limits = ConnectionLimits::ADMIN;
        let admin_task =
            tokio::spawn(serve(admin_listener, Transport::Plain, router, admin_limits, metrics.clone(), admin_phases));
        let first = first(&loader, &standing, &metrics).await.map_err(refusal)?;
        let Edition { compiled: Compiled { snapshot, notes }, sources, from, stamp, .. } = first;
        let readers = options.readers.as_deref().map(ReadersFile::load).transpose().context("--readers")?;
        let listener = bind("listen", options.listen).await?;
        let webhook = listener.local_addr()?;
        let log = open_log(options)?;
        let control_task = tokio::spawn(control(options.state_dir.clone(), log.clone()));
        let current = in_force(snapshot, sources, &log);
        let keeper = Keeper {
            sets: PolicySets::beside(&options.decision_log),
            options: loader.compiling(),
            most: options.decision_log_max_bytes / SHARE_OF_SETS,
        };
        announce(&log, &keeper, &metrics, &current, None).await;
        let sinks = sinks::start(options, &log, &metrics)?;
        let (certificate, ca) = certificate(options, webhook.ip())?;
        show_expiry(&metrics, &certificate);
        let tls = server_config(Arc::clone(&certificate), options.client_ca.as_deref())?;
        follow_certificate(options, webhook.ip(), certificate, metrics.clone());
        let cluster = cluster(options).await?;
        let anchoring = Anchoring::start(options, &log, &metrics, cluster.as_ref())?;
        let world = cluster.map_or(World::Fixed, |client| World::Cluster(ClusterNamespaces::watch(client)));

        let pool = Pool::start(PoolOptions { threads: options.threads, queue: options.max_in_flight });
        let pool = Arc::new(pool.context("--threads: no thread can be started to judge on")?);
        let in_flight = Arc::new(Semaphore::new(options.max_in_flight));
        let (phase, phases) = Phases::begin();
        let snapshot = Arc::clone(&current.snapshot);
        let (publish, published) = watch::channel(current);
        let (reload, changed) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let remotes = Arc::clone(loader.remotes());
        let poll_task = tokio::spawn(follow_remotes(
            remotes,
            standing.clone(),
            metrics.clone(),
            options.bundle_poll,
            Arc::clone(&changed),
        ));
        let reloader = Reloader {
            loader,
            publish,
            log: log.clone(),
            keeper,
            metrics: metrics.clone(),
            standing: standing.clone(),
            changed,
            asked: Arc::clone(&reload),
            interval: options.reload_interval,
        };
        let follow_tasks = [tokio::spawn(reloader.follow(stamp)), poll_task];
        // Nothing is ever sent: the channel closes when the last review is done.
        let (under, underway) = mpsc::channel(1);
        let gauges = Gauges {
            metrics: metrics.clone(),
            published: published.clone(),
            standing,
            world: world.clone(),
            log: log.clone(),
            anchors: anchoring.board(),
            log_required: options.failure.log == FailureMode::Deny && options.durability != Durability::BestEffort,
            pool: Arc::clone(&pool),
            in_flight: Arc::clone(&in_flight),
            max_in_flight: options.max_in_flight,
            phases: phases.clone(),
        };
        // It is empty: nobody else fills it.
        let _ = health.set(gauges);
        let reviewer = Reviewer {
            in_force: published,
            world,
            pool,
            log: log.clone(),
            failure: options.failure,
            metrics: metrics.clone(),
            in_flight,
            underway: under,
            http: door(options),
        };
        let limits = Limits { body: options.max_body_bytes, bodies: options.max_body_bytes.saturating_mul(BODIES) };
        let router = webhook_router(Arc::new(reviewer), metrics.clone(), limits, phases.clone());
        let router = match readers {
            Some(readers) => router.merge(reading_router(readers, log.clone(), metrics.clone())),
            None => router,
        };
        let transport = Transport::Tls(Arc::new(tls));
        let webhook_task =
            tokio::spawn(serve(listener, transport, router, ConnectionLimits::WEBHOOK, metrics.clone(), phases));
        Ok(Self {
            webhook,
            admin,
            snapshot,
            from,
            notes,
            ca,
            log,
            sinks,
            anchoring,
            phase,
            admin_phase,
            underway,
            webhook_task,
            admin_task,
            reload,
            follow_tasks,
            control_task,
        })
    }

    /// Loads the policies again, changed or not.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Takes new requests for `delay`, telling callers to go elsewhere; then answers what is under way, and closes
    /// the log.
    ///
    /// # Errors
    /// The log cannot be closed, so its last records may not be on the disk.
    pub async fn drain(mut self, delay: Duration, reason: &str) -> anyhow::Result<()> {
        tracing::info!(reason, delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), "draining");
        self.phase.send_replace(Phase::Drain);
        self.follow_tasks.iter().for_each(JoinHandle::abort);
        tokio::time::sleep(delay).await;
        self.phase.send_replace(Phase::Close);
        if self.webhook_task.await.is_err() {
            tracing::error!("the webhook's listener panicked");
        }
        if tokio::time::timeout(LAST_REVIEW, self.underway.recv()).await.is_err() {
            tracing::warn!("reviews were still under way at the end");
        }
        if let Some(sinks) = self.sinks.take() {
            sinks.stop().await;
        }
        self.control_task.abort();
        self.log.close(reason).await.context("the decision log could not be closed")?;
        self.anchoring.finish().await;
        self.admin_phase.send_replace(Phase::Close);
        // Probes and scrapers that hold on to their connections do not hold us.
        drop(tokio::time::timeout(Duration::from_secs(1), self.admin_task).await);
        Ok(())
    }
}

fn refusal(errors: Vec<LoadError>) -> anyhow::Error {
    let lines: Vec<String> = errors.iter().map(|e| format!("  {e}")).collect();
    anyhow!("the policies cannot be loaded\n{}", lines.join("\n"))
}

/// What health says, also before there is anything to look at.
fn readiness(health: Arc<OnceLock<Gauges>>, standing: Standing) -> Readiness {
    Arc::new(move || match health.get() {
        Some(gauges) => gauges.checks(),
        None => {
            let detail = ["not loaded yet".to_owned()].into_iter().chain(standing.complaints());
            let detail = detail.collect::<Vec<_>>().join("; ");
            vec![Check { name: "policies", ready: false, detail }]
        }
    })
}

/// What policies may ask, if any host is allowed.
fn door(options: &Options) -> Option<Arc<dyn HttpDoor>> {
    let hosts = options.http_allow.clone();
    (!hosts.is_empty()).then(|| Arc::new(Client::new(hosts, options.http_loopback)) as Arc<dyn HttpDoor>)
}

async fn bind(flag: &'static str, addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| format!("--{flag}: cannot listen on {addr}"))
}

fn open_log(options: &Options) -> anyhow::Result<DecisionLog> {
    std::fs::create_dir_all(&options.state_dir)
        .with_context(|| format!("--state-dir: cannot create `{}`", options.state_dir.display()))?;
    let path = options.state_dir.join("mask.key");
    let mask_key = MaskKey::load_or_create(&path).context("--state-dir")?;
    let log = LogOptions {
        dir: options.decision_log.clone(),
        durability: options.durability,
        max_bytes: options.decision_log_max_bytes,
        segment_bytes: SEGMENT_BYTES.min(options.decision_log_max_bytes / 4),
        retention: options.retention,
        labels: Labels {
            cluster: options.cluster_name.clone(),
            replica: options.replica.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        origin: format!("portcullis/{}/{}", options.cluster_name, options.replica),
        mask_key,
        signing_seed: signing_seed(options)?,
        checkpoint_copy: Some(options.state_dir.join("decisions.checkpoint")),
    };
    DecisionLog::open_or_wait(Disk, log).context("--decision-log")
}

/// Takes commands for the log. Without the socket they wait until the server is down; everything else goes on.
async fn control(state_dir: PathBuf, log: DecisionLog) {
    match Control::bind(&state_dir).await {
        Ok(control) => control.serve(log).await,
        Err(error) => {
            let path = Control::path(&state_dir);
            tracing::warn!(path = %path.display(), %error, "no control socket: `decisions hold`, `release`, `erase` and \
                `prune` do not reach this server");
        }
    }
}

fn signing_seed(options: &Options) -> anyhow::Result<SigningSeed> {
    let seed = match &options.signing_key {
        SigningKeySource::Own(path) => SigningSeed::load_or_create(path).context("--state-dir")?,
        SigningKeySource::File(path) => SigningSeed::load(path).context("--signing-key")?,
        SigningKeySource::Environment(seed) => seed.clone(),
    };
    let Some(path) = &options.previous_signing_key else { return Ok(seed) };
    Ok(seed.replacing(&SigningSeed::load(path).context("--previous-signing-key")?))
}

fn certificate(options: &Options, ip: IpAddr) -> anyhow::Result<(Arc<ServingCertificate>, Option<PathBuf>)> {
    let (identity, ca) = match &options.certificates {
        Certificates::Files { cert, key } => (TlsIdentity { cert: cert.clone(), key: key.clone() }, None),
        Certificates::Own { dir, names } => {
            let files = own_certificate(dir, names, ip)?;
            (TlsIdentity { cert: files.cert, key: files.key }, Some(files.ca))
        }
    };
    Ok((Arc::new(ServingCertificate::load(identity)?), ca))
}

fn own_certificate(dir: &Path, names: &[String], ip: IpAddr) -> anyhow::Result<webhook::ServingFiles> {
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    all.extend((!ip.is_unspecified()).then(|| ip.to_string()));
    all.extend(names.iter().cloned());
    webhook::ensure(dir, &all, SystemTime::now()).context("--state-dir: no certificate of our own")
}

fn show_expiry(metrics: &Metrics, certificate: &ServingCertificate) {
    let end = certificate.not_after().and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok());
    metrics.certificate_expiry.set(end.map_or(0, |t| i64::try_from(t.as_secs()).unwrap_or(i64::MAX)));
}

/// Takes up changed files, and renews our own certificate, for as long as the process lives.
fn follow_certificate(options: &Options, ip: IpAddr, certificate: Arc<ServingCertificate>, metrics: Metrics) {
    tokio::spawn(async move { certificate.follow(|changed| show_expiry(&metrics, changed)).await });
    let Certificates::Own { dir, names } = options.certificates.clone() else { return };
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(RENEW_INTERVAL).await;
            let renewed = tokio::task::block_in_place(|| own_certificate(&dir, &names, ip));
            if let Err(error) = renewed {
                tracing::warn!(error = format!("{error:#}"), "the serving certificate could not be renewed");
            }
        }
    });
}

async fn cluster(options: &Options) -> anyhow::Result<Option<kube::Client>> {
    Ok(match &options.cluster {
        ClusterAccess::None => None,
        ClusterAccess::Kubeconfig(path) => Some(inventory::from_kubeconfig(path).await?),
        ClusterAccess::InCluster => Some(inventory::in_cluster()?),
    })
}

/// All that health and gauges look at.
struct Gauges {
    metrics: Metrics,
    published: watch::Receiver<Arc<InForce>>,
    standing: Standing,
    world: World,
    log: DecisionLog,
    anchors: Board,
    log_required: bool,
    pool: Arc<Pool>,
    in_flight: Arc<Semaphore>,
    max_in_flight: usize,
    phases: Phases,
}

impl Gauges {
    fn checks(&self) -> Vec<Check> {
        self.set_load();
        let mut checks = vec![self.policies(), self.namespaces(), self.decision_log(), self.phase()];
        // What is wrong there stands in no answer's way.
        checks.extend(self.anchors.detail().map(|detail| Check { name: "anchors", ready: true, detail }));
        checks
    }

    fn set_load(&self) {
        let stats = self.pool.stats();
        self.metrics.quarantined(&self.published.borrow().snapshot);
        self.metrics.in_flight_limit.set(number(self.max_in_flight));
        self.metrics.in_flight.set(number(self.max_in_flight.saturating_sub(self.in_flight.available_permits())));
        self.metrics.evaluation_queue.set(number(stats.queued));
        self.metrics.abandoned_threads.set(number(stats.abandoned));
    }

    fn policies(&self) -> Check {
        let snapshot = Arc::clone(&self.published.borrow().snapshot);
        let count = snapshot.policies().count();
        self.metrics.exceptions_at(&snapshot, Instant::from_nanos(now_ns()));
        let mut detail = format!("{count} loaded, {}", snapshot.policy_set());
        for complaint in self.standing.complaints() {
            detail = format!("{detail}; these are the last good ones: {complaint}");
        }
        let quarantined: Vec<&str> = snapshot.quarantined().collect();
        if !quarantined.is_empty() {
            // The others are judged as ever, so this stands in nobody's way.
            detail.push_str(&format!("; {} quarantined: {}", quarantined.len(), quarantined.join(", ")));
        }
        Check { name: "policies", ready: count > 0, detail }
    }

    fn namespaces(&self) -> Check {
        let (ready, detail, age) = match &self.world {
            World::Fixed => {
                let known = self.published.borrow().namespaces.len();
                (true, format!("{known} from data files"), Duration::ZERO)
            }
            World::Cluster(cluster) if cluster.synced() => {
                let age = cluster.age();
                (true, format!("synced, last heard {} s ago", age.as_secs()), age)
            }
            World::Cluster(cluster) => (false, "not yet read from the API server".to_owned(), cluster.age()),
        };
        self.metrics.namespaces_age.set(age.as_secs_f64());
        self.metrics.namespaces_synced.set(i64::from(ready));
        Check { name: "namespaces", ready, detail }
    }

    fn decision_log(&self) -> Check {
        let health = self.log.health();
        let m = &self.metrics;
        m.raise(&m.log_appended, health.appended);
        m.raise(&m.log_failed, health.failed);
        m.raise(&m.log_sync_failures, health.sync_failures);
        m.raise(&m.log_pruned, health.pruned);
        m.log_queued.set(wide(health.queued));
        m.log_bytes.set(wide(health.bytes));
        m.log_gap.set(wide(health.gap));
        m.log_lag.set(health.lag.as_secs_f64());
        m.log_unsigned.set(wide(health.next_seq.saturating_sub(health.signed)));
        m.log_writable.set(i64::from(health.writable));
        let detail = if health.writable {
            let over = match health.held_over {
                0 => String::new(),
                over => format!("; {over} bytes past its bound, and all that could go is under legal hold"),
            };
            format!("{} records, {} bytes{over}", health.appended, health.bytes)
        } else {
            let error = health.last_error.unwrap_or_else(|| "closed".to_owned());
            format!("cannot be written: {error}; {} decisions are missing", health.gap)
        };
        Check { name: "decision_log", ready: health.writable || !self.log_required, detail }
    }

    fn phase(&self) -> Check {
        let phase = self.phases.now();
        let detail = if phase == Phase::Serve { "serving" } else { "draining" };
        Check { name: "phase", ready: phase == Phase::Serve, detail: detail.to_owned() }
    }
}

fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn wide(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
