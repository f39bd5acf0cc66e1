//! A real server as a child process, and clients that speak to it as an API server does.

pub(crate) mod client;
pub(crate) mod listener;
pub(crate) mod server;
pub(crate) mod upstream;
pub(crate) mod witness;
