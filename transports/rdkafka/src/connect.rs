//! Connects: finds a broker, the topics and the producer id, or returns the cause.

use std::cell::OnceCell;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::sync::lock;
use kafka_tower_core::text::seconds;
use kafka_tower_core::{Error, ErrorKind, Result};

use crate::advertised_names;
use crate::classify;
use crate::codes;
use crate::connect_state::ConnectFacts;
use crate::explain::Explanation;
use crate::ffi::{Client, TopicMetadata};
use crate::inner::TransportInner;
use crate::probe::{self, PeerProtocol, Probing};
use crate::threads;
use crate::tokens;
use crate::wrong_protocol;

/// Interval of the check whether the caller still waits. Answers and facts end the wait at once.
const SLICE: Duration = Duration::from_millis(250);
/// Interval between requests for a topic that does not exist yet.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Minimum time and number of answers before a topic counts as unknown: a broker that creates topics first answers
/// "unknown".
const UNKNOWN_TOPIC: Duration = Duration::from_secs(3);
const UNKNOWN_ANSWERS: u32 = 3;

pub(crate) struct ConnectCheck<'a> {
    pub(crate) inner: &'a Arc<TransportInner>,
    pub(crate) brokers: &'a str,
    pub(crate) plaintext: bool,
    pub(crate) topics: &'a [String],
    /// What is to be done with the topics: "send to" or "read".
    pub(crate) purpose: &'static str,
    /// Whether connecting needs a producer id. Otherwise a refused one ends no question about the cluster.
    pub(crate) producer_id: bool,
    pub(crate) timeout: Duration,
    pub(crate) deadline: Instant,
    /// Returns whether the caller has stopped waiting.
    pub(crate) given_up: &'a dyn Fn() -> bool,
    /// Probe of the first broker's port, started when most of the time is over, in parallel to the rest.
    pub(crate) probing: OnceCell<Probing>,
}

pub(crate) fn check(check: &ConnectCheck<'_>) -> Result<()> {
    connected(check).map_err(Error::without_record)
}

/// Looks up topics with a client that is connected.
pub(crate) fn look_up(
    inner: &Arc<TransportInner>,
    topics: &[String],
    timeout: Duration,
    given_up: &dyn Fn() -> bool,
) -> Result<()> {
    // A refusal of long ago says nothing about this question.
    inner.connect_state.change(|facts| facts.denied = None);
    let config = inner.config();
    check(&ConnectCheck {
        inner,
        brokers: config.get("bootstrap.servers").unwrap_or_default(),
        plaintext: is_plaintext(config.get("security.protocol")),
        topics,
        purpose: "send to",
        producer_id: false,
        timeout,
        deadline: later(Instant::now(), timeout),
        given_up,
        probing: OnceCell::new(),
    })
}

/// Whether connections of this `security.protocol` have no TLS.
pub(crate) fn is_plaintext(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol.to_ascii_lowercase().ends_with("plaintext"))
}

fn connected(check: &ConnectCheck<'_>) -> Result<()> {
    if check.topics.is_empty() {
        check.ask(None)?;
    }
    for topic in check.topics {
        let found = check.ask(Some(topic))?;
        check.inner.partitions.set(topic, found.partitions);
        check.inner.partitions.set_leaders(topic, found.leaders);
    }
    check.inner.partitions_changed();
    if check.producer_id {
        check.wait_for_producer_id()?;
    }
    Ok(())
}

impl ConnectCheck<'_> {
    /// Asks for a topic until a broker gives a final answer.
    fn ask(&self, topic: Option<&str>) -> Result<TopicMetadata> {
        let (mut unknown_since, mut unknown_answers) = (None, 0);
        loop {
            let owned = topic.map(str::to_owned);
            let answer = self.question(move |client, within| client.metadata(owned.as_deref(), within))?;
            let now = Instant::now();
            let Some(answer) = answer else { return Err(self.no_broker(now)) };
            match answer {
                Ok(found) if found.code == 0 && (topic.is_none() || found.partitions > 0) => {
                    return Ok(found);
                }
                Ok(found) => match found.code {
                    codes::UNKNOWN_TOPIC_OR_PARTITION => {
                        let since = *unknown_since.get_or_insert(now);
                        unknown_answers += 1;
                        let long = now.duration_since(since) >= UNKNOWN_TOPIC && unknown_answers >= UNKNOWN_ANSWERS;
                        if long || now >= self.deadline {
                            return Err(self.unknown_topic(topic.unwrap_or_default()));
                        }
                    }
                    // The topic is being created.
                    0 | codes::LEADER_NOT_AVAILABLE => {}
                    code => {
                        let what = format!("cannot {} {}", self.purpose, topic.unwrap_or_default());
                        return Err(classify::client_error(code, &what, None));
                    }
                },
                Err(_) => {}
            }
            if now >= self.deadline || (self.given_up)() {
                return Err(self.no_broker(now));
            }
            self.pause()?;
        }
    }

    /// Waits between two requests. Ends at once if asking again cannot help.
    pub(crate) fn pause(&self) -> Result<()> {
        let until = self.deadline.min(Instant::now() + ASK_AGAIN);
        match self.wait(until, |facts| self.fatal(facts)) {
            Some((code, text)) => Err(self.ended(code, &text)),
            None => Ok(()),
        }
    }

    fn fatal(&self, facts: &ConnectFacts) -> Option<(i32, String)> {
        facts.fatal.clone().filter(|_| self.producer_id)
    }

    /// Asks the cluster once on a separate thread, with all the remaining time, so that a late answer is not lost and
    /// facts end the wait at once. None if the time is up. The thread ends by itself.
    pub(crate) fn question<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&Client, Duration) -> R + Send + 'static,
    ) -> Result<Option<R>> {
        let inner = Arc::clone(self.inner);
        let within = self.deadline.saturating_duration_since(Instant::now()).min(inner.request_timeout());
        let (answer, its) = (Arc::new(Mutex::new(None)), Arc::clone(&self.inner.connect_state));
        let place = Arc::clone(&answer);
        let asks = move || {
            let answered = ask(&inner.client, within);
            *lock(&place) = Some(answered);
            its.change(|_| ());
        };
        thread::Builder::new().name("kafka-tower-question".to_owned()).spawn(asks).map_err(threads::no_thread)?;
        let waited = self.wait(self.deadline, |facts| {
            let stuck = self.fatal(facts).or_else(|| facts.denied.clone()).map(Err);
            stuck.or_else(|| lock(&answer).take().map(Ok))
        });
        waited.transpose().map_err(|(code, text): (i32, String)| self.ended(code, &text))
    }

    /// Waits until the facts give an answer. None if the time is up or the caller has stopped waiting.
    fn wait<R>(&self, until: Instant, mut answer: impl FnMut(&ConnectFacts) -> Option<R>) -> Option<R> {
        loop {
            let now = Instant::now();
            if now + probe::share_of(self.timeout) >= self.deadline {
                self.probing.get_or_init(|| Probing::start(self.brokers, probe::share_of(self.timeout)));
            }
            let answered = self.inner.connect_state.wait(until.min(now + SLICE), &mut answer);
            if answered.is_some() || Instant::now() >= until || (self.given_up)() {
                return answered;
            }
        }
    }

    pub(crate) fn wait_for_producer_id(&self) -> Result<()> {
        let end = |facts: &ConnectFacts| match &facts.fatal {
            Some(fatal) => Some(Err(fatal.clone())),
            None => facts.producer_id.then_some(Ok(())),
        };
        match self.wait(self.deadline, end) {
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
                let help = advertised_names::advertised_help(&text).unwrap_or_else(|| {
                    "check the health of the brokers; enable.idempotence=false needs no producer id".to_owned()
                });
                Err(Error::new(ErrorKind::Timeout, text).with_help(help))
            }
        }
    }

    pub(crate) fn ended(&self, code: i32, text: &str) -> Error {
        classify::client_error(code, &format!("cannot connect to {}", self.brokers), Some(text))
    }

    pub(crate) fn unknown_topic(&self, topic: &str) -> Error {
        let text = format!("{} has no topic {topic}, or does not show it to this principal", self.brokers);
        Error::new(ErrorKind::UnknownTopicOrPartition, text).with_error_type("UNKNOWN_TOPIC_OR_PARTITION").with_help(
            format!(
                "create it: kafka-topics.sh --bootstrap-server {} --create --topic {topic}; or grant this principal \
                 DESCRIBE on it",
                self.brokers
            ),
        )
    }

    pub(crate) fn no_broker(&self, now: Instant) -> Error {
        let cause = self.cause(now);
        let text = format!("cannot connect to {} within {}{cause}", self.brokers, seconds(self.timeout));
        if self.why(now).is_some_and(|why| why.is_without_token()) {
            return tokens::not_connected(text);
        }
        let row = self.why(now).and_then(|why| why.code).and_then(codes::find);
        let kind = row.map_or(ErrorKind::Connection, |row| match row.kind {
            kind @ (ErrorKind::Authentication | ErrorKind::Authorization) => kind,
            _ => ErrorKind::Connection,
        });
        let error = Error::new(kind, text);
        let error = match row {
            Some(row) => error.with_error_type(row.name),
            None => error,
        };
        if let Some(help) = advertised_names::advertised_help(&cause) {
            return error.with_help(help);
        }
        match row.map(|row| row.code) {
            _ if cause.contains(wrong_protocol::NOT_KAFKA) => {
                return error
                    .with_help("name Kafka's own listeners in `brokers`, as host:port; their port is 9092 by default");
            }
            Some(codes::LOCAL_RESOLVE) => return error.with_help("correct the name in `brokers`, or the DNS"),
            Some(code) if codes::find(code).is_some_and(|row| row.kind == ErrorKind::Authentication) => {
                return error;
            }
            _ => {}
        }
        match (self.plaintext, self.probing.get().and_then(Probing::answer)) {
            (true, Some(PeerProtocol::Tls)) => error.with_help(
                "is this a TLS listener? It answers as one: set security.protocol to ssl or sasl_ssl, or use the plaintext \
                 listener's port",
            ),
            (false, Some(PeerProtocol::Plaintext)) => error.with_help(
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
        self.why(now).map(|why| format!("; {}", why.text)).unwrap_or_default()
    }

    fn why(&self, now: Instant) -> Option<Explanation> {
        self.inner.reason_for_call(now.checked_sub(self.timeout).unwrap_or(now), false, now)
    }
}
