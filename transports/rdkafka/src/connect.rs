//! Connecting means connected: a broker, the topics and the producer id, or the cause.

use std::time::{Duration, Instant};

use kafka_tower_core::{Error, ErrorKind, Result};

use crate::causes::Ago;
use crate::classify::{self, seconds};
use crate::codes;
use crate::facts::Facts;
use crate::probe::{self, Speaks};
use crate::shared::Shared;

/// How long one question to the cluster may take: what ends the waiting early is seen in between.
const SLICE: Duration = Duration::from_millis(250);
/// Between two questions about a topic that is not there yet.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long an unknown topic is asked for: a broker that creates topics first answers "unknown".
const UNKNOWN_TOPIC: Duration = Duration::from_secs(3);

pub(crate) struct Check<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) brokers: &'a str,
    pub(crate) plaintext: bool,
    pub(crate) topics: &'a [String],
    pub(crate) producer_id: bool,
    pub(crate) timeout: Duration,
    pub(crate) deadline: Instant,
}

pub(crate) fn check(check: &Check<'_>) -> Result<()> {
    connected(check).map_err(Error::without_record)
}

fn connected(check: &Check<'_>) -> Result<()> {
    if check.topics.is_empty() {
        check.ask(None)?;
    }
    for topic in check.topics {
        let partitions = check.ask(Some(topic))?;
        check.shared.partitions.set(topic, partitions);
    }
    check.shared.partitions_changed();
    if check.producer_id {
        check.wait_for_producer_id()?;
    }
    Ok(())
}

impl Check<'_> {
    /// Asks for a topic until a broker answers for good; its number of partitions.
    fn ask(&self, topic: Option<&str>) -> Result<u32> {
        let mut unknown_since = None;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let answer = self.shared.client.metadata(topic, left.min(SLICE));
            self.hopeless(|facts| facts.fatal.clone().or_else(|| facts.denied.clone()))?;
            let now = Instant::now();
            match answer {
                Ok(found) if found.code == 0 && (topic.is_none() || found.partitions > 0) => {
                    return Ok(found.partitions);
                }
                Ok(found) => match found.code {
                    codes::UNKNOWN_TOPIC_OR_PARTITION => {
                        let since = *unknown_since.get_or_insert(now);
                        if now.duration_since(since) >= UNKNOWN_TOPIC || now >= self.deadline {
                            return Err(self.unknown_topic(topic.unwrap_or_default()));
                        }
                    }
                    // The topic is being made.
                    0 | codes::LEADER_NOT_AVAILABLE => {}
                    code => {
                        let what = format!("cannot send to {}", topic.unwrap_or_default());
                        return Err(classify::client_error(code, &what, None));
                    }
                },
                Err(_) if now >= self.deadline => return Err(self.no_broker(now)),
                Err(_) => {}
            }
            if now >= self.deadline {
                return Err(self.no_broker(now));
            }
            self.hopeless_until(self.deadline.min(now + ASK_AGAIN), |facts| facts.fatal.clone())?;
        }
    }

    fn wait_for_producer_id(&self) -> Result<()> {
        let end = |facts: &Facts| match &facts.fatal {
            Some(fatal) => Some(Err(fatal.clone())),
            None => facts.producer_id.then_some(Ok(())),
        };
        match self.shared.facts.wait(self.deadline, end) {
            Some(Ok(())) => Ok(()),
            Some(Err((code, text))) => Err(self.ended(code, &text)),
            None => {
                let now = Instant::now();
                let text = format!(
                    "connected to {}, but no broker gave a producer id within {}{}",
                    self.brokers,
                    seconds(self.timeout),
                    self.cause(now)
                );
                Err(Error::new(ErrorKind::Timeout, text)
                    .with_help("look at the health of the brokers; enable.idempotence=false needs no producer id"))
            }
        }
    }

    fn hopeless(&self, fact: impl Fn(&Facts) -> Option<(i32, String)>) -> Result<()> {
        self.hopeless_until(Instant::now(), fact)
    }

    /// Ends the waiting where it is of no use.
    fn hopeless_until(&self, until: Instant, fact: impl Fn(&Facts) -> Option<(i32, String)>) -> Result<()> {
        match self.shared.facts.wait(until, fact) {
            Some((code, text)) => Err(self.ended(code, &text)),
            None => Ok(()),
        }
    }

    fn ended(&self, code: i32, text: &str) -> Error {
        classify::client_error(code, &format!("cannot connect to {}", self.brokers), Some(text))
    }

    fn unknown_topic(&self, topic: &str) -> Error {
        Error::new(ErrorKind::UnknownTopicOrPartition, format!("{} has no topic {topic}, or does not show it", self.brokers))
            .with_error_type("UNKNOWN_TOPIC_OR_PARTITION")
            .with_help(format!(
                "create it: kafka-topics.sh --bootstrap-server {} --create --topic {topic}; or let this principal describe it",
                self.brokers
            ))
    }

    fn no_broker(&self, now: Instant) -> Error {
        let text = format!("cannot connect to {} within {}{}", self.brokers, seconds(self.timeout), self.cause(now));
        let causes = self.shared.causes();
        let row = causes.latest(now).and_then(|cause| codes::row_of(cause.code));
        let kind = row.map_or(ErrorKind::Connection, |row| match row.class.kind {
            kind @ (ErrorKind::Authentication | ErrorKind::Authorization) => kind,
            _ => ErrorKind::Connection,
        });
        let error = Error::new(kind, text);
        let error = match row {
            Some(row) => error.with_error_type(row.name),
            None => error,
        };
        match row.map(|row| row.code) {
            Some(codes::LOCAL_RESOLVE) => return error.with_help("correct the name in `brokers`, or the DNS"),
            Some(code) if codes::row_of(code).is_some_and(|row| row.class.kind == ErrorKind::Authentication) => {
                return error;
            }
            _ => {}
        }
        match (self.plaintext, probe::probe(self.brokers, probe::share_of(self.timeout))) {
            (true, Some(Speaks::Tls)) => error.with_help(
                "is this a TLS listener? It answers as one: set security.protocol to ssl or sasl_ssl, or use the plaintext \
                 listener's port",
            ),
            (false, Some(Speaks::Plaintext)) => error.with_help(
                "is this a plaintext listener? It answers as one, without TLS: use the TLS listener's port, or set \
                 security.protocol to plaintext or sasl_plaintext",
            ),
            _ if row.is_some_and(|row| row.code == codes::LOCAL_SSL) => error.with_help(
                "check ssl.ca.location, the name in the broker's certificate and the client's own certificate",
            ),
            _ => error,
        }
    }

    fn cause(&self, now: Instant) -> String {
        self.shared.causes().latest(now).map(|cause| format!("; {}", Ago(cause, now))).unwrap_or_default()
    }
}
