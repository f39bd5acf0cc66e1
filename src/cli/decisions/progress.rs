//! How far a command is, for whoever waits at a terminal; nothing of it elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Of so many bytes.
pub(super) fn bytes() -> ProgressBar {
    styled(Some(0), "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}")
}

/// How many there are is not known before.
pub(super) fn count(what: &'static str) -> ProgressBar {
    let bar = styled(None, "{spinner} {human_pos} {msg}, {per_sec}").with_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn styled(length: Option<u64>, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
