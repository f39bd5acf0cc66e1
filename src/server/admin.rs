//! Health and metrics, on a listener of their own without TLS: what they show is not secret, and probes are simple.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::routing::get;

use crate::telemetry::Metrics;

/// One condition of being ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is looked at.
    pub name: &'static str,
    /// Whether it stands in the way.
    pub ready: bool,
    /// What was found.
    pub detail: String,
}

/// Looks at everything that readiness depends on, and sets the gauges that are read and not counted.
pub type Readiness = Arc<dyn Fn() -> Vec<Check> + Send + Sync>;

/// `/livez`, `/readyz`, `/metrics`.
pub fn admin_router(readiness: Readiness, metrics: Metrics) -> Router {
    let ready = Arc::clone(&readiness);
    Router::new()
        .route("/livez", get(|| async { plain(StatusCode::OK, "ok\n".to_owned()) }))
        .route("/readyz", get(|| async move { readyz(&ready()) }))
        .route(
            "/metrics",
            get(|| async move {
                let all_ready = readiness().iter().all(|check| check.ready);
                metrics.ready.set(i64::from(all_ready));
                match metrics.text().map(String::from_utf8) {
                    Ok(Ok(text)) => plain(StatusCode::OK, text),
                    _ => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics are inconsistent\n".to_owned()),
                }
            }),
        )
        .fallback(|| async {
            plain(StatusCode::NOT_FOUND, "there is nothing here; see /livez, /readyz and /metrics\n".to_owned())
        })
}

fn readyz(checks: &[Check]) -> Response<Body> {
    let ready = checks.iter().all(|check| check.ready);
    let mut text = String::new();
    for check in checks {
        // Writing to a String has no way to fail.
        let _ = writeln!(text, "{} {}: {}", if check.ready { "ok  " } else { "FAIL" }, check.name, check.detail);
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    plain(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
