//! The policies in force: loaded, published whole, and loaded again when their places change. What cannot be loaded
//! changes nothing and is said: in the messages, in a metric and in `readyz`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};

use crate::config::{ClusterAccess, Options};
use crate::decisions::{ConfigChange, DecisionLog, Entry};
use crate::engine::{CompileOptions, Compiled, Snapshot, compile};
use crate::policy::{LoadError, Sources};
use crate::server::InForce;
use crate::source::{LoadOptions, Places, Stamp};
use crate::telemetry::{Metrics, Reload};

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

/// Errors that are named in `readyz`; the messages have all.
const SHOWN: usize = 1;

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
}

impl Loader {
    pub(super) fn new(options: &Options) -> Self {
        let connected = options.cluster != ClusterAccess::None;
        let places = Places::choose(&LoadOptions {
            policies: options.policies.clone(),
            data: options.data.clone(),
            example_data: !connected && options.data.is_empty(),
        });
        let compiling = CompileOptions { max_enforcement: options.max_enforcement, ..CompileOptions::default() };
        Self { places, compiling }
    }

    /// A whole policy set of one moment, with at least one policy. Takes as long as compiling does.
    ///
    /// # Errors
    /// All that is wrong, and what the files looked like.
    pub(super) fn load(&self) -> Result<Edition, (Vec<LoadError>, Stamp)> {
        let mut stamp = self.places.stamp();
        for _ in 0..READS {
            let loaded = self.places.load();
            let now = self.places.stamp();
            if now == stamp {
                return loaded.and_then(|l| self.compile(l, &stamp)).map_err(|errors| (errors, stamp));
            }
            stamp = now;
            std::thread::sleep(READ_PAUSE);
        }
        let message = format!("the files changed {READS} times while they were read");
        Err((vec![LoadError::new("--policies", "unsettled", message)], stamp))
    }

    fn compile(&self, loaded: crate::source::Loaded, stamp: &Stamp) -> Result<Edition, Vec<LoadError>> {
        let compiled = compile(&loaded.sources, self.compiling)?;
        if compiled.snapshot.policies().next().is_none() {
            let message = "there is no policy in what was loaded; an empty policy set is never served";
            return Err(vec![LoadError::new("--policies", "empty", message)]);
        }
        Ok(Edition { compiled, sources: loaded.sources, from: loaded.from, stamp: stamp.clone() })
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
pub(super) async fn announce(log: &DecisionLog, metrics: &Metrics, now: &InForce, before: Option<&InForce>) {
    let digests = |s: &Snapshot| (s.policy_set(), s.data_digest());
    let change = ConfigChange {
        now: digests(&now.snapshot),
        before: before.map(|b| digests(&b.snapshot)),
        policies: now.snapshot.policies().count(),
    };
    if change.before != Some(change.now) {
        let entry = Entry::config(change, jiff::Timestamp::now());
        if let Err(error) = log.append(entry, Instant::now() + RECORD_PATIENCE).await {
            tracing::warn!(error = %error, "the change of policies could not be recorded");
        }
    }
    metrics.loaded(&now.snapshot);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    metrics.reload_last_success.set(since.as_secs_f64());
    metrics.reload_failing.set(0);
}

/// Whether what is at the policies' places is what is in force.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<Option<Failed>>);

#[derive(Debug)]
struct Failed {
    since: Instant,
    errors: Vec<LoadError>,
}

impl Standing {
    /// For `readyz`, while the last reload has failed.
    pub(super) fn complaint(&self) -> Option<String> {
        let standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = standing.as_ref()?;
        let shown: Vec<String> = failed.errors.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = match failed.errors.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let ago = failed.since.elapsed().as_secs();
        Some(format!(
            "these are the last good ones: reloading has failed since {ago} s ago: {}{more}",
            shown.join("; ")
        ))
    }

    fn failed(&self, errors: Vec<LoadError>) {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = standing.as_ref().map_or_else(Instant::now, |f| f.since);
        *standing = Some(Failed { since, errors });
    }

    fn fine(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Follows the places of the policies for as long as the process lives.
pub(super) struct Reloader {
    pub loader: Arc<Loader>,
    pub publish: watch::Sender<Arc<InForce>>,
    pub log: DecisionLog,
    pub metrics: Metrics,
    pub standing: Arc<Standing>,
    /// Somebody wants a reload, changed or not.
    pub asked: Arc<Notify>,
    /// How often to look; zero is never.
    pub interval: Duration,
}

impl Reloader {
    /// `seen`: what the files looked like that are in force.
    pub(super) async fn follow(self, mut seen: Stamp) {
        loop {
            let (asked, settled) = self.next_change(&seen).await;
            if asked {
                tracing::info!("loading the policies again: SIGHUP");
            } else if settled {
                tracing::info!("loading the policies again: their files have changed");
            }
            seen = self.reload().await;
        }
    }

    /// Waits until the policies have to be loaded: asked for, changed and settled, or failed a while ago.
    async fn next_change(&self, seen: &Stamp) -> (bool, bool) {
        let failed = self.standing.0.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let retry = tokio::time::sleep(if failed { RETRY } else { Duration::MAX });
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
            () = self.asked.notified() => (true, false),
            () = settled => (false, true),
            () = retry => (false, false),
        }
    }

    async fn look(&self) -> Stamp {
        let loader = Arc::clone(&self.loader);
        // It panics only where the runtime is going down.
        tokio::task::spawn_blocking(move || loader.places.stamp()).await.unwrap_or_default()
    }

    /// Loads off the threads that answer, and publishes or complains. Gives what the files looked like.
    async fn reload(&self) -> Stamp {
        let loader = Arc::clone(&self.loader);
        let loaded = tokio::task::spawn_blocking(move || loader.load()).await.unwrap_or_else(|_| {
            Err((vec![LoadError::new("--policies", "panic", "loading the policies panicked")], Stamp::default()))
        });
        match loaded {
            Ok(edition) => {
                let stamp = edition.stamp.clone();
                self.publish(edition).await;
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
        announce(&self.log, &self.metrics, &now, Some(&before)).await;
        for note in &notes {
            tracing::warn!("{note}");
        }
        tracing::info!(
            policy_set = %now.snapshot.policy_set(),
            previous = %before.snapshot.policy_set(),
            policies = now.snapshot.policies().count(),
            "other policies are in force",
        );
        self.standing.fine();
        self.metrics.reloaded(Reload::Success);
        self.publish.send_replace(now);
    }

    fn complain(&self, errors: Vec<LoadError>) {
        for error in &errors {
            tracing::error!("{error}");
        }
        let policy_set = self.publish.borrow().snapshot.policy_set();
        tracing::error!(errors = errors.len(), policy_set = %policy_set, "kept the last good policies");
        self.metrics.reloaded(Reload::Failure);
        self.metrics.reload_failing.set(1);
        self.standing.failed(errors);
    }
}
