//! Whether a policy is run: one that keeps costing what it may not is quarantined, and tried again after a while.
//!
//! What counts are outcomes that hold a thread or its memory: a passed budget, a panic, a thread that was given up. They
//! count in a row: one that others' requests go between cannot be used to silence a policy, and a policy that is slow
//! now and then is not silenced either. Knows no requests and no verdicts; the monotonic clock comes as an argument.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a policy is quarantined, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantine {
    /// After so many bad outcomes in a row; `None`: only threads that were given up count.
    pub after: Option<u32>,
    /// Then one request is tried, and on success the policy is run again.
    pub pause: Duration,
}

impl Default for Quarantine {
    /// None: where a command runs a policy once, or runs again what was, nothing may depend on what ran before.
    fn default() -> Self {
        Self { after: None, pause: Duration::from_secs(60) }
    }
}

/// How one run went, as far as quarantine goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    Good,
    Bad,
    /// The policy is not to blame, nor is it cleared: the request's time ran out.
    Unclear,
}

/// A policy went into quarantine, or came out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthChange {
    /// It is not run for now.
    Quarantined,
    /// It is run again.
    Released,
}

/// What one policy did so far.
#[derive(Debug, Default)]
pub(crate) struct Health {
    quarantine: Quarantine,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// Threads that were given up and have not ended.
    stuck: u32,
    bad_in_a_row: u32,
    /// Not run before this, but for a trial after it.
    until: Option<Instant>,
    trial: bool,
}

impl Health {
    /// Threads of one policy that may be given up before it is not run any more.
    const MOST_STUCK: u32 = 2;

    pub(crate) fn new(quarantine: Quarantine) -> Self {
        Self { quarantine, record: Mutex::default() }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the policy is in quarantine, be a trial due or not.
    pub(crate) fn quarantined(&self) -> bool {
        let record = self.record();
        record.stuck >= Self::MOST_STUCK || record.until.is_some()
    }

    /// Whether the policy may be run now. After the pause one run at a time may.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), String> {
        let mut record = self.record();
        if record.stuck >= Self::MOST_STUCK {
            return Err(
                "the policy holds too many threads that did not stop, and is not run until one of them ends or \
                        the policies are loaded again"
                    .to_owned(),
            );
        }
        match record.until {
            None => Ok(()),
            Some(until) if now >= until && !record.trial => {
                record.trial = true;
                Ok(())
            }
            Some(_) => {
                let count = record.bad_in_a_row;
                Err(format!("the policy failed {count} times in a row and is not run for now"))
            }
        }
    }

    /// Takes the outcome of a run that was admitted.
    pub(crate) fn ran(&self, conduct: Conduct, now: Instant) -> Option<HealthChange> {
        let mut record = self.record();
        let trial = std::mem::take(&mut record.trial);
        match conduct {
            Conduct::Unclear => None,
            Conduct::Good => {
                record.bad_in_a_row = 0;
                // Runs that began before the quarantine do not end it.
                if !trial {
                    return None;
                }
                record.until.take().map(|_| HealthChange::Released)
            }
            Conduct::Bad => {
                record.bad_in_a_row = record.bad_in_a_row.saturating_add(1);
                let full = self.quarantine.after.is_some_and(|after| record.bad_in_a_row >= after);
                let fresh = record.until.is_none();
                if full && (fresh || trial) {
                    record.until = now.checked_add(self.quarantine.pause);
                }
                (full && fresh).then_some(HealthChange::Quarantined)
            }
        }
    }

    /// Counts a thread that was given up. `last`: the process has none to spare, so this one is the last.
    pub(crate) fn got_stuck(&self, last: bool) {
        let mut record = self.record();
        record.stuck = record.stuck.saturating_add(if last { Self::MOST_STUCK } else { 1 });
    }

    /// A thread that was given up has ended after all: the machine was slow, or a builtin. After a last one the policy
    /// has one thread less from then on.
    pub(crate) fn came_back(&self) {
        let mut record = self.record();
        record.stuck = record.stuck.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);

    fn health(after: u32) -> Health {
        Health::new(Quarantine { after: Some(after), pause: PAUSE })
    }

    /// What a run that goes `conduct` at `now` changes; `None` where it is not admitted.
    fn run(health: &Health, conduct: Conduct, now: Instant) -> Option<Option<HealthChange>> {
        health.admit(now).ok().map(|()| health.ran(conduct, now))
    }

    #[test]
    fn bad_outcomes_count_in_a_row() {
        let (health, now) = (health(3), Instant::now());
        for conduct in [Conduct::Bad, Conduct::Bad, Conduct::Good, Conduct::Bad, Conduct::Unclear, Conduct::Bad] {
            assert_eq!(run(&health, conduct, now), Some(None));
        }
        assert_eq!(run(&health, Conduct::Bad, now), Some(Some(HealthChange::Quarantined)));
        assert!(health.quarantined());
        assert_eq!(run(&health, Conduct::Good, now), None);
    }

    #[test]
    fn after_the_pause_one_run_decides() {
        let (health, now) = (health(1), Instant::now());
        run(&health, Conduct::Bad, now);
        let later = now + PAUSE;
        assert!(health.admit(later).is_ok());
        assert!(health.admit(later).is_err(), "one trial at a time");
        assert_eq!(health.ran(Conduct::Bad, later), None, "it goes on");
        assert!(health.admit(later).is_err(), "for another pause");
        let last = later + PAUSE;
        assert_eq!(run(&health, Conduct::Unclear, last), Some(None));
        assert_eq!(run(&health, Conduct::Good, last), Some(Some(HealthChange::Released)));
        assert!(!health.quarantined() && health.admit(last).is_ok());
    }

    #[test]
    fn what_began_before_does_not_end_it() {
        let (health, now) = (health(1), Instant::now());
        assert!(health.admit(now).is_ok() && health.admit(now).is_ok());
        health.ran(Conduct::Bad, now);
        assert_eq!(health.ran(Conduct::Good, now), None);
        assert!(health.quarantined());
    }

    #[test]
    fn without_a_number_only_threads_count() {
        let (health, now) = (Health::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(run(&health, Conduct::Bad, now), Some(None));
        }
        health.got_stuck(false);
        assert!(!health.quarantined());
        health.got_stuck(false);
        assert!(health.quarantined() && health.admit(now).is_err());
        health.came_back();
        assert!(health.admit(now).is_ok());
    }
}
