//! Connections: accepted within a bound, given TLS and HTTP, and ended when the server's life ends.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::service::service_fn;
use hyper::{Request, server::conn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use crate::server::{Peer, Phase, Phases};
use crate::telemetry::{HandshakeFailure, Metrics};

/// A caller with a slow link still does a handshake in well under a second.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whoever connects has something to say.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle connections are kept longer than the API server keeps them (90 s), so that it is the one who closes: a
/// request on a connection that we are just closing would be lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// HTTP/2 connections without a word are asked whether they live.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Reviews that one HTTP/2 connection may have under way. The Go client opens another connection past it.
const STREAMS: u32 = 128;

/// Request heads are small; this bounds what a silent connection can make us hold.
const HEAD_BYTES: usize = 64 << 10;

/// After `Close`, a connection gets this long to finish: longer than any review's deadline.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// After a failed `accept` (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections at once; more are closed at once.
    pub connections: usize,
}

impl ConnectionLimits {
    /// For the webhook. An API server uses one HTTP/1.1 connection for each review under way; five of them at their
    /// default of 200 mutating requests fill this.
    pub const WEBHOOK: Self = Self { connections: 1024 };
    /// For probes and scrapers.
    pub const ADMIN: Self = Self { connections: 64 };
}

/// What is spoken on a listener.
#[derive(Clone)]
pub enum Transport {
    /// HTTP/1.1 in the clear.
    Plain,
    /// HTTP/1.1 or HTTP/2 over TLS.
    Tls(Arc<ServerConfig>),
}

/// Serves until [`Phase::Close`], then until the last connection has ended.
pub async fn serve(
    listener: TcpListener,
    transport: Transport,
    router: Router,
    limits: ConnectionLimits,
    metrics: Metrics,
    phases: Phases,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut closing = phases.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = closing.reached(Phase::Close) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            metrics.connections_refused.inc();
            continue;
        };
        let connection = Connection {
            transport: transport.clone(),
            router: router.clone(),
            metrics: metrics.clone(),
            phases: phases.clone(),
            addr,
        };
        connections.spawn(async move {
            connection.metrics.connections.inc();
            connection.run(stream).await;
            connection.metrics.connections.dec();
            drop(permit);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

struct Connection {
    transport: Transport,
    router: Router,
    metrics: Metrics,
    phases: Phases,
    addr: SocketAddr,
}

impl Connection {
    async fn run(&self, stream: TcpStream) {
        // Answers are small and one packet; without this they would wait for the peer's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = %error, "cannot set TCP_NODELAY");
        }
        match &self.transport {
            Transport::Plain => self.speak(stream, Peer { addr: self.addr, tls_subject: None }, false).await,
            Transport::Tls(config) => {
                let Some(stream) = self.handshake(stream, config).await else { return };
                let (_, session) = stream.get_ref();
                let http2 = session.alpn_protocol() == Some(b"h2");
                let peer = Peer { addr: self.addr, tls_subject: subject(&stream) };
                self.speak(stream, peer, http2).await;
            }
        }
    }

    async fn handshake(&self, stream: TcpStream, config: &Arc<ServerConfig>) -> Option<TlsStream<TcpStream>> {
        let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
        let why = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => {
                tracing::info!(caller = %self.addr, error = %error, "a TLS handshake failed");
                why(&error)
            }
            Err(_) => {
                tracing::info!(caller = %self.addr, "a TLS handshake took too long");
                HandshakeFailure::Timeout
            }
        };
        self.metrics.handshake_failed(why);
        None
    }

    async fn speak<S>(&self, stream: S, peer: Peer, http2: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let asked = Arc::new(AtomicBool::new(false));
        let service = service_fn({
            let (router, asked) = (self.router.clone(), Arc::clone(&asked));
            move |request: Request<hyper::body::Incoming>| {
                asked.store(true, Ordering::Relaxed);
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(peer.clone());
                router.clone().oneshot(request)
            }
        });
        let io = TokioIo::new(stream);
        // The two kinds of connection share no trait, only their methods.
        macro_rules! drive {
            ($connection:expr, $end:expr) => {{
                let mut connection = pin!($connection);
                let mut phases = self.phases.clone();
                let mut silence = pin!(tokio::time::sleep(FIRST_REQUEST_TIMEOUT));
                let mut watching = true;
                loop {
                    tokio::select! {
                        ended = connection.as_mut() => break note(self.addr, ended),
                        () = phases.reached($end) => {
                            connection.as_mut().graceful_shutdown();
                            match tokio::time::timeout(LAST_ANSWER, connection.as_mut()).await {
                                Ok(ended) => note(self.addr, ended),
                                Err(_) => tracing::warn!(caller = %self.addr, "cut a connection that did not end"),
                            }
                            break;
                        }
                        () = silence.as_mut(), if watching => {
                            watching = false;
                            if !asked.load(Ordering::Relaxed) {
                                break;
                            }
                        }
                    }
                }
            }};
        }
        if http2 {
            let mut builder = conn::http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_INTERVAL)
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
            // A connection that began while draining is served to the end; the others are told to go.
            let end = if self.phases.now() == Phase::Serve { Phase::Drain } else { Phase::Close };
            drive!(builder.serve_connection(io, service), end);
        } else {
            let mut builder = conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_buf_size(HEAD_BYTES);
            drive!(builder.serve_connection(io, service), Phase::Close);
        }
    }
}

fn note(addr: SocketAddr, ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(caller = %addr, error = %error, "a connection broke off");
    }
}

/// Subject of the client certificate that the handshake verified, as RFC 4514 would print it, nearly.
fn subject(stream: &TlsStream<TcpStream>) -> Option<Arc<str>> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates()?.first()?;
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    Some(parsed.subject().to_string().into())
}

fn why(error: &std::io::Error) -> HandshakeFailure {
    use rustls::{AlertDescription, Error};
    match error.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
        Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => HandshakeFailure::ClientCertificate,
        Some(Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired,
        )) => HandshakeFailure::RefusedByPeer,
        _ => HandshakeFailure::Other,
    }
}
