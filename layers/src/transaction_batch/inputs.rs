//! Which input partitions may go on. After a unit that was not committed for certain, the later units of its input
//! partitions must fail: their offsets would commit its input as consumed. No clock, no lock, no async.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_tower_core::{ConsumerGroup, TopicOffset};

/// Input partition of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Input {
    pub(super) group: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
}

/// Input partitions of a unit, and its place in the order of joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inputs {
    pub(super) partitions: Vec<Input>,
    place: u64,
}

/// The input partitions that were seen.
#[derive(Debug, Default)]
pub(super) struct InputStates {
    states: HashMap<Input, State>,
    next_place: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Units that were joined and are not settled.
    open: usize,
    /// Place of the first unit that failed, until the partition is resumed.
    failed: Option<u64>,
}

impl InputStates {
    /// Returns the input partitions of a unit that is joined now.
    pub(super) fn of(&mut self, offsets: &[TopicOffset], group: Option<&ConsumerGroup>) -> Inputs {
        let (place, mut partitions) = (self.next_place, Vec::with_capacity(offsets.len()));
        self.next_place += 1;
        let group: Option<Arc<str>> = group.map(|group| group.group_id.as_str().into());
        for (TopicOffset { topic, partition, .. }, group) in offsets.iter().zip(group.iter().cycle()) {
            let input = Input { group: Arc::clone(group), topic: Arc::clone(topic), partition: *partition };
            if !partitions.contains(&input) {
                partitions.push(input);
            }
        }
        Inputs { partitions, place }
    }

    /// Returns an input partition of which an earlier unit has failed.
    pub(super) fn failed_before<'a>(&self, unit: &'a Inputs) -> Option<&'a Input> {
        let has_failed = |input: &&Input| {
            let failed = self.states.get(*input).and_then(|state| state.failed);
            failed.is_some_and(|place| place < unit.place)
        };
        unit.partitions.iter().find(has_failed)
    }

    /// Records that a unit was accepted. It must be [settled](Self::settle).
    pub(super) fn open(&mut self, unit: &Inputs) {
        for input in &unit.partitions {
            self.states.entry(input.clone()).or_default().open += 1;
        }
    }

    /// Records that a unit was not committed for certain.
    pub(super) fn fail(&mut self, unit: &Inputs) {
        for input in &unit.partitions {
            let failed = &mut self.states.entry(input.clone()).or_default().failed;
            *failed = Some(failed.map_or(unit.place, |first| first.min(unit.place)));
        }
    }

    /// Records that a unit has its outcome.
    pub(super) fn settle(&mut self, unit: &Inputs, failed: bool) {
        if failed {
            self.fail(unit);
        }
        for input in &unit.partitions {
            if let Some(state) = self.states.get_mut(input) {
                state.open = state.open.saturating_sub(1);
            }
        }
    }

    /// Allows new units of an input partition.
    ///
    /// # Errors
    ///
    /// The number of its units that are not settled. They may still be committed, so that the committed offset is not
    /// final.
    pub(super) fn resume(&mut self, input: &Input) -> Result<(), usize> {
        match self.states.get_mut(input) {
            Some(State { open: open @ 1.., .. }) => Err(*open),
            Some(_) => {
                self.states.remove(input);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(partition: i32) -> Input {
        Input { group: "g".into(), topic: "in".into(), partition }
    }

    /// The partition for which a unit that is joined now would be refused.
    fn refused(states: &mut InputStates, partitions: &[i32]) -> Option<i32> {
        let unit = unit(states, partitions);
        states.failed_before(&unit).map(|input| input.partition)
    }

    fn unit(states: &mut InputStates, partitions: &[i32]) -> Inputs {
        let offset = |partition: &i32| TopicOffset { topic: "in".into(), partition: *partition, offset: 1 };
        let offsets: Vec<_> = partitions.iter().map(offset).collect();
        let member = String::new();
        let group = ConsumerGroup { group_id: "g".into(), generation: -1, member_id: member, group_instance_id: None };
        states.of(&offsets, Some(&group))
    }

    #[test]
    fn a_failure_concerns_later_units_of_its_partitions_until_they_are_resumed() {
        let mut states = InputStates::default();
        let [before, failed, after] = [&[0][..], &[0, 1], &[1]].map(|partitions| unit(&mut states, partitions));
        states.fail(&failed);
        assert_eq!(states.failed_before(&before), None);
        assert_eq!(states.failed_before(&after), Some(&input(1)));
        assert_eq!(refused(&mut states, &[2]), None);
        states.resume(&input(1)).unwrap();
        assert_eq!(refused(&mut states, &[1]), None);
        assert_eq!(refused(&mut states, &[1, 0]), Some(0));
    }

    #[test]
    fn a_partition_is_resumed_only_when_all_its_units_are_settled() {
        let mut states = InputStates::default();
        let (first, second) = (unit(&mut states, &[0]), unit(&mut states, &[0, 0]));
        states.open(&first);
        states.open(&second);
        states.settle(&second, true);
        assert_eq!(states.resume(&input(0)), Err(1), "the first may be committed yet");
        states.settle(&first, false);
        assert_eq!(states.resume(&input(0)), Ok(()));
        assert_eq!(refused(&mut states, &[0]), None);
    }

    #[test]
    fn the_first_failure_counts() {
        let mut states = InputStates::default();
        let [first, second, third] = [(); 3].map(|()| unit(&mut states, &[0]));
        states.fail(&third);
        assert_eq!(states.failed_before(&second), None);
        states.fail(&first);
        states.fail(&third);
        assert_eq!(states.failed_before(&second), Some(&input(0)));
    }
}
