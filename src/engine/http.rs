//! The door that `http.send` goes out by, and what one evaluation may ask of it.
//!
//! Pure: the door is an argument, an implementation stands outside. What was asked and answered is kept, so the same is
//! asked once, and the decision says what it read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use regorus::Value;
use serde::{Deserialize, Serialize};

use crate::engine::Read;
use crate::engine::check::Package;
use crate::policy::{Digest, LoadError};

/// Requests that one evaluation may make; more are a loop.
const MOST_REQUESTS: usize = 64;

/// Where requests of policies go out.
pub trait HttpDoor: Send + Sync + std::fmt::Debug {
    /// Sends one request and reads the whole response, within the request's time.
    ///
    /// # Errors
    /// Why there is no response.
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpFault>;
}

/// Whether policies may call `http.send` at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpSend {
    /// A call is a load error: no host is allowed.
    #[default]
    Refuse,
    /// The door says which hosts are allowed.
    Allow,
}

/// A request as a policy wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Upper case.
    pub method: String,
    /// As written.
    pub url: String,
    /// Names as written.
    pub headers: Vec<(String, String)>,
    /// Empty: none.
    pub body: Vec<u8>,
    /// What is done with an answer that points elsewhere.
    pub redirects: Redirects,
    /// How often it is tried again after it failed on the way.
    pub retries: u32,
    /// No answer is waited for longer.
    pub timeout: Duration,
    /// Trust and identity.
    pub tls: HttpTls,
}

/// What is done with an answer that points elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// It is the answer.
    Return,
    /// It is followed, to allowed hosts only.
    Follow,
}

/// Trust and identity of one request; PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpTls {
    /// Authorities to trust in place of those of the system.
    pub ca: Option<String>,
    /// Certificate chain and key that the policy brings along.
    pub identity: Option<(String, String)>,
    /// Whether the server's certificate is looked at.
    pub verification: Verification,
}

/// Whether a server's certificate is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verification {
    /// Yes.
    #[default]
    Full,
    /// No: the policy says `tls_insecure_skip_verify`.
    None,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// Such as 200.
    pub code: u16,
    /// Such as `200 OK`.
    pub status: String,
    /// By lower-case name, in order.
    pub headers: BTreeMap<String, Vec<String>>,
    /// All of it.
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpFault {
    /// The configuration forbids it. Never taken for an answer.
    #[error("{0}")]
    Forbidden(String),
    /// The request itself cannot be made.
    #[error("{0}")]
    Request(String),
    /// It failed on the way, or took too long.
    #[error("{0}")]
    Network(String),
}

/// What a decision says of a request that it made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRead {
    /// Upper case.
    pub method: String,
    /// Without user, query and fragment, which may hold secrets.
    pub url: String,
    /// Status code; 0 where there was no response.
    pub status: u16,
}

/// One evaluation's dealings with the door.
struct Session {
    door: Option<Arc<dyn HttpDoor>>,
    until: Instant,
    answers: BTreeMap<Value, Result<HttpResponse, HttpFault>>,
    reads: Vec<Read>,
}

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Runs `work`, whose calls of `http.send` on this thread go out by `door` until `until`. Gives what they read too.
pub(crate) fn with_door<T>(
    door: Option<&Arc<dyn HttpDoor>>,
    until: Instant,
    work: impl FnOnce() -> T,
) -> (T, Vec<Read>) {
    let session = Session { door: door.cloned(), until, answers: BTreeMap::new(), reads: Vec::new() };
    SESSION.replace(Some(session));
    let done = work();
    (done, SESSION.take().map(|s| s.reads).unwrap_or_default())
}

/// Sends by the door of the evaluation on this thread, or gives what the same `key` was answered before.
pub(crate) fn send(key: &Value, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
    SESSION.with_borrow_mut(|session| {
        let closed =
            || HttpFault::Forbidden("no host is allowed here; in tests write `with http.send as ...`".to_owned());
        let session = session.as_mut().ok_or_else(closed)?;
        let door = session.door.as_ref().ok_or_else(closed)?;
        if let Some(answer) = session.answers.get(key) {
            return answer.clone();
        }
        if session.answers.len() >= MOST_REQUESTS {
            return Err(HttpFault::Forbidden(format!("more than {MOST_REQUESTS} requests in one evaluation")));
        }
        let left = session.until.saturating_duration_since(Instant::now());
        let request = HttpRequest { timeout: request.timeout.min(left), ..request };
        let answer = door.send(&request);
        // What the policy's own time cut short is the policy's doing, whatever it makes of errors.
        let answer = match answer {
            Err(HttpFault::Network(_)) if Instant::now() >= session.until => {
                Err(HttpFault::Forbidden("the policy's time ran out while it waited for an answer".to_owned()))
            }
            other => other,
        };
        session.reads.push(read(&request, &answer));
        session.answers.insert(key.clone(), answer.clone());
        answer
    })
}

fn read(request: &HttpRequest, answer: &Result<HttpResponse, HttpFault>) -> Read {
    let (status, digest) = match answer {
        Ok(response) => (response.code, Digest::of(&response.body)),
        Err(fault) => (0, Digest::of(fault.to_string().as_bytes())),
    };
    let http = HttpRead { method: request.method.clone(), url: bare(&request.url), status };
    let path = format!("http.send {} {}", http.method, http.url);
    Read { path, uid: None, resource_version: None, digest, http: Some(http), content: None }
}

/// A URL without what may be a secret in it.
fn bare(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    match path.split_once("://") {
        Some((scheme, rest)) => {
            let (host, below) = rest.split_once('/').map_or((rest, None), |(h, b)| (h, Some(b)));
            let host = host.rsplit('@').next().unwrap_or_default();
            below.map_or_else(|| format!("{scheme}://{host}"), |b| format!("{scheme}://{host}/{b}"))
        }
        None => path.to_owned(),
    }
}

/// The calls of `http.send` where no host is allowed.
pub(crate) fn calls<'p>(packages: impl IntoIterator<Item = &'p Package<'p>>) -> Vec<LoadError> {
    let calls = packages.into_iter().flat_map(Package::rules).flat_map(|r| r.calls.iter());
    let calls = calls.filter(|c| c.name == "http.send");
    let error = |at: &crate::engine::Location| {
        let message = "`http.send` leads nowhere, since no host is allowed; name those that policies may ask with \
                       `--http-allow HOST[:PORT]`";
        LoadError::new(&at.file, "http", message).at(at.line, at.column)
    };
    calls.map(|c| error(&c.at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_url_are_not_told() {
        for (url, wanted) in [
            ("https://u:p@h.example:8443/a/b?token=x#y", "https://h.example:8443/a/b"),
            ("https://h", "https://h"),
            ("https://h?x=@", "https://h"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(bare(url), wanted);
        }
    }
}
