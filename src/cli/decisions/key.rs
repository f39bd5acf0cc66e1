//! `portcullis decisions key`: the public half of the key that signs the log, for those who check it.

use anyhow::{Context as _, bail};
use clap::Args;

use crate::cli::Exit;
use crate::cli::decisions::LogArgs;
use crate::decisions::log_keys;

/// Print the verifier key of the log: the public half of its signing key.
///
/// Give it to auditors: `verify --key` and `verify-proof --key` take it. It looks like
/// `<origin>+<8 hex digits>+<base64>` (C2SP signed-note).
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Also the keys that signed before, oldest first.
    #[arg(long)]
    all: bool,
}

pub(super) fn key(args: &KeyArgs) -> anyhow::Result<Exit> {
    let dir = args.log.dir();
    let keys = log_keys(&dir).with_context(|| format!("no decision log in `{}`", dir.display()))?;
    let Some(latest) = keys.last() else {
        bail!("no decision log that is signed in `{}`; name one with --decision-log or --state-dir", dir.display());
    };
    if args.all {
        keys.iter().for_each(|key| println!("{key}"));
    } else {
        println!("{latest}");
    }
    Ok(Exit::Fine)
}
