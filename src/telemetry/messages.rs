//! The tracing subscriber: messages on stderr, results stay on stdout.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Whether `filter` is a level or a list of tracing directives.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(drop).map_err(|e| e.to_string())
}

/// Sets the subscriber of the process; `json`: one object a line. Only the first call counts, and a filter that
/// [`check_filter`] refuses is read as `info`.
pub fn init(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = if json {
        base.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        base.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    };
    // A second server in one process (tests, benches) keeps the first one's subscriber.
    drop(done);
}
