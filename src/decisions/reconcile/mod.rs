//! What was delivered, held against the tree: which records arrived once, twice, not at all or altered. Knows formats and
//! leaves; where deliveries lie is told. What was delivered goes through a temporary SQLite file and the log by in one
//! pass, so the size of neither matters.

mod claim;
mod deliveries;
mod finding;
mod leaves;
mod pass;

pub use deliveries::Deliveries;
pub use finding::{DeliveryFault, Expected, Reconciliation};
