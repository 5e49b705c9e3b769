//! Sends that no transport knows of for the moment: one that backs off, one whose serializer waits.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// Counts the sends that are between two places, so that a flush or a close can wait for them. A transport does not
/// know them: what it had of them is settled, or not there yet.
///
/// Layers that were given the same one count together: [`RetryLayer::unfinished`](crate::retry::RetryLayer::unfinished) and
/// [`SerializeLayer::unfinished`](crate::serialize::SerializeLayer::unfinished) with all features.
#[derive(Clone)]
pub struct Unfinished(Arc<watch::Sender<usize>>);

impl Unfinished {
    /// Nothing is unfinished.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// How many sends are between two places.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Resolves when none is. One whose future nobody polls stays where it is.
    pub async fn none(&self) {
        // An error would mean that the sender is gone, and it is here.
        drop(self.0.subscribe().wait_for(|count| *count == 0).await);
    }

    /// One more, until the guard is dropped.
    pub(crate) fn begin(&self) -> Guard {
        self.0.send_modify(|count| *count += 1);
        Guard(self.clone())
    }
}

impl Default for Unfinished {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unfinished").field(&self.count()).finish()
    }
}

pub(crate) struct Guard(Unfinished);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
