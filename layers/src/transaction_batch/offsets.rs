//! Which offsets a transaction sends, and what follows if they are not taken. No clock, no lock, no async.

use kafka_tower_core::{ConsumerGroup, Error, Recovery, TopicOffset};

use super::decide::is_refusal;

/// Offsets of a member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupOffsets {
    pub(super) group: ConsumerGroup,
    pub(super) offsets: Vec<TopicOffset>,
}

/// Merges the offsets of units, in their order: the highest one of each partition. Only units with the same group
/// **metadata** are merged: an old member's offsets must not be sent as a newer one's, whose generation is not fenced.
/// Units of a group with other metadata between them are sent between them, so that no lower offset follows a higher one.
pub(super) fn merge<'a>(units: impl Iterator<Item = (&'a ConsumerGroup, &'a [TopicOffset])>) -> Vec<GroupOffsets> {
    let mut merged: Vec<GroupOffsets> = Vec::new();
    for (group, offsets) in units {
        let last = merged.iter_mut().rev().find(|last| last.group.group_id == group.group_id);
        match last.filter(|last| last.group == *group) {
            Some(last) => offsets.iter().for_each(|offset| raise(&mut last.offsets, offset)),
            None => {
                let mut highest = Vec::with_capacity(offsets.len());
                offsets.iter().for_each(|offset| raise(&mut highest, offset));
                merged.push(GroupOffsets { group: group.clone(), offsets: highest });
            }
        }
    }
    merged
}

fn raise(highest: &mut Vec<TopicOffset>, offset: &TopicOffset) {
    let same = |known: &&mut TopicOffset| known.topic == offset.topic && known.partition == offset.partition;
    match highest.iter_mut().find(same) {
        Some(known) => known.offset = known.offset.max(offset.offset),
        None => highest.push(offset.clone()),
    }
}

/// Whether offsets are sent again, after an error.
pub(super) fn offsets_again(error: &Error, in_time: bool) -> bool {
    error.recovery() == Recovery::Retry && in_time
}

/// Whether a group will never take these offsets: the member has been replaced by a rebalance or another member, or may
/// not write them.
pub(super) fn refuses_group(error: &Error) -> bool {
    const GONE: [&str; 5] =
        ["ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "FENCED_INSTANCE_ID", "FENCED_MEMBER_EPOCH", "STALE_MEMBER_EPOCH"];
    let is_denied = error.error_type() == "GROUP_AUTHORIZATION_FAILED";
    is_denied || GONE.contains(&error.error_type()) || (error.recovery() == Recovery::Reject && is_refusal(error))
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{ErrorKind, Persistence};

    use super::*;

    fn group(group_id: &str, generation: i32) -> ConsumerGroup {
        ConsumerGroup { group_id: group_id.into(), generation, member_id: "m".into(), group_instance_id: None }
    }

    /// Group id, generation, and offsets by partition.
    type Merged = (String, i32, Vec<(i32, i64)>);

    fn merged(units: &[(&ConsumerGroup, i32, i64)]) -> Vec<Merged> {
        let offsets: Vec<_> = units
            .iter()
            .map(|(_, partition, offset)| [TopicOffset { topic: "in".into(), partition: *partition, offset: *offset }])
            .collect();
        let units = units.iter().zip(&offsets).map(|((group, ..), offsets)| (*group, &offsets[..]));
        let plain = |of: GroupOffsets| {
            let offsets = of.offsets.iter().map(|offset| (offset.partition, offset.offset)).collect();
            (of.group.group_id, of.group.generation, offsets)
        };
        merge(units).into_iter().map(plain).collect()
    }

    #[test]
    fn the_highest_offset_of_each_partition_is_sent_once() {
        let g = group("g", 1);
        assert_eq!(merged(&[(&g, 0, 5), (&g, 1, 2), (&g, 0, 7), (&g, 0, 6)]), [("g".into(), 1, vec![(0, 7), (1, 2)])]);
    }

    #[test]
    fn a_member_of_an_old_generation_does_not_pass_as_a_new_one() {
        let (old, new, other) = (group("g", 1), group("g", 2), group("h", 1));
        let units = [(&old, 0, 5), (&other, 0, 9), (&new, 0, 6), (&other, 0, 10), (&old, 0, 7)];
        let expected = [("g", 1, 5), ("h", 1, 10), ("g", 2, 6), ("g", 1, 7)];
        assert_eq!(merged(&units), expected.map(|(id, generation, at)| (id.into(), generation, vec![(0, at)])));
    }

    #[test]
    fn only_a_replaced_or_denied_member_is_refused_for_good() {
        let error = |recovery| Error::new(ErrorKind::Broker, "planted").with_recovery(recovery);
        let must_abort = || error(Recovery::AbortTransaction).with_persistence(Persistence::NotPersisted);
        let broken = || error(Recovery::Retry);
        let named = |name: &'static str| must_abort().with_error_type(name);
        assert!(refuses_group(&named("ILLEGAL_GENERATION")) && refuses_group(&named("STALE_MEMBER_EPOCH")));
        assert!(refuses_group(&named("GROUP_AUTHORIZATION_FAILED")));
        assert!(!refuses_group(&must_abort()) && !refuses_group(&broken()));
        assert!(!refuses_group(&Error::new(ErrorKind::Transaction, "out of order").with_recovery(Recovery::Reject)));
        assert!(offsets_again(&broken(), true) && !offsets_again(&broken(), false));
        assert!(!offsets_again(&must_abort(), true));
    }
}
