//! Records over threads: read in order, judged side by side, told in order. Knows threads and progress; must not know
//! what is asked of a record. Memory is bounded by what is under way at once.

use std::ops::ControlFlow;
use std::thread;

use super::print::Summary;
use super::{FailOn, ReplayArgs, filter, named, print};
use crate::cli::Exit;
use crate::cli::decisions::{mention_flaws, progress};
use crate::decisions::replay::{BodyCursor, Judge, Status};
use crate::decisions::{BodyState, DecisionRecord, Record};

/// Records under way at once.
const MOST_RECORDS: usize = 512;

/// Bytes of their bodies.
const MOST_BYTES: usize = 32 << 20;

/// Judging needs as much as the threads of a server have.
const STACK_BYTES: usize = 64 << 20;

/// One record to be judged.
pub(super) struct Item {
    pub decision: DecisionRecord,
    pub body: BodyState,
}

/// Judges every item by `work`, several at once; the results are in the order of the items.
pub(super) fn side_by_side<T: Sync, R: Send>(items: &[T], work: &(dyn Fn(&T) -> R + Sync)) -> anyhow::Result<Vec<R>> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(items.len()).max(1);
    let share = items.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let mut running = Vec::new();
        for part in items.chunks(share) {
            let started = thread::Builder::new().name("replay".to_owned()).stack_size(STACK_BYTES);
            running.push(started.spawn_scoped(scope, move || part.iter().map(work).collect::<Vec<R>>())?);
        }
        let mut results = Vec::with_capacity(items.len());
        for thread in running {
            results.extend(thread.join().map_err(|_| anyhow::anyhow!("a decision could not be judged: a panic"))?);
        }
        Ok(results)
    })
}

/// Calls `take` with all wanted records and their bodies, some at a time.
pub(super) fn each_batch(
    args: &ReplayArgs,
    mut take: impl FnMut(Vec<Item>) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let mut cursor = BodyCursor::new(&args.log.dir());
    let bar = progress::count("decisions");
    let (mut batch, mut bytes, mut failed) = (Vec::new(), 0, Ok(()));
    let mut add = |record: Record| -> anyhow::Result<()> {
        let Some(decision) = record.decision() else { return Ok(()) };
        let body = cursor.body(&record, &decision)?;
        if let BodyState::Intact(line) | BodyState::Altered(line) = &body {
            bytes += line.body.len();
        }
        batch.push(Item { decision, body });
        if batch.len() >= MOST_RECORDS || bytes >= MOST_BYTES {
            bar.inc(u64::try_from(batch.len()).unwrap_or_default());
            bytes = 0;
            bar.suspend(|| take(std::mem::take(&mut batch)))?;
        }
        Ok(())
    };
    if args.ids.is_empty() {
        let reader = args.log.reader()?;
        let flaws = reader.for_each(&filter(args)?, |record| {
            failed = add(record);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        mention_flaws(&flaws, "the log");
    } else {
        let Some(records) = named(args)? else { return Ok(Exit::CouldNotRun) };
        records.into_iter().try_for_each(add)?;
    }
    take(batch)?;
    bar.finish_and_clear();
    Ok(Exit::Fine)
}

/// Makes the decisions again and prints what came of it.
pub(super) fn again(args: &ReplayArgs, judge: &Judge) -> anyhow::Result<Exit> {
    let mut printer = print::Printer::new(args);
    let mut summary = Summary::default();
    let done = each_batch(args, |items| {
        let results = side_by_side(&items, &|item: &Item| judge.replay(&item.decision, &item.body))?;
        for (item, result) in items.iter().zip(&results) {
            summary.take(result);
            if args.all || result.status != Status::Identical {
                printer.decision(&item.decision, result)?;
            }
        }
        Ok(())
    })?;
    if done != Exit::Fine {
        return Ok(done);
    }
    printer.summary(&summary)?;
    let fails = |status| match status {
        Status::Different => {
            args.fail_on.is_empty() || args.fail_on.iter().any(|f| matches!(f, FailOn::Different | FailOn::Any))
        }
        Status::Indeterminate => args.fail_on.contains(&FailOn::Indeterminate),
        Status::Identical | Status::NotJudged => false,
    };
    Ok(if summary.counts.iter().any(|(status, count)| *count > 0 && fails(*status)) {
        Exit::Finding
    } else {
        Exit::Fine
    })
}
