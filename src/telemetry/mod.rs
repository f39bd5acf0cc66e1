//! What the process says about itself: messages (tracing) and metrics (Prometheus).
//!
//! Knows names, labels and formats. Must not know who counts, and never sees the content of an object.

mod anchors;
mod kind_class;
mod kinds;
mod messages;
mod metrics;
mod registry;
mod sinks;

pub use anchors::AnchorMetrics;
pub use kind_class::KindClass;
pub use kinds::{HandshakeFailure, Lookup, Poll, Reload, Stage};
pub use messages::{check_filter, init};
pub use metrics::Metrics;
pub use sinks::SinkMetrics;
