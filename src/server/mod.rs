//! The webhook's HTTP and TLS: connections, routes, the way of one review, health and metrics.
//!
//! Knows HTTP, TLS and clocks. Must not know where policies come from or how they are judged: it has a
//! [`Snapshot`](crate::engine::Snapshot), a [`Pool`](crate::engine::Pool) and a decision log, and joins them.

mod admin;
mod budget;
mod connections;
mod phase;
mod reading;
mod refusal;
mod review;
mod routes;
mod tls;

pub use admin::{Check, Readiness, admin_router};
pub use budget::{Deadlines, stated_timeout};
pub use connections::{ConnectionLimits, Transport, serve};
pub use phase::{Phase, Phases};
pub use reading::reading_router;
pub use refusal::Refusal;
pub use review::{Arrival, InForce, Reviewer, Underway, World};
pub use routes::{Limits, Peer, webhook_router};
pub use tls::{ServingCertificate, TlsError, TlsIdentity, server_config};
