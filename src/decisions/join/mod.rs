//! Decisions beside the API server's own audit log: which event each decision belongs to, and what should have been
//! decided and was not.
//!
//! Knows both logs and the rules that are registered; must not know how either log is printed. Both sides are put into
//! a temporary SQLite file first, so neither their size nor their order matters.
//!
//! The bridge are the audit annotations `<webhook>/decision-id.<8 hex>`, which the API server writes for every answer of
//! the webhook (`k8s.io/apiserver/pkg/admission/plugin/webhook`).

mod audit;
pub(in crate::decisions) mod files;
mod filling;
mod findings;
mod kinds;
mod registered;
mod settle;
mod store;

pub use audit::{AuditEvent, Mark};
pub use files::{AuditError, read_audit, read_audit_values};
pub use filling::Filling;
pub use kinds::{Finding, FindingKind, Joined, Outage, Report};
pub use registered::{Expected, Registered, RegistrationError};
pub use store::Join;
