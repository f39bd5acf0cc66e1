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
    CompileOptions, Context, Endpoint, FailureModes, Inventory, Snapshot, answer, compile, decide,
};
use portcullis::source::{LoadOptions, load};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REVIEW: &str = include_str!("../tests/it/reviews/validate/create-pods-1.json");

fn shipped() -> (Arc<Snapshot>, Inventory) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = LoadOptions {
        policies: vec![root.join("policies")],
        data: vec![root.join("policies/example-data")],
        ..LoadOptions::default()
    };
    let loaded = load(&options).expect("the shipped policies load");
    let snapshot = compile(&loaded.sources, CompileOptions::default()).expect("the shipped policies compile").snapshot;
    let inventory = Inventory::fixed(snapshot.fixed_namespaces());
    (Arc::new(snapshot), inventory)
}

fn context(endpoint: Endpoint) -> Context {
    Context { endpoint, now_ns: 0, seed: 0, deadline: None, failure: FailureModes::default() }
}

fn request() -> Arc<Request> {
    Arc::new(decode(REVIEW.as_bytes()).expect("the review decodes"))
}

fn stages(c: &mut Criterion) {
    let (snapshot, inventory) = shipped();
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

criterion_group!(benches, stages);
criterion_main!(benches);
