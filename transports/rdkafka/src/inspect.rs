//! Looks at a cluster and a topic, and sends nothing.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::gate::{Gate, Limits};
use kafka_tower_core::{Error, ErrorKind, Result, validate};
use tokio::sync::oneshot;

use crate::connect::{self, Check};
use crate::event_loop;
use crate::ffi::{Client, Seen, SeenPartition};
use crate::properties::{self, Properties};
use crate::shared::{Shared, later};
use crate::transport::Owner;
use crate::{classify, codes, probe};

/// How long a new topic may need to be known everywhere.
const NEW_TOPIC: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long an answer may take once a broker is there.
const ANSWER: Duration = Duration::from_secs(3);
/// The most brokers that are tried.
const BROKERS: usize = 64;

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
    /// Why its port could not be reached from here, by TCP alone.
    pub unreachable: Option<String>,
}

/// A topic.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoundTopic {
    /// Its partitions, by id.
    pub partitions: Vec<FoundPartition>,
    /// Its settings, if this principal may see them: `max.message.bytes`, `min.insync.replicas`, `cleanup.policy`, …
    pub settings: Result<BTreeMap<String, String>>,
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
/// `within`, and what follows a few seconds more.
///
/// Nothing is sent, no topic is made, and no transactional id is taken. Each broker's port is tried by TCP from here: a cluster
/// that advertises names which only it can resolve is the most usual reason why connecting goes well and sending does not.
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
    thread.spawn(move || drop(sender.send(look(&properties, &topic, within)))).map_err(event_loop::no_thread)?;
    receiver.await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Fatal, "the look at the cluster ended without an answer: its thread panicked"))
    })
}

fn look(properties: &Properties, topic: &str, within: Duration) -> Result<Inspection> {
    validate::topic_name(topic)?;
    let started = Instant::now();
    let config = properties::client_config(properties)?;
    let client = Client::create(&config).map_err(|error| properties::creation_error(&error, &config))?;
    let gate = Gate::new(Limits { records: 1, bytes: 1 });
    let shared = Shared::new(client, config, gate, None, within, None);
    let thread = event_loop::spawn(Arc::clone(&shared)).map_err(event_loop::no_thread)?;
    let transactional = properties::get(properties, "transactional.id").is_some();
    let owner = Owner::new(shared, thread, transactional);
    let mut check = Check {
        shared: owner.shared(),
        brokers: properties::get(properties, "bootstrap.servers").unwrap_or_default(),
        plaintext: properties::get(properties, "security.protocol")
            .is_none_or(|protocol| protocol.to_ascii_lowercase().ends_with("plaintext")),
        topics: &[],
        producer_id: false,
        timeout: within,
        deadline: later(started, within - probe::share_of(within)),
    };
    connect::check(&check)?;
    check.producer_id = properties::is_idempotent(properties) && !transactional;
    check.timeout = ANSWER;
    check.deadline = later(Instant::now(), ANSWER);
    // Before the client knows the topic: the question that comes first in this would make librdkafka create it.
    let producer_id = connect::check(&check).err();
    let client = &owner.shared().client;
    let seen = look_until_known(client, topic)
        .map_err(|code| classify::client_error(code, &format!("cannot look at {}", check.brokers), None))
        .map_err(Error::without_record)?;
    Ok(Inspection {
        cluster_id: client.cluster_id(ANSWER),
        controller: client.controller(ANSWER),
        topic: found_topic(client, topic, check.brokers, &seen),
        brokers: try_brokers(seen.brokers),
        producer_id,
    })
}

fn look_until_known(client: &Client, topic: &str) -> Result<Seen, i32> {
    let end = Instant::now() + NEW_TOPIC;
    loop {
        let seen = client.look(topic, ANSWER)?;
        let soon = matches!(seen.code, codes::UNKNOWN_TOPIC_OR_PARTITION | codes::LEADER_NOT_AVAILABLE);
        if !soon || Instant::now() >= end {
            return Ok(seen);
        }
        thread::sleep(ASK_AGAIN);
    }
}

fn found_topic(client: &Client, topic: &str, brokers: &str, seen: &Seen) -> Result<FoundTopic> {
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
    let settings = client.topic_settings(topic, ANSWER);
    let settings = settings.map_err(|code| {
        let error =
            classify::client_error(code, &format!("the settings of {topic} cannot be seen"), None).without_record();
        match error.kind() {
            ErrorKind::Authorization => {
                error.with_help("this needs the right to DESCRIBE_CONFIGS of the topic; sending does not")
            }
            _ => error,
        }
    });
    Ok(FoundTopic { partitions, settings })
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

/// Side by side: a name that does not resolve takes its time.
fn try_brokers(mut seen: Vec<(i32, String, u16)>) -> Vec<FoundBroker> {
    seen.sort_unstable();
    let end = Instant::now() + ANSWER;
    let (sender, receiver) = mpsc::channel();
    for (id, host, port) in seen.iter().take(BROKERS).cloned() {
        let sender = sender.clone();
        let attempt = move || drop(sender.send((id, reach(&host, port))));
        // A thread that the system does not give is an answer that does not come.
        drop(thread::Builder::new().name("kafka-tower-reach".to_owned()).spawn(attempt));
    }
    drop(sender);
    let mut answers = BTreeMap::new();
    while let Ok((id, answer)) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        answers.insert(id, answer);
    }
    let found = |(at, (id, host, port)): (usize, (i32, String, u16))| {
        let unreachable = match answers.remove(&id) {
            Some(answer) => answer.err(),
            None if at >= BROKERS => None,
            None => Some(format!("no answer within {}", classify::seconds(ANSWER))),
        };
        FoundBroker { id, host, port, unreachable }
    };
    seen.into_iter().enumerate().map(found).collect()
}

fn reach(host: &str, port: u16) -> Result<(), String> {
    let mut last = "its name has no address".to_owned();
    for address in (host, port).to_socket_addrs().map_err(|error| error.to_string())? {
        match TcpStream::connect_timeout(&address, ANSWER) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
