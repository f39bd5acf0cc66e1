//! `portcullis decisions tail`: the newest decisions, and those to come. Knows arguments and when to look again; how a
//! log is followed is `decisions`' business.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::time::Duration;

use clap::Args;

use super::filter::FilterArgs;
use super::{ListOutput, LogArgs, Table, mention_unjudged};
use crate::cli::Exit;
use crate::cli::style::Style;
use crate::decisions::Rewound;

/// How often the log is looked at: soon enough to watch, seldom enough to cost nothing.
const INTERVAL: Duration = Duration::from_millis(250);

/// Show the newest decisions, and with `-f` those to come
///
/// Follows the log over its segments. Ends when it is interrupted or its reader leaves.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Wait for what is to come
    #[arg(short, long)]
    follow: bool,
    /// How many of those that are there
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// How to print; `json` gives one record a line, as it stands in the log, `csv` what most people ask of it
    #[arg(short, long, value_enum, default_value_t = ListOutput::Table)]
    output: ListOutput,
}

/// Runs the command.
///
/// # Errors
/// A log that cannot be read.
pub(super) fn tail(args: &TailArgs) -> anyhow::Result<Exit> {
    let reader = args.log.reader()?;
    let filter = args.filter.filter()?;
    let mut table = Table::new(args.output);
    // Where following begins is fixed before the last records are read, so none falls between; one that comes
    // meanwhile is told once.
    let mut place = reader.end()?;
    let mut newest = None;
    if args.limit > 0 {
        let (records, flaws) = reader.last(&filter, args.limit)?;
        for record in &records {
            table.row(record)?;
            newest = Some(record.head.seq);
        }
        mention_unjudged(flaws.unjudged, "the log");
    }
    if !args.follow {
        table.finish()?;
        return Ok(Exit::Fine);
    }
    table.out.flush()?;
    loop {
        std::thread::sleep(INTERVAL);
        if let Some(rewound) = reader.rewind(&mut place)? {
            newest = None;
            mention(rewound);
        }
        let mut failed = Ok(());
        let unjudged = reader.follow(&filter, &mut place, |record| {
            if newest.is_some_and(|seq| record.head.seq <= seq) {
                return ControlFlow::Continue(());
            }
            failed = table.row(&record);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        newest = None;
        table.out.flush()?;
        mention_unjudged(unjudged, "the log");
    }
}

/// What was shown may not be in the log any more, and what follows may have been shown.
fn mention(rewound: Rewound) {
    let warning = Style::stderr().yellow("warning");
    match rewound {
        Rewound::Lines(count) => eprintln!(
            "{warning}: the last {count} records that were read are not in the log any more; what stands there now follows"
        ),
        Rewound::Segment => eprintln!(
            "{warning}: the log is not the one that was read; its segment follows from the beginning, and may have been shown"
        ),
    }
}
