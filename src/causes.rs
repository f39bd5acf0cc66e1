//! An error in one line, with what it comes from: libraries hide what happened in their sources.

use std::error::Error;

/// The error, then its causes, each after `: ` and none that the text before already holds.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = inner.source();
    }
    text
}
