//! A slow and careful idempotent client, with one batch at a time for each partition: it keeps its promises under every fault.
//! With a planted defect it breaks one of them, and the judge has to notice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use kafka_tower_core::{Delivery, Error, ErrorKind, Persistence, Record};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::lane::Lane;
use super::peer::{TIMEOUT, ask};
use crate::cluster::{Cluster, PORT, Versions};
use crate::driver::{Client, Connect};
use crate::faults::number;
use crate::profiles::Profile;

/// What is wrong with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    None,
    /// Sends a batch again with a new producer id, although the first attempt may have been executed.
    NewIdInDoubt,
    /// Says that a record without an answer is not in the log.
    DeniesDoubt,
    /// Is wrong about an offset.
    WrongOffset,
    /// Sends the records of a batch in the wrong order.
    Overtakes,
    /// Never says what became of a record.
    Forgets,
    /// Takes code 6 for a success.
    BelievesNotLeader,
}

/// Connects careful clients.
#[derive(Debug)]
pub(crate) struct Careful(pub(crate) Defect);

impl Connect for Careful {
    type Client = Handle;

    async fn connect(&self, cluster: &Cluster, profile: &Profile) -> Result<Handle, Error> {
        let mut partitions = BTreeMap::new();
        for topic in profile.topics(1) {
            let found = metadata(cluster, profile, topic.name, 0).await;
            let found = found.and_then(|found| found.topics.into_iter().next()).filter(|topic| topic.error_code == 0);
            let Some(found) = found else { return Err(failed(ErrorKind::Broker, Persistence::NotPersisted)) };
            partitions.insert(topic.name, found.partitions.len() as u64);
        }
        Ok(Handle(Arc::new(Shared {
            cluster: cluster.clone(),
            profile: *profile,
            defect: self.0,
            partitions,
            lanes: Mutex::default(),
            open: AtomicUsize::new(0),
            round: AtomicU64::new(0),
            ends: Mutex::new(None),
        })))
    }
}

#[derive(Clone)]
pub(crate) struct Handle(Arc<Shared>);

pub(super) struct Shared {
    pub(super) cluster: Cluster,
    pub(super) profile: Profile,
    pub(super) defect: Defect,
    pub(super) partitions: BTreeMap<&'static str, u64>,
    pub(super) lanes: Mutex<BTreeMap<(String, i32), mpsc::UnboundedSender<Queued>>>,
    pub(super) open: AtomicUsize,
    pub(super) round: AtomicU64,
    pub(super) ends: Mutex<Option<Instant>>,
}

/// A record that waits for its turn.
pub(super) struct Queued {
    pub(super) record: Record,
    pub(super) answer: oneshot::Sender<Result<Delivery, Error>>,
}

impl Client for Handle {
    type Sending = std::pin::Pin<Box<dyn Future<Output = Result<Delivery, Error>> + Send>>;

    async fn ready(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn call(&mut self, record: Record) -> Self::Sending {
        let round = self.0.round.fetch_add(1, Ordering::Relaxed);
        let known = self.0.partitions.iter().find(|(name, _)| **name == &*record.topic);
        let partitions = known.map_or(1, |(_, partitions)| *partitions);
        let by_key =
            record.key.as_deref().map(|key| number(&key.iter().map(|byte| u64::from(*byte)).collect::<Vec<_>>()));
        let any = i32::try_from(by_key.unwrap_or(round) % partitions).expect("few");
        let partition = record.partition.unwrap_or(any);
        let (answer, answered) = oneshot::channel();
        let mut lanes = self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry((record.topic.to_string(), partition)).or_insert_with(|| {
            let (queue, queued) = mpsc::unbounded_channel();
            let topic = self.0.partitions.keys().find(|name| **name == &*record.topic).expect("a topic of the test");
            tokio::spawn(Lane::new(Arc::clone(&self.0), topic, partition).run(queued));
            queue
        });
        self.0.open.fetch_add(1, Ordering::Relaxed);
        assert!(lane.send(Queued { record, answer }).is_ok(), "a lane does not end");
        Box::pin(async move {
            match answered.await {
                Ok(answer) => answer,
                Err(_) => std::future::pending().await,
            }
        })
    }

    async fn flush(&self) -> Result<(), Error> {
        while self.0.open.load(Ordering::Relaxed) > 0 {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn close(&self, within: Duration) -> Result<(), Error> {
        *self.0.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + within);
        self.flush().await
    }
}

pub(super) fn failed(kind: ErrorKind, persistence: Persistence) -> Error {
    Error::new(kind, "the careful client has given up").with_persistence(persistence)
}

/// Versions of `Produce`, `Metadata` and `InitProducerId`.
pub(super) fn versions(of: Versions) -> [i16; 3] {
    match of {
        Versions::Kafka43 => [13, 13, 5],
        Versions::Kafka39 => [11, 12, 4],
        Versions::Kafka25 => [8, 9, 3],
    }
}

pub(super) async fn metadata(
    cluster: &Cluster,
    profile: &Profile,
    topic: &'static str,
    salt: u64,
) -> Option<MetadataResponse> {
    let name = TopicName(StrBytes::from_static_str(topic));
    let wanted = MetadataRequestTopic::default().with_name(Some(name));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    any(cluster, profile, salt, versions(profile.versions)[1], &request).await
}

/// Asks one of the brokers.
pub(super) async fn any<R: Request>(
    cluster: &Cluster,
    profile: &Profile,
    salt: u64,
    version: i16,
    request: &R,
) -> Option<R::Response> {
    let host = format!("broker-{}", salt % u64::from(profile.brokers.unsigned_abs()));
    let mut stream = timeout(TIMEOUT, cluster.connect(&host, PORT)).await.ok()?.ok()?;
    ask(&mut stream, version, request).await
}
