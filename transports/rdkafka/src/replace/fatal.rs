//! Decides what follows a fatal error of a producer without transactions. Pure: the time is an argument.
//!
//! librdkafka ends a producer when it can no longer prevent duplicates or gaps: the broker has forgotten the producer, or
//! has lost the end of its log. A new instance has a new producer id, and goes on with the records that were certainly
//! not written.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery};

use crate::{classify, codes};

/// Error by which a client ended.
#[derive(Clone, Debug)]
pub(crate) struct FatalCause {
    pub(crate) code: i32,
    pub(crate) text: String,
}

/// What follows a fatal error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cure {
    /// A new instance takes over; records wait for it.
    Replace,
    /// A new instance would fail too, until a right is granted: records are refused at once, and each refusal lets a new
    /// instance try in the background.
    Ask,
    /// No new instance can help.
    Stay,
}

/// `gapless`: the user wants the producer to stop at a gap (`enable.gapless.guarantee`).
pub(crate) fn cure(code: i32, gapless: bool) -> Cure {
    match code {
        codes::LOCAL_UNSUPPORTED_FEATURE | codes::UNSUPPORTED_VERSION => Cure::Stay,
        // Records that follow the one that is in doubt would be written behind a gap.
        _ if gapless => Cure::Stay,
        _ => match codes::find(code).map(|facts| facts.kind) {
            Some(ErrorKind::Authorization) => Cure::Ask,
            Some(ErrorKind::Config) => Cure::Stay,
            _ => Cure::Replace,
        },
    }
}

/// Maximum number of replacements within the period. Each one may leave a batch in doubt.
pub(crate) const MAX: usize = 5;
/// The period.
pub(crate) const PERIOD: Duration = Duration::from_secs(300);
/// Time before the second replacement; each further one waits twice as long.
const FIRST: Duration = Duration::from_secs(1);

/// Limits the replacements after fatal errors.
#[derive(Debug, Default)]
pub(crate) struct FatalBudget {
    spent: VecDeque<Instant>,
}

impl FatalBudget {
    /// Takes a replacement. Returns when it may start, or `None` if there were too many within the period.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        while self.spent.front().is_some_and(|at| now.saturating_duration_since(*at) >= PERIOD) {
            self.spent.pop_front();
        }
        let wait = match u32::try_from(self.spent.len()).ok()? {
            0 => Duration::ZERO,
            _ if self.spent.len() >= MAX => return None,
            n => FIRST * 2_u32.pow(n - 1),
        };
        self.spent.push_back(now + wait);
        Some(now + wait)
    }
}

/// Why records are refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) cause: FatalCause,
    pub(crate) cure: Cure,
}

impl Refusal {
    /// After too many replacements, or while none can help.
    pub(crate) fn new(cause: FatalCause) -> Self {
        Self { cure: cure(cause.code, false), cause }
    }

    /// Error of a record.
    pub(crate) fn error(&self, topic: &str, persistence: Persistence) -> Error {
        let FatalCause { code, text } = &self.cause;
        let what = classify::outcome(topic, persistence);
        let error = match self.cure {
            Cure::Ask => {
                let error = classify::client_error(*code, &what, Some(text));
                let help = format!("{}; the sink then goes on by itself", error.help());
                error.with_recovery(Recovery::Reject).with_help(help)
            }
            Cure::Replace => {
                let minutes = PERIOD.as_secs() / 60;
                let text =
                    format!("{what}: the producer has ended, and so did {MAX} others within {minutes} minutes: {text}");
                Error::new(ErrorKind::Fatal, text).with_help(
                    "find out why brokers lose what they have acknowledged (an unclean leader election, a disk that lost the end \
                     of a log); then create a new sink",
                )
            }
            Cure::Stay => classify::client_error(*code, &what, Some(text)).with_recovery(Recovery::Fatal),
        };
        error.with_persistence(persistence)
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::codes as kafka;

    use super::*;

    #[test]
    fn a_new_producer_id_cures_a_broker_that_has_lost_the_old_one() {
        for code in [
            kafka::OUT_OF_ORDER_SEQUENCE_NUMBER,
            kafka::UNKNOWN_PRODUCER_ID,
            codes::LOCAL_INCONSISTENT,
            // Without a transactional id there is no other owner.
            kafka::INVALID_PRODUCER_EPOCH,
            codes::LOCAL_FENCED,
            // Of a broker or librdkafka that is newer than this code.
            32_000,
            -1_000,
        ] {
            assert_eq!(cure(code, false), Cure::Replace, "{code}");
            assert_eq!(cure(code, true), Cure::Stay, "{code}: the user wants no gap");
        }
    }

    #[test]
    fn a_right_may_be_granted_later() {
        for code in [29, 31, 53] {
            assert_eq!(cure(code, false), Cure::Ask, "{code}");
        }
    }

    #[test]
    fn errors_that_a_new_instance_has_too_are_final() {
        for code in [codes::LOCAL_UNSUPPORTED_FEATURE, kafka::UNSUPPORTED_VERSION, kafka::INVALID_TRANSACTION_TIMEOUT] {
            assert_eq!(cure(code, false), Cure::Stay, "{code}");
        }
    }

    #[test]
    fn replacements_back_off_and_end() {
        let (mut budget, start) = (FatalBudget::default(), Instant::now());
        let mut now = start;
        let mut waits = Vec::new();
        while let Some(at) = budget.take(now) {
            waits.push((at - now).as_secs());
            now = at;
        }
        assert_eq!(waits, [0, 1, 2, 4, 8]);
        // The first one is forgotten after the period.
        assert_eq!(budget.take(start + PERIOD - Duration::from_nanos(1)), None);
        assert!(budget.take(start + PERIOD).is_some());
        assert!(budget.take(start + PERIOD).is_none());
    }

    #[test]
    fn rare_fatal_errors_are_replaced_at_once_for_ever() {
        let (mut budget, mut now) = (FatalBudget::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(budget.take(now), Some(now));
            now += PERIOD;
        }
    }
}
