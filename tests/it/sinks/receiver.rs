//! A small receiver of HTTP requests on this machine: keeps what it is sent, answers as it is told, and stores objects as
//! S3 does where it is asked so.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request as it came, its body unpacked.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Bytes as they were sent.
    pub sent: usize,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    /// Answers to come, the first first; then 200.
    answers: VecDeque<(u16, Vec<u8>)>,
    objects: BTreeMap<String, Vec<u8>>,
    unsigned: u64,
}

/// A receiver at work. It ends with the test.
pub(crate) struct Receiver {
    pub addr: SocketAddr,
    state: Arc<Mutex<State>>,
    _runtime: tokio::runtime::Runtime,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"))
    }

    /// At an address that was used before.
    pub(crate) fn start_at(addr: SocketAddr) -> Self {
        Self::listen(addr, None)
    }

    /// Over TLS, as this server.
    pub(crate) fn start_tls(tls: Arc<rustls::ServerConfig>) -> Self {
        Self::listen("127.0.0.1:0".parse().expect("an address"), Some(TlsAcceptor::from(tls)))
    }

    fn listen(addr: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let state = Arc::<Mutex<State>>::default();
        let listener = runtime.block_on(TcpListener::bind(addr)).expect("binds");
        let addr = listener.local_addr().expect("an address");
        let shared = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let http = auto::Builder::new(TokioExecutor::new());
                    // A client that leaves is none of our business.
                    let _ = match tls {
                        None => http.serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            http.serve_connection(TokioIo::new(stream), service).await
                        }
                    };
                });
            }
        });
        Self { addr, state, _runtime: runtime }
    }

    /// The next requests are answered so.
    pub(crate) fn will_answer(&self, answers: &[(u16, &[u8])]) {
        let mut state = self.state.lock().expect("not poisoned");
        state.answers.extend(answers.iter().map(|(code, body)| (*code, body.to_vec())));
    }

    /// From here on all is taken; what was turned away is forgotten.
    pub(crate) fn will_take(&self) {
        let mut state = self.state.lock().expect("not poisoned");
        state.answers.clear();
        state.received.clear();
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.lock().expect("not poisoned").received.clone()
    }

    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().expect("not poisoned").objects.clone()
    }

    /// Requests for objects without a signature (AWS Signature Version 4).
    pub(crate) fn unsigned(&self) -> u64 {
        self.state.lock().expect("not poisoned").unsigned
    }

    /// Waits until something is so.
    pub(crate) fn wait(&self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !so(self) {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "{what}: {:?}",
                self.received().iter().map(|r| &r.path).collect::<Vec<_>>()
            );
            std::thread::sleep(Duration::from_millis(25));
        }
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let mut state = state.lock().expect("not poisoned");
    let headers: BTreeMap<String, String> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let path = head.uri.path().to_owned();
    if let Some(key) = path.strip_prefix("/bucket") {
        let signed = headers.get("authorization").is_some_and(|a| a.starts_with("AWS4-HMAC-SHA256 Credential=id/"));
        state.unsigned += u64::from(!signed);
        let key = key.trim_start_matches('/').to_owned();
        return Ok(of_objects(&mut state, &head.method, &key, head.uri.query().unwrap_or_default(), &bytes));
    }
    let sent = bytes.len();
    let mut unpacked = Vec::new();
    if headers.get("content-encoding").is_some_and(|e| e == "gzip") {
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).expect("gzip");
    } else {
        unpacked = bytes.to_vec();
    }
    let (code, body) = state.answers.pop_front().unwrap_or((200, Vec::new()));
    // What is refused was not received.
    if code < 300 {
        state.received.push(Received { path, headers, body: unpacked, sent });
    }
    Ok(Response::builder().status(code).header("retry-after", "0").body(Full::new(body.into())).expect("an answer"))
}

/// As much of S3 as is needed: PUT, GET, HEAD and ListObjectsV2.
fn of_objects(state: &mut State, method: &Method, key: &str, query: &str, bytes: &Bytes) -> Response<Full<Bytes>> {
    let reply = |code: u16, body: Vec<u8>| {
        let builder = Response::builder()
            .status(code)
            .header("etag", "\"e\"")
            .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT");
        builder.body(Full::new(body.into())).expect("an answer")
    };
    if let Some((code, body)) = state.answers.pop_front() {
        return reply(code, body);
    }
    let key = key.replace("%3D", "=");
    match *method {
        Method::PUT => {
            state.objects.insert(key, bytes.to_vec());
            reply(200, Vec::new())
        }
        Method::GET if query.contains("list-type=2") => {
            let item = |(key, content): (&String, &Vec<u8>)| {
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"e\"</ETag><Size>{}</Size></Contents>",
                    content.len()
                )
            };
            let items: String = state.objects.iter().map(item).collect();
            reply(200, format!("<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>").into_bytes())
        }
        Method::GET | Method::HEAD => match state.objects.get(&key) {
            Some(content) => reply(200, content.clone()),
            None => reply(404, Vec::new()),
        },
        _ => reply(405, Vec::new()),
    }
}
