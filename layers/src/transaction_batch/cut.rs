//! When a batch is cut, and how many records it takes. No clock, no lock, no async.

use std::time::{Duration, Instant};

use super::event::CutReason;

/// Limits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Maximum number of records, at least 1.
    pub(super) records: usize,
    /// Maximum number of bytes, unless a single record is larger.
    pub(super) bytes: usize,
    /// Maximum time between the call of the oldest record and the cut.
    pub(super) age: Duration,
}

/// The records that wait for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) records: usize,
    pub(super) bytes: usize,
    /// Call of the oldest one; `None` if none waits.
    pub(super) oldest: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// No record waits.
    Idle,
    /// Wait until then, or until more records wait.
    Until(Instant),
    /// Cut now, for this reason.
    Cut(CutReason),
}

/// Decides whether a batch is cut now. `urgent`: a flush, a close or a record without room waits for it.
pub(super) fn decide(limits: &Limits, waiting: &Waiting, urgent: Option<CutReason>, now: Instant) -> Decision {
    let Some(oldest) = waiting.oldest else { return Decision::Idle };
    let records = (waiting.records >= limits.records).then_some(CutReason::Records);
    let bytes = || (waiting.bytes >= limits.bytes).then_some(CutReason::Bytes);
    if let Some(reason) = records.or_else(bytes).or(urgent) {
        return Decision::Cut(reason);
    }
    match oldest.checked_add(limits.age) {
        Some(due) if due > now => Decision::Until(due),
        Some(_) => Decision::Cut(CutReason::Age),
        None => Decision::Until(now + FAR),
    }
}

/// Stands for an age that no clock can represent: the decision is made again then.
const FAR: Duration = Duration::from_secs(24 * 3_600);

/// Returns how many of the oldest records go into the batch, by their sizes in bytes: as many as both limits allow, and
/// at least one. Also returns their bytes.
pub(super) fn take(limits: &Limits, sizes: impl IntoIterator<Item = usize>) -> (usize, usize) {
    let (mut records, mut bytes) = (0, 0_usize);
    for size in sizes.into_iter().take(limits.records) {
        let with = bytes.saturating_add(size);
        if records > 0 && with > limits.bytes {
            break;
        }
        (records, bytes) = (records + 1, with);
    }
    (records, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { records: 10, bytes: 100, age: Duration::from_millis(50) };

    fn decided(records: usize, bytes: usize, urgent: Option<CutReason>, waited: u64) -> (Decision, Instant) {
        let oldest = Instant::now();
        let waiting = Waiting { records, bytes, oldest: (records > 0).then_some(oldest) };
        (decide(&LIMITS, &waiting, urgent, oldest + Duration::from_millis(waited)), oldest)
    }

    #[test]
    fn nothing_is_cut_while_no_record_waits() {
        assert_eq!(decided(0, 0, Some(CutReason::Flush), 1_000).0, Decision::Idle);
    }

    #[test]
    fn count_bytes_age_and_urgency_cut() {
        assert_eq!(decided(10, 1, None, 0).0, Decision::Cut(CutReason::Records));
        assert_eq!(decided(1, 100, None, 0).0, Decision::Cut(CutReason::Bytes));
        assert_eq!(decided(1, 1, None, 50).0, Decision::Cut(CutReason::Age));
        assert_eq!(decided(1, 1, Some(CutReason::Flush), 0).0, Decision::Cut(CutReason::Flush));
        let (decision, oldest) = decided(9, 99, None, 49);
        assert_eq!(decision, Decision::Until(oldest + LIMITS.age));
    }

    #[test]
    fn an_age_beyond_the_clock_never_cuts() {
        let (limits, now) = (Limits { age: Duration::MAX, ..LIMITS }, Instant::now());
        let waiting = Waiting { records: 1, bytes: 1, oldest: Some(now) };
        assert!(matches!(decide(&limits, &waiting, None, now), Decision::Until(_)));
    }

    #[test]
    fn a_record_larger_than_the_limit_is_a_batch() {
        assert_eq!(take(&LIMITS, [1_000, 1]), (1, 1_000));
        assert_eq!(take(&LIMITS, [1, 1_000]), (1, 1));
        assert_eq!(take(&LIMITS, [50, 50, 0, 1]), (3, 100));
    }

    proptest! {
        #[test]
        fn a_batch_is_the_longest_prefix_within_both_limits(
            records in 1_usize..20, bytes in 1_usize..500, sizes in prop::collection::vec(0_usize..300, 0..40),
        ) {
            let limits = Limits { records, bytes, age: Duration::ZERO };
            let (n, taken) = take(&limits, sizes.iter().copied());
            prop_assert!(n <= records && n <= sizes.len());
            prop_assert_eq!(n == 0, sizes.is_empty());
            let sum = |n: usize| sizes[..n].iter().sum::<usize>();
            prop_assert_eq!(taken, sum(n));
            prop_assert!(n <= 1 || taken <= bytes);
            prop_assert!(n == sizes.len() || n == records || sum(n + 1) > bytes);
        }

        #[test]
        fn whoever_waits_until_the_named_time_is_cut_then(
            records in 1_usize..10, bytes in 0_usize..100, waited in 0_u64..50,
        ) {
            let (decision, oldest) = decided(records, bytes, None, waited);
            let Decision::Until(due) = decision else { panic!("{decision:?}") };
            let waiting = Waiting { records, bytes, oldest: Some(oldest) };
            prop_assert_eq!(decide(&LIMITS, &waiting, None, due), Decision::Cut(CutReason::Age));
        }
    }
}
