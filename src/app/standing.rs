//! Whether what is at the policies' places is what is in force, for health and metrics. Knows only what it is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::policy::LoadError;
use crate::telemetry::Metrics;

/// Errors that are named in `readyz`; the messages have all.
const SHOWN: usize = 1;

/// What went wrong last, until it goes right.
#[derive(Clone)]
pub(super) struct Standing {
    metrics: Metrics,
    failures: Arc<Mutex<Failures>>,
}

#[derive(Debug, Default)]
struct Failures {
    reload: Option<Failure>,
    poll: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    since: Instant,
    errors: Vec<LoadError>,
}

impl Failure {
    fn describe(&self) -> String {
        let shown: Vec<String> = self.errors.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = match self.errors.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        format!("for {} s: {}{more}", self.since.elapsed().as_secs(), shown.join("; "))
    }
}

impl Standing {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, failures: Arc::default() }
    }

    /// For `readyz`, while something is wrong; begins with what it is about.
    pub(super) fn complaints(&self) -> Vec<String> {
        let failures = self.lock();
        let reload = failures.reload.iter().map(|f| format!("reloading has failed {}", f.describe()));
        let poll = failures.poll.iter().map(|f| format!("polling has failed {}", f.describe()));
        reload.chain(poll).collect()
    }

    /// Whether the last reload failed.
    pub(super) fn reload_failed(&self) -> bool {
        self.lock().reload.is_some()
    }

    /// What came of the last reload; no errors: it is in force. Whether these errors are others than before.
    pub(super) fn reloaded(&self, errors: Vec<LoadError>) -> bool {
        let mut failures = self.lock();
        let news = failures.reload.as_ref().map_or(&[][..], |f| &f.errors) != errors.as_slice();
        failures.reload = next(failures.reload.take(), errors);
        self.show(&failures);
        news
    }

    /// What came of the last poll. Whether these errors are others than before.
    pub(super) fn polled(&self, errors: Vec<LoadError>) -> bool {
        let mut failures = self.lock();
        let news = failures.poll.as_ref().map_or(&[][..], |f| &f.errors) != errors.as_slice();
        failures.poll = next(failures.poll.take(), errors);
        self.show(&failures);
        news
    }

    fn show(&self, failures: &Failures) {
        let failing = failures.reload.is_some() || failures.poll.is_some();
        self.metrics.reload_failing.set(i64::from(failing));
    }

    fn lock(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next(before: Option<Failure>, errors: Vec<LoadError>) -> Option<Failure> {
    let since = before.map_or_else(Instant::now, |f| f.since);
    (!errors.is_empty()).then_some(Failure { since, errors })
}
