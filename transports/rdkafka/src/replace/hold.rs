//! Decides whether new calls are held for records in flight to partitions that are not in trouble. Pure: ages are arguments.

use std::collections::HashSet;
use std::time::Duration;

/// A record in flight to a partition that is not the reason for the replacement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Other<'a> {
    pub(super) topic: &'a str,
    /// None: the client picks it.
    pub(super) partition: Option<i32>,
    /// Since its call.
    pub(super) age: Duration,
    /// Its caller waits.
    pub(super) is_awaited: bool,
}

/// Returns whether a caller waits for a record that can be expected to be delivered within `longest`, the longest hold.
///
/// A partition with a record of that age does not deliver, because it has no leader for example. To hold all new calls for its
/// records would only delay the other partitions.
pub(super) fn waits_for<'a>(others: impl Iterator<Item = Other<'a>>, longest: Duration) -> bool {
    let (mut awaited, mut silent) = (HashSet::new(), HashSet::new());
    for other in others {
        let place = (other.topic, other.partition);
        if other.age >= longest {
            silent.insert(place);
        } else if other.is_awaited {
            awaited.insert(place);
        }
    }
    awaited.iter().any(|place| !silent.contains(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(2);

    fn other(topic: &str, partition: Option<i32>, millis: u64) -> Other<'_> {
        Other { topic, partition, age: Duration::from_millis(millis), is_awaited: true }
    }

    #[test]
    fn new_calls_are_held_only_for_partitions_that_deliver() {
        let silent = [
            other("gone", None, 10),
            Other { is_awaited: false, ..other("gone", None, 2_000) },
            other("half", Some(0), 10),
            other("half", Some(0), 3_000),
        ];
        let waits = |more: &[Other<'_>]| waits_for(silent.iter().chain(more).copied(), LONGEST);
        assert!(!waits(&[]));
        assert!(waits(&[other("half", Some(1), 10)]));
        assert!(waits(&[other("there", None, 1_999)]));
        assert!(!waits(&[Other { is_awaited: false, ..other("there", None, 10) }]), "no caller waits");
    }
}
