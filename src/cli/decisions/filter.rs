//! Which records a command is about: the flags that `list`, `tail` and `stats` share. Knows arguments; what they take
//! is `decisions::Filter`'s business.

use anyhow::bail;
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use crate::decisions::{Bound, Filter, RecordType, bound};
use crate::engine::{Cause, Verdict};

/// Which records. All that is given must hold; names may be globs.
#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// Not older than this: a duration (`90s`, `10m`, `2h`, `7d`), an RFC 3339 time or a date (UTC).
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Not younger than this, likewise; of a date, the end of that day.
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<Timestamp>,
    /// Namespace of the request.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Who asked: the user name, or a value of the user's extra fields (on EKS: the ARN or session name).
    #[arg(long)]
    user: Option<String>,
    /// A policy that found something or could not be judged.
    #[arg(long)]
    policy: Option<String>,
    /// The answer.
    #[arg(long, value_enum)]
    verdict: Option<VerdictArg>,
    /// Why.
    #[arg(long, value_enum)]
    cause: Option<CauseArg>,
    /// `request.uid` of the AdmissionReview.
    #[arg(long)]
    uid: Option<String>,
    /// Type of record.
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value_t = TypeArg::Decision)]
    kind: TypeArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum VerdictArg {
    Allow,
    Deny,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum CauseArg {
    Policy,
    #[value(alias = "policy-error")]
    PolicyError,
    Deadline,
    Overload,
    Log,
    None,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TypeArg {
    Decision,
    Start,
    Stop,
    Gap,
    Prune,
    Key,
    Config,
    Read,
    Hold,
    All,
}

impl FilterArgs {
    /// The filter that the flags come to.
    pub(super) fn filter(&self) -> anyhow::Result<Filter> {
        let args = self;
        let filter = Filter {
            since: args.since,
            until: args.until,
            namespace: args.namespace.clone(),
            user: args.user.clone(),
            policy: args.policy.clone(),
            verdict: args.verdict.map(|v| match v {
                VerdictArg::Allow => Verdict::Allow,
                VerdictArg::Deny => Verdict::Deny,
            }),
            cause: args.cause.map(|c| match c {
                CauseArg::Policy => Cause::Policy,
                CauseArg::PolicyError => Cause::PolicyError,
                CauseArg::Deadline => Cause::Deadline,
                CauseArg::Overload => Cause::Overload,
                CauseArg::Log => Cause::Log,
                CauseArg::None => Cause::None,
            }),
            uid: args.uid.clone(),
            r#type: match args.kind {
                TypeArg::Decision => Some(RecordType::Decision),
                TypeArg::Start => Some(RecordType::Start),
                TypeArg::Stop => Some(RecordType::Stop),
                TypeArg::Gap => Some(RecordType::Gap),
                TypeArg::Prune => Some(RecordType::Prune),
                TypeArg::Key => Some(RecordType::Key),
                TypeArg::Config => Some(RecordType::Config),
                TypeArg::Read => Some(RecordType::Read),
                TypeArg::Hold => Some(RecordType::Hold),
                TypeArg::All => None,
            },
        };
        if filter.asks_of_decisions() && !matches!(args.kind, TypeArg::Decision | TypeArg::All) {
            bail!("--namespace, --user, --policy, --verdict, --cause and --uid are about decisions; leave out --type");
        }
        Ok(filter)
    }
}

/// A duration before now, an RFC 3339 time, or the beginning of a date.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    time(text, Bound::First)
}

/// The same with the end of a date.
pub(super) fn until(text: &str) -> Result<Timestamp, String> {
    time(text, Bound::Last)
}

fn time(text: &str, end: Bound) -> Result<Timestamp, String> {
    if let Some(timestamp) = bound(text, end) {
        return Ok(timestamp);
    }
    let wrong =
        || "write a duration such as `10m`, an RFC 3339 time such as `2026-01-31T12:00:00Z`, or a date".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number: i64 = text.strip_suffix(unit).and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let seconds = number.checked_mul(seconds).filter(|s| *s >= 0).ok_or_else(wrong)?;
    Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let now = Timestamp::now();
        let ago = |text: &str| now.duration_since(until(text).expect(text)).as_secs();
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604_800), ("1w", 604_800)] {
            assert!((ago(text) - seconds).abs() <= 2, "{text}");
        }
        assert_eq!(since("2026-01-31").expect("a date").to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(until("2026-01-31").expect("a date").to_string(), "2026-01-31T23:59:59.999999999Z");
        assert_eq!(until("2026-01-31T12:00:00+02:00").expect("a time").to_string(), "2026-01-31T10:00:00Z");
        for wrong in ["", "10", "m", "ten minutes", "-5m", "10y"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
