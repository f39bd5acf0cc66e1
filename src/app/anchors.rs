//! Brings checkpoints to their anchors and witnesses, in tasks of their own: no answer ever waits for one. Knows when it
//! is time and what came of it; how it is done is `decisions`'.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use anyhow::Context as _;

use crate::config::Options;
use crate::decisions::{AnchorStore, DecisionLog, SignedCheckpoint, Witnesses};
use crate::telemetry::Metrics;

/// How often it is looked whether there is a checkpoint to put.
const LOOK: Duration = Duration::from_secs(1);
/// After a failure it is tried again after this, then twice this, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// What the last checkpoint is given at the end.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// The tasks.
pub(super) struct Anchoring {
    board: Board,
    last: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// How anchors and witnesses are, for health and metrics.
#[derive(Clone, Default)]
pub(super) struct Board {
    places: Arc<Vec<Place>>,
}

struct Place {
    /// For messages and metrics.
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When a checkpoint was put last, and of how many records.
    done: Option<(Timestamp, u64)>,
    /// Since when it fails, and what was said last.
    failing: Option<(Instant, String)>,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// For `readyz`: a line a place; `None` when there is none.
    pub(super) fn detail(&self) -> Option<String> {
        let lines: Vec<String> = self
            .places
            .iter()
            .map(|place| {
                let state = place.lock();
                let done = match state.done {
                    Some((time, size)) => {
                        let age = Timestamp::now().as_second() - time.as_second();
                        format!("{size} records, {age} s ago")
                    }
                    None => "nothing yet".to_owned(),
                };
                match &state.failing {
                    Some((since, said)) => {
                        format!("{}: {done}; failing for {} s: {said}", place.name, since.elapsed().as_secs())
                    }
                    None => format!("{}: {done}", place.name),
                }
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    fn note(&self, place: usize, size: u64, outcome: Result<(), String>, metrics: &Metrics) {
        let Some(place) = self.places.get(place) else { return };
        let mut state = place.lock();
        match outcome {
            Ok(()) => {
                let now = Timestamp::now();
                if state.failing.take().is_some() {
                    tracing::info!(anchor = place.name, size, "checkpoints are anchored again");
                }
                state.done = Some((now, size));
                metrics.anchors.put(&place.name, now.as_second(), size);
            }
            Err(said) => {
                metrics.anchors.failed(&place.name);
                let news = state.failing.as_ref().is_none_or(|(_, before)| *before != said);
                if news {
                    tracing::warn!(
                        anchor = place.name,
                        size,
                        error = said,
                        "a checkpoint could not be anchored; it is tried again"
                    );
                }
                let since = state.failing.take().map_or_else(Instant::now, |(since, _)| since);
                state.failing = Some((since, said));
            }
        }
    }
}

impl Anchoring {
    /// Starts a task an anchor, and one for all witnesses.
    ///
    /// # Errors
    /// An anchor that cannot be opened, by its flag.
    pub(super) fn start(
        options: &Options,
        log: &DecisionLog,
        metrics: &Metrics,
        cluster: Option<&kube::Client>,
    ) -> anyhow::Result<Self> {
        let mut names = Vec::new();
        let mut stores = Vec::new();
        for address in &options.anchors {
            let store = AnchorStore::open(address, cluster).with_context(|| format!("--anchor: `{address}`"))?;
            names.push(address.to_string());
            stores.push(store);
        }
        let dir: &Path = &options.decision_log;
        let witnesses = Witnesses::new(dir, options.witnesses.clone()).context("--witness")?;
        names.extend(witnesses.keys().map(|key| format!("witness {}", key.name())));
        let places = names.into_iter().map(|name| Place { name, state: Mutex::default() }).collect();
        let board = Board { places: Arc::new(places) };
        for place in board.places.iter() {
            metrics.anchors.known(&place.name);
        }
        let (last, end) = watch::channel(false);
        let runner = |place| Runner {
            place,
            log: log.clone(),
            board: board.clone(),
            metrics: metrics.clone(),
            interval: options.anchor_interval,
            end: end.clone(),
            put: None,
        };
        let first_witness = stores.len();
        let mut tasks: Vec<JoinHandle<()>> =
            stores.into_iter().enumerate().map(|(i, store)| tokio::spawn(runner(i).anchor(store))).collect();
        if !options.witnesses.is_empty() {
            tasks.push(tokio::spawn(runner(first_witness).witness(witnesses)));
        }
        Ok(Self { board, last, tasks })
    }

    /// How they are.
    pub(super) fn board(&self) -> Board {
        self.board.clone()
    }

    /// Puts the last checkpoint, once the log is closed. What does not take it in time is told and left.
    pub(super) async fn finish(self) {
        self.last.send_replace(true);
        let end = Instant::now() + LAST_PATIENCE;
        for mut task in self.tasks {
            if tokio::time::timeout_at(end, &mut task).await.is_err() {
                tracing::warn!("the last checkpoint could not be anchored in time");
                task.abort();
            }
        }
    }
}

struct Runner {
    place: usize,
    log: DecisionLog,
    board: Board,
    metrics: Metrics,
    interval: Duration,
    end: watch::Receiver<bool>,
    /// What was put last.
    put: Option<SignedCheckpoint>,
}

impl Runner {
    async fn anchor(mut self, store: AnchorStore) {
        let mut pause = FIRST_PAUSE;
        loop {
            let last = *self.end.borrow_and_update();
            let wait = match self.fresh() {
                None => LOOK,
                Some(signed) => {
                    let outcome = store.put(&signed, Timestamp::now()).await.map_err(|e| e.to_string());
                    let fine = outcome.is_ok();
                    self.board.note(self.place, signed.checkpoint.size, outcome, &self.metrics);
                    if fine {
                        (self.put, pause) = (Some(signed), FIRST_PAUSE);
                        self.interval
                    } else {
                        next(&mut pause)
                    }
                }
            };
            if last {
                return;
            }
            self.rest(wait).await;
        }
    }

    async fn witness(mut self, witnesses: Witnesses) {
        loop {
            let last = *self.end.borrow_and_update();
            let begun = Instant::now();
            let Some(signed) = self.fresh() else {
                if last {
                    return;
                }
                self.rest(LOOK).await;
                continue;
            };
            let (size, mut round, mut pause) = (signed.checkpoint.size, witnesses.round(signed.clone()), FIRST_PAUSE);
            // All sign the same checkpoint: who did not is asked for it again until there is a new one to be signed.
            loop {
                for (i, outcome) in witnesses.ask(&mut round).await {
                    let outcome = outcome.map_err(|e| e.to_string());
                    self.board.note(self.place + i, size, outcome, &self.metrics);
                }
                let left = self.interval.saturating_sub(begun.elapsed());
                if last || round.missing.is_empty() || left.is_zero() || *self.end.borrow() {
                    break;
                }
                self.rest(next(&mut pause).min(left)).await;
            }
            if last {
                return;
            }
            self.put = Some(signed);
            self.rest(self.interval.saturating_sub(begun.elapsed())).await;
        }
    }

    /// The latest checkpoint, if it was not put yet.
    fn fresh(&self) -> Option<SignedCheckpoint> {
        self.log.signed().filter(|signed| self.put.as_ref() != Some(signed))
    }

    /// Waits, but not past the end.
    async fn rest(&mut self, time: Duration) {
        if *self.end.borrow() {
            return;
        }
        let end = async {
            if self.end.changed().await.is_err() {
                // Nobody is left to say so.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = sleep(time) => {}
            () = end => {}
        }
    }
}

/// This pause, and twice as long the next time.
fn next(pause: &mut Duration) -> Duration {
    let now = *pause;
    *pause = (now * 2).min(LONGEST_PAUSE);
    now
}
