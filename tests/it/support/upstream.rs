//! Servers that we ask: files over HTTP or HTTPS, which the test changes under us and which remember what was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::Digest;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What is answered to a path.
#[derive(Clone)]
pub(crate) enum Answer {
    /// 200 with a type, and an `ETag` that is the content's digest; 304 to whoever has it.
    Content(&'static str, Vec<u8>),
    /// 302.
    Redirect(String),
    /// Nothing but a status.
    Status(u16),
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    token: Option<String>,
    /// `METHOD path status`.
    asked: Vec<String>,
}

/// A running server; it ends when it is dropped.
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

/// `sha256:<hex>`.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

impl Upstream {
    /// In the clear.
    pub(crate) async fn http() -> Self {
        Self::start("127.0.0.1:0", None).await
    }

    /// Over TLS, with a certificate of its own authority; gives the authority's file in `dir`.
    pub(crate) async fn https(dir: &Path) -> (Self, PathBuf) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let ca = dir.join("upstream-ca.pem");
        std::fs::write(&ca, made.cert.pem()).expect("written");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a pair");
        (Self::start("127.0.0.1:0", Some(TlsAcceptor::from(Arc::new(config)))).await, ca)
    }

    /// In the clear on an address that was taken before.
    pub(crate) async fn http_on(addr: SocketAddr) -> Self {
        Self::start(&addr.to_string(), None).await
    }

    async fn start(addr: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(addr).await.expect("binds");
        let addr = listener.local_addr().expect("an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                connections.spawn(async move {
                    let service = service_fn(|request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, std::convert::Infallible>(respond(&state, &request)) }
                    });
                    let builder = hyper::server::conn::http1::Builder::new();
                    // Clients that go away are no concern of ours.
                    let _ = match tls {
                        None => builder.serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => builder.serve_connection(TokioIo::new(stream), service).await,
                            Err(_) => return,
                        },
                    };
                });
            }
        });
        Self { addr, state, task }
    }

    pub(crate) fn set(&self, path: &str, answer: Answer) {
        self.state.lock().expect("whole").answers.insert(path.to_owned(), answer);
    }

    /// Answers only whoever has this token.
    pub(crate) fn require(&self, token: &str) {
        self.state.lock().expect("whole").token = Some(token.to_owned());
    }

    /// What was asked so far: `GET /path 200`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().expect("whole").asked.clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn respond(state: &Mutex<State>, request: &Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
    let mut state = state.lock().expect("whole");
    let path = request.uri().path().to_owned();
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    let wanted = state.token.as_ref().map(|t| format!("Bearer {t}"));
    let mut response = Response::new(Full::default());
    let status = if wanted.is_some() && header("authorization") != wanted.as_deref() {
        401
    } else {
        match state.answers.get(&path) {
            None => 404,
            Some(Answer::Status(status)) => *status,
            Some(Answer::Redirect(to)) => {
                response.headers_mut().insert("location", to.parse().expect("a header"));
                302
            }
            Some(Answer::Content(kind, content)) => {
                let tag = digest(content);
                let quoted = format!("\"{tag}\"");
                let same = header("if-none-match") == Some(&quoted);
                let headers = response.headers_mut();
                headers.insert("etag", quoted.parse().expect("a header"));
                headers.insert("content-type", kind.parse().expect("a header"));
                headers.insert("docker-content-digest", tag.parse().expect("a header"));
                if same {
                    304
                } else {
                    if request.method() != Method::HEAD {
                        *response.body_mut() = Full::new(Bytes::from(content.clone()));
                    }
                    200
                }
            }
        }
    };
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    state.asked.push(format!("{} {path} {status}", request.method()));
    response
}
