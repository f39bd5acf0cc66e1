//! `custom.budget`: what one policy may take for one request. Knows the bounds of the settings, not how they are kept.

use std::time::Duration;

use serde::Deserialize;

use crate::units::{ByteSize, parse_duration};

/// What a policy may take for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Wall-clock time.
    pub time: Duration,
    /// Bytes of strings and collections that its builtins may build, all calls taken together.
    pub value_bytes: usize,
    /// Bytes of what its rules give, as JSON.
    pub output_bytes: usize,
    /// Violations of one rule that are listed; the rest is counted.
    pub violations: usize,
    /// How deep what its rules give, and what it writes as text, may nest.
    pub depth: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(500),
            value_bytes: 32 << 20,
            output_bytes: 4 << 20,
            violations: 1_000,
            depth: 256,
        }
    }
}

/// The block as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BudgetSpec {
    time: Option<String>,
    value_bytes: Option<ByteSize>,
    output_bytes: Option<ByteSize>,
    violations: Option<usize>,
    depth: Option<usize>,
}

/// Nothing takes more: an API request is over after 30 s, and a thread's stack bears this depth.
const MOST: Budget = Budget {
    time: Duration::from_secs(30),
    value_bytes: 1 << 30,
    output_bytes: 64 << 20,
    violations: 100_000,
    depth: 1_000,
};

impl BudgetSpec {
    /// Checks the block.
    ///
    /// # Errors
    /// A sentence for the policy's author.
    pub(super) fn check(&self) -> Result<Budget, String> {
        let default = Budget::default();
        let bytes = |name: &str, size: Option<ByteSize>, default: usize, most: usize| match size {
            None => Ok(default),
            Some(ByteSize(bytes)) => usize::try_from(bytes)
                .ok()
                .filter(|b| (1..=most).contains(b))
                .ok_or_else(|| format!("`budget.{name}` is a size up to {}, such as `8Mi`", mebibytes(most))),
        };
        let count = |name: &str, count: Option<usize>, default: usize, most: usize| match count {
            None => Ok(default),
            Some(n) if (1..=most).contains(&n) => Ok(n),
            Some(n) => Err(format!("`budget.{name}` is a number from 1 to {most}, not {n}")),
        };
        Ok(Budget {
            time: self.time.as_deref().map_or(Ok(default.time), time)?,
            value_bytes: bytes("valueBytes", self.value_bytes, default.value_bytes, MOST.value_bytes)?,
            output_bytes: bytes("outputBytes", self.output_bytes, default.output_bytes, MOST.output_bytes)?,
            violations: count("violations", self.violations, default.violations, MOST.violations)?,
            depth: count("depth", self.depth, default.depth, MOST.depth)?,
        })
    }
}

/// `32 MiB`, or bytes where they are no whole number of those.
#[must_use]
pub fn mebibytes(bytes: usize) -> String {
    match bytes {
        whole if whole >= 1 << 20 && whole.is_multiple_of(1 << 20) => format!("{} MiB", whole >> 20),
        whole if whole >= 1 << 10 && whole.is_multiple_of(1 << 10) => format!("{} KiB", whole >> 10),
        other => format!("{other} bytes"),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(1)..=MOST.time;
    parse_duration(text).ok().filter(|time| range.contains(time)).ok_or_else(|| {
        format!("`{text}` is not a time budget; write milliseconds or seconds up to 30s, such as `250ms` or `2s`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(yaml: &str) -> Result<Budget, String> {
        serde_saphyr::from_str::<BudgetSpec>(yaml).map_err(|e| e.to_string())?.check()
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        assert_eq!(budget("{}"), Ok(Budget::default()));
        let set = budget("{time: 250ms, valueBytes: 1Mi, outputBytes: 4096, violations: 5, depth: 9}");
        let time = Duration::from_millis(250);
        assert_eq!(set, Ok(Budget { time, value_bytes: 1 << 20, output_bytes: 4096, violations: 5, depth: 9 }));
        assert_eq!(budget("{time: 2s}").map(|b| b.time), Ok(Duration::from_secs(2)));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for (yaml, wanted) in [
            ("{time: 0ms}", "is not a time budget"),
            ("{time: 1h}", "is not a time budget"),
            ("{time: 60s}", "is not a time budget"),
            ("{time: 18446744073709552s}", "is not a time budget"),
            ("{valueBytes: 2Gi}", "`budget.valueBytes` is a size up to 1024 MiB"),
            ("{outputBytes: 0}", "`budget.outputBytes` is a size"),
            ("{violations: 0}", "`budget.violations` is a number from 1 to 100000, not 0"),
            ("{depth: 1001}", "`budget.depth` is a number from 1 to 1000"),
            ("{memory: 1Mi}", "memory"),
        ] {
            let fault = budget(yaml).expect_err(yaml);
            assert!(fault.contains(wanted), "{yaml}: {fault}");
        }
    }
}
