//! What the answers of brokers say of the largest request, and when to ask again. Pure: the time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::codes;
use crate::peers::Connections;

/// The broker's setting. It can be changed only by restarting the broker, which ends its connections.
pub(crate) const SETTING: &str = "socket.request.max.bytes";
/// Between two questions.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a broker says of its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Bytes(usize),
    /// No answer this time.
    Missing,
    /// It does not show its settings, or does not have this one.
    Refused,
}

impl Answer {
    /// From a broker's settings, or librdkafka's code.
    pub(super) fn of(settings: &Result<BTreeMap<String, String>, i32>) -> Self {
        match settings {
            Ok(settings) => match settings.get(SETTING).and_then(|bytes| bytes.parse().ok()) {
                Some(bytes) => Self::Bytes(bytes),
                None => Self::Refused,
            },
            Err(codes::LOCAL_UNSUPPORTED_FEATURE) => Self::Refused,
            // librdkafka's own codes: the question did not get through.
            Err(..=-1) => Self::Missing,
            Err(_) => Self::Refused,
        }
    }
}

/// What is known of the largest request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// No broker takes a larger one. True as long as no connection is made or lost.
    Limit(usize, Connections),
    /// Some broker takes more than the client's `message.max.bytes`: no record is certainly too large.
    AboveOurs,
    /// Not all brokers answered, or connections were made or lost meanwhile.
    Unclear(Connections),
    /// The brokers do not say.
    Never,
}

/// What the answers say together. A record may go to any broker, because leaders move: only what is above the limit of each is
/// certainly too large. `all` says whether each broker is among those that were asked; `largest` is the client's own limit.
pub(super) fn together(answers: &[Answer], all: bool, largest: usize, connections: Connections) -> Known {
    let limits =
        || answers.iter().filter_map(|answer| if let Answer::Bytes(bytes) = answer { Some(*bytes) } else { None });
    if limits().any(|bytes| bytes >= largest) {
        return Known::AboveOurs;
    }
    if answers.contains(&Answer::Refused) {
        return Known::Never;
    }
    match limits().max() {
        Some(most) if all && limits().count() == answers.len() => Known::Limit(most, connections),
        _ => Known::Unclear(connections),
    }
}

/// When to ask.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    known: Option<Known>,
    asked: Option<Instant>,
}

impl Schedule {
    pub(super) fn known(&self) -> Option<Known> {
        self.known
    }

    pub(super) fn asking(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    pub(super) fn found(&mut self, known: Known) {
        self.known = Some(known);
    }

    /// `every`: how often what is known is renewed; none for never.
    pub(super) fn is_due(&self, connections: Connections, every: Option<Duration>, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        if !connections.any || self.asked.is_some_and(|at| since(at) < ASK_AGAIN) {
            return false;
        }
        let is_old = every.zip(self.asked).is_some_and(|(every, at)| since(at) >= every);
        match self.known {
            None => true,
            Some(Known::Never) => false,
            Some(Known::AboveOurs) => is_old,
            Some(Known::Limit(_, then) | Known::Unclear(then)) => is_old || then != connections,
        }
    }

    /// The limit, if it is certain now.
    pub(super) fn limit(&self, connections: Connections) -> Option<usize> {
        match self.known {
            Some(Known::Limit(bytes, then)) if then == connections => Some(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::peers::Peers;

    const OURS: usize = 1_000_000;

    fn connections() -> Connections {
        let peers = Peers::default();
        peers.connected(b"b", 9092);
        peers.connection_state()
    }

    #[test]
    fn answers_are_read() {
        let settings = |value: &str| Ok(BTreeMap::from([(SETTING.to_owned(), value.to_owned())]));
        for (settings, answer) in [
            (settings("102400"), Answer::Bytes(102_400)),
            (settings("many"), Answer::Refused),
            (Ok(BTreeMap::new()), Answer::Refused),
            (Err(31), Answer::Refused),
            (Err(codes::LOCAL_UNSUPPORTED_FEATURE), Answer::Refused),
            (Err(codes::LOCAL_TIMED_OUT), Answer::Missing),
            (Err(codes::LOCAL_TRANSPORT), Answer::Missing),
        ] {
            assert_eq!(Answer::of(&settings), answer, "{settings:?}");
        }
    }

    fn answer() -> impl Strategy<Value = Answer> {
        prop_oneof![
            (1..2 * OURS).prop_map(Answer::Bytes),
            (1..OURS).prop_map(Answer::Bytes),
            Just(Answer::Missing),
            Just(Answer::Refused),
        ]
    }

    proptest! {
        /// A limit is told only if each broker has one, and it is below ours and below no broker's.
        #[test]
        fn a_limit_is_certain(answers in prop::collection::vec(answer(), 0..5), all: bool) {
            let limits: Option<Vec<_>> =
                answers.iter().map(|answer| if let Answer::Bytes(bytes) = answer { Some(*bytes) } else { None }).collect();
            let most = limits.and_then(|limits| limits.into_iter().max()).filter(|most| all && *most < OURS);
            let now = connections();
            let found = together(&answers, all, OURS, now);
            prop_assert_eq!(most, if let Known::Limit(limit, _) = found { Some(limit) } else { None });
        }
    }

    #[test]
    fn one_that_takes_more_than_ours_is_enough() {
        let now = connections();
        assert_eq!(together(&[Answer::Bytes(OURS)], false, OURS, now), Known::AboveOurs);
        assert_eq!(together(&[Answer::Refused, Answer::Bytes(OURS)], false, OURS, now), Known::AboveOurs);
        assert_eq!(together(&[Answer::Refused, Answer::Missing], true, OURS, now), Known::Never);
        assert_eq!(together(&[], true, OURS, now), Known::Unclear(now));
    }

    #[test]
    fn a_limit_ends_with_the_connections_that_it_was_asked_over() {
        let mut schedule = Schedule::default();
        let (then, now) = (connections(), connections());
        assert_eq!(schedule.limit(then), None);
        schedule.found(Known::Limit(100, then));
        assert_eq!((schedule.limit(then), schedule.limit(now)), (Some(100), None));
    }

    #[test]
    fn it_is_asked_again_when_the_answer_may_have_changed() {
        let every = Some(Duration::from_secs(300));
        let (start, then, other) = (Instant::now(), connections(), connections());
        let none = Peers::default().connection_state();
        assert!(!Schedule::default().is_due(none, every, start), "no broker is connected");
        assert!(Schedule::default().is_due(then, every, start));
        // After a moment and after the interval, with the same connections; with others.
        for (known, moment, interval, others) in [
            (Known::Limit(100, then), false, true, true),
            (Known::Unclear(then), false, true, true),
            (Known::AboveOurs, false, true, false),
            (Known::Never, false, false, false),
        ] {
            let mut schedule = Schedule::default();
            schedule.asking(start);
            assert!(!schedule.is_due(other, every, start), "at this moment");
            schedule.found(known);
            let (soon, late) = (start + ASK_AGAIN, start + Duration::from_secs(300));
            assert_eq!(schedule.is_due(then, every, soon), moment, "{known:?}");
            assert_eq!(schedule.is_due(then, every, late), interval, "{known:?}");
            assert_eq!(schedule.is_due(other, every, soon), others, "{known:?}");
            assert!(!schedule.is_due(then, None, late), "{known:?}");
        }
    }
}
