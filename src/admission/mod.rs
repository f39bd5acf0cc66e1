//! The wire: AdmissionReview `admission.k8s.io/v1` in, AdmissionReview out.
//!
//! Knows bytes and the shapes of the Kubernetes API; must not know policies, sockets or clocks.
//! Source: `k8s.io/api/admission/v1` and the Kubernetes documentation "Dynamic Admission Control".

mod decode;
mod error;
mod request;
mod response;
mod standing;

pub use decode::decode;
pub use error::DecodeError;
pub use request::{GroupVersionKind, GroupVersionResource, Operation, Origin, Request, UserInfo};
pub use response::{Response, Status, encode};
