//! A witness as C2SP tlog-witness describes it: it knows one log, remembers what it signed last, and signs nothing that
//! does not go on from there.

use std::sync::{Arc, Mutex};

use portcullis::tlog::{AddCheckpoint, Checkpoint, CosigningKey, Hash, VerifierKey, WitnessKey, is_consistent};

use super::listener::{Asked, Listener, Reply};

/// The time in its signatures.
pub(crate) const SIGNED_AT: u64 = 1_790_000_000;

#[derive(Default)]
struct Memory {
    last: Option<(u64, Hash)>,
    /// Old size, new size and status of each request.
    asked: Vec<(u64, u64, u16)>,
}

/// A running witness.
pub(crate) struct TestWitness {
    listener: Listener,
    key: WitnessKey,
    memory: Arc<Mutex<Memory>>,
}

impl TestWitness {
    /// A witness that trusts this key of a log.
    pub(crate) fn start(name: &str, seed: u8, log: VerifierKey) -> Self {
        let signer = CosigningKey::from_seed(name, &[seed; 32]).expect("a key");
        let key = signer.verifier().clone();
        let memory = Arc::<Mutex<Memory>>::default();
        let shared = Arc::clone(&memory);
        let listener = Listener::start(move |asked| answer(asked, &signer, &log, &mut shared.lock().expect("whole")));
        Self { listener, key, memory }
    }

    pub(crate) fn url(&self) -> String {
        self.listener.url("/prefix/")
    }

    pub(crate) fn key(&self) -> &WitnessKey {
        &self.key
    }

    /// Old size, new size and status of each request so far.
    pub(crate) fn asked(&self) -> Vec<(u64, u64, u16)> {
        self.memory.lock().expect("whole").asked.clone()
    }

    /// The size that it signed last.
    pub(crate) fn size(&self) -> u64 {
        self.memory.lock().expect("whole").last.map_or(0, |(size, _)| size)
    }
}

fn answer(asked: &Asked, signer: &CosigningKey, log: &VerifierKey, memory: &mut Memory) -> Reply {
    const TEXT: &str = "text/plain";
    if (asked.method.as_str(), asked.path.as_str()) != ("POST", "/prefix/add-checkpoint") {
        return (404, TEXT, "no such path\n".to_owned());
    }
    let Ok(request) = AddCheckpoint::parse(&asked.body) else { return (400, TEXT, "not a request\n".to_owned()) };
    let checkpoint = Checkpoint::parse(&request.checkpoint.text).expect("a checkpoint");
    let last = memory.last.unwrap_or_else(|| (0, portcullis::tlog::empty_root()));
    let (status, kind, text) = if checkpoint.origin != log.name() {
        (404, TEXT, String::new())
    } else if request.checkpoint.verify(std::slice::from_ref(log)).is_err() {
        (403, TEXT, String::new())
    } else if request.old > checkpoint.size {
        (400, TEXT, String::new())
    } else if request.old != last.0 || request.old == checkpoint.size && last.1 != checkpoint.root {
        (409, "text/x.tlog.size", format!("{}\n", last.0))
    } else if !is_consistent((last.0, &last.1), (checkpoint.size, &checkpoint.root), &request.path) && last.0 > 0 {
        (422, TEXT, String::new())
    } else {
        memory.last = Some((checkpoint.size, checkpoint.root));
        let mut note = request.checkpoint.clone();
        note.signatures = vec![signer.cosign(&note.text, SIGNED_AT)];
        let line = note.to_string().rsplit_once("\n\n").expect("signatures").1.to_owned();
        (200, TEXT, line)
    };
    memory.asked.push((request.old, checkpoint.size, status));
    (status, kind, text)
}
