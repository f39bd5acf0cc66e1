//! Sinks and the log they follow: what is lost is said, what cannot be told apart is sent again, bodies go along into new
//! segments, and what left the log is on record after a crash.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis::decisions::sinks::{Observer, Reason, SinkSpec, Sinks, SinksOptions};
use portcullis::decisions::{DecisionLog, Labels, LogOptions, ReadRecord, SigningSeed};
use serde_json::Value;

use super::keeping::{author, entry_of, filled, hold, of_user, temp};
use super::{options, records, runtime, segment_files, soon};
use crate::sinks::receiver::Receiver;

/// What was heard of a sink.
#[derive(Debug, Default, Clone)]
struct Heard {
    delivered: u64,
    failed: u64,
    refused: u64,
    lost: u64,
    /// Records that wait, and for how long the oldest has.
    lag: (u64, Duration),
}

#[derive(Default, Clone)]
struct Ears(Arc<Mutex<BTreeMap<String, Heard>>>);

impl Ears {
    fn of(&self, sink: &str) -> Heard {
        self.0.lock().expect("whole").get(sink).cloned().unwrap_or_default()
    }

    fn hear(&self, sink: &str, what: impl FnOnce(&mut Heard)) {
        what(self.0.lock().expect("whole").entry(sink.to_owned()).or_default());
    }
}

impl Observer for Ears {
    fn delivered(&self, sink: &str, records: u64) {
        self.hear(sink, |h| h.delivered += records);
    }

    fn failed(&self, sink: &str, _: Reason) {
        self.hear(sink, |h| h.failed += 1);
    }

    fn refused(&self, sink: &str, records: u64) {
        self.hear(sink, |h| h.refused += records);
    }

    fn lost(&self, sink: &str, records: u64) {
        self.hear(sink, |h| h.lost += records);
    }

    fn lag(&self, sink: &str, records: u64, age: Duration) {
        self.hear(sink, |h| h.lag = (records, age));
    }
}

/// A sink that sends at once.
fn to(name: &str, receiver: &Receiver) -> SinkSpec {
    SinkSpec { interval: Duration::ZERO, ..SinkSpec::at(name, &format!("http://{}/", receiver.addr)).expect("a sink") }
}

/// Sinks of the log in `<dir>/log` with their cursors in `<dir>/sinks`.
fn start(dir: &Path, log: &DecisionLog, specs: Vec<SinkSpec>) -> (Sinks, Ears) {
    let ears = Ears::default();
    let options = SinksOptions {
        specs,
        log_dir: dir.join("log"),
        state_dir: dir.join("sinks"),
        observer: Arc::new(ears.clone()),
    };
    (Sinks::start(&options, log).expect("start"), ears)
}

/// The documents that arrived, in their order.
fn arrived(receiver: &Receiver) -> Vec<Value> {
    let texts = receiver.received();
    let lines =
        texts.iter().flat_map(|r| String::from_utf8_lossy(&r.body).lines().map(str::to_owned).collect::<Vec<_>>());
    lines.map(|line| serde_json::from_str(&line).expect("JSON")).collect()
}

/// The numbers of the records that arrived.
fn seqs(receiver: &Receiver) -> Vec<u64> {
    arrived(receiver).iter().map(|d| d["record"]["seq"].as_u64().expect("a number")).collect()
}

async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nobody listens there.
fn nobody() -> Receiver {
    let receiver = Receiver::start();
    receiver.will_answer(&vec![(503, &b""[..]); 1000]);
    receiver
}

#[test]
fn what_is_gone_between_held_segments_or_cannot_be_read_is_counted_and_the_rest_is_sent() {
    let dir = temp();
    let path = dir.path().join("log");
    let receiver = Receiver::start();
    runtime().block_on(async {
        // 0 is `start`; 1 to 6 are decisions, a segment each.
        let log = filled(options(&path), &["a", "held", "b", "c", "broken", "d"]).await;
        let work = log.clone();
        let before = Timestamp::now().checked_sub(jiff::SignedDuration::from_mins(5)).expect("a time");
        tokio::task::spawn_blocking(move || {
            work.place_hold(hold("case", of_user("held")), &author()).expect("is placed");
            work.place_hold(hold("too", of_user("broken")), &author()).expect("is placed");
            work.prune_older(None, Some(before), &author()).expect("prunes");
        })
        .await
        .expect("ends");
        let broken = segment_files(&path).into_iter().find(|f| fs::read_to_string(f).expect("read").contains("broken"));
        let broken = broken.expect("it is held");
        let text = fs::read_to_string(&broken).expect("read");
        fs::write(&broken, format!("{}\n", "x".repeat(text.len() - 1))).expect("written");
        let (sinks, ears) = start(dir.path(), &log, vec![to("http", &receiver)]);
        let young = log.append(entry_of("young", "a", 0, ""), soon()).await.expect("appends").seq.expect("a number");
        until("the young one does not arrive", || seqs(&receiver).contains(&young)).await;
        // 1, 3 and 4 were deleted, 5 cannot be read, 6 was deleted.
        assert_eq!(ears.of("http").lost, 5, "{:?}", seqs(&receiver));
        let seen = seqs(&receiver);
        assert_eq!(&seen[..2], [0, 2]);
        assert!(seen[2..].iter().copied().eq(7..=*seen.last().expect("some")), "{seen:?}");
        sinks.stop().await;
        log.close("test").await.expect("closes");
    });
}

#[test]
fn bodies_go_along_into_segments_that_were_begun_meanwhile() {
    let dir = temp();
    let path = dir.path().join("log");
    let receiver = Receiver::start();
    runtime().block_on(async {
        let log = DecisionLog::open(LogOptions { segment_bytes: 20_000, ..options(&path) }).expect("opens");
        let (sinks, _) = start(dir.path(), &log, vec![SinkSpec { bodies: true, ..to("http", &receiver) }]);
        for n in 0..100 {
            log.append(entry_of("a", "a", 0, &format!("body-{n}")), soon()).await.expect("appends");
            if n % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        let decisions =
            || arrived(&receiver).into_iter().filter(|d| d["record"]["type"] == "decision").collect::<Vec<_>>();
        until("they do not arrive", || decisions().len() == 100).await;
        for (n, document) in decisions().iter().enumerate() {
            let said = &document["body"]["input"]["request"]["object"]["metadata"]["annotations"]["owner"];
            assert_eq!(said, &format!("body-{n}"), "{document}");
        }
        sinks.stop().await;
        log.close("test").await.expect("closes");
    });
    assert!(segment_files(&path).len() > 2);
}

#[test]
fn a_sink_that_nobody_named_is_known_by_its_place() {
    let dir = temp();
    let path = dir.path().join("log");
    let (one, two, other) = (Receiver::start(), nobody(), Receiver::start());
    runtime().block_on(async {
        let log = DecisionLog::open(options(&path)).expect("opens");
        let (sinks, ears) = start(dir.path(), &log, vec![to("http", &one), to("http-2", &two)]);
        for _ in 0..5 {
            log.append(entry_of("a", "a", 0, ""), soon()).await.expect("appends");
        }
        until("the first gets nothing", || seqs(&one).len() >= 6).await;
        until("the second is not tried", || ears.of("http-2").failed > 0).await;
        sinks.stop().await;
        // The first is gone, and the second has its name: it gets all that it did not get.
        let back = &two;
        back.will_take();
        let (sinks, ears) = start(dir.path(), &log, vec![to("http", back)]);
        until("the second gets nothing", || seqs(back).len() >= 6).await;
        assert!(seqs(back).iter().copied().eq(0..seqs(back).len() as u64), "{:?}", seqs(back));
        assert_eq!(ears.of("http").lost, 0);
        sinks.stop().await;
        // The other way round: what was delivered is not sent again under another name.
        let count = seqs(back).len();
        let (sinks, _) = start(dir.path(), &log, vec![to("http", &one), to("http-2", back)]);
        log.append(entry_of("a", "a", 0, "last"), soon()).await.expect("appends");
        let last = log.health().next_seq - 1;
        until("the last does not arrive", || seqs(back).contains(&last)).await;
        assert!(seqs(back)[count..].iter().all(|seq| *seq >= count as u64), "{:?}", seqs(back));
        sinks.stop().await;
        // Somebody's own name goes along to another place.
        let named = |receiver: &Receiver| SinkSpec { named: true, ..to("siem", receiver) };
        let (sinks, _) = start(dir.path(), &log, vec![named(&one)]);
        let next = log.health().next_seq;
        until("it is not sent", || seqs(&one).contains(&(next - 1))).await;
        sinks.stop().await;
        let (sinks, _) = start(dir.path(), &log, vec![named(&other)]);
        log.append(entry_of("a", "a", 0, "more"), soon()).await.expect("appends");
        until("it is not sent", || !seqs(&other).is_empty()).await;
        assert!(seqs(&other).iter().all(|seq| *seq >= next), "{:?}", seqs(&other));
        sinks.stop().await;
        log.close("test").await.expect("closes");
    });
}

#[test]
fn a_log_that_is_another_is_sent_from_its_beginning_and_what_was_lost_is_counted() {
    let dir = temp();
    let path = dir.path().join("log");
    let receiver = Receiver::start();
    let deliver = |options: LogOptions, count: usize| {
        let before = seqs(&receiver).len();
        runtime().block_on(async {
            let log = DecisionLog::open(options).expect("opens");
            let (sinks, ears) = start(dir.path(), &log, vec![to("http", &receiver)]);
            for _ in 0..count {
                log.append(entry_of("a", "a", 0, ""), soon()).await.expect("appends");
            }
            let decisions = || {
                let new = arrived(&receiver).split_off(before);
                new.iter().filter(|d| d["record"]["type"] == "decision").count()
            };
            until("they do not arrive", || decisions() >= count).await;
            sinks.stop().await;
            log.close("test").await.expect("closes");
            (ears.of("http").lost, seqs(&receiver).split_off(before))
        })
    };
    let (_, first) = deliver(options(&path), 10);
    assert_eq!(first[0], 0);
    // Removed with everything that told of it: another key, the same name, fewer records; then more of them.
    let other = |n: u8| LogOptions { signing_seed: SigningSeed::from_bytes([n; 32]), ..options(&path) };
    for (seed, count) in [(6, 3), (7, 30)] {
        fs::remove_dir_all(&path).expect("removed");
        let (lost, seen) = deliver(other(seed), count);
        assert_eq!((lost, seen[0]), (0, 0), "{seen:?}");
    }
    // Cut back while nobody looked: it is set aside, and another begins. Seven of it were not delivered.
    runtime().block_on(async {
        let log = DecisionLog::open(other(7)).expect("opens");
        for _ in 0..7 {
            log.append(entry_of("a", "a", 0, ""), soon()).await.expect("appends");
        }
        log.close("test").await.expect("closes");
    });
    let all = records(&path).len() as u64;
    let cursor: Value =
        serde_json::from_slice(&fs::read(dir.path().join("sinks/http.json")).expect("read")).expect("JSON");
    let file = segment_files(&path).pop().expect("one");
    let text = fs::read_to_string(&file).expect("read");
    let cut: String = text.lines().take(5).map(|line| format!("{line}\n")).collect();
    fs::write(&file, cut).expect("written");
    let (lost, seen) = deliver(other(7), 2);
    assert_eq!((lost, seen[0]), (all - cursor["next"].as_u64().expect("a number"), 0), "{seen:?}");
    assert!(lost >= 7);
    // What is said of exports of the one before is not said of those of this one.
    let told: Vec<_> = records(&path).iter().filter(|r| r.line.contains(r#""action":"export""#)).cloned().collect();
    assert!(!told.is_empty() && !told.iter().any(|r| r.line.contains("of the log")), "{told:?}");
}

#[test]
fn what_left_the_log_is_on_record_after_a_crash() {
    let dir = temp();
    let path = dir.path().join("log");
    let receiver = Receiver::start();
    let exports = || {
        let exports = records(&path).into_iter().filter(|r| r.line.contains(r#""action":"export""#));
        exports.map(|r| serde_json::from_str::<ReadRecord>(&r.line).expect("a record")).collect::<Vec<_>>()
    };
    let last = runtime().block_on(async {
        let log = DecisionLog::open(options(&path)).expect("opens");
        let (sinks, _) = start(dir.path(), &log, vec![to("http", &receiver)]);
        until("the first are not sent", || !seqs(&receiver).is_empty()).await;
        for _ in 0..20 {
            log.append(entry_of("a", "a", 0, ""), soon()).await.expect("appends");
        }
        let last = log.health().next_seq - 1;
        until("they do not arrive", || seqs(&receiver).contains(&last)).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        // As a crash leaves it: the thread goes on, its log does not.
        let crashed = temp();
        super::proving::copy(&path, &crashed.path().join("log"));
        super::proving::copy(&dir.path().join("sinks"), &crashed.path().join("sinks"));
        sinks.stop().await;
        log.close("test").await.expect("closes");
        fs::remove_dir_all(&path).expect("removed");
        fs::remove_dir_all(dir.path().join("sinks")).expect("removed");
        super::proving::copy(&crashed.path().join("log"), &path);
        super::proving::copy(&crashed.path().join("sinks"), &dir.path().join("sinks"));
        last
    });
    let covers = |exports: &[ReadRecord]| {
        let told: Vec<(u64, u64)> = exports.iter().filter_map(|e| Some((e.first_seq?, e.last_seq?))).collect();
        (0..=last).all(|seq| told.iter().any(|(first, last)| (*first..=*last).contains(&seq)))
    };
    assert!(!covers(&exports()), "a minute is not over");
    runtime().block_on(async {
        let log = DecisionLog::open(options(&path)).expect("opens");
        let (sinks, _) = start(dir.path(), &log, vec![to("http", &receiver)]);
        until("it is not told", || covers(&exports())).await;
        sinks.stop().await;
        log.close("test").await.expect("closes");
    });
    let told = exports();
    assert!(told.iter().any(|e| e.reason.as_deref().is_some_and(|r| r.contains("the process ended"))), "{told:?}");
}

#[test]
fn a_sink_that_fails_is_seen_to_be_late() {
    let dir = temp();
    let path = dir.path().join("log");
    let receiver = nobody();
    runtime().block_on(async {
        let log = DecisionLog::open(options(&path)).expect("opens");
        log.append(entry_of("a", "a", 100, ""), soon()).await.expect("appends");
        let (sinks, ears) = start(dir.path(), &log, vec![to("http", &receiver)]);
        until("it does not fail", || ears.of("http").failed > 1 && ears.of("http").lag.0 >= 2).await;
        assert!(ears.of("http").lag.1 > Duration::ZERO, "{:?}", ears.of("http"));
        assert_eq!(ears.of("http").delivered, 0);
        sinks.stop().await;
        log.close("test").await.expect("closes");
    });
}

#[test]
fn objects_are_of_one_cluster() {
    let dir = temp();
    let path = dir.path().join("log");
    let lake = dir.path().join("lake");
    let spec = || {
        let spec = SinkSpec::at("lake", &format!("file://{}", lake.display())).expect("a sink");
        SinkSpec { interval: Duration::ZERO, ..spec }
    };
    runtime().block_on(async {
        for cluster in ["alpha", "beta"] {
            let labels = Labels { cluster: cluster.to_owned(), ..options(&path).labels };
            let log = DecisionLog::open(LogOptions { labels, ..options(&path) }).expect("opens");
            log.append(entry_of("a", "a", 0, ""), soon()).await.expect("appends");
            if cluster == "beta" {
                let (sinks, _) = start(dir.path(), &log, vec![spec()]);
                let there = || ["alpha", "beta"].iter().all(|c| lake.join(format!("cluster={c}")).exists());
                until("there is no object of each", there).await;
                sinks.stop().await;
            }
            log.close("test").await.expect("closes");
        }
    });
}

#[test]
fn a_denial_for_want_of_an_answer_is_seen_in_ocsf() {
    let dir = temp();
    let failure = portcullis::engine::PolicyFailure {
        policy: "slow".into(),
        digest: portcullis::policy::Digest::of(b"slow"),
        enforcement: portcullis::policy::Enforcement::Deny,
        code: portcullis::engine::ErrorCode::Budget,
        msg: "it took longer than its budget".to_owned(),
        location: None,
    };
    let decision = portcullis::engine::Decision {
        verdict: portcullis::engine::Verdict::Deny,
        cause: portcullis::engine::Cause::PolicyError,
        failures: vec![failure],
        ..super::allowed()
    };
    let mut unknown = super::meta();
    unknown.caller.addr = None;
    let request = super::request("Pod", serde_json::json!({"kind": "Pod"}));
    let entry = portcullis::decisions::Entry::decision(&unknown, &request, &decision, &super::masker());
    super::written(&dir.path().join("log"), vec![entry]);
    let args = ["decisions", "export", "--decision-log", "log", "--format", "ocsf"];
    let (code, out, error) = super::proving::cli(dir.path(), &args);
    assert_eq!(code, 0, "{error}");
    let event: Value = serde_json::from_str(out.lines().next().expect("one")).expect("JSON");
    assert_eq!((&event["severity_id"], &event["message"]), (&3.into(), &"it took longer than its budget".into()));
    assert_eq!(event["authorizations"][0]["policy"]["name"], "slow");
    assert_eq!((&event["src_endpoint"]["ip"], &event["src_endpoint"]["name"]), (&Value::Null, &"unknown".into()));
}

#[test]
fn two_formats_of_one_place_are_two_deliveries() {
    let dir = temp();
    let path = dir.path().join("log");
    let receiver = Receiver::start();
    let cloud_events =
        SinkSpec { format: portcullis::decisions::sinks::Format::CloudEvents, ..to("http-2", &receiver) };
    runtime().block_on(async {
        let log = DecisionLog::open(options(&path)).expect("opens");
        log.append(entry_of("a", "a", 0, ""), soon()).await.expect("appends");
        let (sinks, _) = start(dir.path(), &log, vec![to("http", &receiver)]);
        until("it is not sent", || receiver.received().iter().any(|r| r.body.starts_with(b"{\"leaf\""))).await;
        sinks.stop().await;
        // The second is new: it gets all, although the first has been there.
        let (sinks, _) = start(dir.path(), &log, vec![to("http", &receiver), cloud_events]);
        let first = || receiver.received().iter().any(|r| String::from_utf8_lossy(&r.body).contains("test/r-0/0\""));
        until("the first record is not sent as an event", first).await;
        sinks.stop().await;
        log.close("test").await.expect("closes");
    });
}

#[test]
fn bodies_are_found_behind_a_segment_that_has_none() {
    let dir = temp();
    runtime().block_on(async {
        let log = filled(options(dir.path()), &["a", "b"]).await;
        let decisions = || records(dir.path()).into_iter().filter_map(|r| Some((r.decision()?, r))).collect::<Vec<_>>();
        let known = decisions();
        let file = segment_files(&dir.path().join("bodies")).pop().expect("the last");
        fs::remove_file(file).expect("removed");
        let mut cursor = portcullis::decisions::replay::BodyCursor::new(dir.path());
        let mut body = |(decision, record): &(_, _)| cursor.body(record, decision).expect("reads");
        assert_eq!(body(&known[1]), portcullis::decisions::BodyState::Deleted);
        log.append(entry_of("c", "c", 0, "later"), soon()).await.expect("appends");
        let later = decisions().pop().expect("one");
        assert!(matches!(body(&later), portcullis::decisions::BodyState::Intact(_)), "its segment is new");
        log.close("test").await.expect("closes");
    });
}
