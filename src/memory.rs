//! The allocator of the binary: another's, with a count of what the evaluation on a thread holds.
//!
//! The last line behind the budgets of builtins: whatever takes memory without a bound of its own (an engine's error
//! message with a huge value in it, say) is stopped before the process is. An allocator must neither unwind nor fail
//! without the process being aborted, so the thread is stopped where it stands, for good; the watchdog of the pool
//! answers for it as for any thread that does not come back. What it holds stays held: at most the bound for each of
//! the few threads that may be given up. Knows nothing of policies.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::time::Duration;

/// An allocator that counts by thread.
#[derive(Debug, Default)]
pub struct Counting<A>(pub A);

#[derive(Clone, Copy)]
struct Account {
    /// What was allocated on this thread since the account was opened, less what was freed. What is freed elsewhere,
    /// or was there before, makes it wrong by so much.
    held: isize,
    most: isize,
}

const UNBOUNDED: Account = Account { held: 0, most: isize::MAX };

thread_local! {
    // Constant and without a destructor: it may be used at any time, also while a thread begins or ends.
    static ACCOUNT: Cell<Account> = const { Cell::new(UNBOUNDED) };
}

/// Puts the account back that was open before, also when what runs panics.
struct Before(Account);

impl Drop for Before {
    fn drop(&mut self) {
        ACCOUNT.set(self.0);
    }
}

/// Runs `work`, which may hold `most` bytes more than there were. If it wants more, and the binary's allocator counts,
/// it does not return.
pub fn bounded<T>(most: usize, work: impl FnOnce() -> T) -> T {
    let account = Account { held: 0, most: isize::try_from(most).unwrap_or(isize::MAX) };
    let _before = Before(ACCOUNT.replace(account));
    work()
}

/// Runs `work`, which holds a lock that others need: the thread is not stopped there.
pub fn unbounded<T>(work: impl FnOnce() -> T) -> T {
    let _before = Before(ACCOUNT.replace(UNBOUNDED));
    work()
}

fn take(bytes: usize) {
    let mut account = ACCOUNT.get();
    account.held = account.held.saturating_add_unsigned(bytes);
    ACCOUNT.set(account);
    if account.held > account.most {
        stop();
    }
}

fn give(bytes: usize) {
    let mut account = ACCOUNT.get();
    account.held = account.held.saturating_sub_unsigned(bytes);
    ACCOUNT.set(account);
}

#[cold]
fn stop() -> ! {
    ACCOUNT.set(UNBOUNDED);
    loop {
        // Allocates nothing.
        std::thread::sleep(Duration::from_secs(3600));
    }
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its contract; every call is handed on as it came")]
// SAFETY: the inner allocator keeps the contract, and counting neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        give(layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        give(layout.size());
        take(size);
        // SAFETY: the caller's promise, handed on.
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{RecvTimeoutError, channel};

    /// What an allocator would say.
    fn hold(bytes: usize) {
        take(bytes);
        give(bytes / 2);
    }

    #[test]
    fn a_thread_that_wants_too_much_is_stopped() {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            bounded(100, || hold(100));
            unbounded(|| hold(1_000));
            bounded(100, || bounded(1_000, || hold(900)));
            let _ = sender.send(());
            bounded(100, || (hold(80), hold(80)));
            let _ = sender.send(());
        });
        let patience = Duration::from_secs(10);
        assert_eq!(receiver.recv_timeout(patience), Ok(()), "within its bounds it goes on");
        assert_eq!(receiver.recv_timeout(Duration::from_millis(100)), Err(RecvTimeoutError::Timeout));
    }

    #[test]
    fn a_panic_closes_the_account() {
        let _ = std::panic::catch_unwind(|| bounded(10, || std::panic::resume_unwind(Box::new(()))));
        assert_eq!(ACCOUNT.get().most, isize::MAX);
    }
}
