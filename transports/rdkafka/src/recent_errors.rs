//! Reads librdkafka's error events and log lines as recent errors. Pure: the time is an argument.

use std::time::Instant;

use kafka_tower_core::recent_errors::{ErrorPlace, RecentError, RecentErrors};

use crate::codes;
use crate::line_kind::essence;
use crate::log_lines::LogLine;

/// Reads an error event of the client. A broker is named as librdkafka does: "host:9092/1", "host:9092/bootstrap".
pub(crate) fn of_event(code: i32, text: &str, now: Instant) -> RecentError {
    let text = essence(text);
    let place = match text.split_once(": ") {
        Some((name, _)) if name.contains(':') && name.contains('/') => ErrorPlace::Broker(name.to_owned()),
        _ => ErrorPlace::Client,
    };
    RecentError::new(place, code, text, now)
}

/// Adds a log line: an error, or the end of one. Returns the error's text if it should go to the application's log.
pub(crate) fn push_line<'a>(errors: &'a mut RecentErrors, line: &LogLine<'_>, now: Instant) -> Option<&'a str> {
    let of_partition = |topic: &str, partition, code, text| {
        RecentError::new(ErrorPlace::Partition { topic: topic.to_owned(), partition }, code, text, now)
    };
    let error = match *line {
        LogLine::Refused { broker, topic, partition, code } => {
            let text = format!("{broker}: {topic}[{partition}]: {}", codes::describe(code));
            of_partition(topic, partition, code, text)
        }
        LogLine::NoCoordinator { what, who, code, text } => {
            let who = if who.is_empty() { String::new() } else { format!("{who}: ") };
            let text = code.map_or_else(|| text.to_owned(), codes::describe);
            RecentError::new(ErrorPlace::Coordinator, code.unwrap_or(0), format!("{who}{what}: {text}"), now)
        }
        LogLine::Leader { topic, partition, is_there: false } => {
            let code = codes::LEADER_NOT_AVAILABLE;
            of_partition(topic, partition, code, format!("{topic}[{partition}]: {}", codes::describe(code)))
        }
        LogLine::Leader { topic, partition, is_there: true } => {
            errors.leader_is_available(topic, partition);
            return None;
        }
        LogLine::Coordinator => {
            errors.coordinator_is_available();
            return None;
        }
    };
    let error = errors.push(error);
    error.is_worth_logging(now).then_some(&*error.text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LATER: Duration = Duration::from_secs(1);
    const REFUSED: &str = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused";

    #[test]
    fn the_same_event_is_kept_once() {
        let (mut errors, start) = (RecentErrors::default(), Instant::now());
        for s in 0..25 {
            let text = format!("{REFUSED} (after {s}ms in state CONNECT, {s} identical error(s) suppressed)");
            errors.push(of_event(-195, &text, start + Duration::from_secs(s)));
        }
        let place = ErrorPlace::Broker("127.0.0.1:1/bootstrap".into());
        let mut expected = RecentError::new(place, -195, REFUSED, start);
        expected.last += Duration::from_secs(24);
        assert_eq!(errors.iter().collect::<Vec<_>>(), [&expected]);
    }

    #[test]
    fn a_refused_batch_names_broker_partition_and_code() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        let line = LogLine::Refused { broker: "b:1/1", topic: "t", partition: 0, code: 19 };
        let text = "b:1/1: t[0]: fewer replicas are in sync than min.insync.replicas asks for (NOT_ENOUGH_REPLICAS)";
        assert_eq!(push_line(&mut errors, &line, now), Some(text));
        assert!(errors.iter().all(|error| error.place.is_partition("t", 0)));
    }

    #[test]
    fn an_available_leader_ends_its_error() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        let line = |is_there| LogLine::Leader { topic: "t", partition: 1, is_there };
        assert_eq!(push_line(&mut errors, &line(false), now), None, "it may be there in a moment");
        let text = push_line(&mut errors, &line(false), now + LATER);
        assert_eq!(text, Some("t[1]: the partition has no leader now (LEADER_NOT_AVAILABLE)"));
        assert_eq!(push_line(&mut errors, &line(true), now + LATER), None);
        assert_eq!(errors.iter().count(), 0);
    }

    #[test]
    fn an_available_coordinator_ends_its_error() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        let line =
            LogLine::NoCoordinator { what: "no transaction coordinator", who: "b:1/1", code: Some(15), text: "x" };
        assert_eq!(push_line(&mut errors, &line, now), None, "it may be there in a moment");
        assert_eq!(
            push_line(&mut errors, &line, now + LATER),
            Some("b:1/1: no transaction coordinator: the coordinator is not available (COORDINATOR_NOT_AVAILABLE)")
        );
        assert_eq!(push_line(&mut errors, &LogLine::Coordinator, now), None);
        assert_eq!(errors.iter().count(), 0);
    }
}
