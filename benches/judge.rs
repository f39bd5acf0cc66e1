//! What one review costs, stage by stage: decode, decide, record. Figures depend on the machine; compare within a run.

#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark that cannot set up its subject has nothing to measure"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::admission::{Request, decode, encode};
use portcullis::decisions::{Caller, DecisionMeta, Entry, MaskKey, Masker};
use portcullis::engine::{
    CompileOptions, Context, Endpoint, FailureModes, Inventory, Snapshot, Ways, answer, compile, decide,
};
use portcullis::source::{LoadOptions, load};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: portcullis::memory::Counting<mimalloc::MiMalloc> = portcullis::memory::Counting(mimalloc::MiMalloc);

const REVIEW: &str = include_str!("../tests/it/reviews/validate/create-pods-1.json");

fn shipped(ways: Ways) -> (Arc<Snapshot>, Inventory) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = LoadOptions {
        policies: vec![root.join("policies")],
        data: vec![root.join("policies/example-data")],
        ..LoadOptions::default()
    };
    let loaded = load(&options).expect("the shipped policies load");
    let options = CompileOptions { ways, ..CompileOptions::default() };
    let snapshot = compile(&loaded.sources, options).expect("the shipped policies compile").snapshot;
    let inventory = Inventory::fixed(snapshot.fixed_namespaces());
    (Arc::new(snapshot), inventory)
}

fn context(endpoint: Endpoint) -> Context {
    Context { endpoint, now_ns: 0, seed: 0, deadline: None, failure: FailureModes::default(), http: None }
}

fn request() -> Arc<Request> {
    Arc::new(decode(REVIEW.as_bytes()).expect("the review decodes"))
}

fn stages(c: &mut Criterion) {
    let (snapshot, inventory) = shipped(Ways::Auto);
    let request = request();
    c.bench_function("decode a 4.8 KB review", |b| b.iter(|| decode(black_box(REVIEW.as_bytes()))));
    for endpoint in [Endpoint::Validate, Endpoint::Mutate] {
        let context = context(endpoint);
        let name = format!("decide, shipped policies, {}", endpoint.as_str());
        c.bench_function(&name, |b| b.iter(|| decide(&snapshot, &inventory, black_box(&request), &context)));
    }
    let decision = decide(&snapshot, &inventory, &request, &context(Endpoint::Validate));
    let masker = Masker::new(MaskKey::from_bytes([7; 32]), Vec::new());
    let meta = DecisionMeta {
        decision_id: uuid::Uuid::from_u128(7),
        timestamp: jiff::Timestamp::UNIX_EPOCH,
        now_ns: 0,
        caller: Caller { addr: None, tls_subject: None, authenticated: false },
        metrics: Default::default(),
    };
    c.bench_function("record: mask and serialise", |b| {
        b.iter(|| Entry::decision(&meta, black_box(&request), &decision, &masker));
    });
    c.bench_function("encode the answer", |b| b.iter(|| encode(&answer(black_box(&decision), "uid"))));
}

/// The interpreter against plans: ratios within one run are what counts. Two threads share a snapshot, as the pool's do;
/// the figure is the time for one decision of each.
fn ways(c: &mut Criterion) {
    let request = request();
    for endpoint in [Endpoint::Validate, Endpoint::Mutate] {
        let context = context(endpoint);
        for (way, ways) in [("interpreter", Ways::Interpreter), ("plan", Ways::Auto)] {
            let (snapshot, inventory) = shipped(ways);
            for threads in [1, 2] {
                let name = format!("{}, by the {way}, {threads} threads", endpoint.as_str());
                c.bench_function(&name, |b| {
                    b.iter_custom(|times| {
                        let started = std::time::Instant::now();
                        std::thread::scope(|scope| {
                            for _ in 0..threads {
                                scope.spawn(|| {
                                    for _ in 0..times {
                                        black_box(decide(&snapshot, &inventory, black_box(&request), &context));
                                    }
                                });
                            }
                        });
                        started.elapsed()
                    });
                });
            }
        }
    }
}

criterion_group!(benches, stages, ways);
criterion_main!(benches);
