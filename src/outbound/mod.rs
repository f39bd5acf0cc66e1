//! Requests that policies make with `http.send`: to allowed hosts only, at addresses that a policy may reach.
//!
//! Knows sockets, names and addresses; must not know what a request is for.

mod address;
mod client;
mod hosts;
mod resolver;

pub use address::{Loopback, forbidden};
pub use client::Client;
pub use hosts::{HostError, Hosts};
