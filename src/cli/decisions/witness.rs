//! Witnesses as arguments and in output. Knows words; who signed what is `tlog`'s and `decisions`'.

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;

use crate::decisions::WitnessPolicy;
use crate::tlog::WitnessKey;

/// Which witnesses count.
#[derive(Debug, Args)]
pub(super) struct WitnessArgs {
    /// Verifier key of a witness that counts, or a file with such keys; repeatable
    #[arg(long, value_name = "VKEY|FILE")]
    witness: Vec<String>,
    /// How many of them must have signed. Default: all
    #[arg(long, value_name = "N", requires = "witness")]
    witness_quorum: Option<usize>,
}

impl WitnessArgs {
    pub(super) fn policy(&self) -> anyhow::Result<WitnessPolicy> {
        let mut keys = Vec::<WitnessKey>::new();
        for text in &self.witness {
            let before = keys.len();
            match (WitnessKey::parse(text), std::fs::read_to_string(text)) {
                (Ok(key), _) => keys.push(key),
                (Err(_), Ok(file)) => {
                    for line in file.lines().map(str::trim).filter(|line| !line.is_empty()) {
                        keys.push(WitnessKey::parse(line).with_context(|| format!("--witness `{text}`"))?);
                    }
                }
                (Err(error), Err(_)) => return Err(error).context("--witness: neither a file nor a key"),
            }
            if keys.len() == before {
                bail!("--witness `{text}`: there is no verifier key in it");
            }
        }
        keys.sort();
        keys.dedup();
        let quorum = self.witness_quorum.unwrap_or(keys.len());
        if quorum > keys.len() || quorum == 0 && !keys.is_empty() {
            bail!("--witness-quorum: `{quorum}` is not within 1 and {}, the witnesses given", keys.len());
        }
        Ok(WitnessPolicy { keys, quorum })
    }
}

/// `w1 (2026-11-26T12:00:00Z), w2 (...)`.
pub(super) fn named<'k>(cosignatures: impl IntoIterator<Item = (&'k WitnessKey, u64)>) -> String {
    let named = cosignatures.into_iter().map(|(key, time)| format!("{} ({})", key.name(), at(time)));
    named.collect::<Vec<_>>().join(", ")
}

/// For programs.
pub(super) fn as_json<'k>(cosignatures: impl IntoIterator<Item = (&'k WitnessKey, u64)>) -> serde_json::Value {
    let all =
        cosignatures.into_iter().map(|(key, time)| serde_json::json!({"witness": key.to_string(), "time": at(time)}));
    all.collect()
}

fn at(second: u64) -> String {
    let time = i64::try_from(second).ok().and_then(|s| Timestamp::from_second(s).ok());
    time.map_or_else(|| second.to_string(), |t| t.to_string())
}
