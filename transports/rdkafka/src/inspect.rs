//! Looks at a cluster and a topic, and sends nothing.

mod reach;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::gate::{Gate, Limits};
use kafka_tower_core::{Error, ErrorKind, Result, validate};
use tokio::sync::oneshot;

use crate::connect::Check;
use crate::event_loop;
use crate::ffi::{Client, Seen, SeenPartition};
use crate::properties::{self, Properties};
use crate::shared::{Shared, later};
use crate::transport::Owner;
use crate::{classify, codes};

/// How long a new topic may need to be known everywhere.
const NEW_TOPIC: Duration = Duration::from_secs(1);
/// What a question about settings has at least, when the time is nearly over.
const ANSWER: Duration = Duration::from_secs(3);
/// The topic in which brokers keep transactions: its leaders coordinate them.
const TRANSACTIONS: &str = "__transaction_state";

/// What [`inspect`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The broker that clients are told is the controller. With `KRaft` any broker is told: it passes questions on.
    pub controller: Option<i32>,
    /// All brokers, as the cluster advertises them: clients have to reach each.
    pub brokers: Vec<FoundBroker>,
    /// The topic, or why it cannot be seen.
    pub topic: Result<FoundTopic>,
    /// Why no producer id was given, where idempotence asks for one.
    pub producer_id: Option<Error>,
    /// With a transactional id: the topic in which the brokers keep transactions, or why it cannot be seen. The first
    /// transactional producer of a cluster makes it.
    pub transactions: Option<Result<FoundTopic>>,
}

/// A broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundBroker {
    /// Its id.
    pub id: i32,
    /// The host it is advertised with.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Why it could not be reached from here, by these properties.
    pub unreachable: Option<String>,
    /// Its settings; empty if this principal may not see them.
    pub settings: BTreeMap<String, String>,
}

/// A topic.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoundTopic {
    /// Its partitions, by id.
    pub partitions: Vec<FoundPartition>,
    /// Its settings, if this principal may see them: `max.message.bytes`, `min.insync.replicas`, `cleanup.policy`, …
    pub settings: Result<BTreeMap<String, String>>,
    /// Whether this principal may write to it; none where the cluster does not say.
    pub may_write: Option<bool>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundPartition {
    /// Its number.
    pub id: i32,
    /// The broker that takes its records; none while it has no leader.
    pub leader: Option<i32>,
    /// The brokers that keep it.
    pub replicas: Vec<i32>,
    /// Those of them that have all of it.
    pub in_sync: Vec<i32>,
    /// Kafka's name of what is wrong with it.
    pub error: Option<&'static str>,
}

/// Connects with these properties of librdkafka, looks at the cluster and at one topic, and leaves. Connecting may take
/// `within`, and so may what follows.
///
/// Nothing is sent, no topic is made, and no transactional id is taken. Each broker is connected to under the name that it
/// advertises: a cluster that advertises names which only it can resolve is the most usual reason why connecting goes well and
/// sending does not.
///
/// # Errors
///
/// As [`Builder::connect`](crate::Builder::connect), but what is wrong with the topic is in the [`Inspection`].
///
/// # Cancel safety
///
/// Dropping the future gives the look up; its threads end by themselves.
///
/// ```no_run
/// # async fn run() -> kafka_tower_core::Result<()> {
/// use std::time::Duration;
///
/// let properties = [("bootstrap.servers", "localhost:9092")];
/// let found = kafka_tower_rdkafka::inspect(properties, "orders", Duration::from_secs(10)).await?;
/// println!("{} brokers, {} partitions", found.brokers.len(), found.topic?.partitions.len());
/// # Ok(())
/// # }
/// ```
pub async fn inspect<N: Into<String>, V: Into<String>>(
    properties: impl IntoIterator<Item = (N, V)>,
    topic: &str,
    within: Duration,
) -> Result<Inspection> {
    let mut properties: Properties = properties.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
    // A look makes no topic.
    properties.insert("allow.auto.create.topics".to_owned(), "false".to_owned());
    let topic = topic.to_owned();
    let (sender, receiver) = oneshot::channel();
    let thread = thread::Builder::new().name("kafka-tower-inspect".to_owned());
    let look = move || {
        let found = look(&properties, &topic, within, &|| sender.is_closed());
        drop(sender.send(found));
    };
    thread.spawn(look).map_err(|error| event_loop::no_thread(error).without_record())?;
    let found = receiver.await.unwrap_or_else(|_| Err(event_loop::panicked("cannot look at the cluster")));
    found.map_err(Error::without_record)
}

fn look(properties: &Properties, topic: &str, within: Duration, given_up: &dyn Fn() -> bool) -> Result<Inspection> {
    validate::topic_name(topic)?;
    let started = Instant::now();
    let config = properties::client_config(properties)?;
    let client = Client::create(&config).map_err(|error| properties::creation_error(&error, &config))?;
    let gate = Gate::new(Limits { records: 1, bytes: 1 });
    let shared = Shared::new(client, config, gate, None, within, None);
    let thread = event_loop::spawn(Arc::clone(&shared)).map_err(event_loop::no_thread)?;
    let transactional = properties::get(properties, "transactional.id").is_some();
    let owner = Owner::new(shared, thread, transactional);
    let check_until = |deadline| Check {
        shared: owner.shared(),
        brokers: properties::get(properties, "bootstrap.servers").unwrap_or_default(),
        plaintext: properties::get(properties, "security.protocol")
            .is_none_or(|protocol| protocol.to_ascii_lowercase().ends_with("plaintext")),
        topics: &[],
        producer_id: false,
        timeout: within,
        deadline,
        given_up,
        probing: OnceCell::new(),
    };
    // The first question is the one about the topic: the broker of `bootstrap.servers` answers it. Later ones go to the brokers
    // that it names, which may be out of reach.
    let check = check_until(later(started, within));
    let seen = look_until_known(&check, topic).map_err(Error::without_record)?;
    let brokers = reach::all(owner.shared(), seen.brokers.clone(), later(Instant::now(), within));
    let reached = brokers.iter().find(|broker| broker.unreachable.is_none()).map(|broker| broker.id);
    let deadline = later(Instant::now(), within);
    let check = check_until(deadline);
    let log = (transactional && reached.is_some()).then(|| look_until_known(&check, TRANSACTIONS));
    // Without a broker there is none that could give it, and they are told already.
    let producer_id = if properties::is_idempotent(properties) && !transactional && reached.is_some() {
        check.wait_for_producer_id().err().map(Error::without_record)
    } else {
        None
    };
    let client = &owner.shared().client;
    let left = || deadline.saturating_duration_since(Instant::now()).max(ANSWER);
    Ok(Inspection {
        cluster_id: client.cluster_id(Duration::ZERO),
        controller: client.controller(Duration::ZERO),
        topic: found_topic(client, topic, check.brokers, &seen, reached, left()),
        brokers,
        producer_id,
        transactions: log.map(|log| found_topic(client, TRANSACTIONS, check.brokers, &log?, reached, left())),
    })
}

/// Asks for a topic until a broker answers; a new topic may be unknown at first.
fn look_until_known(check: &Check<'_>, topic: &str) -> Result<Seen> {
    let mut first = None;
    loop {
        let owned = topic.to_owned();
        let answer = check.question(move |client, within| client.look(&owned, within))?;
        let now = Instant::now();
        match answer {
            Some(Ok(seen)) => {
                let soon = matches!(seen.code, codes::UNKNOWN_TOPIC_OR_PARTITION | codes::LEADER_NOT_AVAILABLE);
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
    seen: &Seen,
    broker: Option<i32>,
    within: Duration,
) -> Result<FoundTopic> {
    match seen.code {
        0 => {}
        codes::UNKNOWN_TOPIC_OR_PARTITION => {
            let text = format!("{brokers} has no topic {topic}, or does not show it");
            return Err(Error::new(ErrorKind::UnknownTopicOrPartition, text)
                .with_error_type("UNKNOWN_TOPIC_OR_PARTITION")
                .with_help(format!(
                    "create it: kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic}; or let this principal \
                     describe it; a cluster that creates topics by itself does so when a sink connects"
                ))
                .without_record());
        }
        code => {
            return Err(classify::client_error(code, &format!("cannot send to {topic}"), None).without_record());
        }
    }
    let mut partitions: Vec<_> = seen.partitions.iter().map(found_partition).collect();
    partitions.sort_unstable_by_key(|partition| partition.id);
    let settings = match broker {
        Some(broker) => client.topic_settings(topic, broker, within),
        None => Err(codes::LOCAL_TRANSPORT),
    };
    let settings = settings.map_err(|code| settings_not_seen(topic, code));
    Ok(FoundTopic {
        partitions,
        settings,
        may_write: broker.and_then(|broker| client.may_write(topic, broker, within)),
    })
}

fn settings_not_seen(topic: &str, code: i32) -> Error {
    let error = classify::client_error(code, &format!("the settings of {topic} cannot be seen"), None).without_record();
    match error.kind() {
        ErrorKind::Authorization => {
            error.with_help("this needs the right to DESCRIBE_CONFIGS of the topic; sending does not")
        }
        _ => error,
    }
}

fn found_partition(seen: &SeenPartition) -> FoundPartition {
    FoundPartition {
        id: seen.id,
        leader: (seen.leader >= 0).then_some(seen.leader),
        replicas: seen.replicas.clone(),
        in_sync: seen.in_sync.clone(),
        error: (seen.code != 0).then(|| codes::row_of(seen.code).map_or("unknown", |row| row.name)),
    }
}
