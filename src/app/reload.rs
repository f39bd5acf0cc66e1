//! The policies in force: loaded, published whole, and loaded again when their places change. What cannot be loaded
//! changes nothing and is said: in the messages, in a metric and in `readyz`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};

use crate::app::standing::Standing;
use crate::config::{ClusterAccess, Options};
use crate::decisions::{ConfigChange, DecisionLog, Entry, Keeping, LogError, PolicySets, SetId};
use crate::engine::{CompileOptions, Compiled, HttpSend, Snapshot, compile};
use crate::policy::{LoadError, Sources};
use crate::server::InForce;
use crate::source::{FallBack, LoadOptions, Loaded, Places, Remotes, Stamp};
use crate::telemetry::{Metrics, Poll, Reload};

/// Times that files are read which change while they are read: each is a moment long, so this is a writer at work.
const READS: usize = 5;

/// Between two of them.
const READ_PAUSE: Duration = Duration::from_millis(50);

/// Looks after which changes are loaded although there are more with each look.
const MOST_UNSETTLED: u32 = 10;

/// What could not be loaded is tried again after this, for what files do not show: a full table of descriptors, rights.
const RETRY: Duration = Duration::from_secs(30);

/// How long the log may take to say that other policies are in force.
const RECORD_PATIENCE: Duration = Duration::from_secs(5);

/// At the start, while a server of bundles gives nothing that can be loaded.
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// Reads and compiles.
pub(super) struct Loader {
    places: Places,
    compiling: CompileOptions,
}

/// A policy set, ready to be put in force.
pub(super) struct Edition {
    pub compiled: Compiled,
    pub sources: Sources,
    /// Where it came from, one line a place.
    pub from: Vec<String>,
    /// What its files looked like.
    pub stamp: Stamp,
    /// Which versions of remote bundles were there before it was read.
    pub versions: BTreeMap<String, String>,
}

impl Loader {
    pub(super) fn new(options: &Options) -> Self {
        let connected = options.cluster != ClusterAccess::None;
        let places = Places::choose(&LoadOptions {
            policies: options.policies.clone(),
            data: options.data.clone(),
            exceptions: options.exceptions.clone(),
            example_data: !connected && options.data.is_empty(),
            bundles: options.bundles.clone(),
        });
        let http_send = if options.http_allow.is_empty() { HttpSend::Refuse } else { HttpSend::Allow };
        let compiling = CompileOptions {
            max_enforcement: options.max_enforcement,
            http_send,
            ways: options.engine,
            quarantine: options.quarantine,
            ..CompileOptions::default()
        };
        Self { places, compiling }
    }

    /// How policy sets are compiled.
    pub(super) fn compiling(&self) -> CompileOptions {
        self.compiling
    }

    /// The bundles that others serve.
    pub(super) fn remotes(&self) -> &Arc<Remotes> {
        self.places.remotes()
    }

    /// A whole policy set of one moment, with at least one policy. Takes as long as compiling does.
    ///
    /// # Errors
    /// All that is wrong, and what the files looked like.
    pub(super) fn load(&self) -> Result<Edition, (Vec<LoadError>, Stamp)> {
        let versions = self.remotes().versions();
        let mut stamp = self.places.stamp();
        for _ in 0..READS {
            let loaded = self.places.load();
            let now = self.places.stamp();
            if now == stamp {
                return match loaded.and_then(|l| self.compile(l)) {
                    Ok((compiled, Loaded { sources, from, .. })) => {
                        Ok(Edition { compiled, sources, from, stamp, versions })
                    }
                    Err(errors) => Err((errors, stamp)),
                };
            }
            stamp = now;
            std::thread::sleep(READ_PAUSE);
        }
        let message = format!("the files changed {READS} times while they were read");
        Err((vec![LoadError::new("--policies", "unsettled", message)], stamp))
    }

    fn compile(&self, mut loaded: Loaded) -> Result<(Compiled, Loaded), Vec<LoadError>> {
        let mut compiled = compile(&loaded.sources, self.compiling)?;
        compiled.notes.append(&mut loaded.notes);
        if compiled.snapshot.policies().next().is_none() {
            let message = "there is no policy in what was loaded; an empty policy set is never served";
            return Err(vec![LoadError::new("--policies", "empty", message)]);
        }
        Ok((compiled, loaded))
    }
}

/// Keeps the content of what comes into force beside the log. Where that fails nothing else does: the decisions are on
/// record all the same, and only cannot be made again.
#[derive(Clone)]
pub(super) struct Keeper {
    pub sets: PolicySets,
    pub options: CompileOptions,
    /// Bytes that all sets may take.
    pub most: u64,
}

impl Keeper {
    async fn keep(&self, now: &InForce) -> Result<Keeping, LogError> {
        let (keeper, id, sources) = (self.clone(), SetId::of(&now.snapshot), Arc::clone(&now.sources));
        let keeping = move || keeper.sets.keep(id, &sources, keeper.options, keeper.most);
        let kept = tokio::task::spawn_blocking(keeping).await.unwrap_or(Err(LogError::Closed));
        match &kept {
            Ok(keeping) if !keeping.dropped.is_empty() => {
                tracing::warn!(sets = ?keeping.dropped, "the content of older policy sets was deleted to make room");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the policy set could not be kept beside the log: its decisions cannot be replayed");
            }
        }
        kept
    }
}

/// Joins a snapshot with what depends on it.
pub(super) fn in_force(snapshot: Snapshot, sources: Sources, log: &DecisionLog) -> Arc<InForce> {
    Arc::new(InForce {
        masker: log.masker(snapshot.mask_pointers().to_vec()),
        namespaces: Arc::new(snapshot.fixed_namespaces()),
        snapshot: Arc::new(snapshot),
        sources: Arc::new(sources),
    })
}

/// Writes down that other policies or data are in force from here on, and says so in the metrics.
pub(super) async fn announce(
    log: &DecisionLog,
    keeper: &Keeper,
    metrics: &Metrics,
    now: &InForce,
    before: Option<&InForce>,
) {
    let digests = |s: &Snapshot| (s.policy_set(), s.data_digest());
    let change = ConfigChange {
        now: digests(&now.snapshot),
        before: before.map(|b| digests(&b.snapshot)),
        policies: now.snapshot.policies().count(),
    };
    if change.before != Some(change.now) {
        let kept = keeper.keep(now).await;
        let entry = Entry::config_kept(change, Some(&kept), jiff::Timestamp::now());
        if let Err(error) = log.append(entry, Instant::now() + RECORD_PATIENCE).await {
            tracing::warn!(error = %error, "the change of policies could not be recorded");
        }
    }
    metrics.loaded(&now.snapshot);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    metrics.reload_last_success.set(since.as_secs_f64());
}

/// The first policy set. Where all of it is on this machine, what cannot be loaded is the end; a server of bundles may
/// come back, so it is waited for, unless a kept copy can stand in.
///
/// # Errors
/// What is wrong, where waiting does not help.
pub(super) async fn first(
    loader: &Arc<Loader>,
    standing: &Standing,
    metrics: &Metrics,
) -> Result<Edition, Vec<LoadError>> {
    let remotes = Arc::clone(loader.remotes());
    if remotes.is_empty() {
        return load(loader).await.map_err(|(errors, _)| errors);
    }
    loop {
        poll(&remotes, standing, metrics).await;
        let missing = remotes.fall_back(FallBack::Missing);
        if remotes.is_complete()
            && let Some(edition) = load_or_fall_back(loader, standing).await
        {
            if missing > 0 || standing.reload_failed() {
                tracing::warn!(
                    "serving what was kept of remote bundles: their servers gave nothing that can be loaded"
                );
            }
            keep(&remotes, edition.versions.clone()).await;
            return Ok(edition);
        }
        tracing::warn!(retry_s = FIRST_RETRY.as_secs(), "not ready: waiting for remote bundles");
        tokio::time::sleep(FIRST_RETRY).await;
    }
}

/// What is there, or what was good once in place of remote bundles that are not.
async fn load_or_fall_back(loader: &Arc<Loader>, standing: &Standing) -> Option<Edition> {
    match load(loader).await {
        Ok(edition) => Some(edition),
        Err((errors, _)) => {
            // They stay in `readyz`, also if what was kept is in force now.
            if standing.reloaded(errors.clone()) {
                errors.iter().for_each(|error| tracing::error!("{error}"));
            }
            match loader.remotes().fall_back(FallBack::All) {
                0 => None,
                _ => load(loader).await.ok(),
            }
        }
    }
}

/// Loads off the threads that answer.
async fn load(loader: &Arc<Loader>) -> Result<Edition, (Vec<LoadError>, Stamp)> {
    let loader = Arc::clone(loader);
    tokio::task::spawn_blocking(move || loader.load()).await.unwrap_or_else(|_| {
        Err((vec![LoadError::new("--policies", "panic", "loading the policies panicked")], Stamp::default()))
    })
}

/// Asks the servers of bundles; whether there is something new.
async fn poll(remotes: &Remotes, standing: &Standing, metrics: &Metrics) -> bool {
    let polled = remotes.poll().await;
    metrics.polled(Poll::Change, polled.changed);
    metrics.polled(Poll::Same, polled.unchanged);
    metrics.polled(Poll::Failure, polled.errors.len());
    if standing.polled(polled.errors.clone()) {
        polled.errors.iter().for_each(|error| tracing::warn!("{error}"));
    }
    polled.changed > 0
}

async fn keep(remotes: &Arc<Remotes>, good: BTreeMap<String, String>) {
    let remotes = Arc::clone(remotes);
    // It panics only where the runtime is going down.
    let _ = tokio::task::spawn_blocking(move || remotes.keep(&good)).await;
}

/// Asks the servers of bundles for ever, and tells when there is something new. Replicas that start together do not stay
/// together.
pub(super) async fn follow_remotes(
    remotes: Arc<Remotes>,
    standing: Standing,
    metrics: Metrics,
    every: Duration,
    changed: Arc<Notify>,
) {
    while !remotes.is_empty() {
        tokio::time::sleep(every.mul_f64(jitter())).await;
        if poll(&remotes, &standing, &metrics).await {
            changed.notify_one();
        }
    }
}

/// Between 0.9 and 1.1.
fn jitter() -> f64 {
    let drawn = getrandom::u32().unwrap_or(u32::MAX / 2);
    0.9 + 0.2 * f64::from(drawn) / f64::from(u32::MAX)
}

/// Why the policies are loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Asked,
    Files,
    Bundles,
    Retry,
}

impl Why {
    fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "SIGHUP",
            Self::Files => "files have changed",
            Self::Bundles => "a remote bundle has changed",
            Self::Retry => "the last reload failed",
        }
    }
}

/// Follows the places of the policies for as long as the process lives.
pub(super) struct Reloader {
    pub loader: Arc<Loader>,
    pub publish: watch::Sender<Arc<InForce>>,
    pub log: DecisionLog,
    pub keeper: Keeper,
    pub metrics: Metrics,
    pub standing: Standing,
    /// Somebody wants a reload, changed or not.
    pub asked: Arc<Notify>,
    /// A remote bundle is another one.
    pub changed: Arc<Notify>,
    /// How often to look; zero is never.
    pub interval: Duration,
}

impl Reloader {
    /// `seen`: what the files looked like that are in force.
    pub(super) async fn follow(self, mut seen: Stamp) {
        loop {
            let why = self.next_change(&seen).await;
            if why != Why::Retry {
                tracing::info!(why = why.as_str(), "loading the policies again");
            }
            if why == Why::Asked {
                poll(self.loader.remotes(), &self.standing, &self.metrics).await;
            }
            seen = self.reload().await;
        }
    }

    /// Waits until the policies have to be loaded: asked for, changed and settled, or failed a while ago.
    async fn next_change(&self, seen: &Stamp) -> Why {
        let retry = tokio::time::sleep(if self.standing.reload_failed() { RETRY } else { Duration::MAX });
        let settled = async {
            let mut last = seen.clone();
            let mut unsettled = 0;
            loop {
                match self.interval {
                    Duration::ZERO => std::future::pending().await,
                    interval => tokio::time::sleep(interval).await,
                }
                let now = self.look().await;
                if now == *seen {
                    unsettled = 0;
                } else if now == last || unsettled >= MOST_UNSETTLED {
                    return;
                } else {
                    unsettled += 1;
                }
                last = now;
            }
        };
        tokio::select! {
            () = self.asked.notified() => Why::Asked,
            () = self.changed.notified() => Why::Bundles,
            () = settled => Why::Files,
            () = retry => Why::Retry,
        }
    }

    async fn look(&self) -> Stamp {
        let loader = Arc::clone(&self.loader);
        // It panics only where the runtime is going down.
        tokio::task::spawn_blocking(move || loader.places.stamp()).await.unwrap_or_default()
    }

    /// Loads, and publishes or complains. Gives what the files looked like.
    async fn reload(&self) -> Stamp {
        match load(&self.loader).await {
            Ok(edition) => {
                let (stamp, versions) = (edition.stamp.clone(), edition.versions.clone());
                self.publish(edition).await;
                keep(self.loader.remotes(), versions).await;
                stamp
            }
            Err((errors, stamp)) => {
                self.complain(errors);
                stamp
            }
        }
    }

    async fn publish(&self, edition: Edition) {
        let before = Arc::clone(&self.publish.borrow());
        let Compiled { mut snapshot, notes } = edition.compiled;
        snapshot.inherit_health(&before.snapshot);
        let now = in_force(snapshot, edition.sources, &self.log);
        announce(&self.log, &self.keeper, &self.metrics, &now, Some(&before)).await;
        for note in &notes {
            tracing::warn!("{note}");
        }
        tracing::info!(
            policy_set = %now.snapshot.policy_set(),
            previous = %before.snapshot.policy_set(),
            policies = now.snapshot.policies().count(),
            from = ?edition.from,
            "loaded, and in force",
        );
        self.standing.reloaded(Vec::new());
        self.metrics.reloaded(Reload::Success);
        self.publish.send_replace(now);
    }

    fn complain(&self, errors: Vec<LoadError>) {
        self.metrics.reloaded(Reload::Failure);
        // The same errors are said once, however often they are met.
        if self.standing.reloaded(errors.clone()) {
            errors.iter().for_each(|error| tracing::error!("{error}"));
            let policy_set = self.publish.borrow().snapshot.policy_set();
            tracing::error!(errors = errors.len(), policy_set = %policy_set, "kept the last good policies");
        }
    }
}
