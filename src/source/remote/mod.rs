//! Bundles that others serve: over HTTPS, or as artifacts in a registry. Polled; what was good is kept on disk.
//!
//! Knows addresses, versions and bytes; must not know what is in a bundle. Nothing here is trusted: signatures are
//! checked when a bundle is opened, whether it comes from the wire or from the disk.

mod auth;
mod https;
mod kept;
mod oci;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;

use crate::policy::LoadError;
use kept::Keeper;

/// Longest time for one address, from connecting to the last byte.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest time to connect.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How remote bundles are fetched.
#[derive(Debug, Clone, Default)]
pub struct RemoteOptions {
    /// File with a bearer token for HTTPS, read anew each time; without one `PORTCULLIS_BUNDLE_TOKEN`, if it is set.
    pub token_file: Option<PathBuf>,
    /// The only authorities that are trusted, PEM; the system's without it.
    pub ca: Option<PathBuf>,
    /// Whether bundles may come in the clear from other machines.
    pub plain_http: bool,
    /// Where good copies are kept; nowhere without it.
    pub keep: Option<PathBuf>,
}

/// What came of polling all addresses once.
#[derive(Debug, Default)]
pub struct Polled {
    /// Addresses that have something new.
    pub changed: usize,
    /// Addresses that have what they had.
    pub unchanged: usize,
    /// Why the others could not be asked.
    pub errors: Vec<LoadError>,
}

/// What an address held at last.
#[derive(Debug, Clone)]
pub(super) struct Held {
    bytes: Arc<[u8]>,
    /// `ETag` or digest: what is told to the server to get only something newer.
    version: String,
}

/// What a server says to somebody who has `version` already.
enum Answer {
    Unchanged,
    New(Held),
}

/// All remote bundles of a policy set.
#[derive(Debug)]
pub struct Remotes {
    addresses: Vec<String>,
    options: RemoteOptions,
    held: Mutex<BTreeMap<String, Held>>,
}

/// Whether a path is an address.
pub(super) fn is_remote(path: &Path) -> bool {
    let text = path.to_string_lossy();
    ["https://", "http://", "oci://"].iter().any(|scheme| text.starts_with(scheme))
}

impl Remotes {
    pub(super) fn new(addresses: Vec<String>, options: RemoteOptions) -> Self {
        Self { addresses, options, held: Mutex::default() }
    }

    /// Whether there is nothing to poll.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Asks every address once, all at the same time.
    pub async fn poll(&self) -> Polled {
        let asked = self.addresses.iter().map(|address| async move {
            let has = self.held().get(address).map(|h| h.version.clone());
            let asked = tokio::time::timeout(PATIENCE, self.ask(address, has.as_deref()));
            let answer =
                asked.await.unwrap_or_else(|_| Err(format!("no whole answer within {} s", PATIENCE.as_secs())));
            (address, answer)
        });
        let mut polled = Polled::default();
        for (address, answer) in join_all(asked).await {
            match answer {
                Err(message) => polled.errors.push(LoadError::new(address, "remote", message)),
                Ok(Answer::Unchanged) => polled.unchanged += 1,
                Ok(Answer::New(held)) => {
                    let before = self.held().insert(address.clone(), held.clone());
                    match before.is_some_and(|b| b.bytes == held.bytes) {
                        true => polled.unchanged += 1,
                        false => polled.changed += 1,
                    }
                }
            }
        }
        polled
    }

    /// Asks every address once and waits for it, outside of any runtime: what the command line does.
    pub(super) fn poll_and_wait(&self) -> Polled {
        let poll = || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.poll()),
            Err(e) => Polled { errors: vec![LoadError::new("", "remote", e.to_string())], ..Polled::default() },
        };
        std::thread::scope(|scope| scope.spawn(poll).join()).unwrap_or_default()
    }

    async fn ask(&self, address: &str, has: Option<&str>) -> Result<Answer, String> {
        match address.strip_prefix("oci://") {
            Some(reference) => oci::pull(reference, has, &self.options).await,
            None => https::get(address, has, &self.options).await,
        }
    }

    /// What an address held at last.
    pub(super) fn bytes(&self, address: &str) -> Option<Arc<[u8]>> {
        self.held().get(address).map(|h| Arc::clone(&h.bytes))
    }

    /// Whether every address has given something, now or when it was kept.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let held = self.held();
        self.addresses.iter().all(|address| held.contains_key(address))
    }

    /// The versions that are held now, by address.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.held().iter().map(|(address, held)| (address.clone(), held.version.clone())).collect()
    }

    /// Keeps what is held if it is of these versions: they were good. What cannot be kept is said.
    pub fn keep(&self, good: &BTreeMap<String, String>) {
        let Some(keeper) = self.keeper() else { return };
        let held = self.held().clone();
        for (address, held) in held.iter().filter(|(address, held)| good.get(*address) == Some(&held.version)) {
            if let Err(error) = keeper.keep(address, held) {
                tracing::warn!(address, error = %error, "a good bundle could not be kept for the next start");
            }
        }
    }

    /// Takes what was good once. Gives for how many addresses there was something.
    pub fn fall_back(&self, to: FallBack) -> usize {
        let Some(keeper) = self.keeper() else { return 0 };
        let mut found = 0;
        for address in &self.addresses {
            if to == FallBack::Missing && self.held().contains_key(address) {
                continue;
            }
            if let Some(held) = keeper.read(address) {
                self.held().insert(address.clone(), held);
                found += 1;
            }
        }
        found
    }

    fn keeper(&self) -> Option<Keeper> {
        self.options.keep.clone().map(Keeper::new)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For which addresses a kept copy stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallBack {
    /// Those that gave nothing.
    Missing,
    /// All.
    All,
}

/// Whether a host, as it stands in a URL, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The HTTP libraries take the process' provider of cryptography: ring, as for everything else here.
fn settle_cryptography() {
    // Somebody else may have settled it, with the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
