//! The test's handle to the broker.

use std::fmt;
use std::sync::Arc;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::validate;

use crate::client::Broker;
use crate::consumer::MemoryConsumer;
use crate::faults::plan::Plan;
use crate::faults::{Fault, Faults};
use crate::producer::{DEFAULT_LIMITS, Producer};
use crate::rule::Rule;
use crate::source::CommitFault;
use crate::transaction::rule::TransactionRule;
use crate::transport::MemoryTransport;

/// An in-memory Kafka. A clone is another handle to the same Kafka.
///
/// ```
/// use kafka_tower_memory::MemoryKafka;
///
/// let kafka = MemoryKafka::new().with_topic("orders", 3).with_topic("bills", 1);
/// assert_eq!(kafka.partition_count("orders"), Some(3));
/// assert_eq!(kafka.len("orders"), 0);
/// ```
#[derive(Clone)]
pub struct MemoryKafka {
    pub(crate) broker: Arc<Broker>,
}

impl MemoryKafka {
    /// Creates a Kafka without topics. It refuses records for unknown topics.
    #[must_use]
    pub fn new() -> Self {
        Self { broker: Broker::new() }
    }

    /// Creates a topic. See [`create_topic`](Self::create_topic).
    ///
    /// # Panics
    ///
    /// As `create_topic`.
    #[must_use]
    pub fn with_topic(self, name: &str, partitions: u32) -> Self {
        self.create_topic(name, partitions);
        self
    }

    /// Creates an unknown topic at its first record, with `partitions` partitions.
    ///
    /// # Panics
    ///
    /// If `partitions` is 0 or exceeds `i32`.
    #[must_use]
    pub fn with_auto_create(self, partitions: u32) -> Self {
        check_partitions(partitions);
        self.broker.with_log(|log| log.set_auto_create(partitions));
        self
    }

    /// Makes a topic refuse larger records. See [`set_max_record_bytes`](Self::set_max_record_bytes).
    ///
    /// # Panics
    ///
    /// As `set_max_record_bytes`.
    #[must_use]
    pub fn with_max_record_bytes(self, topic: &str, bytes: usize) -> Self {
        self.set_max_record_bytes(topic, bytes);
        self
    }

    /// Creates a topic. A topic that exists with the same number of partitions is left as it is.
    ///
    /// # Panics
    ///
    /// If Kafka would refuse it: invalid name, no partitions, or the topic exists with another number of partitions.
    pub fn create_topic(&self, name: &str, partitions: u32) {
        if let Err(error) = validate::topic_name(name) {
            panic!("{error:#}");
        }
        check_partitions(partitions);
        // Sources with a pattern look for topics.
        if let Err(count) = self.broker.with_store(|store| store.log.create(name.into(), partitions)) {
            panic!("topic {name} exists with {count} partitions, not {partitions}");
        }
    }

    /// Makes a topic refuse records without a key, as `cleanup.policy=compact` does. Nothing is compacted.
    ///
    /// # Panics
    ///
    /// If the topic does not exist.
    pub fn set_compacted(&self, topic: &str) {
        assert!(self.broker.with_log(|log| log.set_compacted(topic)), "topic {topic} does not exist");
    }

    /// Makes a topic refuse records with more than `bytes` bytes of key, value and headers, as `max.message.bytes`
    /// does.
    ///
    /// # Panics
    ///
    /// If the topic does not exist.
    pub fn set_max_record_bytes(&self, topic: &str, bytes: usize) {
        let found = self.broker.with_log(|log| log.set_max_record_bytes(topic, bytes));
        assert!(found, "topic {topic} does not exist");
    }

    /// Deletes the records of a partition before an offset, as retention and Kafka's `DeleteRecords` do: the log then begins at
    /// this offset, or at its end if that is before.
    ///
    /// # Panics
    ///
    /// If the partition does not exist.
    ///
    /// ```
    /// use kafka_tower_memory::MemoryKafka;
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 3);
    /// kafka.delete_records("orders", 0, 100);
    /// ```
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        // Its readers look again.
        let deleted = self.broker.with_store(|store| store.log.delete_before(topic, partition, before));
        assert!(deleted.is_some(), "{topic}[{partition}] does not exist");
    }

    /// Creates a producer with [`DEFAULT_LIMITS`]. Each call creates another one.
    #[must_use]
    pub fn transport(&self) -> MemoryTransport {
        self.transport_with(DEFAULT_LIMITS)
    }

    /// Creates a producer with these limits; a limit of 0 counts as 1.
    #[must_use]
    pub fn transport_with(&self, limits: Limits) -> MemoryTransport {
        self.producer().limits(limits).transport()
    }

    /// Creates a producer with a transactional id, [`DEFAULT_LIMITS`] and Kafka's default transaction time-out of 60
    /// s. A later producer with the same id fences it by calling `init`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use kafka_tower_core::Record;
    /// use kafka_tower_memory::MemoryKafka;
    /// use tower::Service;
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 1);
    /// let mut transport = kafka.transactional_transport("billing-1");
    /// let control = transport.control();
    /// let transactions = control.transactions().expect("it has a transactional id");
    /// let second = Duration::from_secs(1);
    ///
    /// transactions.init(second).await.unwrap();
    /// transactions.begin(second).await.unwrap();
    /// transport.call(Record::new("orders").with_value("first")).await.unwrap();
    /// assert_eq!((kafka.len("orders"), kafka.committed("orders").len()), (1, 0));
    /// transactions.commit(second).await.unwrap();
    /// assert_eq!(kafka.committed("orders").len(), 1);
    /// # }
    /// ```
    #[must_use]
    pub fn transactional_transport(&self, id: impl Into<Arc<str>>) -> MemoryTransport {
        self.producer().transactional(id).transport()
    }

    /// Returns a builder for a producer with other settings.
    pub fn producer(&self) -> Producer {
        Producer::new(Arc::clone(&self.broker))
    }

    /// Joins a consumer group to read these topics from the group's committed offsets.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use kafka_tower_core::{Record, TopicOffset};
    /// use kafka_tower_memory::{ConsumerEvent, MemoryKafka};
    /// use tower::Service;
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 1);
    /// kafka.transport().call(Record::new("orders").with_value("first")).await.unwrap();
    ///
    /// let mut consumer = kafka.consumer("billing", ["orders"]);
    /// assert_eq!(consumer.next().await, ConsumerEvent::Assigned(vec![("orders".into(), 0)]));
    /// let ConsumerEvent::Record(stored) = consumer.next().await else { panic!("a record") };
    /// assert_eq!(stored.value().unwrap(), "first");
    /// consumer.commit(&[TopicOffset { topic: "orders".into(), partition: 0, offset: stored.offset + 1 }]).unwrap();
    /// assert_eq!(kafka.committed_offset("billing", "orders", 0), Some(1));
    /// # }
    /// ```
    #[must_use]
    pub fn consumer<T: Into<Arc<str>>>(
        &self,
        group: impl Into<Arc<str>>,
        topics: impl IntoIterator<Item = T>,
    ) -> MemoryConsumer {
        MemoryConsumer::new(Arc::clone(&self.broker), group.into(), topics.into_iter().map(Into::into).collect())
    }

    /// Removes a consumer from its group, as a session time-out does. Returns whether it was a member.
    pub fn expel(&self, consumer: &MemoryConsumer) -> bool {
        let (group, member) = consumer.member();
        self.broker.leave(group, member)
    }

    /// Asks all members of a group to give up all their partitions, as a joining member does: the groups know the eager
    /// protocol only. Returns whether there are any members.
    pub fn start_rebalance(&self, group: &str) -> bool {
        self.broker.start_rebalance(group)
    }

    /// Removes all members of a group, as session time-outs do: their partitions are lost, and their commits are refused.
    /// A source joins again by itself. Returns the number of members.
    pub fn expel_members(&self, group: &str) -> usize {
        self.broker.expel_all(group)
    }

    /// Sets what happens to the next commit of a source. Several are used one after the other.
    ///
    /// ```
    /// use kafka_tower_core::CommitAnswer;
    /// use kafka_tower_memory::{CommitFault, MemoryKafka};
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 1);
    /// kafka.next_commit(CommitFault::LoseAnswer);
    /// kafka.next_commit(CommitFault::Refuse(CommitAnswer::of_code(27, "orders")));
    /// ```
    pub fn next_commit(&self, fault: CommitFault) {
        self.broker.add_commit_fault(fault);
    }

    /// Starts a rule for later records.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kafka_tower_core::{Error, ErrorKind};
    /// use kafka_tower_memory::MemoryKafka;
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 3);
    /// kafka.script().times(2).fail(Error::new(ErrorKind::Broker, "no leader"));
    /// kafka.script().on_topic("orders").always().delay(Duration::from_millis(5));
    /// kafka.script().on_partition("orders", 1).after(2).lose_answer();
    /// let hold = kafka.script().hold();
    /// hold.release();
    /// ```
    pub fn script(&self) -> Rule {
        Rule::new(Arc::clone(&self.broker))
    }

    /// Starts a rule for later requests of transactions.
    ///
    /// ```
    /// use kafka_tower_memory::{MemoryKafka, TransactionCall};
    ///
    /// let kafka = MemoryKafka::new();
    /// kafka.script_transactions().on(TransactionCall::Commit).after(1).lose_answer();
    /// ```
    pub fn script_transactions(&self) -> TransactionRule {
        TransactionRule::new(Arc::clone(&self.broker))
    }

    /// Removes all rules from both scripts. Records that they have taken continue; held ones until their release.
    pub fn clear_script(&self) {
        drop(self.broker.with_script(crate::script::Script::clear));
        drop(self.broker.with_transaction_script(crate::transaction::script::Script::clear));
    }

    /// Draws faults from a seed from now on, for records and requests that no script rule takes. The same seed draws
    /// the same faults on any machine.
    pub fn seed_faults(&self, seed: u64, faults: Faults) {
        self.broker.set_plan(Some(Plan::new(seed, faults, None)));
    }

    /// Stops drawing faults. Delays that have started continue.
    pub fn stop_faults(&self) {
        self.broker.set_plan(None);
    }

    /// The faults that happened since [`seed_faults`](Self::seed_faults).
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.broker.with_plan(|plan| plan.happened().to_vec()).unwrap_or_default()
    }

    /// Aborts the open transaction of a transactional id and fences its producer, as the broker does at a time-out or
    /// an operator with `kafka-transactions.sh`. Returns whether a transaction was open.
    pub fn abort_transaction(&self, id: &str) -> bool {
        self.broker.with_store(|store| store.abort(id))
    }

    /// The topics, sorted by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<str>> {
        self.broker.with_log(|log| log.topics().cloned().collect())
    }
}

fn check_partitions(partitions: u32) {
    assert!(partitions > 0, "a topic has at least one partition");
    assert!(i32::try_from(partitions).is_ok(), "{partitions} partitions are more than Kafka supports");
}

impl Default for MemoryKafka {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryKafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKafka").field("topics", &self.topics()).field("unanswered", &self.unanswered()).finish()
    }
}
