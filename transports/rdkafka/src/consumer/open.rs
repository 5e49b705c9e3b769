//! Opens a consumer: finds a broker, the topics and the group's coordinator, or returns the cause.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::text::{count as count_of, seconds};
use kafka_tower_core::{Error, ErrorKind, Result, Subscription, validate};

use super::logs::Logs;
use super::properties;
use super::shared::Shared;
use super::{RdkafkaConsumerTransport, control};
use crate::callbacks::Hooks;
use crate::connect::{self, ConnectCheck};
use crate::ffi::Client;
use crate::ffi::consumer::ConsumerInstance;
use crate::inner::TransportInner;
use crate::owner::Owner;
use crate::properties::{Properties, creation_error};
use crate::{classify, codes, event_loop, threads, tokens};

/// Time of the first question to the coordinator; it doubles. Between two questions errors are looked at.
const FIRST_QUESTION: Duration = Duration::from_millis(250);

/// Codes with which asking again cannot help.
pub(super) fn is_final(code: i32) -> bool {
    codes::find(code).is_some_and(|row| {
        matches!(row.kind, ErrorKind::Authentication | ErrorKind::Authorization | ErrorKind::Config | ErrorKind::Fatal)
    })
}

/// Blocks, at most until the connect time-out. The consumer has not joined its group yet.
pub(super) fn open(
    transport: &RdkafkaConsumerTransport,
    subscription: Subscription,
    hooks: &Hooks,
    given_up: &dyn Fn() -> bool,
) -> Result<Arc<Shared>> {
    let started = Instant::now();
    subscription.topics.iter().try_for_each(|topic| validate::topic_name(topic))?;
    // What can be refused without a broker is.
    let of_one = (transport.properties)(1);
    properties::client_config(&of_one, &subscription)?;
    let deadline = later(started, transport.connect_timeout);
    let partitions = count_partitions(transport, &of_one, &subscription, hooks, deadline, given_up)?;
    let config = properties::client_config(&(transport.properties)(partitions), &subscription)?;
    let logs = Arc::<Logs>::default();
    let instance =
        ConsumerInstance::create(&config, Arc::clone(&logs)).map_err(|error| creation_error(&error, &config))?;
    let shared = Shared::new(Arc::clone(&instance), logs, subscription, hooks.clone());
    let shared = Arc::new(shared);
    control::spawn(Arc::clone(&shared), instance).map_err(threads::no_thread)?;
    let (brokers, within) = (brokers(&of_one), transport.connect_timeout);
    let found = find_coordinator(brokers, within, &shared, deadline, given_up);
    if found.is_err() {
        // The thread ends the consumer.
        shared.tell(|state| state.leave = Some(Instant::now()));
    }
    found.map(|()| shared)
}

pub(super) fn brokers(properties: &Properties) -> &str {
    crate::properties::get(properties, "bootstrap.servers").unwrap_or_default()
}

/// A producer that sends nothing, for questions: it knows the causes of a connection that fails.
pub(super) fn connection(transport: &RdkafkaConsumerTransport, user: &Properties, hooks: Hooks) -> Result<Owner> {
    let config = crate::properties::client_config(&properties::of_connection(user))?;
    let client = Client::create(&config).map_err(|error| creation_error(&error, &config))?;
    let limits = Limits { records: 1, bytes: 1 };
    let within = transport.connect_timeout;
    let inner = TransportInner::new(client, config, limits, hooks, within, Vec::new(), event_loop::spawn_isolated);
    let thread = event_loop::spawn(Arc::clone(&inner)).map_err(threads::no_thread)?;
    Ok(Owner::new(inner, thread, false))
}

/// Finds a broker and the number of partitions of all topics.
fn count_partitions(
    transport: &RdkafkaConsumerTransport,
    user: &Properties,
    subscription: &Subscription,
    hooks: &Hooks,
    deadline: Instant,
    given_up: &dyn Fn() -> bool,
) -> Result<u32> {
    let owner = connection(transport, user, hooks.clone())?;
    let within = transport.connect_timeout;
    let topics: Vec<_> = subscription.topics.iter().map(ToString::to_string).collect();
    connect::check(&ConnectCheck {
        inner: owner.inner(),
        brokers: brokers(user),
        plaintext: connect::is_plaintext(crate::properties::get(user, "security.protocol")),
        topics: &topics,
        purpose: "read",
        producer_id: false,
        timeout: within,
        deadline,
        given_up,
        probing: OnceCell::new(),
    })?;
    if let Some(pattern) = &subscription.pattern {
        let left = deadline.saturating_duration_since(Instant::now()).max(FIRST_QUESTION);
        let topics = owner.inner().client.topics(left).map_err(|code| denied(code, "the list of topics", None))?;
        let matching = topics.iter().filter(|(topic, _)| pattern.matches(topic));
        return Ok(matching.map(|(_, partitions)| *partitions).fold(0, u32::saturating_add));
    }
    let count = |topic: &str| owner.inner().partitions.get(topic).unwrap_or(0);
    if !subscription.partitions.is_empty() {
        for at in &subscription.partitions {
            let partitions = count(&at.topic);
            if !u32::try_from(at.partition).is_ok_and(|number| number < partitions) {
                let what = format!("{at}, because the topic has {} only", count_of(partitions as usize, "partition"));
                return Err(denied(codes::UNKNOWN_TOPIC_OR_PARTITION, &what, None));
            }
        }
        return Ok(u32::try_from(subscription.partitions.len()).unwrap_or(u32::MAX));
    }
    Ok(subscription.topics.iter().map(|topic| count(topic)).fold(0, u32::saturating_add))
}

/// Asks the group for an offset of each topic, which needs its coordinator and the right to read. If there is no answer, it asks
/// for none, which only needs a connection to the coordinator.
fn find_coordinator(
    brokers: &str,
    within: Duration,
    shared: &Shared,
    deadline: Instant,
    given_up: &dyn Fn() -> bool,
) -> Result<()> {
    let group = &*shared.subscription.group_id;
    let mut question = FIRST_QUESTION;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let lease = shared.lease();
        let instance = lease.as_ref().and_then(|lease| lease.instance());
        let topics = shared.subscription.topics.iter().map(|topic| (&**topic, 0));
        let answer = instance.map_or(Err(codes::LOCAL_DESTROY), |of| of.committed(topics, question.min(left)));
        match answer {
            Ok(places) => {
                let refused = places.iter().find(|place| is_final(place.code));
                return match refused {
                    Some(place) => Err(denied(place.code, &place.topic, None)),
                    None => Ok(()),
                };
            }
            Err(code) if is_final(code) => return Err(denied(code, &format!("as the group {group}"), None)),
            // An open transaction may have offsets of the group: its partitions wait for the end of it, not the source.
            Err(_) if instance.is_some_and(|of| of.committed([], FIRST_QUESTION.min(left)).is_ok()) => return Ok(()),
            Err(_) => {}
        }
        let said = shared.state().last_error.clone();
        if let Some((code, text)) = said.as_ref().filter(|(code, _)| is_final(*code)) {
            return Err(denied(*code, &format!("as the group {group}"), Some(text)));
        }
        let now = Instant::now();
        if now >= deadline || given_up() {
            if let Some(trouble) = instance.and_then(|of| of.token_trouble(now)) {
                let text = format!("cannot connect to {brokers} within {}; {trouble}", seconds(within));
                return Err(tokens::not_connected(text).without_record());
            }
            return Err(no_coordinator(brokers, within, group, said.as_ref().map(|(_, text)| &**text)));
        }
        question *= 2;
    }
}

pub(crate) fn denied(code: i32, what: &str, text: Option<&str>) -> Error {
    classify::client_error(code, &format!("cannot read {what}"), text).without_record()
}

pub(crate) fn no_coordinator(brokers: &str, within: Duration, group: &str, cause: Option<&str>) -> Error {
    let time = seconds(within);
    let cause = cause.map(|cause| format!("; last error: {cause}")).unwrap_or_default();
    let text = format!("connected to {brokers}, but no coordinator of the group {group} answered within {time}{cause}");
    Error::new(ErrorKind::Timeout, text)
        .with_help("check the health of the brokers and of the topic __consumer_offsets")
        .without_record()
}
