//! Decides what follows a seek that librdkafka refuses. No clock, no lock.

use std::time::Duration;

use crate::codes;

/// First delay before a seek is repeated; it doubles. One right after the assignment is refused until the group's offset is known.
const FIRST: Duration = Duration::from_millis(20);

/// Longest delay. The group's offset may come at any time.
const LONGEST: Duration = Duration::from_secs(1);

/// After that time the source is told.
const SILENT: Duration = Duration::from_secs(10);

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It is repeated after this time.
    Again(Duration),
    /// It is repeated after this time, and the source is told that it does not read.
    TellAndAgain(Duration),
    /// It cannot succeed: the partition is not read until it is assigned again, and the source is told.
    GiveUp,
}

/// `refused`: for how long it was refused. `times`: how often, this time included.
pub(super) fn then(code: i32, refused: Duration, times: u32) -> Then {
    if matches!(code, codes::LOCAL_UNKNOWN_PARTITION | codes::LOCAL_UNKNOWN_TOPIC | codes::LOCAL_INVALID_ARG) {
        return Then::GiveUp;
    }
    let delay = FIRST.saturating_mul(1 << times.saturating_sub(1).min(16)).min(LONGEST);
    if refused < SILENT { Then::Again(delay) } else { Then::TellAndAgain(delay) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seek_is_repeated_ever_more_seldom() {
        let (mut refused, mut delays) = (Duration::ZERO, Vec::new());
        for times in 1..9 {
            let Then::Again(delay) = then(codes::LOCAL_STATE, refused, times) else { panic!("{times}") };
            delays.push(delay.as_millis());
            refused += delay;
        }
        assert_eq!(delays, [20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        assert_eq!(then(codes::LOCAL_STATE, Duration::from_secs(10), u32::MAX), Then::TellAndAgain(LONGEST));
    }

    #[test]
    fn a_seek_that_cannot_succeed_ends() {
        assert_eq!(then(codes::LOCAL_UNKNOWN_PARTITION, Duration::ZERO, 1), Then::GiveUp);
    }
}
