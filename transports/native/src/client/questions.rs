//! What the client asks about its cluster: metadata, and its producer id. One question at a time, on a connection of its own, so that
//! no answer waits behind large requests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::Error;

use super::broker::open;
use crate::cluster::next_broker::{Candidate, Failures, Next};
use crate::failure;
use crate::net::address::Address;
use crate::net::calls::Calls;
use crate::net::connection::Answer;
use crate::net::connector::BoxStream;
use crate::net::handshake::BrokerFacts;
use crate::protocol::api::Api;
use crate::protocol::api::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::protocol::api::metadata::{MetadataRequest, TopicRef};
use crate::settings::Settings;

/// The least time between two questions for metadata.
const METADATA_PAUSE: Duration = Duration::from_millis(100);
/// Metadata are asked for again after this time: `metadata.max.age.ms`.
pub(crate) const METADATA_AGE: Duration = Duration::from_secs(300);
/// The same after a refusal that does not pass by itself.
const FORBIDDEN_PAUSE: Duration = Duration::from_secs(5);
/// The least time between two questions for a producer id.
const PRODUCER_ID_PAUSE: Duration = Duration::from_millis(100);

/// The questions that are due, and the one that is asked.
pub(crate) struct Questions {
    pub(crate) failures: Failures,
    line: Option<Line>,
    asking: Option<Asking>,
    /// When to ask for metadata.
    metadata_at: Option<Instant>,
    metadata_asked: Option<Instant>,
    producer_id_at: Option<Instant>,
}

/// A connection for questions.
pub(crate) struct Line {
    address: Address,
    calls: Calls<BoxStream>,
    broker: BrokerFacts,
}

type Asking = Pin<Box<dyn Future<Output = Asked> + Send>>;

/// An answer, or why there is none.
pub(crate) struct Asked {
    pub(crate) address: Address,
    line: Option<Line>,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    /// The answer, and when the question was asked.
    Metadata(Answer, Instant),
    ProducerId(InitProducerIdResponse),
    /// The broker could not be reached, or did not answer; and whether a producer id was asked for.
    None(Error, bool),
}

enum Question {
    Metadata(Vec<Arc<str>>, Instant),
    ProducerId,
}

impl Questions {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            failures: Failures::default(),
            line: None,
            asking: None,
            metadata_at: Some(now),
            metadata_asked: None,
            producer_id_at: None,
        }
    }

    /// Asks for metadata as soon as possible.
    pub(crate) fn want_metadata(&mut self, now: Instant) {
        if self.metadata_at.is_some_and(|at| at <= now) {
            return;
        }
        let earliest = self.metadata_asked.map_or(now, |asked| (asked + METADATA_PAUSE).max(now));
        self.want_metadata_at(earliest);
    }

    /// Asks for metadata at this time, or before.
    pub(crate) fn want_metadata_at(&mut self, at: Instant) {
        self.metadata_at = Some(self.metadata_at.map_or(at, |before| before.min(at)));
    }

    /// Asks for a producer id.
    pub(crate) fn want_producer_id(&mut self, now: Instant) {
        self.producer_id_at.get_or_insert(now);
    }

    /// Asks for a producer id again.
    pub(crate) fn producer_id_refused(&mut self, passes: bool, now: Instant) {
        self.producer_id_at = Some(now + if passes { PRODUCER_ID_PAUSE } else { FORBIDDEN_PAUSE });
    }

    /// When the next question is due.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        if self.asking.is_some() {
            return None;
        }
        [self.metadata_at, self.producer_id_at].into_iter().flatten().min()
    }

    /// The question under way, to be polled.
    pub(crate) fn asking(&mut self) -> Option<&mut Asking> {
        self.asking.as_mut()
    }

    /// Takes the end of a question in. Returns its outcome.
    pub(crate) fn asked(&mut self, asked: Asked) -> (Address, Outcome) {
        self.asking = None;
        self.line = asked.line;
        (asked.address, asked.outcome)
    }

    /// Closes the connection: the next question goes to another one.
    pub(crate) fn drop_line(&mut self) {
        self.line = None;
    }

    /// Asks the next question that is due. `known`: the brokers and the bootstrap servers. Returns whether it did.
    pub(crate) fn ask<'a>(
        &mut self,
        known: impl Iterator<Item = &'a Address>,
        topics: impl FnOnce() -> Vec<Arc<str>>,
        settings: &Arc<Settings>,
        now: Instant,
    ) -> bool {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        // First: metadata may be due again with each answer, while a partition has no leader.
        let producer_id = self.metadata_asked.is_some() && is_due(self.producer_id_at);
        if self.asking.is_some() || !(producer_id || is_due(self.metadata_at)) {
            return false;
        }
        let line = self.line.take();
        let address = match &line {
            Some(line) => line.address.clone(),
            None => {
                let candidates: Vec<_> = known.map(|address| Candidate { address, open: None }).collect();
                match self.failures.next(&candidates, now) {
                    Next::Ask(address) | Next::Connect(address) => address.clone(),
                    Next::Wait(until) => {
                        let later = |at: Option<Instant>| at.map(|at| at.max(until));
                        (self.metadata_at, self.producer_id_at) = (later(self.metadata_at), later(self.producer_id_at));
                        return false;
                    }
                    Next::Nobody => return false,
                }
            }
        };
        let question = if producer_id {
            self.producer_id_at = None;
            Question::ProducerId
        } else {
            self.metadata_asked = Some(now);
            self.metadata_at = None;
            Question::Metadata(topics(), now)
        };
        self.asking = Some(Box::pin(ask(address, line, question, Arc::clone(settings))));
        true
    }
}

async fn ask(address: Address, line: Option<Line>, question: Question, settings: Arc<Settings>) -> Asked {
    let is_producer_id = matches!(question, Question::ProducerId);
    let mut line = match line {
        Some(line) => line,
        None => match open(address.clone(), Arc::clone(&settings)).await {
            Ok(connected) => Line { address: address.clone(), calls: connected.calls, broker: connected.broker },
            Err(error) => {
                return Asked {
                    address,
                    line: None,
                    outcome: Outcome::None(failure::not_connected(&error), is_producer_id),
                };
            }
        },
    };
    let outcome = match question {
        Question::Metadata(topics, at) => {
            metadata(&mut line, &topics, &settings).await.map(|answer| Outcome::Metadata(answer, at))
        }
        Question::ProducerId => producer_id(&mut line, &settings).await.map(Outcome::ProducerId),
    };
    match outcome {
        Ok(outcome) => Asked { address, line: Some(line), outcome },
        Err(error) => Asked { address, line: None, outcome: Outcome::None(error, is_producer_id) },
    }
}

async fn metadata(line: &mut Line, topics: &[Arc<str>], settings: &Settings) -> Result<Answer, Error> {
    let version =
        line.broker.versions.newest(Api::Metadata).map_err(|error| failure::versions(&line.address, &error))?;
    let topics: Vec<_> = topics.iter().map(|topic| TopicRef::Name(topic)).collect();
    let request = MetadataRequest { topics: Some(&topics), allow_auto_topic_creation: false };
    let client_id = settings.introduction.client_id.as_deref();
    let encode = |id| request.encode(version, id, client_id);
    let answer = line.calls.call((Api::Metadata, version), settings.setup_timeout(), encode).await;
    answer.map_err(|failed| failure::no_answer(&failed.error))
}

/// A new id: without a transactional id, brokers raise no epoch.
async fn producer_id(line: &mut Line, settings: &Settings) -> Result<InitProducerIdResponse, Error> {
    let version =
        line.broker.versions.newest(Api::InitProducerId).map_err(|error| failure::versions(&line.address, &error))?;
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        producer_id: -1,
        producer_epoch: -1,
    };
    let client_id = settings.introduction.client_id.as_deref();
    let encode = |id| request.encode(version, id, client_id);
    let answer = line.calls.call((Api::InitProducerId, version), settings.setup_timeout(), encode).await;
    let answer = answer.map_err(|failed| failure::no_answer(&failed.error))?;
    InitProducerIdResponse::decode(version, answer.id.correlation_id, &answer.frame)
        .map_err(|error| failure::no_answer(&line.calls.undecodable(answer.id, error)))
}
