//! The tracing subscriber: messages on stderr, results stay on stdout.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Whether `filter` is a level or a list of tracing directives.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    // A bare word that is no level would be read as the name of a target, and silence all others.
    let is_level =
        |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word.to_lowercase().as_str());
    if let Some(word) = filter.split(',').map(str::trim).find(|w| !w.contains(['=', '[']) && !is_level(w)) {
        return Err(format!("`{word}` is no level; write error, warn, info, debug, trace or off, or TARGET=LEVEL"));
    }
    EnvFilter::try_new(filter).map(drop).map_err(|e| e.to_string())
}

/// What libraries say of what we say ourselves, with its reason: every try to reach a broker.
const QUIET: &str = "rskafka=error";

/// A filter with what is quiet unless more is asked for than `info`; where nothing is asked for, nothing is said.
fn quiet(filter: &str) -> String {
    let itself = ["off", "debug", "trace", "rskafka"].iter().any(|word| filter.to_lowercase().contains(word));
    if itself { filter.to_owned() } else { format!("{QUIET},{filter}") }
}

/// Sets the subscriber of the process; `json`: one object a line. Only the first call counts, and a filter that
/// [`check_filter`] refuses is read as `info`.
pub fn init(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(quiet(filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = if json {
        base.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        base.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    };
    // A second server in one process (tests, benches) keeps the first one's subscriber.
    drop(done);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libraries_say_is_left_out_unless_asked_for() {
        for filter in ["info", "warn", "error", "warn,portcullis=info"] {
            assert_eq!(quiet(filter), format!("rskafka=error,{filter}"));
        }
        for filter in ["off", "OFF", "debug", "trace", "info,rskafka=info"] {
            assert_eq!(quiet(filter), filter);
        }
    }
}
