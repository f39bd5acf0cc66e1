//! Requests that are no reviews. Each has a status, a code from a closed list, and a sentence for the caller.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::admission::DecodeError;

/// Why a request gets no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such path.
    #[error("there is nothing here; post AdmissionReviews to /v1/validate or /v1/mutate")]
    Path,
    /// Another method than POST.
    #[error("method `{0}` is not allowed here; use POST")]
    Method(String),
    /// Not JSON by its own account.
    #[error("content type `{0}` is not taken; send application/json")]
    ContentType(String),
    /// Compressed or otherwise encoded.
    #[error("content encoding `{0}` is not taken; send the body as it is")]
    ContentEncoding(String),
    /// `?timeout=` is not a duration.
    #[error("timeout `{0}` is not a duration; write for example `5s`")]
    Timeout(String),
    /// The body is larger than the limit.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body did not come in time.
    #[error("the body did not arrive in time")]
    Slow,
    /// The body broke off.
    #[error("the body broke off")]
    Broken,
    /// Too many bytes are being read from all callers together.
    #[error("too many bodies are being read; try again")]
    Crowded,
    /// The body is not an AdmissionReview.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Our own fault.
    #[error("the review failed; see the server's messages")]
    Internal,
}

impl Refusal {
    /// A stable, machine-readable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Path => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::ContentType(_) => "unsupported_content_type",
            Self::ContentEncoding(_) => "unsupported_content_encoding",
            Self::Timeout(_) => "bad_timeout",
            Self::TooLarge(_) => "body_too_large",
            Self::Slow => "body_timeout",
            Self::Broken => "body_incomplete",
            Self::Crowded => "too_many_bodies",
            Self::Decode(error) => error.code(),
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType(_) | Self::ContentEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Timeout(_) | Self::Broken | Self::Decode(_) => StatusCode::BAD_REQUEST,
            Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// `{"error": {"code", "message"}}`. Where the rest of the body was not read the connection is closed.
    #[must_use]
    pub fn response(&self) -> Response<Body> {
        let text = json!({"error": {"code": self.code(), "message": self.to_string()}}).to_string();
        let mut response = json_response(self.status(), text.into_bytes());
        let headers = response.headers_mut();
        if matches!(self, Self::Method(_)) {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

/// A response with a JSON body.
pub(super) fn json_response(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A header for a message: what is not text is shown as such, and not more than a line of it.
pub(super) fn shown(value: Option<&HeaderValue>) -> String {
    let text = value.map_or(Cow::Borrowed(""), |v| String::from_utf8_lossy(v.as_bytes()));
    text.chars().take(80).collect()
}
