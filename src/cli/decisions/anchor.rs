//! `portcullis decisions anchor`: the latest checkpoint, printed or put somewhere. Knows arguments; how a place keeps
//! it is `decisions`'.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::cli::Exit;
use crate::cli::decisions::LogArgs;
use crate::decisions::{AnchorAddress, AnchorStore, latest_checkpoint};
use crate::inventory;

/// Print the latest signed checkpoint, or put it where it outlives the log.
///
/// Needs no server. A running server does so by itself: `serve --anchor`. `verify --checkpoint` holds a log against
/// what is printed and against what anchors keep.
#[derive(Debug, Args)]
pub(super) struct AnchorArgs {
    #[command(flatten)]
    log: LogArgs,
    /// A file, `DIR/`, https://.., s3://.., gs://.., az://.., configmap://NAMESPACE/NAME or lease://NAMESPACE/NAME;
    /// repeatable. Default: standard output.
    #[arg(long, value_name = "URL")]
    to: Vec<String>,
    /// Cluster of ConfigMaps and Leases. Default: the one we run in
    #[arg(long, env = "PORTCULLIS_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

pub(super) fn anchor(args: &AnchorArgs) -> anyhow::Result<Exit> {
    let dir = args.log.dir();
    let signed = latest_checkpoint(&dir).with_context(|| {
        format!("no decision log that is signed in `{}`; name one with --decision-log or --state-dir", dir.display())
    })?;
    if args.to.is_empty() {
        io::stdout().write_all(signed.note.to_string().as_bytes())?;
        return Ok(Exit::Fine);
    }
    let mut addresses = Vec::new();
    for text in &args.to {
        let address = AnchorAddress::parse(text).map_err(|message| anyhow::anyhow!("--to: {message}"))?;
        if address.is_below(&dir) {
            bail!("--to: `{address}` is in the directory of the decision log; keep it elsewhere");
        }
        addresses.push(address);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let cluster = match (&args.kubeconfig, addresses.iter().any(AnchorAddress::is_in_cluster)) {
            (_, false) => None,
            (Some(path), true) => Some(inventory::from_kubeconfig(path).await?),
            (None, true) => Some(inventory::in_cluster()?),
        };
        for address in &addresses {
            let put =
                async { AnchorStore::open(address, cluster.as_ref())?.put(&signed, jiff::Timestamp::now()).await };
            put.await.with_context(|| format!("--to: `{address}`"))?;
            eprintln!("put the checkpoint of {} records to {address}", signed.checkpoint.size);
        }
        Ok(Exit::Fine)
    })
}
