//! Whose turn it is: how often each reader may ask, and how much of the room for answers they may take. Knows readers by
//! name; must not know what they ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::Refused;

/// Answers that are being sent to one reader at once.
const ANSWERS: usize = 4;
/// Readings of one reader that may come at once, and how many a second from then on: each writes a record.
const BURST: f64 = 50.0;
const A_SECOND: f64 = 10.0;

/// The readers' turns.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Account>>);

/// What one reader may still ask.
struct Account {
    /// Readings that had accrued, and when that was.
    left: (f64, Instant),
    looking: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// The turn of a reader.
pub(super) struct Turn {
    looking: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// Room: of the server's, and of the reader's.
pub(super) type Room = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Turns {
    /// Lets a reader ask, if they may now. What is refused takes nothing of what accrues.
    pub(super) fn turn(&self, reader: &str) -> Result<Turn, Refused> {
        self.turn_at(reader, Instant::now())
    }

    fn turn_at(&self, reader: &str, now: Instant) -> Result<Turn, Refused> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.entry(reader.to_owned()).or_insert_with(|| Account {
            left: (BURST, now),
            looking: Arc::new(Semaphore::new(1)),
            answers: Arc::new(Semaphore::new(ANSWERS)),
        });
        let (left, since) = account.left;
        let left = (left + now.duration_since(since).as_secs_f64() * A_SECOND).min(BURST);
        let granted = left >= 1.0;
        account.left = (if granted { left - 1.0 } else { left }, now);
        if !granted {
            return Err(Refused::TooFast);
        }
        Ok(Turn { looking: Arc::clone(&account.looking), answers: Arc::clone(&account.answers) })
    }
}

impl Turn {
    /// Room for an answer, of the server's and of the reader's own.
    pub(super) fn room(&self, all: &Arc<Semaphore>) -> Result<Room, Refused> {
        let own = Arc::clone(&self.answers).try_acquire_owned().map_err(|_| Refused::TooFast)?;
        let all = Arc::clone(all).try_acquire_owned().map_err(|_| Refused::Crowded)?;
        Ok((all, own))
    }

    /// Waits for room to look through the log. A reader looks through it once at a time, so that there is room for
    /// another.
    pub(super) async fn look(&self, all: &Arc<Semaphore>, patience: Duration) -> Result<Room, Refused> {
        let (own, all) = (Arc::clone(&self.looking), Arc::clone(all));
        let room = async {
            let own = own.acquire_owned().await?;
            Ok::<_, AcquireError>((all.acquire_owned().await?, own))
        };
        tokio::time::timeout(patience, room).await.ok().and_then(Result::ok).ok_or(Refused::Crowded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_asks_too_often_still_gets_what_accrues() {
        let (turns, begin) = (Turns::default(), Instant::now());
        let granted = |name: &str, ms: u64| turns.turn_at(name, begin + Duration::from_millis(ms)).is_ok();
        assert_eq!((0..100).filter(|_| granted("a", 0)).count(), 50);
        // Twenty times a second, five seconds long: ten a second are granted.
        let taken = (1..=100).filter(|n| granted("a", n * 50)).count();
        assert!((49..=51).contains(&taken), "{taken}");
        assert!(granted("b", 5000), "another has a turn of their own");
    }

    #[tokio::test]
    async fn one_reader_does_not_take_all_the_room() {
        let (turns, looking, answers) = (Turns::default(), Arc::new(Semaphore::new(2)), Arc::new(Semaphore::new(16)));
        let turn = |name: &str| turns.turn(name).expect("a turn");
        let held: Vec<Room> = (0..10).filter_map(|_| turn("a").room(&answers).ok()).collect();
        assert_eq!(held.len(), ANSWERS);
        assert!(turn("b").room(&answers).is_ok());
        let patience = Duration::from_millis(50);
        let first = turn("a").look(&looking, patience).await.ok();
        assert!(first.is_some());
        assert!(matches!(turn("a").look(&looking, patience).await, Err(Refused::Crowded)), "one at a time");
        assert!(turn("b").look(&looking, patience).await.is_ok());
    }
}
