//! Routes of the webhook: from an HTTP request to the bytes of a review and back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use crate::admission;
use crate::decisions::Caller;
use crate::engine::Endpoint;
use crate::server::refusal::{json_response, shown};
use crate::server::review::on_body;
use crate::server::{Arrival, Deadlines, Phase, Phases, Refusal, Reviewer, stated_timeout};
use crate::telemetry::{Metrics, Stage};

/// A body over the limit is read on and thrown away for this long, so that the caller hears why.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Bounds of what is read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest body, bytes.
    pub body: usize,
    /// All bodies that are held at once, bytes. A decoded body takes some ten times its size.
    pub bodies: usize,
}

/// Who is at the other end of a connection. An extension of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Address.
    pub addr: SocketAddr,
    /// Subject of the verified client certificate.
    pub tls_subject: Option<Arc<str>>,
}

struct Routes {
    reviewer: Arc<Reviewer>,
    metrics: Metrics,
    limits: Limits,
    /// One permit for each KiB of body.
    bodies: Arc<Semaphore>,
    phases: Phases,
}

/// The routes of the webhook.
pub fn webhook_router(reviewer: Arc<Reviewer>, metrics: Metrics, limits: Limits, phases: Phases) -> Router {
    let bodies = Arc::new(Semaphore::new(kib(limits.bodies.max(limits.body)) as usize));
    let routes = Arc::new(Routes { reviewer, metrics, limits, bodies, phases });
    let at = |endpoint: Endpoint| {
        let routes = Arc::clone(&routes);
        post({
            let routes = Arc::clone(&routes);
            move |request: Request| async move { routes.answer(endpoint, request).await }
        })
        .fallback(move |request: Request| {
            let refusal = Refusal::Method(request.method().to_string());
            async move { routes.refuse_whole(&refusal, request).await }
        })
    };
    Router::new()
        .route("/v1/validate", at(Endpoint::Validate))
        .route("/v1/mutate", at(Endpoint::Mutate))
        .fallback(|State(routes): State<Arc<Routes>>, request: Request| async move {
            routes.refuse_whole(&Refusal::Path, request).await
        })
        .with_state(routes)
}

impl Routes {
    async fn answer(&self, endpoint: Endpoint, request: Request) -> Response<Body> {
        let started = Instant::now();
        let version = request.version();
        let caller = caller(&request);
        let mut response = match self.review(endpoint, request, started, caller.clone()).await {
            Ok(body) => json_response(StatusCode::OK, body),
            Err(refusal) => self.refused(&refusal, &caller),
        };
        self.mark(&mut response, version);
        response
    }

    async fn review(
        &self,
        endpoint: Endpoint,
        request: Request,
        started: Instant,
        caller: Caller,
    ) -> Result<Vec<u8>, Refusal> {
        check_headers(request.headers())?;
        let timeout =
            stated_timeout(request.uri().query()).map_err(|t| Refusal::Timeout(t.chars().take(80).collect()))?;
        let deadlines = Deadlines::new(started, timeout);
        let stated = content_length(request.headers());
        let expected = stated.unwrap_or(self.limits.body).min(self.limits.body);
        let _room = self.bodies.try_acquire_many(kib(expected)).map_err(|_| Refusal::Crowded)?;
        let body = read(request.into_body(), stated, self.limits.body, deadlines.judge).await?;
        let decoding = Instant::now();
        let bytes = body.len();
        let decoded = on_body(bytes, || admission::decode(&body))?;
        drop(body);
        self.metrics.staged(Stage::Decode, decoding.elapsed());
        // In a task of its own: whoever was decoded is judged and recorded, also when the caller has left.
        let reviewer = Arc::clone(&self.reviewer);
        let arrival = Arrival { caller, started, deadlines, bytes };
        tokio::spawn(reviewer.review(endpoint, decoded, arrival)).await.map_err(|_| Refusal::Internal)
    }

    fn refuse(&self, refusal: &Refusal, request: &Request) -> Response<Body> {
        let mut response = self.refused(refusal, &caller(request));
        self.mark(&mut response, request.version());
        response
    }

    /// Refuses and reads what was sent: over HTTP/2 an unread body can take the answer with it.
    async fn refuse_whole(&self, refusal: &Refusal, request: Request) -> Response<Body> {
        let response = self.refuse(refusal, &request);
        drain(request.into_body(), self.limits.body).await;
        response
    }

    /// Counts and logs. The message may quote what was sent, so only the code goes into our own messages.
    fn refused(&self, refusal: &Refusal, caller: &Caller) -> Response<Body> {
        self.metrics.refused(refusal.code());
        tracing::warn!(code = refusal.code(), caller = caller.addr.map(tracing::field::display), "refused a request");
        refusal.response()
    }

    /// While draining, callers are told to connect elsewhere. HTTP/2 has its own word for that (GOAWAY).
    fn mark(&self, response: &mut Response<Body>, version: Version) {
        let unread = matches!(response.status(), StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
        if version < Version::HTTP_2 && (unread || self.phases.now() != Phase::Serve) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

pub(super) fn caller(request: &Request) -> Caller {
    let peer = request.extensions().get::<Peer>();
    let subject = peer.and_then(|p| p.tls_subject.as_deref());
    Caller { addr: peer.map(|p| p.addr), tls_subject: subject.map(str::to_owned), authenticated: subject.is_some() }
}

fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(header::CONTENT_TYPE);
    let essence = kind.and_then(|v| v.to_str().ok()).map(|v| v.split(';').next().unwrap_or_default().trim());
    if !essence.is_some_and(|e| e.eq_ignore_ascii_case("application/json")) {
        return Err(Refusal::ContentType(shown(kind)));
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Refusal::ContentEncoding(shown(Some(encoding))))
        }
        _ => Ok(()),
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the body whole, within `limit` bytes and until `deadline`.
async fn read(mut body: Body, stated: Option<usize>, limit: usize, deadline: Instant) -> Result<Bytes, Refusal> {
    let whole = async {
        let mut whole = BytesMut::with_capacity(stated.unwrap_or_default().min(limit));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::Broken)?;
            let Ok(data) = frame.into_data() else { continue };
            if whole.len() + data.len() > limit {
                return Err(Refusal::TooLarge(limit));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    let read = tokio::time::timeout_at(deadline.into(), whole).await.unwrap_or(Err(Refusal::Slow));
    if matches!(read, Err(Refusal::TooLarge(_))) {
        drain(body, limit).await;
    }
    read
}

/// Reads on for a while: an answer on a connection that is still being written to may never be seen.
async fn drain(mut body: Body, limit: usize) {
    let rest = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > limit {
                return;
            }
        }
    };
    // Out of time is as good as done.
    let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX)
}
