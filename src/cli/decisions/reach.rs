//! How a command reaches the writer of a log: through the server's control socket while one runs, else by being the
//! writer for a moment. Knows arguments and keys; what is done is `decisions`' business.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use super::LogArgs;
use crate::decisions::{
    Author, Command, Control, DEFAULT_SEGMENT_BYTES, DecisionLog, Durability, Filter, LogError, LogOptions, LogReader,
    MaskKey, Retention, SigningSeed, ask, execute, log_keys, own_user,
};

/// Where the log is, and what it is signed with when no server does it.
#[derive(Debug, Args)]
pub(super) struct WriterArgs {
    #[command(flatten)]
    pub log: LogArgs,
    /// Key that the log is signed with, if no server runs; PORTCULLIS_SIGNING_KEY_DATA takes the key itself [default:
    /// decisions.key in the state directory]
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_SIGNING_KEY")]
    signing_key: Option<PathBuf>,
}

/// What became of a command.
pub(super) enum Reached {
    /// It was done; this is what it came to.
    Done(Value),
    /// It was refused, with a code and a message.
    Refused(String, String),
}

/// Has `command` done by the writer of the log.
///
/// # Errors
/// Nobody can be reached: no log, no key, a process that writes the log and does not answer.
pub(super) fn reach(args: &WriterArgs, command: &Command, author: &Author) -> anyhow::Result<Reached> {
    let (dir, state_dir) = (args.log.dir(), &args.log.state_dir);
    let reader = args.log.reader()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let socket = Control::path(state_dir);
        let asked = ask(state_dir, &dir, command, author).await;
        match asked.with_context(|| format!("the server at `{}` cannot be asked", socket.display()))? {
            Some(Ok(done)) => return Ok(Reached::Done(done)),
            Some(Err((code, message))) if matches!(code.as_str(), "forbidden" | "other_log" | "command") => {
                bail!("the server at `{}` refused: {message}", socket.display())
            }
            Some(Err((code, message))) => return Ok(Reached::Refused(code, message)),
            None => {}
        }
        let log = match DecisionLog::open(options(args, &dir, &reader)?) {
            Err(LogError::Locked { .. }) => bail!(
                "a process writes the log in `{}`, and none answers at `{}`; give the --state-dir of that server",
                dir.display(),
                socket.display()
            ),
            other => other?,
        };
        let author = Author { by: own_user(), ..author.clone() };
        let done = execute(&log, command.clone(), author).await;
        log.close("command").await?;
        Ok(match done {
            Ok(done) => Reached::Done(done),
            Err(error) => Reached::Refused(error.code().to_owned(), error.to_string()),
        })
    })
}

/// The log as it was written until now, without a bound: a command deletes what it says and nothing else.
fn options(args: &WriterArgs, dir: &Path, reader: &LogReader) -> anyhow::Result<LogOptions> {
    let (last, _) = reader.last(&Filter::default(), 1)?;
    let Some(last) = last.into_iter().next() else { bail!("there is no record in `{}`", dir.display()) };
    let own = args.log.state_dir.join("decisions.key");
    let given = std::env::var("PORTCULLIS_SIGNING_KEY_DATA").ok().filter(|key| !key.trim().is_empty());
    let seed = match (&args.signing_key, given) {
        (Some(path), _) => SigningSeed::load(path).context("--signing-key")?,
        (None, Some(text)) => SigningSeed::parse(&text).context("PORTCULLIS_SIGNING_KEY_DATA is no Ed25519 key")?,
        (None, None) => SigningSeed::load(&own).with_context(|| {
            "no server runs, so the log's key is needed: give --state-dir or --signing-key".to_owned()
        })?,
    };
    let verifier = seed.under(&last.head.origin).map_err(LogError::from)?.verifier().clone();
    if log_keys(dir)?.last() != Some(&verifier) {
        bail!("--signing-key: the log in `{}` is signed with another key", dir.display());
    }
    Ok(LogOptions {
        dir: dir.to_path_buf(),
        durability: Durability::Fsync,
        max_bytes: u64::MAX,
        segment_bytes: DEFAULT_SEGMENT_BYTES,
        retention: Retention::default(),
        labels: last.head.labels.clone(),
        origin: last.head.origin.clone(),
        // No decision is written, so nothing is masked.
        mask_key: MaskKey::from_bytes([0; 32]),
        signing_seed: seed,
        checkpoint_copy: Some(args.log.state_dir.join("decisions.checkpoint")),
    })
}
