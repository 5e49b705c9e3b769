//! Creates, deletes and configures topics, and finds the leaders of partitions.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::client::{self, blocking};
use crate::kafka::{Cluster, Error};

const LIMIT: Duration = Duration::from_secs(30);

/// Clients that are created at the first use and kept.
pub(crate) struct Clients {
    bootstrap: String,
    admin: OnceLock<AdminClient<DefaultClientContext>>,
    metadata: OnceLock<Arc<BaseConsumer>>,
}

impl Clients {
    pub(crate) fn new(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned(), admin: OnceLock::new(), metadata: OnceLock::new() }
    }

    fn admin(&self) -> Result<&AdminClient<DefaultClientContext>, Error> {
        if let Some(admin) = self.admin.get() {
            return Ok(admin);
        }
        let admin = client::config(&self.bootstrap).create().map_err(Error::with("cannot create an admin client"))?;
        Ok(self.admin.get_or_init(|| admin))
    }

    fn metadata(&self) -> Result<&Arc<BaseConsumer>, Error> {
        if let Some(consumer) = self.metadata.get() {
            return Ok(consumer);
        }
        let consumer = Arc::new(client::consumer(&self.bootstrap)?);
        Ok(self.metadata.get_or_init(|| consumer))
    }
}

/// Returns the leaders of a topic's partitions, by partition number; -1 means no leader. Empty if there is no such
/// topic.
pub(crate) fn leaders(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>, Error> {
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(3)).map_err(Error::with("metadata"))?;
    let partitions =
        metadata.topics().iter().filter(|found| found.name() == topic).flat_map(|found| found.partitions());
    let mut leaders: Vec<_> = partitions.map(|partition| (partition.id(), partition.leader())).collect();
    leaders.sort_unstable();
    Ok(leaders.into_iter().map(|(_, leader)| leader).collect())
}

impl Cluster {
    /// Creates a topic with one replica per broker, but at most three. Returns when each partition has a leader.
    ///
    /// # Errors
    ///
    /// If the broker refuses (the topic exists, a setting is invalid), or if a partition has no leader in time.
    pub async fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> Result<(), Error> {
        let replication = i32::try_from(self.brokers().min(3)).map_err(Error::new)?;
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        for (key, value) in config {
            topic = topic.set(key, value);
        }
        self.create(topic).await
    }

    /// Creates a topic whose partitions have one replica each, on these brokers. Returns when each partition has a
    /// leader.
    ///
    /// # Errors
    ///
    /// As [`create_topic`](Self::create_topic).
    pub async fn create_topic_on(&self, name: &str, brokers: &[i32]) -> Result<(), Error> {
        let assignment: Vec<_> = brokers.iter().map(std::slice::from_ref).collect();
        let partitions = i32::try_from(brokers.len()).map_err(Error::new)?;
        self.create(NewTopic::new(name, partitions, TopicReplication::Variable(&assignment))).await
    }

    async fn create(&self, topic: NewTopic<'_>) -> Result<(), Error> {
        let results = self.clients.admin()?.create_topics([&topic], &options()).await;
        for result in results.map_err(Error::with("create_topics"))? {
            result.map_err(|(name, code)| Error::new(format!("cannot create topic {name}: {code}")))?;
        }
        let expected = usize::try_from(topic.num_partitions).map_err(Error::new)?;
        self.wait_leaders(topic.name, move |leaders| {
            leaders.len() == expected && leaders.iter().all(|&leader| leader >= 0)
        })
        .await?;
        self.wait_answers(topic.name, topic.num_partitions).await
    }

    /// Waits until the leader of each partition answers for it. It is in the metadata some milliseconds before, and until then
    /// the leader refuses records.
    async fn wait_answers(&self, topic: &str, partitions: i32) -> Result<(), Error> {
        let mut consumer = Arc::clone(self.clients.metadata()?);
        let bootstrap = self.bootstrap().to_owned();
        let mut at = TopicPartitionList::new();
        for partition in 0..partitions {
            at.add_partition_offset(topic, partition, Offset::Offset(0)).map_err(Error::new)?;
        }
        blocking(move || {
            let end = Instant::now() + LIMIT;
            loop {
                // Short: the call asks once for the leaders, and waits for them until its time is over.
                let found = consumer.offsets_for_times(at.clone(), Duration::from_secs(1));
                match found.map(|found| found.elements().iter().try_for_each(|of| of.error())) {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(error)) | Err(error) if Instant::now() > end => {
                        return Err(Error::new(format!("a new topic is not answered for: {error}")));
                    }
                    // The client asked a broker that did not know all partitions yet, and does not ask again for minutes.
                    Ok(Err(error)) | Err(error)
                        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) =>
                    {
                        consumer = Arc::new(client::consumer(&bootstrap)?);
                    }
                    _ => std::thread::sleep(Duration::from_millis(15)),
                }
            }
        })
        .await
    }

    /// Creates a topic with a unique name: `prefix-…`.
    ///
    /// # Errors
    ///
    /// As [`create_topic`](Self::create_topic).
    pub async fn topic(&self, prefix: &str, partitions: i32) -> Result<String, Error> {
        self.topic_with(prefix, partitions, &[]).await
    }

    /// Like [`topic`](Self::topic), with settings.
    ///
    /// # Errors
    ///
    /// As [`create_topic`](Self::create_topic).
    pub async fn topic_with(&self, prefix: &str, partitions: i32, config: &[(&str, &str)]) -> Result<String, Error> {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        // The name must be unique: an external cluster still has the topics of earlier runs.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros());
        let name = format!("{prefix}-{:x}-{now:x}-{number}", std::process::id());
        self.create_topic(&name, partitions, config).await?;
        Ok(name)
    }

    /// Deletes a topic. Returns when it is no longer in the metadata.
    ///
    /// # Errors
    ///
    /// If the broker refuses.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        let results = self.clients.admin()?.delete_topics(&[name], &options()).await;
        for result in results.map_err(Error::with("delete_topics"))? {
            result.map_err(|(name, code)| Error::new(format!("cannot delete topic {name}: {code}")))?;
        }
        self.wait_leaders(name, <[i32]>::is_empty).await.map(drop)
    }

    /// Deletes the records of a partition before an offset.
    ///
    /// # Errors
    ///
    /// If the broker refuses.
    pub async fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<(), Error> {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(before)).map_err(Error::new)?;
        let deleted = self.clients.admin()?.delete_records(&offsets, &options()).await;
        let deleted = deleted.map_err(Error::with("delete_records"))?;
        deleted.elements().iter().try_for_each(|of| of.error()).map_err(Error::with("delete_records"))
    }

    /// Adds partitions to a topic, up to `total`. Returns when each has a leader.
    ///
    /// # Errors
    ///
    /// If the broker refuses.
    pub async fn add_partitions(&self, name: &str, total: usize) -> Result<(), Error> {
        let results = self.clients.admin()?.create_partitions(&[NewPartitions::new(name, total)], &options()).await;
        for result in results.map_err(Error::with("create_partitions"))? {
            result.map_err(|(name, code)| Error::new(format!("cannot add partitions to {name}: {code}")))?;
        }
        self.wait_leaders(name, move |leaders| leaders.len() == total && leaders.iter().all(|&leader| leader >= 0))
            .await
            .map(drop)
    }

    /// Replaces the settings of a topic. Settings that are not named return to their defaults.
    ///
    /// # Errors
    ///
    /// If the broker refuses.
    pub async fn alter_topic(&self, name: &str, config: &[(&str, &str)]) -> Result<(), Error> {
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (key, value) in config {
            alter = alter.set(key, value);
        }
        let results = self.clients.admin()?.alter_configs([&alter], &options()).await;
        for result in results.map_err(Error::with("alter_configs"))? {
            result.map_err(|(_, code)| Error::new(format!("cannot alter topic {name}: {code}")))?;
        }
        Ok(())
    }

    /// Waits until a partition has a leader, and returns its node id.
    ///
    /// # Errors
    ///
    /// If it has no leader within 30 s.
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<i32, Error> {
        self.leader_where(topic, partition, |leader| leader >= 0).await
    }

    /// Waits until a node other than `old` leads a partition, and returns its node id.
    ///
    /// # Errors
    ///
    /// If there is none within 30 s.
    pub async fn leader_after(&self, topic: &str, partition: i32, old: i32) -> Result<i32, Error> {
        self.leader_where(topic, partition, move |leader| leader >= 0 && leader != old).await
    }

    async fn leader_where(
        &self,
        topic: &str,
        partition: i32,
        done: impl Fn(i32) -> bool + Send + 'static,
    ) -> Result<i32, Error> {
        let index = usize::try_from(partition).map_err(Error::new)?;
        let leaders = self.wait_leaders(topic, move |leaders| leaders.get(index).is_some_and(|&leader| done(leader)));
        Ok(leaders.await?[index])
    }

    /// Requests the metadata until `done` returns true.
    async fn wait_leaders(
        &self,
        topic: &str,
        done: impl Fn(&[i32]) -> bool + Send + 'static,
    ) -> Result<Vec<i32>, Error> {
        let consumer = Arc::clone(self.clients.metadata()?);
        let topic = topic.to_owned();
        blocking(move || {
            let end = Instant::now() + LIMIT;
            loop {
                let found = leaders(&consumer, &topic);
                match found {
                    Ok(leaders) if done(&leaders) => return Ok(leaders),
                    found if Instant::now() > end => {
                        return Err(Error::new(format!(
                            "topic {topic}: not reached within {LIMIT:?}; last: {found:?}"
                        )));
                    }
                    _ => std::thread::sleep(Duration::from_millis(15)),
                }
            }
        })
        .await
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT))
}
