//! Decides from the brokers' answers which record is too large, and when to ask again. Pure: the time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::codes;
use crate::connections::ConnectionState;

/// The broker's setting. Only a restart of the broker changes it, and a restart closes its connections.
pub(crate) const SETTING: &str = "socket.request.max.bytes";
/// Minimum time between two rounds of requests.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A broker's answer about its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitAnswer {
    Bytes(usize),
    /// No answer this time.
    Missing,
    /// The broker does not show its settings, or does not have this one.
    Refused,
}

impl LimitAnswer {
    /// Reads the answer from a broker's settings, or from librdkafka's code.
    pub(super) fn of(settings: &Result<BTreeMap<String, String>, i32>) -> Self {
        match settings {
            Ok(settings) => match settings.get(SETTING).and_then(|bytes| bytes.parse().ok()) {
                Some(bytes) => Self::Bytes(bytes),
                None => Self::Refused,
            },
            Err(codes::LOCAL_UNSUPPORTED_FEATURE) => Self::Refused,
            // librdkafka's own codes: the request failed before a broker answered it.
            Err(..=-1) => Self::Missing,
            Err(_) => Self::Refused,
        }
    }
}

/// The conclusion from all answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// No broker takes a larger request. Valid until a connection is opened or lost.
    Limit(usize, ConnectionState),
    /// At least one broker takes requests as large as the client's `message.max.bytes`: no record is certainly too
    /// large.
    AboveOurs,
    /// Not all brokers answered, or a connection was opened or lost meanwhile.
    Unclear(ConnectionState),
    /// The limit cannot be learned: a broker does not show it, or there are too many brokers.
    Never,
}

/// Combines the answers. Because leaders move, a record may go to any broker: only a record above the limit of every
/// broker is certainly too large. `all`: every broker was asked. `largest`: the client's own limit.
pub(super) fn combine(answers: &[LimitAnswer], all: bool, largest: usize, connections: ConnectionState) -> Knowledge {
    let limits =
        || answers.iter().filter_map(|answer| if let LimitAnswer::Bytes(bytes) = answer { Some(*bytes) } else { None });
    if limits().any(|bytes| bytes >= largest) {
        return Knowledge::AboveOurs;
    }
    if answers.contains(&LimitAnswer::Refused) {
        // Not asked again: brokers log each denied request.
        return Knowledge::Never;
    }
    match limits().max() {
        Some(most) if all && limits().count() == answers.len() => Knowledge::Limit(most, connections),
        _ => Knowledge::Unclear(connections),
    }
}

/// Decides when to ask.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    known: Option<Knowledge>,
    asked: Option<Instant>,
}

impl Schedule {
    pub(super) fn known(&self) -> Option<Knowledge> {
        self.known
    }

    pub(super) fn asking(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    pub(super) fn found(&mut self, known: Knowledge) {
        self.known = Some(known);
    }

    /// Returns whether to ask now. `every`: interval at which the limit is requested again; `None` for never.
    pub(super) fn is_due(&self, connections: ConnectionState, every: Option<Duration>, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        if !connections.any || self.asked.is_some_and(|at| since(at) < ASK_AGAIN) {
            return false;
        }
        let is_old = every.zip(self.asked).is_some_and(|(every, at)| since(at) >= every);
        match self.known {
            None => true,
            Some(Knowledge::Never) => false,
            Some(Knowledge::AboveOurs) => is_old,
            Some(Knowledge::Limit(_, then) | Knowledge::Unclear(then)) => is_old || then != connections,
        }
    }

    /// Returns the limit, if it is still certain.
    pub(super) fn limit(&self, connections: ConnectionState) -> Option<usize> {
        match self.known {
            Some(Knowledge::Limit(bytes, then)) if then == connections => Some(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::connections::Connections;

    const OURS: usize = 1_000_000;

    fn connections() -> ConnectionState {
        let connections = Connections::default();
        connections.made();
        connections.state()
    }

    #[test]
    fn answers_are_read() {
        let settings = |value: &str| Ok(BTreeMap::from([(SETTING.to_owned(), value.to_owned())]));
        for (settings, answer) in [
            (settings("102400"), LimitAnswer::Bytes(102_400)),
            (settings("many"), LimitAnswer::Refused),
            (Ok(BTreeMap::new()), LimitAnswer::Refused),
            (Err(31), LimitAnswer::Refused),
            (Err(codes::LOCAL_UNSUPPORTED_FEATURE), LimitAnswer::Refused),
            (Err(codes::LOCAL_TIMED_OUT), LimitAnswer::Missing),
            (Err(codes::LOCAL_TRANSPORT), LimitAnswer::Missing),
        ] {
            assert_eq!(LimitAnswer::of(&settings), answer, "{settings:?}");
        }
    }

    fn answer() -> impl Strategy<Value = LimitAnswer> {
        prop_oneof![
            (1..2 * OURS).prop_map(LimitAnswer::Bytes),
            (1..OURS).prop_map(LimitAnswer::Bytes),
            Just(LimitAnswer::Missing),
            Just(LimitAnswer::Refused),
        ]
    }

    proptest! {
        /// There is a limit only if every broker has answered with one. It is the largest of them, and below the
        /// client's own.
        #[test]
        fn the_limit_is_the_largest_of_all_brokers(answers in prop::collection::vec(answer(), 0..5), all: bool) {
            let limits: Option<Vec<_>> =
                answers.iter().map(|answer| if let LimitAnswer::Bytes(bytes) = answer { Some(*bytes) } else { None }).collect();
            let most = limits.and_then(|limits| limits.into_iter().max()).filter(|most| all && *most < OURS);
            let now = connections();
            let found = combine(&answers, all, OURS, now);
            prop_assert_eq!(most, if let Knowledge::Limit(limit, _) = found { Some(limit) } else { None });
        }
    }

    #[test]
    fn one_broker_with_a_larger_limit_than_the_client_is_enough() {
        let now = connections();
        assert_eq!(combine(&[LimitAnswer::Bytes(OURS)], false, OURS, now), Knowledge::AboveOurs);
        assert_eq!(combine(&[LimitAnswer::Refused, LimitAnswer::Bytes(OURS)], false, OURS, now), Knowledge::AboveOurs);
        assert_eq!(combine(&[LimitAnswer::Refused, LimitAnswer::Missing], true, OURS, now), Knowledge::Never);
        assert_eq!(combine(&[], true, OURS, now), Knowledge::Unclear(now));
    }

    #[test]
    fn a_limit_is_valid_only_for_the_connections_that_it_was_asked_over() {
        let mut schedule = Schedule::default();
        let (then, now) = (connections(), connections());
        assert_eq!(schedule.limit(then), None);
        schedule.found(Knowledge::Limit(100, then));
        assert_eq!((schedule.limit(then), schedule.limit(now)), (Some(100), None));
    }

    #[test]
    fn brokers_are_asked_again_when_the_answer_may_have_changed() {
        let every = Some(Duration::from_secs(300));
        let (start, then, other) = (Instant::now(), connections(), connections());
        let none = Connections::default().state();
        assert!(!Schedule::default().is_due(none, every, start), "no broker is connected");
        assert!(Schedule::default().is_due(then, every, start));
        // Whether it is due: with the same connections after ASK_AGAIN and after the interval; with other connections.
        for (known, moment, interval, others) in [
            (Knowledge::Limit(100, then), false, true, true),
            (Knowledge::Unclear(then), false, true, true),
            (Knowledge::AboveOurs, false, true, false),
            (Knowledge::Never, false, false, false),
        ] {
            let mut schedule = Schedule::default();
            schedule.asking(start);
            assert!(!schedule.is_due(other, every, start), "asked a moment ago");
            schedule.found(known);
            let (soon, late) = (start + ASK_AGAIN, start + Duration::from_secs(300));
            assert_eq!(schedule.is_due(then, every, soon), moment, "{known:?}");
            assert_eq!(schedule.is_due(then, every, late), interval, "{known:?}");
            assert_eq!(schedule.is_due(other, every, soon), others, "{known:?}");
            assert!(!schedule.is_due(then, None, late), "{known:?}");
        }
    }
}
