//! The bounded queue between those who decide and the one who writes. Knows waiting; must not know files.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::decisions::log::Receipt;
use crate::decisions::orders::Order;
use crate::decisions::{Entry, LogError};

/// Entries that may wait. Each stands for a request in flight, of which a server has some hundreds; more means that
/// the disk is stuck.
const MAX_ENTRIES: usize = 8192;
/// Bytes that may wait. A typical entry has 10 KB; the largest (an 8 MiB review) still fit in some number.
const MAX_BYTES: usize = 128 * 1024 * 1024;

pub(super) type Outcome = Result<Receipt, LogError>;

/// An entry with somebody waiting for it.
pub(super) struct Job {
    pub entry: Entry,
    pub queued: Instant,
    pub ticket: Arc<Ticket>,
    pub reply: oneshot::Sender<Outcome>,
}

/// Who has the entry: so that a caller who gives up and a writer who is about to write cannot both be right.
#[derive(Debug, Default)]
pub(super) struct Ticket(AtomicU8);

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;
const LEFT: u8 = 3;
const DONE: u8 = 4;

/// What giving up came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GaveUp {
    /// The entry will not be written.
    Unwritten,
    /// The entry is being written at this moment, and nobody will be told.
    Unconfirmed,
    /// It is done; the answer is there.
    TooLate,
}

impl Ticket {
    /// The caller stops waiting.
    pub(super) fn give_up(&self) -> GaveUp {
        if self.swap(WAITING, GIVEN_UP) {
            GaveUp::Unwritten
        } else if self.swap(TAKEN, LEFT) {
            GaveUp::Unconfirmed
        } else {
            GaveUp::TooLate
        }
    }

    /// The writer is about to write; false when the caller has given up.
    pub(super) fn take(&self) -> bool {
        self.swap(WAITING, TAKEN)
    }

    /// The writer has finished; false when the caller has left meanwhile.
    pub(super) fn finish(&self) -> bool {
        self.swap(TAKEN, DONE)
    }

    fn swap(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    orders: Vec<Order>,
    /// When the oldest entry that the writer has in hand was queued.
    in_hand: Option<Instant>,
    closing: Option<Closing>,
    closed: bool,
}

/// How the log is to end.
pub(super) struct Closing {
    /// The reason for the `stop` record; without one there is none.
    pub reason: Option<String>,
    pub reply: Option<oneshot::Sender<Result<(), LogError>>>,
}

/// What the writer takes at once.
pub(super) struct Batch {
    pub jobs: Vec<Job>,
    pub orders: Vec<Order>,
    /// Nothing comes after this batch.
    pub closing: Option<Closing>,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Queue {
    /// Queues an entry, or gives back the reply's sender with the reason why not.
    pub(super) fn push(&self, job: Job) -> Result<(), LogError> {
        let mut state = self.lock();
        if state.closed || state.closing.is_some() {
            return Err(LogError::Closed);
        }
        let size = job.entry.size();
        let room = state.jobs.len() < MAX_ENTRIES && (state.jobs.is_empty() || state.bytes + size <= MAX_BYTES);
        if !room {
            return Err(LogError::Backpressure { waiting: state.jobs.len() });
        }
        state.bytes += size;
        state.jobs.push_back(job);
        if state.jobs.len() == 1 {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Asks the writer to do something; it comes after what waits to be written. Whoever asked waits for an answer, so
    /// there are never many.
    pub(super) fn order(&self, order: Order) -> Result<(), LogError> {
        let mut state = self.lock();
        if state.closed || state.closing.is_some() {
            return Err(LogError::Closed);
        }
        state.orders.push(order);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for entries for at most `patience`; takes up to `max_jobs` and about `max_bytes` of them.
    pub(super) fn take(&self, patience: Duration, max_jobs: usize, max_bytes: usize) -> Batch {
        let mut state = self.lock();
        let idle = |s: &mut State| s.jobs.is_empty() && s.orders.is_empty() && s.closing.is_none();
        if idle(&mut state) {
            let waited = self.arrived.wait_timeout_while(state, patience, idle);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        while jobs.len() < max_jobs && (jobs.is_empty() || bytes < max_bytes) {
            let Some(job) = state.jobs.pop_front() else { break };
            bytes += job.entry.size();
            jobs.push(job);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        state.in_hand = jobs.first().map(|j| j.queued);
        let closing = if state.jobs.is_empty() { state.closing.take() } else { None };
        if closing.is_some() {
            state.closed = true;
        }
        Batch { jobs, orders: std::mem::take(&mut state.orders), closing }
    }

    /// The writer has finished with what it took.
    pub(super) fn done(&self) {
        self.lock().in_hand = None;
    }

    /// No more entries are taken; what waits is still written. False when it was closed before.
    pub(super) fn close(&self, closing: Closing) -> bool {
        let mut state = self.lock();
        if state.closed || state.closing.is_some() {
            return false;
        }
        state.closing = Some(closing);
        self.arrived.notify_one();
        true
    }

    /// The writer is gone: nobody waits any longer.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.closing = None;
        state.jobs.clear();
        state.orders.clear();
        state.bytes = 0;
        state.in_hand = None;
    }

    /// Whether entries can still come in.
    pub(super) fn is_open(&self) -> bool {
        let state = self.lock();
        !state.closed && state.closing.is_none()
    }

    /// How many entries and bytes wait, and since when the oldest that is not written has.
    pub(super) fn waiting(&self) -> (usize, usize, Option<Instant>) {
        let state = self.lock();
        (state.jobs.len(), state.bytes, state.in_hand.or_else(|| state.jobs.front().map(|j| j.queued)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_has_one_end() {
        let ticket = Ticket::default();
        assert!(ticket.take() && ticket.finish());
        assert_eq!(ticket.give_up(), GaveUp::TooLate);
        let ticket = Ticket::default();
        assert_eq!(ticket.give_up(), GaveUp::Unwritten);
        assert!(!ticket.take());
        let ticket = Ticket::default();
        assert!(ticket.take());
        assert_eq!(ticket.give_up(), GaveUp::Unconfirmed);
        assert!(!ticket.finish());
    }

    #[test]
    fn the_queue_is_bounded_and_closes_behind_what_waits() {
        let queue = Queue::default();
        let push = || {
            let entry = Entry {
                record_type: crate::decisions::RecordType::Decision,
                decision_id: uuid::Uuid::nil(),
                timestamp: jiff::Timestamp::UNIX_EPOCH,
                members: vec![b' '; 10],
                body: Vec::new(),
            };
            queue.push(Job { entry, queued: Instant::now(), ticket: Arc::default(), reply: oneshot::channel().0 })
        };
        for _ in 0..MAX_ENTRIES {
            push().expect("room");
        }
        assert_eq!(push(), Err(LogError::Backpressure { waiting: MAX_ENTRIES }));
        assert!(queue.close(Closing { reason: None, reply: None }));
        assert_eq!(push(), Err(LogError::Closed));
        let mut taken = 0;
        loop {
            let batch = queue.take(Duration::ZERO, 1000, usize::MAX);
            taken += batch.jobs.len();
            if batch.closing.is_some() {
                break;
            }
        }
        assert_eq!(taken, MAX_ENTRIES);
        assert_eq!(queue.waiting().0, 0);
    }
}
