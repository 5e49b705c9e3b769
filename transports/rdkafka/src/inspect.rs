//! Inspects a cluster and a topic without sending anything.

pub(crate) mod reachability;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Error, ErrorKind, FoundBroker, FoundPartition, Result, TokenProvider, validate};

use crate::callbacks::Hooks;
use crate::connect::{ConnectCheck, is_plaintext};
use crate::event_loop;
use crate::ffi::{Client, DescribedCluster, DescribedPartition, DescribedTopic, Operation};
use crate::inner::TransportInner;
use crate::owner::Owner;
use crate::properties::{self, Properties};
use crate::threads;
use crate::tokens::Tokens;
use crate::{classify, codes};

/// Time that a new topic may need until all brokers know it.
const NEW_TOPIC: Duration = Duration::from_secs(1);
/// Minimum time for a request about settings, even when the time is nearly over.
pub(crate) const ANSWER: Duration = Duration::from_secs(3);
/// The topic in which brokers store transactions. The leaders of its partitions coordinate them.
const TRANSACTIONS: &str = "__transaction_state";

/// Result of [`inspect`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// Id of the cluster.
    pub cluster_id: Option<String>,
    /// The broker that clients are given as the controller. With `KRaft` this may be any broker, which forwards
    /// requests.
    pub controller: Option<i32>,
    /// All brokers with their advertised addresses. Clients must be able to reach each one.
    pub brokers: Vec<FoundBroker>,
    /// The topic, or why it cannot be seen.
    pub topic: Result<FoundTopic>,
    /// Why no producer id was given, if idempotence needs one.
    pub producer_id: Option<Error>,
    /// With a transactional id: the topic in which brokers store transactions, or why it cannot be seen. It is created
    /// for the cluster's first transactional producer.
    pub transactions: Option<Result<FoundTopic>>,
}

/// A topic.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoundTopic {
    /// Partitions, by id.
    pub partitions: Vec<FoundPartition>,
    /// Settings, if this principal may see them: `max.message.bytes`, `min.insync.replicas`, `cleanup.policy`, …
    pub settings: Result<BTreeMap<String, String>>,
    /// Whether this principal may write to the topic. None if the cluster does not say.
    pub may_write: Option<bool>,
}

/// Connects with these properties of librdkafka, inspects the cluster and one topic, and disconnects. Connecting may
/// take up to `within`, and so may the rest.
///
/// It sends nothing, creates no topic, and does not initialise a transactional id. It connects to each broker under its
/// advertised name: names that resolve only inside the cluster are the most common reason why connecting succeeds and
/// sending does not.
///
/// The mechanism OAUTHBEARER needs a provider of tokens: see [`RdkafkaBuilder::token_provider`](crate::RdkafkaBuilder::token_provider).
///
/// # Errors
///
/// As [`RdkafkaBuilder::connect`](crate::RdkafkaBuilder::connect), but a problem with the topic is in the [`Inspection`].
///
/// # Cancel safety
///
/// Dropping the future cancels the inspection; its threads end by themselves.
///
/// ```no_run
/// # async fn run() -> kafka_tower_core::Result<()> {
/// use std::time::Duration;
///
/// let properties = [("bootstrap.servers", "localhost:9092")];
/// let found = kafka_tower_rdkafka::inspect(properties, "orders", Duration::from_secs(10), None).await?;
/// println!("{} brokers, {} partitions", found.brokers.len(), found.topic?.partitions.len());
/// # Ok(())
/// # }
/// ```
pub async fn inspect<N: Into<String>, V: Into<String>>(
    properties: impl IntoIterator<Item = (N, V)>,
    topic: &str,
    within: Duration,
    token_provider: Option<Arc<dyn TokenProvider>>,
) -> Result<Inspection> {
    let mut properties: Properties = properties.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
    // An inspection must not create the topic.
    properties.insert("allow.auto.create.topics".to_owned(), "false".to_owned());
    let topic = topic.to_owned();
    let hooks = Hooks { tokens: Tokens::new(token_provider.as_ref(), &properties)?, ..Hooks::default() };
    let look = move |given_up: &dyn Fn() -> bool| look(&properties, &topic, within, hooks, given_up);
    threads::run("kafka-tower-inspect", "cannot look at the cluster", look).await
}

fn look(
    properties: &Properties,
    topic: &str,
    within: Duration,
    hooks: Hooks,
    given_up: &dyn Fn() -> bool,
) -> Result<Inspection> {
    validate::topic_name(topic)?;
    let started = Instant::now();
    let config = properties::client_config(properties)?;
    let client = Client::create(&config).map_err(|error| properties::creation_error(&error, &config))?;
    let limits = Limits { records: 1, bytes: 1 };
    let inner = TransportInner::new(client, config, limits, hooks, within, Vec::new(), event_loop::spawn_isolated);
    let thread = event_loop::spawn(Arc::clone(&inner)).map_err(threads::no_thread)?;
    let transactional = properties::get(properties, "transactional.id").is_some();
    let owner = Owner::new(inner, thread, transactional);
    let check_until = |deadline| ConnectCheck {
        inner: owner.inner(),
        brokers: properties::get(properties, "bootstrap.servers").unwrap_or_default(),
        plaintext: is_plaintext(properties::get(properties, "security.protocol")),
        topics: &[],
        purpose: "send to",
        producer_id: false,
        timeout: within,
        deadline,
        given_up,
        probing: OnceCell::new(),
    };
    // The topic is asked for first, because a broker of `bootstrap.servers` answers that. Later requests go to the
    // brokers that it names, which may be unreachable.
    let check = check_until(later(started, within));
    let look = |check: &ConnectCheck<'_>, topic| look_until_known(check, Some(&[topic]), &[topic]);
    let mut seen = look(&check, topic).map_err(Error::without_record)?;
    let brokers = reachability::all(owner.inner(), std::mem::take(&mut seen.brokers), later(Instant::now(), within));
    let reached = brokers.iter().find(|broker| broker.unreachable.is_none()).map(|broker| broker.id);
    let deadline = later(Instant::now(), within);
    let check = check_until(deadline);
    let log = (transactional && reached.is_some()).then(|| look(&check, TRANSACTIONS));
    // Without a reachable broker no producer id can be given, and that was reported already.
    let producer_id = if properties::is_idempotent(properties) && !transactional && reached.is_some() {
        check.wait_for_producer_id().err().map(Error::without_record)
    } else {
        None
    };
    let client = &owner.inner().client;
    let left = || deadline.saturating_duration_since(Instant::now()).max(ANSWER);
    Ok(Inspection {
        cluster_id: client.cluster_id(Duration::ZERO),
        controller: client.controller(Duration::ZERO),
        topic: found_topic(client, topic, check.brokers, &seen.take(topic), reached, left()),
        brokers,
        producer_id,
        transactions: log
            .map(|log| found_topic(client, TRANSACTIONS, check.brokers, &log?.take(TRANSACTIONS), reached, left())),
    })
}

/// Asks for topics, or for all, until a broker answers. Those that may be new may be unknown at first.
pub(crate) fn look_until_known(
    check: &ConnectCheck<'_>,
    topics: Option<&[&str]>,
    may_be_new: &[&str],
) -> Result<DescribedCluster> {
    let mut first = None;
    loop {
        let owned = topics.map(|topics| topics.iter().map(|topic| (*topic).to_owned()).collect::<Vec<_>>());
        let ask = move |client: &Client, within| {
            let topics = owned.as_ref().map(|topics| topics.iter().map(String::as_str).collect::<Vec<_>>());
            client.describe_topics(topics.as_deref(), within)
        };
        let answer = check.question(ask)?;
        let now = Instant::now();
        match answer {
            Some(Ok(seen)) => {
                let soon = may_be_new
                    .iter()
                    .filter_map(|topic| seen.topics.get(*topic))
                    .any(|topic| matches!(topic.code, codes::UNKNOWN_TOPIC_OR_PARTITION | codes::LEADER_NOT_AVAILABLE));
                if !soon || now.duration_since(*first.get_or_insert(now)) >= NEW_TOPIC || now >= check.deadline {
                    return Ok(seen);
                }
            }
            Some(Err(_)) if now < check.deadline => {}
            _ => return Err(check.no_broker(now)),
        }
        check.pause()?;
    }
}

fn found_topic(
    client: &Client,
    topic: &str,
    brokers: &str,
    seen: &DescribedTopic,
    broker: Option<i32>,
    within: Duration,
) -> Result<FoundTopic> {
    match seen.code {
        0 => {}
        codes::UNKNOWN_TOPIC_OR_PARTITION => {
            let text = format!("{brokers} has no topic {topic}, or does not show it to this principal");
            return Err(Error::new(ErrorKind::UnknownTopicOrPartition, text)
                .with_error_type("UNKNOWN_TOPIC_OR_PARTITION")
                .with_help(format!(
                    "create it: kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic}; or grant \
                     this principal DESCRIBE on it; a cluster that creates topics by itself does so when a sink \
                     connects"
                ))
                .without_record());
        }
        code => {
            return Err(classify::client_error(code, &format!("cannot send to {topic}"), None).without_record());
        }
    }
    let partitions = found_partitions(seen);
    let settings = match broker {
        Some(broker) => client.topic_settings(topic, broker, within),
        None => Err(codes::LOCAL_TRANSPORT),
    };
    let settings = settings.map_err(|code| settings_not_seen(topic, code));
    Ok(FoundTopic {
        partitions,
        settings,
        may_write: broker.and_then(|broker| client.may(Operation::Write, &[topic], broker, within).remove(topic)),
    })
}

fn settings_not_seen(topic: &str, code: i32) -> Error {
    let error = classify::client_error(code, &format!("the settings of {topic} cannot be read"), None).without_record();
    match error.kind() {
        ErrorKind::Authorization => error.with_help("this needs DESCRIBE_CONFIGS on the topic; sending does not"),
        _ => error,
    }
}

pub(crate) fn found_partitions(seen: &DescribedTopic) -> Vec<FoundPartition> {
    let mut partitions: Vec<_> = seen.partitions.iter().map(found_partition).collect();
    partitions.sort_unstable_by_key(|partition| partition.id);
    partitions
}

fn found_partition(seen: &DescribedPartition) -> FoundPartition {
    let mut found = FoundPartition::default();
    found.id = seen.id;
    found.leader = (seen.leader >= 0).then_some(seen.leader);
    found.replicas.clone_from(&seen.replicas);
    found.in_sync.clone_from(&seen.in_sync);
    found.error = (seen.code != 0).then(|| codes::find(seen.code).map_or("unknown", |row| row.name));
    found
}
