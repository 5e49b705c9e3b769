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
    /// The next batch has reached its limits, or the lane takes no more records.
    Full,
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
    let mut first_with_room = None;
    for other in others {
        match load(other) {
            Load::Idle => return other,
            Load::Busy | Load::Filling => first_with_room = first_with_room.or(Some(other)),
            Load::Full => {}
        }
    }
    match present {
        // Otherwise the batch that waits would get another partition with each record.
        Load::Filling => last,
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
        assert_eq!(next(7, &[Busy, Idle, Idle, Full]), 1);
    }

    #[test]
    fn after_a_cut_the_next_lane_in_turn_is_taken() {
        assert_eq!(next(1, &[Busy, Busy, Full, Filling]), 3);
        assert_eq!(next(6, &[Full, Full, Full, Full]), 6);
        assert_eq!(next(3, &[Filling, Full, Full, Full]), 4);
    }

    #[test]
    fn a_topic_may_have_fewer_partitions_than_there_are_lanes() {
        assert_eq!(partition(9, 1, 4, |_| Full), 0);
        assert_eq!(partition(0, 2, 4, |partition| [Busy, Idle][partition as usize]), 1);
    }
}
