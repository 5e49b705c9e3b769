//! Where records go that have neither a partition nor a key, with several lanes. No clock, no lock, no async.
//!
//! All records of a batch go to one partition, because a transaction costs two requests more for each partition, and to a
//! lane that can send them soon.

/// What a lane is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// It has no transaction: the next batch is cut by its limits.
    Idle,
    /// It has a transaction, and no record waits behind it.
    Busy,
    /// It has a transaction, and records wait behind it.
    Filling,
    /// So many batches that have reached their limits wait, at least 1. The maximum: the lane takes no more records.
    Full(usize),
}

/// Returns the partition of the next record, among `count`, at least 1. `last` is the one of the record before. Each
/// partition has the lane of its own `load`; `lanes` partitions one after another have different lanes.
pub(super) fn partition(last: u32, count: u32, lanes: usize, load: impl Fn(u32) -> Load) -> u32 {
    let last = last % count;
    let present = load(last);
    if present == Load::Idle {
        return last;
    }
    let others = (1..count).take(lanes - 1).map(|step| ((u64::from(last) + u64::from(step)) % u64::from(count)) as u32);
    let (mut first_with_room, mut least_full) = (None, None);
    for other in others {
        match load(other) {
            Load::Idle => return other,
            Load::Busy | Load::Filling => first_with_room = first_with_room.or(Some(other)),
            Load::Full(batches) if least_full.is_none_or(|(least, _)| batches < least) => {
                least_full = Some((batches, other));
            }
            Load::Full(_) => {}
        }
    }
    match (present, least_full) {
        // Otherwise the batch that waits would get another partition with each record.
        (Load::Filling, _) => last,
        // One lane would send everything that waits, and the others nothing.
        (Load::Full(batches), Some((fewer, other))) if first_with_room.is_none() && fewer < batches => other,
        // It was cut last, so that the next one is ready before it.
        _ => first_with_room.unwrap_or(last),
    }
}

#[cfg(test)]
mod tests {
    use super::Load::{self, Busy, Filling, Full, Idle};
    use super::partition;

    /// Eight partitions over the lanes, as they are shared out.
    fn next(last: u32, lanes: &[Load]) -> u32 {
        partition(last, 8, lanes.len(), |partition| lanes[partition as usize % lanes.len()])
    }

    #[test]
    fn a_batch_gathers_in_one_partition() {
        assert_eq!(next(5, &[Idle, Idle]), 5);
        assert_eq!(next(5, &[Busy, Filling]), 5);
        assert_eq!(next(8, &[Idle, Idle]), 0, "the topic may have fewer partitions");
    }

    #[test]
    fn a_lane_without_a_transaction_is_taken_first() {
        assert_eq!(next(0, &[Filling, Busy, Idle, Filling]), 2);
        assert_eq!(next(7, &[Busy, Idle, Idle, Full(1)]), 1);
    }

    #[test]
    fn after_a_cut_the_next_lane_in_turn_is_taken() {
        assert_eq!(next(1, &[Busy, Busy, Full(1), Filling]), 3);
        assert_eq!(next(3, &[Filling, Full(1), Full(1), Full(1)]), 4);
    }

    /// If they all went to one lane, the others would have nothing to send.
    #[test]
    fn batches_that_wait_are_shared_out() {
        assert_eq!(next(6, &[Full(1), Full(1), Full(1), Full(1)]), 6);
        assert_eq!(next(6, &[Full(1), Full(1), Full(2), Full(1)]), 7);
        assert_eq!(next(6, &[Full(2), Full(1), Full(3), Full(2)]), 1, "the one with the fewest");
        assert_eq!(next(6, &[Full(usize::MAX), Full(2), Full(1), Full(1)]), 6);
        assert_eq!(next(0, &[Full(usize::MAX), Full(9), Full(9), Full(9)]), 1, "it takes no more");
        let mut waiting = [0; 4];
        let mut last = 0;
        for _ in 0..1_000 {
            // Batches of 10 records, and each lane has a transaction.
            last = partition(last, 8, 4, |partition| match waiting[partition as usize % 4] {
                0 => Busy,
                1..10 => Filling,
                records => Full(records / 10),
            });
            waiting[last as usize % 4] += 1;
        }
        assert!(waiting.iter().all(|records| (240..=260).contains(records)), "{waiting:?}");
    }

    #[test]
    fn a_topic_may_have_fewer_partitions_than_there_are_lanes() {
        assert_eq!(partition(9, 1, 4, |_| Full(1)), 0);
        assert_eq!(partition(0, 2, 4, |partition| [Busy, Idle][partition as usize]), 1);
    }
}
