//! When a source commits. No clock, no lock, no async.
//!
//! One [`Committer`] serves all strategies. At most one commit is under way; offsets whose commit failed stay due and are
//! sent again. A commit without an answer is given up after a time-out, and its late answer still counts.

use std::time::{Duration, Instant};

use crate::CommitTicket;
use crate::clock::later;

/// First delay before a failed commit is repeated; it doubles with each failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// Longest delay before a failed commit is repeated.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// When a source commits the offsets of settled records. No strategy but [`AtMostOnce`](Self::AtMostOnce) commits a record that
/// is not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitStrategy {
    /// At an interval, when partitions are given back, and at the close.
    #[default]
    Automatic,
    /// After a number of settled records or at an interval, whichever is first; also when partitions are given back, and
    /// at the close.
    Periodic,
    /// After each settled record. Records that are settled while a commit is under way share the next one.
    Each,
    /// Only when the application asks for it, and, unless that is switched off, when partitions are given back and at the
    /// close.
    Manual,
    /// In the transactions of a sink, together with what was made of the messages, and never by the source itself. For
    /// `KafkaSource::transactional`.
    Transaction,
    /// Never by itself: the application keeps the offsets with its results, and says where a partition begins.
    Checkpoint,
    /// Before a record is handed out. A record is not delivered again, whatever happens to it: **it may be lost**.
    AtMostOnce,
}

/// When a source commits, and how long a commit waits.
#[derive(Clone, Copy, Debug)]
pub struct CommitSettings {
    /// The strategy.
    pub strategy: CommitStrategy,
    /// The interval of `Automatic` and `Periodic`.
    pub interval: Duration,
    /// Number of settled records of `Periodic`.
    pub every: u64,
    /// How long a commit waits for its answer.
    pub timeout: Duration,
}

/// Decides when a commit is sent.
#[derive(Clone, Debug)]
pub(crate) struct Committer {
    settings: CommitSettings,
    next: u64,
    under_way: Option<(CommitTicket, Instant)>,
    /// When the first record was settled that was not part of a commit, and the end of the interval that began then.
    since: Option<(Instant, Instant)>,
    /// Number of these records.
    settled: u64,
    /// Since when a commit is wanted, whatever the strategy.
    requested: Option<Instant>,
    /// The last commit failed: when to repeat it, and the delay.
    retry: Option<(Instant, Duration)>,
}

impl Committer {
    /// Creates one that has committed nothing.
    #[must_use]
    pub(crate) fn new(settings: CommitSettings) -> Self {
        Self { settings, next: 0, under_way: None, since: None, settled: 0, requested: None, retry: None }
    }

    /// Records were settled, or a position has moved without records (0).
    pub(crate) fn moved(&mut self, now: Instant, records: u64) {
        self.passed(|| now, records);
    }

    /// The same. `now` is asked for the first one since the last commit. Whether this may have brought the next commit forward.
    #[inline]
    pub(crate) fn passed(&mut self, now: impl Fn() -> Instant, records: u64) -> bool {
        let is_first = self.since.is_none();
        if is_first {
            let now = now();
            self.since = Some((now, later(now, self.settings.interval)));
        }
        self.settled += records;
        is_first || self.settings.strategy == CommitStrategy::Periodic && self.settled >= self.settings.every
    }

    /// Asks for a commit whatever the strategy: the application wants it, or a partition is given back.
    pub(crate) fn request(&mut self, now: Instant) {
        self.requested.get_or_insert(now);
    }

    /// The next commit does not wait until the delay after a failed one has passed.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if let Some((at, _)) = &mut self.retry {
            *at = now.min(*at);
        }
    }

    /// Returns the ticket of the commit to send now, if one is to be sent. `due`: whether there is anything to commit.
    pub(crate) fn start(&mut self, now: Instant, due: bool) -> Option<CommitTicket> {
        if !due {
            (self.requested, self.since, self.settled) = (None, None, 0);
            return None;
        }
        if self.at()? > now {
            return None;
        }
        let ticket = CommitTicket(self.next);
        self.next += 1;
        self.under_way = Some((ticket, later(now, self.settings.timeout)));
        (self.requested, self.since, self.settled) = (None, None, 0);
        Some(ticket)
    }

    /// Takes an answer. `again`: whether a partition of it has to be committed again. A late answer of a commit that was
    /// given up changes nothing here.
    pub(crate) fn answered(&mut self, ticket: CommitTicket, now: Instant, again: bool) {
        if self.under_way.is_some_and(|(under_way, _)| under_way == ticket) {
            self.end(now, again);
        }
    }

    /// Gives up the commit that had no answer in time, and returns it.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<CommitTicket> {
        let (ticket, _) = self.under_way.filter(|(_, deadline)| *deadline <= now)?;
        self.end(now, true);
        Some(ticket)
    }

    fn end(&mut self, now: Instant, again: bool) {
        self.under_way = None;
        let delay = self.retry.map_or(FIRST_BACKOFF, |(_, delay)| (delay * 2).min(MAX_BACKOFF));
        self.retry = again.then(|| (later(now, delay), delay));
    }

    /// When to call [`start`](Self::start) or [`overdue`](Self::overdue) next, if something is due.
    #[must_use]
    pub(crate) fn wake_at(&self, due: bool) -> Option<Instant> {
        match self.under_way {
            Some((_, deadline)) => Some(deadline),
            None if due => self.at(),
            None => None,
        }
    }

    /// When the next commit is to be sent. `None`: not by itself, or another one is under way. A time that has passed:
    /// at once.
    fn at(&self) -> Option<Instant> {
        let CommitSettings { strategy, every, .. } = self.settings;
        if self.under_way.is_some() || strategy == CommitStrategy::Transaction {
            return None;
        }
        if let Some((at, _)) = self.retry {
            return Some(at);
        }
        if self.requested.is_some() {
            return self.requested;
        }
        let (since, end) = self.since?;
        match strategy {
            CommitStrategy::Periodic if self.settled >= every => Some(since),
            CommitStrategy::Automatic | CommitStrategy::Periodic => Some(end),
            CommitStrategy::Each | CommitStrategy::AtMostOnce => Some(since),
            CommitStrategy::Manual | CommitStrategy::Transaction | CommitStrategy::Checkpoint => None,
        }
    }
}

#[cfg(test)]
mod tests;
