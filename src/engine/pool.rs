//! Threads that judge, and the watchdog that answers for them.
//!
//! Evaluation runs here, off the async threads, on large stacks. A policy that does not come back is given up: its
//! thread is abandoned, a fresh one goes on with the next policy of the same review, and while two such threads of one
//! policy are out, or eight in the process, the policy is quarantined: until they end or its content changes.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::admission::Request;
use crate::engine::decide::Progress;
use crate::engine::review::{Review, Step};
use crate::engine::{Context, Decision, Inventory, Snapshot};

/// Deep rule chains take about 6 KiB of stack a rule; memory is only touched when it is needed.
const STACK_BYTES: usize = 64 << 20;

/// Past its budget a policy gets this long to notice: the engine looks at the clock only between builtins.
const GRACE: Duration = Duration::from_millis(100);

/// How often the watchdog looks while reviews are under way.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);

/// Abandoned threads that the process bears before a policy is quarantined at once.
const MOST_ABANDONED: usize = 8;

/// Size of the pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Threads that judge.
    pub threads: usize,
    /// Jobs that may wait; more are handed back.
    pub queue: usize,
}

/// One review to judge.
pub struct Job {
    /// Under which policies.
    pub snapshot: Arc<Snapshot>,
    /// In which world.
    pub inventory: Inventory,
    /// What.
    pub request: Arc<Request>,
    /// When and how.
    pub context: Context,
    /// Called once with the decision, on a thread of the pool; must not block.
    pub reply: Box<dyn FnOnce(Decision) + Send>,
}

/// What the pool is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStats {
    /// Jobs that wait.
    pub queued: usize,
    /// Reviews under way.
    pub active: usize,
    /// Threads given up that have not ended yet.
    pub abandoned: usize,
}

/// A pool of judging threads. Dropping it lets the threads end after the jobs that wait.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    watch: Condvar,
    queue: usize,
    abandoned: AtomicUsize,
}

struct State {
    jobs: VecDeque<Job>,
    active: Vec<Arc<Active>>,
    closed: bool,
}

/// A review under way.
struct Active {
    review: Review,
    run: Mutex<Running>,
}

struct Running {
    progress: Progress,
    /// Counts the threads that had this review: a thread whose number is past has been given up.
    epoch: u64,
    /// When the running step began and must have ended.
    since: Instant,
    due: Option<Instant>,
    reply: Option<Box<dyn FnOnce(Decision) + Send>>,
}

impl Pool {
    /// Starts the threads. Those that cannot be had at once are started later, as long as there is one.
    ///
    /// # Errors
    /// No thread could be started to judge, or none to watch.
    pub fn start(options: PoolOptions) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { jobs: VecDeque::new(), active: Vec::new(), closed: false }),
            work: Condvar::new(),
            watch: Condvar::new(),
            queue: options.queue,
            abandoned: AtomicUsize::new(0),
        });
        // From here on: what was started ends when it is dropped.
        let pool = Self { shared };
        let wanted = options.threads.max(1);
        let faults: Vec<io::Error> = (0..wanted).filter_map(|_| spawn_worker(&pool.shared, None).err()).collect();
        let missing = faults.len();
        match faults.into_iter().next() {
            Some(fault) if missing == wanted => return Err(fault),
            _ => {}
        }
        let watched = Arc::clone(&pool.shared);
        spawn("watchdog", 1 << 20, move || watched.watchdog(missing))?;
        Ok(pool)
    }

    /// Hands in a job.
    ///
    /// # Errors
    /// The job comes back when the queue is full.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        let mut state = lock(&self.shared.state);
        if state.jobs.len() >= self.shared.queue {
            return Err(job);
        }
        state.jobs.push_back(job);
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Judges one job and waits for it: what the command line does.
    #[must_use]
    pub fn decide(
        &self,
        snapshot: &Arc<Snapshot>,
        inventory: &Inventory,
        request: &Arc<Request>,
        context: &Context,
    ) -> Option<Decision> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let job = Job {
            snapshot: Arc::clone(snapshot),
            inventory: inventory.clone(),
            request: Arc::clone(request),
            context: context.clone(),
            reply: Box::new(move |decision| drop(sender.send(decision))),
        };
        self.submit(job).ok()?;
        receiver.recv().ok()
    }

    /// What the pool is doing.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let state = lock(&self.shared.state);
        PoolStats {
            queued: state.jobs.len(),
            active: state.active.len(),
            abandoned: self.shared.abandoned.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.work.notify_all();
        self.shared.watch.notify_all();
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish()
    }
}

impl Shared {
    /// A worker's life: take a job, judge it, again. A worker that finds itself given up ends.
    fn work(&self, resumed: Option<Arc<Active>>) {
        let mut resumed = resumed;
        loop {
            let active = match resumed.take() {
                Some(active) => active,
                None => match self.next() {
                    Some(active) => active,
                    None => return,
                },
            };
            let epoch = lock(&active.run).epoch;
            if !active.judge(epoch) {
                self.abandoned.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            lock(&self.state).active.retain(|a| !Arc::ptr_eq(a, &active));
        }
    }

    fn next(&self) -> Option<Arc<Active>> {
        let mut state = lock(&self.state);
        let job = loop {
            if let Some(job) = state.jobs.pop_front() {
                break job;
            }
            if state.closed {
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let active = Arc::new(Active {
            review: Review::new(job.snapshot, &job.inventory, job.request, job.context),
            run: Mutex::new(Running {
                progress: Progress::default(),
                epoch: 0,
                since: Instant::now(),
                due: None,
                reply: Some(job.reply),
            }),
        });
        let mut state = lock(&self.state);
        state.active.push(Arc::clone(&active));
        if state.active.len() == 1 {
            self.watch.notify_one();
        }
        Some(active)
    }

    /// `missing`: how many threads could not be started so far.
    fn watchdog(self: &Arc<Self>, mut missing: usize) {
        loop {
            let active = {
                let mut state = lock(&self.state);
                while state.active.is_empty() {
                    if state.closed && state.jobs.is_empty() {
                        return;
                    }
                    if missing > 0 {
                        break;
                    }
                    state = self.watch.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                state.active.clone()
            };
            let now = Instant::now();
            for review in active {
                if review.give_up(now, &self.abandoned) && spawn_worker(self, Some(Arc::clone(&review))).is_err() {
                    review.answer_unjudged();
                    lock(&self.state).active.retain(|a| !Arc::ptr_eq(a, &review));
                    missing += 1;
                }
            }
            while missing > 0 && spawn_worker(self, None).is_ok() {
                missing -= 1;
            }
            std::thread::sleep(WATCH_INTERVAL);
        }
    }
}

impl Active {
    /// Runs the steps that are left and replies; false when the thread was given up meanwhile.
    fn judge(&self, epoch: u64) -> bool {
        loop {
            let mut run = lock(&self.run);
            if run.epoch != epoch {
                return false;
            }
            let Some(step) = self.review.steps.get(run.progress.outcomes.len()) else {
                let decision = run.progress.finish(&self.review);
                if let Some(reply) = run.reply.take() {
                    reply(decision);
                }
                return true;
            };
            let now = Instant::now();
            run.since = now;
            run.due = now.checked_add(self.review.budget(step, now) + GRACE);
            let object = run.progress.object.clone();
            drop(run);
            let outcome = self.review.run(step, object.as_ref());
            let mut run = lock(&self.run);
            if run.epoch != epoch {
                step.policy.health.came_back();
                return false;
            }
            run.due = None;
            run.progress.take(&self.review, outcome);
        }
    }

    /// Gives the running step up if it is overdue; true when another thread must go on.
    fn give_up(&self, now: Instant, abandoned: &AtomicUsize) -> bool {
        let mut run = lock(&self.run);
        if run.due.is_none_or(|due| now < due) {
            return false;
        }
        let Some(step) = self.review.steps.get(run.progress.outcomes.len()) else { return false };
        let given_up = abandoned.fetch_add(1, Ordering::Relaxed) + 1;
        step.policy.health.got_stuck(given_up >= MOST_ABANDONED);
        let outcome = step.given_up(now.duration_since(run.since));
        run.progress.take(&self.review, outcome);
        run.epoch += 1;
        run.due = None;
        true
    }

    /// Replies with what is there where no thread can go on: the policies that are left could not be judged.
    fn answer_unjudged(&self) {
        let mut run = lock(&self.run);
        for _ in run.progress.outcomes.len()..self.review.steps.len() {
            run.progress.take(&self.review, Step::unjudged());
        }
        let decision = run.progress.finish(&self.review);
        if let Some(reply) = run.reply.take() {
            reply(decision);
        }
    }
}

fn spawn_worker(shared: &Arc<Shared>, resumed: Option<Arc<Active>>) -> io::Result<()> {
    let worker = Arc::clone(shared);
    spawn("judge", STACK_BYTES, move || worker.work(resumed))
}

fn spawn(name: &str, stack: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(stack).spawn(work).map(drop)
}

/// A panic while a lock is held cannot leave a half-made state: every change is a single assignment or push.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::decode;
    use crate::engine::{CompileOptions, Endpoint, ErrorCode, FailureModes, Verdict, compile};
    use crate::policy::{SourceFile, Sources};

    /// Threads that cannot be started cannot be had in a test; what is done then can.
    #[test]
    fn a_review_that_no_thread_goes_on_with_is_answered() {
        let text = "package p\ndeny contains \"x\" if false\n".to_owned();
        let modules = vec![SourceFile { path: "p.rego".into(), text }];
        let sources = Sources { modules, ..Sources::default() };
        let snapshot = Arc::new(compile(&sources, CompileOptions::default()).expect("compiles").snapshot);
        let review = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1",
            "request":{"uid":"u","kind":{},"resource":{},"operation":"CREATE"}}"#;
        let failure = FailureModes::default();
        let context = Context { endpoint: Endpoint::Validate, now_ns: 0, seed: 0, deadline: None, failure, http: None };
        let request = Arc::new(decode(review.as_bytes()).expect("decodes"));
        let (sender, receiver) = std::sync::mpsc::channel();
        let run = Running {
            progress: Progress::default(),
            epoch: 1,
            since: Instant::now(),
            due: None,
            reply: Some(Box::new(move |decision| drop(sender.send(decision)))),
        };
        let review = Review::new(snapshot, &Inventory::fixed([].into()), request, context);
        let active = Active { review, run: Mutex::new(run) };
        active.answer_unjudged();
        let decision: Decision = receiver.try_recv().expect("an answer");
        assert_eq!((decision.verdict, decision.failures[0].code), (Verdict::Deny, ErrorCode::Stuck));
        assert!(active.judge(1), "a second answer is not tried");
    }
}
