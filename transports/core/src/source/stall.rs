//! Notices when a partition does not get on: a record was handed out and is not settled, so that nothing behind it can be
//! committed. No clock, no lock.

use std::time::{Duration, Instant};

/// One partition, as those who looked have seen it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stall {
    /// The offset of the first record that is not settled, and since when it has been that.
    seen: Option<(i64, Instant)>,
    /// Whether it was [told](Noticed::Stalled).
    told: bool,
}

/// What the user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noticed {
    /// The record at this offset has not been settled for that long. Once.
    Stalled(i64, Duration),
    /// It was settled, after that long.
    GoesOn(i64, Duration),
}

impl Stall {
    /// Looks at a partition: `next` may be committed, and `handed` says whether the record there was handed out. `after`: the time
    /// after which the user is told.
    pub(crate) fn look(
        &mut self,
        next: Option<i64>,
        handed: bool,
        after: Option<Duration>,
        now: Instant,
    ) -> Option<Noticed> {
        match self.seen {
            // It may be between two attempts.
            Some((offset, since)) if next == Some(offset) && (handed || self.told) => {
                let lasts = now.saturating_duration_since(since);
                let tells = !self.told && after.is_some_and(|after| lasts >= after);
                self.told |= tells;
                tells.then_some(Noticed::Stalled(offset, lasts))
            }
            seen => {
                self.seen = next.filter(|_| handed).map(|next| (next, now));
                let (offset, since) = seen.filter(|_| std::mem::take(&mut self.told))?;
                Some(Noticed::GoesOn(offset, now.saturating_duration_since(since)))
            }
        }
    }

    /// For how long the first record has not been settled.
    pub(crate) fn lasts(&self, now: Instant) -> Duration {
        self.seen.map(|(_, since)| now.saturating_duration_since(since)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Option<Duration> = Some(Duration::from_secs(60));

    #[test]
    fn a_stall_is_told_once_and_its_end_too() {
        let (mut stall, start) = (Stall::default(), Instant::now());
        let mut at =
            |seconds: u64, next, handed| stall.look(Some(next), handed, AFTER, start + Duration::from_secs(seconds));
        assert_eq!(at(0, 5, false), None);
        assert_eq!(at(100, 5, true), None, "it waited for the user until now");
        assert_eq!(at(159, 5, true), None);
        assert_eq!(at(160, 5, true), Some(Noticed::Stalled(5, Duration::from_secs(60))));
        assert_eq!(at(300, 5, true), None, "once");
        assert_eq!(at(310, 5, false), None, "between two attempts");
        assert_eq!(at(320, 5, true), None);
        assert_eq!(at(330, 9, true), Some(Noticed::GoesOn(5, Duration::from_secs(230))));
        assert_eq!(at(389, 9, true), None);
        assert_eq!(at(390, 9, true), Some(Noticed::Stalled(9, Duration::from_secs(60))), "each one");
    }

    #[test]
    fn what_moves_or_was_not_handed_out_does_not_stall() {
        let (mut stall, start) = (Stall::default(), Instant::now());
        for minute in 0..100_u32 {
            let now = start + minute * Duration::from_secs(60);
            assert_eq!(stall.look(Some(i64::from(minute)), true, AFTER, now), None);
        }
        let mut idle = Stall::default();
        for minute in 0..100_u32 {
            let now = start + minute * Duration::from_secs(60);
            assert_eq!(idle.look(Some(7), false, AFTER, now), None);
            assert_eq!(idle.look(Some(7), true, None, now), None);
            assert_eq!(idle.lasts(now), Duration::ZERO);
        }
    }
}
