//! One thread a sink: reads, waits for company, sends, tries again, and writes down how far it is. Knows time and
//! retries; what is sent is the business of the kinds of sinks, where it goes on that of `place`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::cursor::{Cursor, Progress};
use super::http::Service;
use super::objects::Objects;
use super::reading::{Batch, Bounds, Reader};
use super::{Event, Failure, Reason, Sent, SinkSpec, Target};
use crate::decisions::{DecisionLog, Entry, LogError, ReadAction, ReadRecord};

/// How often an idle sink looks.
const POLL: Duration = Duration::from_millis(250);

/// After a failure: at first, and at the most.
const FIRST_RETRY: Duration = Duration::from_millis(500);
pub(super) const LAST_RETRY: Duration = Duration::from_secs(60);

/// A service that wants to be asked again much later is asked after this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A record of what was exported is written so often at the most.
const TELL: Duration = Duration::from_secs(60);

/// How long the log may take to take it.
const TELL_PATIENCE: Duration = Duration::from_secs(5);

/// At the end: what is there is still sent, as far as this goes.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Who hears how a sink is.
pub trait Observer: Send + Sync + 'static {
    /// So many records were taken.
    fn delivered(&self, sink: &str, records: u64);
    /// A try failed.
    fn failed(&self, sink: &str, reason: Reason);
    /// The service would not take so many records, and they are not sent again.
    fn refused(&self, sink: &str, records: u64);
    /// The log deleted so many before they were sent.
    fn lost(&self, sink: &str, records: u64);
    /// So many records wait, the oldest for so long.
    fn lag(&self, sink: &str, records: u64, age: Duration);
}

/// What sinks are started with.
pub struct SinksOptions {
    /// The sinks.
    pub specs: Vec<SinkSpec>,
    /// The log's directory.
    pub log_dir: PathBuf,
    /// Where cursors are kept.
    pub state_dir: PathBuf,
    /// Who hears how they are.
    pub observer: Arc<dyn Observer>,
}

/// Sinks at work.
pub struct Sinks {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Sinks {
    /// Starts a thread for each. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What a sink needs and is not there; by its name.
    pub fn start(options: &SinksOptions, log: &DecisionLog) -> Result<Self, String> {
        let (stop, stopped) = watch::channel(false);
        // All look at the cursors before one changes them.
        let mut runners = Vec::new();
        for spec in &options.specs {
            let fault = |e: String| format!("sink `{}`: {e}", spec.name);
            let runner = Runner {
                way: Way::of(spec).map_err(fault)?,
                spec: spec.clone(),
                log: log.clone(),
                elsewhere: Cursor::new(&options.state_dir, &spec.name).others(),
                cursor: Cursor::new(&options.state_dir, &spec.name),
                reader: Reader::new(&options.log_dir),
                observer: Arc::clone(&options.observer),
                stopped: stopped.clone(),
                handle: Handle::current(),
                exported: Exported::default(),
                waiting: None,
            };
            runners.push(runner);
        }
        let threads = runners.into_iter().map(|runner| {
            let name = runner.spec.name.clone();
            let thread = std::thread::Builder::new().name(format!("sink-{name}"));
            thread.spawn(move || runner.run()).map_err(|e| format!("sink `{name}`: {e}"))
        });
        Ok(Self { stop, threads: threads.collect::<Result<_, _>>()? })
    }

    /// Lets them send what is there, for a few seconds at the most, and waits for their end.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let all = tokio::task::spawn_blocking(move || self.threads.into_iter().for_each(|t| drop(t.join())));
        // One that is stuck in a request ends with the process.
        let _ = tokio::time::timeout(LAST_WORDS + Duration::from_secs(2), all).await;
    }
}

enum Way {
    Service(Box<Service>),
    Objects(Objects),
    #[cfg(feature = "kafka")]
    Kafka(Box<super::kafka::Topic>),
}

impl Way {
    fn of(spec: &SinkSpec) -> Result<Self, String> {
        Ok(match &spec.target {
            Target::Opa { url, partition } => Self::Service(Box::new(Service::opa(spec, url, partition.as_deref())?)),
            Target::Otlp(url) => Self::Service(Box::new(Service::otlp(spec, url)?)),
            Target::Http(url) => Self::Service(Box::new(Service::lines(spec, url)?)),
            Target::Objects(url) => Self::Objects(Objects::open(url)?),
            #[cfg(feature = "kafka")]
            Target::Kafka { brokers, topic, tls } => {
                Self::Kafka(Box::new(super::kafka::Topic::new(spec, brokers, topic, *tls)?))
            }
            #[cfg(not(feature = "kafka"))]
            Target::Kafka { .. } => return Err("needs a build with the feature `kafka`".to_owned()),
        })
    }

    async fn send(&mut self, spec: &SinkSpec, batch: &Batch) -> Sent {
        let events = &batch.events;
        match self {
            Self::Service(service) => service.send(events).await,
            Self::Objects(objects) => Sent::all_or(events.len(), objects.put(spec, events).await.map(|()| 0)),
            #[cfg(feature = "kafka")]
            Self::Kafka(topic) => topic.send(events).await,
        }
    }
}

/// What was sent since the last record of it.
#[derive(Debug, Default)]
pub(super) struct Exported {
    pub range: Option<(u64, u64)>,
    pub count: u64,
    /// What is to be said of it.
    pub reason: Option<String>,
    told: Option<Instant>,
}

pub(super) struct Runner {
    pub spec: SinkSpec,
    way: Way,
    pub log: DecisionLog,
    pub cursor: Cursor,
    /// Where sinks of other names are: one of them may have been this one.
    pub elsewhere: Vec<Progress>,
    pub reader: Reader,
    pub observer: Arc<dyn Observer>,
    pub stopped: watch::Receiver<bool>,
    handle: Handle,
    pub exported: Exported,
    /// The number of the record that waits for others, and when it was made.
    pub waiting: Option<(u64, String)>,
}

impl Runner {
    fn run(mut self) {
        let Some(mut progress) = self.begin() else { return };
        let mut checked = false;
        let mut retry = FIRST_RETRY;
        let mut ends: Option<Instant> = None;
        loop {
            if *self.stopped.borrow() {
                let end = *ends.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                if Instant::now() >= end {
                    break;
                }
            }
            if !checked && let Some(checkpoint) = self.log.checkpoint() {
                checked = true;
                self.recognise(&mut progress, &checkpoint);
            }
            let before = progress.next;
            let step = self.step(&mut progress, ends.is_some());
            if progress.next > before {
                retry = FIRST_RETRY;
            }
            match step {
                Ok(Step::Sent) => {}
                Ok(Step::Idle) if ends.is_some() => {
                    if progress.next >= self.log.health().next_seq {
                        break;
                    }
                    // The last records are signed within a second.
                    std::thread::sleep(POLL);
                }
                Ok(Step::Idle) => self.rest(POLL),
                Err(failure) => {
                    self.observer.failed(&self.spec.name, failure.reason);
                    tracing::warn!(
                        sink = self.spec.name,
                        reason = failure.reason.as_str(),
                        error = failure.message,
                        retry_ms = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX),
                        "records could not be delivered; they are tried again",
                    );
                    if ends.is_some() {
                        std::thread::sleep(retry.min(POLL));
                        continue;
                    }
                    // A service that asks for no pause at all gets one.
                    let asked = failure.after.map(|after| after.clamp(jitter(FIRST_RETRY), LONGEST_PAUSE));
                    self.rest(asked.unwrap_or_else(|| jitter(retry)));
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
            self.tell(&mut progress, false);
        }
        self.tell(&mut progress, true);
    }

    /// Sends what is due.
    fn step(&mut self, progress: &mut Progress, last: bool) -> Result<Step, Failure> {
        let local = |e: LogError| Failure::new(Reason::Local, e.to_string());
        let Some(checkpoint) = self.log.checkpoint() else { return Ok(Step::Idle) };
        if progress.origin != checkpoint.origin {
            self.follow(progress, &checkpoint);
        }
        let until = progress.until.unwrap_or(checkpoint.size);
        if !last && progress.until.is_none() && self.waits(progress.next, until).map_err(local)? {
            return Ok(Step::Idle);
        }
        let batch = self.reader.read(progress.next, until, self.bounds()).map_err(local)?;
        if batch.lost > 0 {
            progress.next += batch.lost;
            progress.lost += batch.lost;
            progress.until = None;
            self.observer.lost(&self.spec.name, batch.lost);
            tracing::error!(
                sink = self.spec.name,
                records = batch.lost,
                "the log deleted records before they were delivered"
            );
            self.cursor.save(progress).map_err(local)?;
            return Ok(Step::Sent);
        }
        self.show_lag(progress.next, checkpoint.size, batch.events.first());
        let Some(end) = batch.events.last().map(|e| e.seq() + 1) else { return Ok(Step::Idle) };
        if matches!(self.way, Way::Objects(_)) && progress.until != Some(end) {
            // Sent again after a crash, it is the same object.
            progress.until = Some(end);
            self.cursor.save(progress).map_err(local)?;
        }
        let handle = self.handle.clone();
        let sent = handle.block_on(self.way.send(&self.spec, &batch));
        if sent.delivered > 0 {
            let done = batch.events.get(..sent.delivered).unwrap_or_default();
            // They have left, whatever becomes of the cursor.
            let taken = count(sent.delivered).saturating_sub(sent.refused);
            if taken > 0 {
                self.observer.delivered(&self.spec.name, taken);
            }
            if sent.refused > 0 {
                self.observer.refused(&self.spec.name, sent.refused);
                tracing::error!(
                    sink = self.spec.name,
                    records = sent.refused,
                    "the service would not take records; they are not sent again"
                );
            }
            self.exported.take(done);
            progress.next = done.last().map_or(progress.next, |e| e.seq() + 1);
            progress.leaf = done.last().map(Event::leaf);
            progress.until = None;
            if self.exported.range.is_none() {
                progress.told = Some(progress.next);
            }
            self.cursor.save(progress).map_err(local)?;
            if sent.delivered == batch.events.len() {
                self.reader.go_on(&batch);
            }
        }
        self.show_lag(progress.next, checkpoint.size, batch.events.get(sent.delivered));
        sent.failure.map_or(Ok(Step::Sent), Err)
    }

    fn show_lag(&self, next: u64, until: u64, oldest: Option<&Event>) {
        let age = oldest.map_or(Duration::ZERO, |e| age(&e.record.head.timestamp));
        self.observer.lag(&self.spec.name, until.saturating_sub(next), age);
    }

    /// Whether records wait for others, or there are none. Only the first is read for it.
    fn waits(&mut self, next: u64, until: u64) -> Result<bool, LogError> {
        if next >= until {
            self.show_lag(next, until, None);
            return Ok(true);
        }
        if self.waiting.as_ref().is_none_or(|(seq, _)| *seq != next) {
            self.waiting = self.reader.next_time(next, until)?.map(|time| (next, time));
        }
        // None where some are lost: that is told of at once.
        let Some((_, time)) = &self.waiting else { return Ok(false) };
        let age = age(time);
        self.observer.lag(&self.spec.name, until.saturating_sub(next), age);
        let most = u64::try_from(self.bounds().records).unwrap_or(u64::MAX);
        Ok(age < self.spec.interval && until - next < most)
    }

    fn bounds(&self) -> Bounds {
        let (records, bytes, one_hour) = match self.spec.target {
            Target::Objects(_) => (20_000, 32 << 20, true),
            Target::Opa { .. } | Target::Otlp(_) | Target::Http(_) | Target::Kafka { .. } => (512, 4 << 20, false),
        };
        Bounds { records, bytes, one_hour, bodies: self.spec.bodies }
    }

    pub(super) fn log_dir(&self) -> &Path {
        self.reader.dir()
    }

    /// Waits, but not for the end of the process.
    pub(super) fn rest(&mut self, time: Duration) {
        let mut stopped = self.stopped.clone();
        self.handle.block_on(async {
            let stop = async {
                // An error is the end as well.
                let _ = stopped.wait_for(|s| *s).await;
            };
            let _ = tokio::time::timeout(time, stop).await;
        });
    }

    /// Writes down what left the log, at most once a minute.
    pub(super) fn tell(&mut self, progress: &mut Progress, last: bool) {
        let Some((first, end)) = self.exported.range else { return };
        if !last && self.exported.told.is_some_and(|t| t.elapsed() < TELL) {
            return;
        }
        let record = ReadRecord {
            timestamp: String::new(),
            action: ReadAction::Export,
            reader: format!("sink/{}", self.spec.name),
            caller: None,
            what: format!("{} as {}", self.spec.shown(), self.spec.format.as_str()),
            first_seq: Some(first),
            last_seq: Some(end),
            count: self.exported.count,
            bodies: self.spec.bodies,
            reason: self.exported.reason.clone(),
        };
        let appending = self.log.append(Entry::read(record, Timestamp::now()), Instant::now() + TELL_PATIENCE);
        match self.handle.block_on(appending) {
            Ok(_) => {
                self.exported = Exported { told: Some(Instant::now()), ..Exported::default() };
                progress.told = Some(progress.next);
                if let Err(error) = self.cursor.save(progress) {
                    tracing::warn!(sink = self.spec.name, %error, "an export may be recorded a second time");
                }
            }
            Err(error) => tracing::warn!(sink = self.spec.name, %error, "an export could not be recorded yet"),
        }
    }
}

enum Step {
    Sent,
    Idle,
}

impl Exported {
    /// What was sent. That an export was exported is not told: it would never end.
    fn take(&mut self, events: &[Event]) {
        let told = events.iter().filter(|e| !e.is_export());
        for event in told {
            let seq = event.seq();
            let (first, last) = self.range.unwrap_or((seq, seq));
            self.range = Some((first.min(seq), last.max(seq)));
            self.count += 1;
        }
    }
}

fn age(timestamp: &str) -> Duration {
    let then: Option<Timestamp> = timestamp.parse().ok();
    then.and_then(|t| Duration::try_from(Timestamp::now().duration_since(t)).ok()).unwrap_or_default()
}

/// Between three quarters and five quarters.
pub(super) fn jitter(time: Duration) -> Duration {
    let drawn = getrandom::u32().unwrap_or(u32::MAX / 2);
    time.mul_f64(0.75 + 0.5 * f64::from(drawn) / f64::from(u32::MAX))
}

fn count(records: usize) -> u64 {
    u64::try_from(records).unwrap_or(u64::MAX)
}
