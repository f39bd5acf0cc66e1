//! A writer whose log cannot be opened yet: on a full or read-only disk the server serves, and answers as it would if
//! the same came while it runs. Knows what is to be answered meanwhile; writing is `writer`'s.

use std::io;
use std::sync::Arc;

use crate::decisions::gap::Owed;
use crate::decisions::log::Shared;
use crate::decisions::queue::{Batch, Job};
use crate::decisions::record::RecordType;
use crate::decisions::writer::{MAX_BATCH, MAX_BATCH_BYTES, RETRY, Writer};
use crate::decisions::{LogError, LogOptions, Receipt, Storage};

/// Whether an error may pass while nobody changes the configuration.
pub(super) fn may_pass(error: &LogError) -> bool {
    let read_only = matches!(error, LogError::Io { kind: io::ErrorKind::ReadOnlyFilesystem, .. });
    read_only || error.is_full_disk()
}

/// Tries to open the log every second, refuses what comes meanwhile, and writes once it is open.
pub(super) fn run(storage: &Arc<dyn Storage>, options: &LogOptions, shared: &Arc<Shared>, first: LogError) {
    let (mut error, mut owed) = (first, Owed::default());
    loop {
        {
            let mut status = shared.status();
            status.health.writable = false;
            status.health.last_error = Some(error.to_string());
        }
        let Batch { jobs, orders, closing } = shared.queue.take(RETRY, MAX_BATCH, MAX_BATCH_BYTES);
        jobs.into_iter().for_each(|job| refuse(shared, &mut owed, job, &error));
        shared.queue.done();
        orders.into_iter().for_each(|order| order.refuse(&error));
        if let Some(closing) = closing {
            shared.queue.abandon();
            if let Some(reply) = closing.reply {
                let _ = reply.send(Err(error));
            }
            return;
        }
        match Writer::open(Arc::clone(storage), options.clone(), Arc::clone(shared), None) {
            Ok(writer) => {
                tracing::info!(dir = %options.dir.display(), "the decision log could be opened");
                return writer.owing(owed).run();
            }
            Err(other) => error = other,
        }
    }
}

fn refuse(shared: &Shared, owed: &mut Owed, job: Job, error: &LogError) {
    let Job { entry, ticket, reply, .. } = job;
    let taken = ticket.take();
    if entry.record_type == RecordType::Decision {
        let mut status = shared.status();
        status.health.failed += 1;
        status.gap.miss(entry.timestamp, if taken { error } else { &LogError::Deadline });
    }
    owed.take(std::iter::once(entry));
    if taken {
        ticket.finish();
    }
    let _ = reply.send(Err::<Receipt, _>(error.clone()));
}
