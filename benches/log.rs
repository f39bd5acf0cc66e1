//! What the decision log costs: records a second in each durability mode, its share of a review, how fast a log is
//! verified, and how fast its decisions are made again. Figures depend on the machine and its disk; ratios within a run say more.
//!
//! `cargo bench --bench log [-- --records 100000 --seconds 3 --dir DIR]`. The directory is where the disk is measured;
//! a temporary one by default.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark that cannot set up its subject has nothing to measure"
)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portcullis::admission::{Request, decode, encode};
use portcullis::decisions::replay::{BodyCursor, Judge};
use portcullis::decisions::{
    Caller, DecisionLog, DecisionMeta, Durability, Entry, Filter, Labels, LogOptions, LogReader, MaskKey, Masker,
    PolicySets, Retention, SetId, SigningSeed, VerifyOptions, verify,
};
use portcullis::engine::{
    CompileOptions, Context, Decision, Endpoint, FailureModes, Inventory, Snapshot, answer, compile, decide,
};
use portcullis::policy::Sources;
use portcullis::source::{LoadOptions, load};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A Pod of a Deployment, as the API server sent it.
const REVIEW: &str = include_str!("../tests/it/reviews/validate/create-pods-1.json");
/// Reviews under way at once.
const TASKS: usize = 64;
/// Times that reviews are measured in each mode, each for a third of the time.
const ROUNDS: usize = 15;

/// Entries that are made to see what making one costs.
const ENTRIES: u32 = 20_000;

struct Arguments {
    records: u64,
    time: Duration,
    dir: PathBuf,
}

/// What every review is judged with.
struct World {
    sources: Sources,
    snapshot: Arc<Snapshot>,
    inventory: Inventory,
    masker: Masker,
}

fn main() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let arguments = arguments(scratch.path());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(processors).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let world = Arc::new(world());
    let sample = entry(&world, &judge(&world).1);
    println!("{processors} processors; a record with its body has {} bytes", sample.size());

    let (decision, before) = (judge(&world).1, cpu_seconds());
    (0..ENTRIES).for_each(|_| drop(std::hint::black_box(entry(&world, &decision))));
    let each = (cpu_seconds() - before) * 1e6 / f64::from(ENTRIES);
    println!("  masked, cut to size and serialised in {each:.0} us of processor time");

    println!("\nrecords a second, {TASKS} at once");
    for durability in [Durability::Fsync, Durability::Flush, Durability::BestEffort] {
        let log = open(&arguments.dir.join(durability.as_str()), durability);
        let rate = runtime.block_on(append(&log, &world, &arguments));
        runtime.block_on(log.close("the run is over")).expect("closes");
        println!("  {:<12} {rate:>10.0}", durability.as_str());
    }

    println!("\nreviews a second, judged and encoded");
    let modes = [Durability::Flush, Durability::Fsync, Durability::BestEffort];
    let dir = |mode: Durability| arguments.dir.join(format!("review-{}", mode.as_str()));
    let logs = modes.map(|mode| open(&dir(mode), mode));
    // In turns, so that none has the machine's better half; each round is compared with itself.
    let mut rounds: Vec<[(f64, f64); 4]> = Vec::new();
    for _ in 0..ROUNDS {
        let kinds = std::iter::once(None).chain(logs.iter().cloned().map(Some));
        let mut round = [(0.0, 0.0); 4];
        for (rate, log) in round.iter_mut().zip(kinds) {
            *rate = runtime.block_on(review(log, &world, arguments.time / 3));
        }
        rounds.push(round);
    }
    logs.iter().for_each(|log| runtime.block_on(log.close("the run is over")).expect("closes"));
    let names = std::iter::once("no log").chain(modes.iter().map(|m| m.as_str()));
    for (kind, name) in names.enumerate() {
        let rate = median(rounds.iter().map(|r| r[kind].0));
        let cpu = median(rounds.iter().map(|r| r[kind].1)) * 1e6;
        let more = median(rounds.iter().map(|r| (r[kind].1 / r[0].1 - 1.0) * 100.0));
        println!("  {name:<12} {rate:>10.0}   {cpu:>6.0} us of processor time each   {more:+.1} %");
    }

    let dir = arguments.dir.join("verify");
    runtime.block_on(fill(&dir, &world, arguments.records));
    println!("\nreplay, on one thread");
    timed_replay(&world, &dir, (arguments.records / 20).max(1));
    println!("\nverify, {} records", arguments.records);
    timed_verify("with bodies", &dir);
    std::fs::remove_dir_all(dir.join("bodies")).expect("removed");
    timed_verify("no bodies", &dir);
}

fn arguments(scratch: &Path) -> Arguments {
    let mut found = Arguments { records: 100_000, time: Duration::from_secs(3), dir: scratch.to_path_buf() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("a value after the flag");
        match word.as_str() {
            "--records" => found.records = value().parse().expect("a number"),
            "--seconds" => found.time = Duration::from_secs_f64(value().parse().expect("a number")),
            "--dir" => found.dir = PathBuf::from(value()),
            _ => {}
        }
    }
    found
}

fn world() -> World {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = LoadOptions {
        policies: vec![root.join("policies")],
        data: vec![root.join("policies/example-data")],
        example_data: false,
        ..LoadOptions::default()
    };
    let loaded = load(&options).expect("the shipped policies load");
    let snapshot = compile(&loaded.sources, CompileOptions::default()).expect("the shipped policies compile").snapshot;
    let inventory = Inventory::fixed(snapshot.fixed_namespaces());
    let masker = Masker::new(MaskKey::from_bytes([1; 32]), Vec::new());
    World { sources: loaded.sources, snapshot: Arc::new(snapshot), inventory, masker }
}

fn open(dir: &Path, durability: Durability) -> DecisionLog {
    let options = LogOptions {
        dir: dir.to_path_buf(),
        durability,
        max_bytes: 64 << 30,
        segment_bytes: 64 << 20,
        retention: Retention::default(),
        labels: Labels { cluster: "bench".to_owned(), replica: "r-0".to_owned(), version: "0".to_owned() },
        origin: "bench/r-0".to_owned(),
        mask_key: MaskKey::from_bytes([1; 32]),
        signing_seed: SigningSeed::from_bytes([2; 32]),
        checkpoint_copy: None,
    };
    DecisionLog::open(options).expect("opens")
}

fn judge(world: &World) -> (Arc<Request>, Decision) {
    let request = Arc::new(decode(REVIEW.as_bytes()).expect("a captured review decodes"));
    let context = Context {
        endpoint: Endpoint::Validate,
        now_ns: 1_767_225_600_000_000_000,
        seed: 1,
        deadline: None,
        failure: FailureModes::default(),
        http: None,
    };
    let decision = decide(&world.snapshot, &world.inventory, &request, &context);
    (request, decision)
}

fn entry(world: &World, decision: &Decision) -> Entry {
    let request = decode(REVIEW.as_bytes()).expect("a captured review decodes");
    entry_of(world, &request, decision)
}

fn entry_of(world: &World, request: &Request, decision: &Decision) -> Entry {
    let timestamp = jiff::Timestamp::now();
    let meta = DecisionMeta {
        decision_id: uuid::Uuid::now_v7(),
        timestamp,
        now_ns: i64::try_from(timestamp.as_nanosecond()).expect("before 2262"),
        caller: Caller::default(),
        metrics: BTreeMap::new(),
    };
    Entry::decision(&meta, request, decision, &world.masker)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Entries that are there already, as fast as the log takes them.
async fn append(log: &DecisionLog, world: &Arc<World>, arguments: &Arguments) -> f64 {
    let sample = entry(world, &judge(world).1);
    let (begun, end) = (Instant::now(), Instant::now() + arguments.time);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (log, sample) = (log.clone(), sample.clone());
        tasks.spawn(async move {
            while Instant::now() < end {
                // Best effort refuses nobody and waits for nobody: keep to what the queue holds.
                while log.health().queued > 4096 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                log.append(sample.clone(), soon()).await.expect("appends");
            }
        });
    }
    tasks.join_all().await;
    log.health().appended as f64 / begun.elapsed().as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Whole reviews, without HTTP: how many a second, and the processor time of one.
async fn review(log: Option<DecisionLog>, world: &Arc<World>, time: Duration) -> (f64, f64) {
    let cpu = cpu_seconds();
    let (begun, end) = (Instant::now(), Instant::now() + time);
    let count = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (log, world, count) = (log.clone(), Arc::clone(world), Arc::clone(&count));
        tasks.spawn(async move {
            while Instant::now() < end {
                let (request, decision) = judge(&world);
                if let Some(log) = &log {
                    log.append(entry_of(&world, &request, &decision), soon()).await.expect("appends");
                }
                std::hint::black_box(encode(&answer(&decision, &request.uid)));
                count.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    tasks.join_all().await;
    let count = count.load(Ordering::Relaxed) as f64;
    (count / begun.elapsed().as_secs_f64(), (cpu_seconds() - cpu) / count)
}

/// Processor time of this process, which other processes on the machine disturb less than the clock: fields 14 and 15
/// of `/proc/self/stat`, in hundredths of a second (proc(5)).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// A log of so many different decisions.
async fn fill(dir: &Path, world: &Arc<World>, records: u64) {
    let log = open(dir, Durability::Flush);
    let decision = Arc::new(judge(world).1);
    let left = Arc::new(AtomicU64::new(records));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (log, world, decision, left) = (log.clone(), Arc::clone(world), Arc::clone(&decision), Arc::clone(&left));
        tasks.spawn(async move {
            let more = |left: u64| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
                log.append(entry(&world, &decision), soon()).await.expect("appends");
            }
        });
    }
    tasks.join_all().await;
    log.close("the run is over").await.expect("closes");
}

fn timed_verify(name: &str, dir: &Path) {
    let options = VerifyOptions { dir: dir.to_path_buf(), keys: Vec::new(), anchors: Vec::new() };
    let (begun, cpu, mut bytes) = (Instant::now(), cpu_seconds(), 0);
    let report = verify(&options, &mut |progress| bytes = progress.total).expect("can be read");
    assert!(report.is_fine(), "{:?}", report.findings);
    let took = begun.elapsed().as_secs_f64();
    let (rate, megabytes) = (report.total() as f64 / took, bytes as f64 / took / 1e6);
    let each = (cpu_seconds() - cpu) / report.total() as f64 * 1e6;
    println!("  {name:<12} {rate:>10.0} records/s   {megabytes:>6.0} MB/s   {each:.1} us of processor time each");
}

/// The first decisions of the log, made again under the set that is kept beside it.
fn timed_replay(world: &World, dir: &Path, most: u64) {
    let sets = PolicySets::beside(dir);
    let id = SetId::of(&world.snapshot);
    sets.keep(id, &world.sources, CompileOptions::default(), 1 << 30).expect("kept");
    let judge = Judge::new(sets);
    let mut bodies = BodyCursor::new(dir);
    let (mut made, mut found): (u64, BTreeMap<&str, u64>) = (0, BTreeMap::new());
    let mut begun = None;
    LogReader::open(dir)
        .expect("opens")
        .for_each(&Filter::default(), |record| {
            let Some(decision) = record.decision() else { return ControlFlow::Continue(()) };
            let body = bodies.body(&record, &decision).expect("can be read");
            *found.entry(judge.replay(&decision, &body).status.as_str()).or_default() += 1;
            // The first one compiles the set.
            begun.get_or_insert_with(|| (Instant::now(), cpu_seconds()));
            made += 1;
            if made > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .expect("can be read");
    let (begun, cpu) = begun.expect("the log has decisions");
    let rate = (made - 1) as f64 / begun.elapsed().as_secs_f64();
    let each = (cpu_seconds() - cpu) / (made - 1) as f64 * 1e6;
    println!("  {rate:>10.0} decisions/s   {each:.0} us of processor time each   {found:?}");
}
