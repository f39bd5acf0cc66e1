//! What a cluster needs to call the webhook.

mod registration;

pub use registration::{RegistrationOptions, Target, mutating, taking_the_cluster, validating};
