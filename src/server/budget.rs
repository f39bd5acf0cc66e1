//! How long a review may take. The API server states its timeout; what is left after the way there and back is ours.

use std::time::{Duration, Instant};

use crate::units;

/// What the API server waits when it does not say (`timeoutSeconds` of `admissionregistration.k8s.io/v1`).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest timeout that a webhook configuration can state; more is read as this.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

/// For network, TLS and the API server's own work. Timeouts up to twice this are halved instead.
const MARGIN: Duration = Duration::from_secs(1);

/// The timeout in a query string: `timeout=5s`.
///
/// # Errors
/// The value, if it is not a Go duration or is zero.
pub fn stated_timeout(query: Option<&str>) -> Result<Duration, String> {
    let pairs = query.unwrap_or_default().split('&');
    let Some(text) = pairs.filter_map(|p| p.split_once('=')).find(|(k, _)| *k == "timeout").map(|(_, v)| v) else {
        return Ok(DEFAULT_TIMEOUT);
    };
    match units::parse_duration(text) {
        Ok(timeout) if !timeout.is_zero() => Ok(timeout.min(LONGEST_TIMEOUT)),
        _ => Err(text.to_owned()),
    }
}

/// The times by which parts of a review are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Policies stop.
    pub judge: Instant,
    /// Whoever waits for them gives up.
    pub give_up: Instant,
    /// The record is written and the answer leaves.
    pub answer: Instant,
}

impl Deadlines {
    /// Divides the time from `started` on: the last tenth (at most 200 ms) is for the record, and before it policies
    /// get a twentieth (at most 100 ms) to notice that they are late and say what they found.
    #[must_use]
    pub fn new(started: Instant, timeout: Duration) -> Self {
        let budget = if timeout <= MARGIN * 2 { timeout / 2 } else { timeout - MARGIN };
        let answer = started + budget;
        let give_up = answer - (budget / 10).min(Duration::from_millis(200));
        let judge = give_up - (budget / 20).min(Duration::from_millis(100));
        Self { judge, give_up, answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_as_it_is_stated() {
        for (query, seconds) in [
            (None, 10),
            (Some(""), 10),
            (Some("a=b"), 10),
            (Some("timeout=5s"), 5),
            (Some("a=b&timeout=1m"), 30),
            (Some("timeout=2s&timeout=x"), 2),
        ] {
            assert_eq!(stated_timeout(query), Ok(Duration::from_secs(seconds)), "{query:?}");
        }
        for wrong in ["", "5", "0s", "-1s", "5s%20", "soon"] {
            assert_eq!(stated_timeout(Some(&format!("timeout={wrong}"))), Err(wrong.to_owned()));
        }
    }

    #[test]
    fn the_margin_is_kept_and_the_order_holds() {
        let start = Instant::now();
        for (millis, budget) in [(30_000, 29_000), (5_000, 4_000), (2_000, 1_000), (1_000, 500), (10, 5)] {
            let d = Deadlines::new(start, Duration::from_millis(millis));
            assert_eq!(d.answer - start, Duration::from_millis(budget));
            assert!(start < d.judge && d.judge < d.give_up && d.give_up < d.answer, "{millis}");
        }
    }
}
