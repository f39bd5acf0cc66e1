//! What can be wrong with the bytes of a review. Every message is for the person who sent them.

/// Why a body is not an AdmissionReview that can be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing was sent.
    #[error("the body is empty; send an AdmissionReview of `admission.k8s.io/v1`")]
    Empty,
    /// Not JSON (RFC 8259), with the place.
    #[error("the body is not JSON: {message} at line {line} column {column}")]
    Json {
        /// What the parser found.
        message: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// JSON, but another kind of document.
    #[error("the body is {found}, not an AdmissionReview")]
    Kind {
        /// The kind that was sent, or the JSON type.
        found: String,
    },
    /// An AdmissionReview of a version that is not served.
    #[error("AdmissionReview version `{found}` is not served; send `admission.k8s.io/v1`")]
    Version {
        /// The `apiVersion` that was sent.
        found: String,
    },
    /// There is no `request` (an AdmissionReview with only a `response`, say).
    #[error("the AdmissionReview has no `request`")]
    NoRequest,
    /// There is no `request.uid`, so no answer could name it.
    #[error("the AdmissionReview has no `request.uid`")]
    NoUid,
    /// A field has the wrong type or is missing.
    #[error("`{field}`: {message}")]
    Field {
        /// Path of the field, such as `request.userInfo.groups[0]`.
        field: String,
        /// What was expected.
        message: String,
    },
}

impl DecodeError {
    /// A stable, machine-readable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_body",
            Self::Json { .. } => "not_json",
            Self::Kind { .. } => "not_an_admission_review",
            Self::Version { .. } => "unsupported_version",
            Self::NoRequest => "no_request",
            Self::NoUid => "no_uid",
            Self::Field { .. } => "bad_field",
        }
    }
}
