//! `portcullis decisions export`: records in the formats of others. Knows arguments and layout.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::filter::FilterArgs;
use super::{LogArgs, mention_flaws};
use crate::cli::Exit;
use crate::decisions::BodyState;
use crate::decisions::replay::BodyCursor;
use crate::decisions::sinks::{Event, Format};

/// Write records in the formats of others, a document a line.
///
/// The same documents as the server's sinks send. Records that a format has no word for are left out: OPA and OCSF have
/// decisions only. What is read here from files is not recorded; what a server sends is.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// The format
    #[arg(long, value_enum, default_value_t = FormatArg::Native)]
    format: FormatArg,
    /// With the masked bodies
    #[arg(long)]
    bodies: bool,
    /// Where to write. Default: standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
enum FormatArg {
    Native,
    Opa,
    Ocsf,
    CloudEvents,
}

impl FormatArg {
    fn format(self) -> Format {
        match self {
            Self::Native => Format::Native,
            Self::Opa => Format::Opa,
            Self::Ocsf => Format::Ocsf,
            Self::CloudEvents => Format::CloudEvents,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A log that cannot be read, a file that cannot be written.
pub(super) fn export(args: &ExportArgs) -> anyhow::Result<Exit> {
    let reader = args.log.reader()?;
    let filter = args.filter.filter()?;
    let mut bodies = BodyCursor::new(&args.log.dir());
    let mut out: Box<dyn Write> = match &args.output {
        Some(path) => {
            let file = private(path).with_context(|| format!("--output: cannot write `{}`", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(io::stdout())),
    };
    let mut write = |record: crate::decisions::Record| -> anyhow::Result<()> {
        let body = match record.decision().filter(|_| args.bodies) {
            Some(decision) => match bodies.body(&record, &decision)? {
                BodyState::Intact(body) => Some(body),
                BodyState::Altered(_) | BodyState::Missing | BodyState::Deleted | BodyState::Erased => None,
            },
            None => None,
        };
        if let Some(text) = args.format.format().write(&Event::of(record, body)) {
            writeln!(out, "{text}")?;
        }
        Ok(())
    };
    let mut failed = Ok(());
    let flaws = reader.for_each(&filter, |record| {
        failed = write(record);
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed?;
    out.flush()?;
    mention_flaws(&flaws, "the log");
    Ok(Exit::Fine)
}

/// Makes a file for its owner alone, as the log's own files are. One that is there keeps the mode that it was given.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}
