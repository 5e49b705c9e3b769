//! Which part of a shutdown may take how long.

use std::time::Duration;

/// When each part has to end, counted from the beginning of the shutdown. What a part does not use, the next one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The whole deadline.
    pub(super) total: Duration,
    /// What is kept for closing sources and sinks.
    closing: Duration,
}

impl Plan {
    /// Keeps two fifths of the time for closing.
    pub(super) fn new(total: Duration) -> Self {
        Self { total, closing: total / 5 * 2 }
    }

    pub(super) fn with_closing(self, closing: Duration) -> Self {
        Self { closing: closing.min(self.total), ..self }
    }

    /// The end of the server's own time.
    pub(super) fn server_until(&self) -> Duration {
        self.total - self.closing
    }

    /// The end of the sources' time. What their handlers sent is left to the sinks.
    pub(super) fn sources_until(&self) -> Duration {
        self.total - self.closing / 2
    }

    /// The end of the sinks' time. The rest is for handlers that learn only now how their sends ended: they answer their
    /// callers.
    pub(super) fn sinks_until(&self) -> Duration {
        self.total - self.closing / 10
    }
}

/// How long a source may take that has to close at once: it commits what is settled, and leaves its group.
pub(super) const AT_ONCE: Duration = Duration::from_secs(1);

/// How long a source waits for its handlers, of the time for its close: the rest is for its last commit and for leaving its
/// group.
pub(super) fn drain_of(closing: Duration) -> Duration {
    closing / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(plan: Plan) -> [Duration; 4] {
        [plan.server_until(), plan.sources_until(), plan.sinks_until(), plan.total]
    }

    fn seconds(times: [u64; 4]) -> [Duration; 4] {
        times.map(Duration::from_secs)
    }

    #[test]
    fn each_part_ends_before_the_next_one() {
        let plan = Plan::new(Duration::from_secs(25));
        assert_eq!(ends(plan), seconds([15, 20, 24, 25]));
        assert_eq!(ends(plan.with_closing(Duration::from_secs(20))), seconds([5, 15, 23, 25]));
    }

    #[test]
    fn no_part_is_longer_than_the_whole() {
        let plan = Plan::new(Duration::from_secs(10)).with_closing(Duration::from_secs(60));
        assert_eq!(ends(plan), seconds([0, 5, 9, 10]));
        assert_eq!(ends(Plan::new(Duration::ZERO)), [Duration::ZERO; 4]);
        let endless = ends(Plan::new(Duration::MAX));
        assert!(endless.is_sorted() && endless[3] == Duration::MAX, "{endless:?}");
    }
}
