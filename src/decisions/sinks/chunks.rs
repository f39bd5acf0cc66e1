//! A batch in pieces that the other side takes. Knows sizes that follow what was taken; must not know how anything is sent.

use super::{Event, Failure, Reason, Sent};

/// How many events go into the next piece.
#[derive(Debug)]
pub(super) struct Chunks {
    fits: usize,
}

impl Chunks {
    /// So many at first.
    pub(super) fn of(fits: usize) -> Self {
        Self { fits }
    }

    /// Sends events from the first on; what was taken counts even if what follows fails. `send` says how many of its
    /// events the other side would not have. A piece that is too large, or in which something must never be sent again,
    /// is halved, until the one that it is about is alone: that one is left out, and holds up nobody else.
    pub(super) async fn send(
        &mut self,
        events: &[Event],
        mut send: impl AsyncFnMut(&[Event]) -> Result<u64, Failure>,
    ) -> Sent {
        let (mut done, mut refused) = (0, 0);
        while done < events.len() {
            let left = events.get(done..).unwrap_or_default();
            let count = self.fits.clamp(1, left.len());
            match send(left.get(..count).unwrap_or_default()).await {
                Ok(some) => refused += some,
                Err(f) if matches!(f.reason, Reason::TooLarge | Reason::Unfit) => {
                    if count == 1 {
                        refused += 1;
                    } else {
                        self.fits = count.div_ceil(2);
                        continue;
                    }
                }
                Err(failure) => return Sent { delivered: done, refused, failure: Some(failure) },
            }
            done += count;
            if count < left.len() {
                // Somewhat more next time, so that the size follows the events.
                self.fits = count + count / 4 + 1;
            }
        }
        Sent { delivered: done, refused, failure: None }
    }
}
