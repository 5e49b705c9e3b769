//! Members of a group in processes of their own, which are killed and replaced.

use std::cell::RefCell;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};
use kafka_tower_test_suite::copies::Lanes;
use kafka_tower_test_suite::random::Random;
use kafka_tower_testkit::kafka::{Builder, Cluster, Error, Isolation};
use tokio::sync::OnceCell;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::setting;

pub(crate) const PARTITIONS: i32 = 12;
const PATIENCE: Duration = Duration::from_secs(300);

/// Protocols of groups.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    /// With the cooperative assignor.
    Classic,
    /// KIP-848.
    Consumer,
}

/// Time between two kills.
pub(crate) fn pause() -> Duration {
    Duration::from_millis(setting("KAFKA_TOWER_PAUSE_MS", 1_500))
}

/// Session time-out of the groups, in milliseconds: a member that was killed is removed before the next kill.
fn session() -> u64 {
    (setting("KAFKA_TOWER_PAUSE_MS", 1_500) * 2 / 3).min(6_000)
}

/// Brokers that allow this session time-out.
pub(crate) fn with_sessions(builder: Builder) -> Builder {
    let session = session().to_string();
    builder
        .property("group.min.session.timeout.ms", &*session)
        .property("group.consumer.min.session.timeout.ms", &*session)
        .property("group.consumer.session.timeout.ms", &*session)
        .property("group.consumer.min.heartbeat.interval.ms", "100")
        .property("group.consumer.heartbeat.interval.ms", "200")
}

/// The cluster of one node that the tests share.
pub(crate) async fn one_node() -> Option<&'static Cluster> {
    static SHARED: OnceCell<Option<Cluster>> = OnceCell::const_new();
    // Nobody kills this broker: it keeps its partitions also if the machine is busy for some seconds.
    let builder = || with_sessions(Cluster::builder()).property("broker.session.timeout.ms", "30000");
    let start = || async { builder().start().await.unwrap() };
    SHARED.get_or_init(start).await.as_ref()
}

/// What a member is started with: a group that reads a topic.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) topic: String,
    settings: Vec<String>,
}

impl Group {
    pub(crate) fn new(kafka: &Cluster, topic: String, protocol: Protocol) -> Self {
        let protocol = match protocol {
            Protocol::Classic => "classic",
            Protocol::Consumer => "consumer",
        };
        let settings = [kafka.bootstrap(), &topic, &topic, protocol, &session().to_string()].map(str::to_owned);
        Self { topic, settings: settings.into() }
    }

    /// Starts a member: `what` it is, and what else it needs.
    pub(crate) fn start(&self, what: &str, more: &[&str]) -> Member {
        let mut command = Command::new(env!("CARGO_BIN_EXE_child"));
        command.arg(what).args(&self.settings).args(more).stdin(Stdio::piped());
        Member(command.spawn().unwrap())
    }

    /// Sends the numbers evenly within the time, or as fast as it goes.
    pub(crate) async fn send(&self, kafka: &Cluster, numbers: u64, within: Duration) {
        const TICK: Duration = Duration::from_millis(50);
        let (brokers, topic) = (kafka.bootstrap().to_owned(), self.topic.clone());
        // A broker on a busy machine may have no leaders for a while.
        let config = KafkaSinkConfig { brokers, topic, send_timeout_ms: 120_000, ..Default::default() };
        let sink = KafkaSink::<u64>::new(config).await.unwrap();
        let (begun, mut ticks, mut sent) = (Instant::now(), interval(TICK), 0);
        while sent < numbers {
            ticks.tick().await;
            let share = (begun.elapsed() + TICK).as_secs_f64() / within.as_secs_f64();
            let until = ((numbers as f64 * share) as u64).min(numbers);
            let messages = (sent..until).map(|number| SinkMessage::new(number).with_key(lane(number).to_string()));
            for outcome in sink.send_batch(messages.collect::<Vec<_>>()).await.unwrap() {
                outcome.unwrap();
            }
            sent = until;
        }
    }

    /// Waits until the group has committed the end of each partition.
    pub(crate) async fn caught_up(&self, kafka: &Cluster) {
        let ends = until_ok(|| kafka.ends(&self.topic, Isolation::Uncommitted)).await;
        let mut last = (0, None);
        // A coordinator that was killed does not answer.
        let committed =
            async |partition| kafka.committed_offset(&self.topic, &self.topic, partition).await.ok().flatten();
        let ended = timeout(PATIENCE, reach(&ends, &mut last, committed)).await;
        let (partition, last) = last;
        assert!(ended.is_ok(), "partition {partition} of {ends:?} is committed up to {last:?}");
    }
}

/// Waits until each partition is committed up to its end. `last` is what it waits for: a partition and its last answer.
async fn reach(ends: &[i64], last: &mut (i32, Option<i64>), committed: impl AsyncFn(i32) -> Option<i64>) {
    for (partition, end) in (0..).zip(ends) {
        *last = (partition, None);
        // Nothing is committed where nothing is.
        while *end > 0 && last.1 != Some(*end) {
            last.1 = committed(partition).await;
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn each_partition_is_waited_for() {
    let answers = RefCell::new(vec![(0, None), (0, Some(3)), (2, None), (2, Some(2)), (2, Some(3)), (3, Some(3))]);
    let committed = async |partition| {
        let (asked, answer) = answers.borrow_mut().remove(0);
        assert_eq!(partition, asked);
        answer
    };
    reach(&[3, 0, 3, 3], &mut (0, None), committed).await;
    assert!(answers.borrow().is_empty(), "{answers:?}");
}

/// Asks until there is an answer: a partition may have no leader.
pub(crate) async fn until_ok<T, F: Future<Output = Result<T, Error>>>(ask: impl Fn() -> F) -> T {
    let answered = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    };
    timeout(PATIENCE, answered).await.expect("an answer")
}

/// The key of a number.
pub(crate) fn lane(number: u64) -> u64 {
    number % 60
}

/// What was sent, by key.
pub(crate) fn by_key(numbers: u64) -> Lanes {
    let mut lanes = Lanes::new();
    (0..numbers).for_each(|number| lanes.entry(lane(number)).or_default().push(number));
    lanes
}

/// A process, which is killed when this value is dropped.
pub(crate) struct Member(Child);

impl Member {
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Replaces members that end by themselves. Returns how many did until the work has ended.
pub(crate) async fn replace_ended(
    members: &RefCell<[Member; 3]>,
    start: impl Fn(usize) -> Member,
    work: impl Future<Output = ()>,
) -> usize {
    let (mut work, mut ended) = (pin!(work), 0);
    while timeout(Duration::from_millis(200), &mut work).await.is_err() {
        for (place, member) in members.borrow_mut().iter_mut().enumerate() {
            if member.has_ended() {
                *member = start(place);
                ended += 1;
            }
        }
    }
    ended
}

/// Kills one member after the other, so often, and replaces each one. `start` starts the member of a place.
pub(crate) async fn kill_members(
    random: &mut Random,
    kills: u64,
    members: &RefCell<[Member; 3]>,
    start: impl Fn(usize) -> Member,
) {
    for _ in 0..kills {
        // At another moment of the work each time.
        sleep(pause() / 2 + random.time_below(pause())).await;
        let place = random.below(3) as usize;
        members.borrow_mut()[place] = start(place);
    }
}
