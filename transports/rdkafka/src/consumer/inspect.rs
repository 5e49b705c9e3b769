//! Inspects what a source would read, before it is built: joins no group, and changes nothing.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::{
    ConsumerInspection, Error, ErrorKind, FoundGroup, FoundMember, FoundSourceTopic, LogRange, Result, Subscription,
    TopicPartition, validate,
};

use super::RdkafkaConsumerTransport;
use super::open::{self, denied, no_coordinator};
use super::properties::{self, INTERNAL_TOPICS};
use crate::callbacks::Hooks;
use crate::codes;
use crate::connect::{self, ConnectCheck};
use crate::ffi::consumer::Place;
use crate::ffi::{
    Client, DescribedCluster, DescribedGroup, DescribedMember, DescribedTopic, EARLIEST, LATEST, Operation,
};
use crate::inspect::{ANSWER, found_partitions, look_until_known, reachability};
use crate::properties::get;

/// The topic in which brokers store the offsets of groups. The leaders of its partitions coordinate the groups.
const OFFSETS: &str = "__consumer_offsets";

const OFFSETS_REPLICAS: &str = "offsets.topic.replication.factor";

/// Time between two questions to a coordinator that is not ready.
const AGAIN: Duration = Duration::from_millis(100);

/// Blocks, at most for the connect time-out until a broker answers, and about twice that for the rest.
pub(super) fn inspect(
    transport: &RdkafkaConsumerTransport,
    subscription: &Subscription,
    hooks: Hooks,
    given_up: &dyn Fn() -> bool,
) -> Result<ConsumerInspection> {
    let started = Instant::now();
    subscription.topics.iter().try_for_each(|topic| validate::topic_name(topic))?;
    let user = (transport.properties)(1);
    // What can be refused without a broker is.
    properties::client_config(&user, subscription)?;
    let owner = open::connection(transport, &user, hooks)?;
    let within = transport.connect_timeout;
    let check = ConnectCheck {
        inner: owner.inner(),
        brokers: open::brokers(&user),
        plaintext: connect::is_plaintext(get(&user, "security.protocol")),
        topics: &[],
        purpose: "read",
        producer_id: false,
        timeout: within,
        deadline: later(started, within),
        given_up,
        probing: OnceCell::new(),
    };
    let client = &owner.inner().client;
    // A broker of `bootstrap.servers` answers this. Later requests go to the brokers that it names, which may be unreachable.
    let (names, mut seen) = look(&check, subscription)?;
    let mut found = ConsumerInspection::default();
    let brokers = std::mem::take(&mut seen.brokers);
    found.brokers = reachability::all(owner.inner(), brokers, later(Instant::now(), within));
    found.cluster_id = client.cluster_id(Duration::ZERO);
    let reached: BTreeSet<_> =
        found.brokers.iter().filter(|broker| broker.unreachable.is_none()).map(|b| b.id).collect();
    let deadline = later(Instant::now(), within);
    let left = || deadline.saturating_duration_since(Instant::now()).max(ANSWER);
    let topics: Vec<_> = names.iter().map(|name| &**name).collect();
    let may_read = reached.first().map(|broker| client.may(Operation::Read, &topics, *broker, left()));
    for name in &names {
        let topic = found_topic(&check, name, &seen.take(name)).map(|mut topic| {
            topic.may_read = may_read.as_ref().and_then(|may_read| may_read.get(&**name).copied());
            topic
        });
        found.topics.insert(Arc::clone(name), topic);
    }
    // Some clusters hide that topic. Those that show the setting with which they would make it do not.
    let makes_it = found.brokers.iter().any(|broker| broker.settings.contains_key(OFFSETS_REPLICAS));
    found.first_group = makes_it && seen.take(OFFSETS).code == codes::UNKNOWN_TOPIC_OR_PARTITION;
    let partitions = partitions(subscription, &found);
    let group = &*subscription.group_id;
    if reached.is_empty() {
        (found.group, found.committed) = (Err(nothing_reached(group)), Err(nothing_reached(group)));
    } else if !found.first_group {
        let coordinator = Coordinator { client, brokers: check.brokers, group, within, deadline, given_up };
        found.group = coordinator.describe();
        found.committed = match &found.group {
            Ok(_) => coordinator.committed(&partitions),
            Err(error) => Err(error.clone()),
        };
    }
    found.logs = logs(client, &led(&partitions, &found, &reached), left());
    Ok(found)
}

/// The topics of a subscription, and what a broker says of them and of the topic with the offsets.
fn look(check: &ConnectCheck<'_>, subscription: &Subscription) -> Result<(BTreeSet<Arc<str>>, DescribedCluster)> {
    if let Some(pattern) = &subscription.pattern {
        let mut seen = look_until_known(check, None, &[])?;
        let matching = seen.topics.keys().filter(|name| pattern.matches(name) && !INTERNAL_TOPICS.contains(&&***name));
        let names = matching.map(|name| name.as_str().into()).collect();
        if !seen.topics.contains_key(OFFSETS) {
            // It is not there, or not shown to this principal: only a question for it tells.
            let of_groups = look_until_known(check, Some(&[OFFSETS]), &[])?.take(OFFSETS);
            seen.topics.insert(OFFSETS.to_owned(), of_groups);
        }
        return Ok((names, seen));
    }
    let names: BTreeSet<_> = subscription.topics.iter().cloned().collect();
    let named: Vec<_> = names.iter().map(|name| &**name).collect();
    let all: Vec<_> = named.iter().copied().chain([OFFSETS]).collect();
    let seen = look_until_known(check, Some(&all), &named)?;
    Ok((names, seen))
}

fn found_topic(check: &ConnectCheck<'_>, topic: &str, seen: &DescribedTopic) -> Result<FoundSourceTopic> {
    match seen.code {
        0 => {
            let mut found = FoundSourceTopic::default();
            found.partitions = found_partitions(seen);
            Ok(found)
        }
        codes::UNKNOWN_TOPIC_OR_PARTITION => Err(check.unknown_topic(topic).without_record()),
        code => Err(denied(code, topic, None)),
    }
}

/// The partitions that would be read, as far as they exist.
fn partitions(subscription: &Subscription, found: &ConsumerInspection) -> Vec<TopicPartition> {
    let all = found.topics.iter().filter_map(|(name, topic)| Some((name, topic.as_ref().ok()?)));
    let all =
        all.flat_map(|(name, topic)| topic.partitions.iter().map(|p| TopicPartition::new(Arc::clone(name), p.id)));
    all.filter(|at| subscription.partitions.is_empty() || subscription.partitions.contains(at)).collect()
}

/// Those of which a broker that was reached is the leader. librdkafka would wait for the others.
fn led(partitions: &[TopicPartition], found: &ConsumerInspection, reached: &BTreeSet<i32>) -> Vec<TopicPartition> {
    let is_led = |at: &&TopicPartition| {
        let topic = found.topics.get(&at.topic).and_then(|topic| topic.as_ref().ok());
        let partition = topic.and_then(|topic| topic.partitions.iter().find(|partition| partition.id == at.partition));
        partition.and_then(|partition| partition.leader).is_some_and(|leader| reached.contains(&leader))
    };
    partitions.iter().filter(is_led).cloned().collect()
}

/// What is needed to ask the coordinator of a group.
struct Coordinator<'a> {
    client: &'a Client,
    brokers: &'a str,
    group: &'a str,
    within: Duration,
    deadline: Instant,
    given_up: &'a dyn Fn() -> bool,
}

impl Coordinator<'_> {
    /// Asks until the coordinator answers.
    fn ask<T>(
        &self,
        what: &str,
        question: impl Fn(&Client, Duration) -> Result<T, (i32, Option<String>)>,
    ) -> Result<T> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match question(self.client, left.max(AGAIN)) {
                Ok(answer) => return Ok(answer),
                Err((codes::LOCAL_INVALID_ARG, Some(text))) => return Err(of_another_kind(self.group, &text)),
                Err((code, _)) if !is_missing(code) => return Err(denied(code, what, None)),
                Err((code, _)) if Instant::now() >= self.deadline || (self.given_up)() => {
                    return Err(no_coordinator(self.brokers, self.within, self.group, Some(&codes::describe(code))));
                }
                Err(_) => thread::sleep(AGAIN),
            }
        }
    }

    fn describe(&self) -> Result<FoundGroup> {
        self.ask(&format!("as the group {}", self.group), |client, left| {
            match client.describe_group(self.group, left) {
                Ok(group) => Ok(found_group(group)),
                // Nothing is known of the group then.
                Err((codes::LOCAL_UNSUPPORTED_FEATURE | codes::UNSUPPORTED_VERSION, _)) => Ok(FoundGroup::default()),
                Err(error) => Err(error),
            }
        })
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.ask(&format!("the offsets of the group {}", self.group), |client, left| {
            let asked = partitions.iter().map(|at| (&*at.topic, at.partition));
            let places = client.committed(self.group, asked, left).map_err(|code| (code, None))?;
            match places.iter().find(|place| place.code != 0) {
                Some(place) => Err((place.code, None)),
                None => Ok(places.into_iter().filter(|place| place.offset >= 0).map(at).collect()),
            }
        })
    }
}

/// Codes of a coordinator that is not there yet.
fn is_missing(code: i32) -> bool {
    const COORDINATOR_LOAD_IN_PROGRESS: i32 = 14;
    const NOT_COORDINATOR: i32 = 16;
    matches!(
        code,
        COORDINATOR_LOAD_IN_PROGRESS
            | codes::COORDINATOR_NOT_AVAILABLE
            | NOT_COORDINATOR
            | codes::LOCAL_TRANSPORT
            | codes::LOCAL_TIMED_OUT
    )
}

fn found_group(described: DescribedGroup) -> FoundGroup {
    let mut found = FoundGroup::default();
    let known = |text: String| Some(text).filter(|text| !text.is_empty() && text != "Unknown");
    found.coordinator = (described.coordinator >= 0).then_some(described.coordinator);
    found.state = known(described.state);
    found.may_read = described.may_read;
    let member = |described: DescribedMember| {
        let mut found = FoundMember::default();
        (found.client_id, found.host) = (described.client_id, described.host);
        found.group_instance_id = described.group_instance_id;
        found
    };
    found.members = described.members.into_iter().map(member).collect();
    if !found.members.is_empty() {
        found.protocol = known(described.protocol.to_ascii_lowercase()).filter(|name| name != "unknown");
        found.assignor = known(described.assignor);
    }
    found
}

fn logs(client: &Client, partitions: &[TopicPartition], within: Duration) -> BTreeMap<TopicPartition, LogRange> {
    let ask = |place| {
        if partitions.is_empty() {
            return BTreeMap::new();
        }
        let answer = client.offsets(partitions.iter().map(|at| (&*at.topic, at.partition)), place, within);
        let known = answer.unwrap_or_default().into_iter().filter(|place| place.code == 0 && place.offset >= 0);
        known.map(at).collect()
    };
    let (starts, mut ends) = (ask(EARLIEST), ask(LATEST));
    let range = |(at, start): (TopicPartition, i64)| {
        let end = ends.remove(&at)?;
        Some((at, LogRange { start, end }))
    };
    starts.into_iter().filter_map(range).collect()
}

fn at(place: Place) -> (TopicPartition, i64) {
    (TopicPartition::new(place.topic, place.partition), place.offset)
}

pub(crate) fn of_another_kind(group: &str, text: &str) -> Error {
    let text = text.trim_end_matches('.');
    Error::new(ErrorKind::Config, format!("cannot read as the group {group}: {text}"))
        .with_help("set another `group_id`: this group belongs to something that is no consumer")
        .without_record()
}

pub(crate) fn nothing_reached(group: &str) -> Error {
    let text = format!("cannot ask for the group {group}: no broker can be reached under the name that it advertises");
    Error::new(ErrorKind::Connection, text)
        .with_help("correct the brokers' advertised.listeners, or the DNS and the firewall here")
        .without_record()
}
