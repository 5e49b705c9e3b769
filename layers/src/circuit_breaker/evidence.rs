//! What a send without an outcome says about Kafka's health. Pure function of its arguments.

use std::time::Duration;

use super::Outcome;

/// A client had enough time to deliver a record if it had the record for this long, or for half of its budget if that
/// is shorter.
const ENOUGH: Duration = Duration::from_secs(1);

/// Facts about a send that timed out, or whose future was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) record: Record,
    /// Another record was delivered through the breaker while this one waited.
    pub(super) delivered_meanwhile: bool,
}

/// Where the record was when the send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The record never reached Kafka's client.
    NotHandedOver,
    HandedOver {
        waited: Duration,
        /// Time from the call to the deadline; `None` without a deadline.
        budget: Option<Duration>,
        /// A broker delayed the record because of a quota.
        throttled: bool,
    },
    /// The transport reported only a time-out.
    Unknown,
}

pub(super) fn judge(evidence: &Evidence) -> Outcome {
    if evidence.delivered_meanwhile {
        return Outcome::Neutral;
    }
    match evidence.record {
        Record::NotHandedOver | Record::HandedOver { throttled: true, .. } => Outcome::Neutral,
        Record::HandedOver { waited, budget, throttled: false } => {
            let enough = budget.map_or(ENOUGH, |budget| ENOUGH.min(budget / 2));
            if waited >= enough { Outcome::Failure } else { Outcome::Neutral }
        }
        Record::Unknown => Outcome::Failure,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn handed_over(waited: u64, budget: Option<u64>) -> Record {
        let millis = Duration::from_millis;
        Record::HandedOver { waited: millis(waited), budget: budget.map(millis), throttled: false }
    }

    fn of(record: Record) -> Outcome {
        judge(&Evidence { record, delivered_meanwhile: false })
    }

    #[test]
    fn a_second_or_half_of_the_budget_is_enough() {
        for (waited, budget, expected) in [
            (999, Some(30_000), Outcome::Neutral),
            (1_000, Some(30_000), Outcome::Failure),
            (1_000, None, Outcome::Failure),
            (999, None, Outcome::Neutral),
            (249, Some(500), Outcome::Neutral),
            (250, Some(500), Outcome::Failure),
            (1_000, Some(2_001), Outcome::Failure),
        ] {
            assert_eq!(of(handed_over(waited, budget)), expected, "{waited} ms of {budget:?} ms");
        }
    }

    #[test]
    fn records_not_handed_over_or_throttled_are_neutral() {
        assert_eq!(of(Record::NotHandedOver), Outcome::Neutral);
        let throttled = Record::HandedOver { waited: Duration::from_secs(60), budget: None, throttled: true };
        assert_eq!(of(throttled), Outcome::Neutral);
        assert_eq!(of(Record::Unknown), Outcome::Failure);
    }

    /// One send on a random timeline, in milliseconds after its call.
    #[derive(Clone, Debug)]
    struct Timeline {
        budget: Option<u64>,
        /// `None` if the record was never handed to the client.
        handed_over: Option<u64>,
        given_up: u64,
        throttled: bool,
        /// When other records were delivered.
        deliveries: Vec<u64>,
    }

    fn timeline() -> impl Strategy<Value = Timeline> {
        let handed_over = prop::option::weighted(0.8, 0..3_000_u64);
        let deliveries = prop::collection::vec(0..6_000_u64, 0..3);
        let budget = prop::option::of(1..6_000_u64);
        (budget, handed_over, 0..6_000_u64, prop::bool::weighted(0.1), deliveries).prop_map(
            |(budget, handed_over, given_up, throttled, deliveries)| {
                let given_up = budget.map_or(given_up, |budget| given_up.min(budget));
                Timeline { budget, handed_over, given_up, throttled, deliveries }
            },
        )
    }

    /// The rule, computed millisecond by millisecond: how long the client had the record while nothing else was
    /// delivered.
    fn naive(line: &Timeline) -> Outcome {
        let (mut had, mut delivered) = (0, false);
        for now in 0..=line.given_up {
            delivered |= line.deliveries.contains(&now);
            had += u64::from(line.handed_over.is_some_and(|at| at < now));
        }
        let has_enough = had >= 1_000 || line.budget.is_some_and(|budget| 2 * had >= budget);
        let was_handed_over = line.handed_over.is_some_and(|at| at <= line.given_up);
        if was_handed_over && has_enough && !delivered && !line.throttled { Outcome::Failure } else { Outcome::Neutral }
    }

    proptest! {
        #[test]
        fn agrees_with_the_rule_on_random_timelines(line in timeline()) {
            let record = match line.handed_over.and_then(|at| line.given_up.checked_sub(at)) {
                Some(waited) => Record::HandedOver {
                    waited: Duration::from_millis(waited),
                    budget: line.budget.map(Duration::from_millis),
                    throttled: line.throttled,
                },
                None => Record::NotHandedOver,
            };
            let delivered_meanwhile = line.deliveries.iter().any(|at| *at <= line.given_up);
            prop_assert_eq!(judge(&Evidence { record, delivered_meanwhile }), naive(&line));
        }

        /// A longer wait never turns a failure into a neutral outcome.
        #[test]
        fn is_monotonic(waited in 0..5_000_u64, more in 0..5_000_u64, budget in prop::option::of(1..10_000_u64)) {
            if of(handed_over(waited, budget)) == Outcome::Failure {
                prop_assert_eq!(of(handed_over(waited + more, budget)), Outcome::Failure);
            }
        }
    }
}
