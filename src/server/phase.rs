//! The life of the server: it serves, drains, closes. One sender, many who look.

use tokio::sync::watch;

/// Where the server is in its life. Only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Requests are taken.
    Serve,
    /// Requests are still taken, but callers are told to go elsewhere.
    Drain,
    /// Nothing new is taken; what is under way is finished.
    Close,
}

/// A view of the phase.
#[derive(Debug, Clone)]
pub struct Phases(watch::Receiver<Phase>);

impl Phases {
    /// The view, and the sender that moves it.
    #[must_use]
    pub fn begin() -> (watch::Sender<Phase>, Self) {
        let (sender, receiver) = watch::channel(Phase::Serve);
        (sender, Self(receiver))
    }

    /// The phase now.
    #[must_use]
    pub fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until `phase` or a later one. A lost sender counts as the last phase.
    pub async fn reached(&mut self, phase: Phase) {
        // The error says that the sender is gone, which ends every phase.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}
