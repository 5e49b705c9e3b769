//! Consumers of sources: what they lend, how they end, and codes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;

use kafka_tower_core::{
    Assignment, Batch, BatchSink, CommitAnswer, CommitTicket, Consumer, ConsumerEvents, ConsumerTransport, GroupEvent,
    RecordRef, Subscription, TopicOffset,
};
use kafka_tower_rdkafka::RdkafkaConsumerTransport;

use super::*;

/// librdkafka's API keys.
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;

struct Events(UnboundedSender<GroupEvent>);

impl ConsumerEvents for Events {
    fn turn(&self, _: Instant, event: Option<GroupEvent>) -> Option<Instant> {
        event.map(|event| self.0.send(event));
        None
    }
}

struct Member {
    consumer: Arc<dyn Consumer>,
    events: tokio::sync::mpsc::UnboundedReceiver<GroupEvent>,
    at: Assignment,
    next_ticket: u64,
}

#[derive(Default)]
struct Numbers(VecDeque<u32>);

impl BatchSink for Numbers {
    fn record(&mut self, record: RecordRef<'_>) {
        self.0.push_back(std::str::from_utf8(record.value.unwrap()).unwrap().parse().unwrap());
    }
}

fn transport(cluster: &MockCluster, more: &[(&str, &str)]) -> RdkafkaConsumerTransport {
    let bootstrap = cluster.bootstrap();
    let properties = [("bootstrap.servers", bootstrap)];
    RdkafkaConsumerTransport::new(properties.iter().chain(more).copied()).with_connect_timeout(PATIENCE)
}

async fn opened(cluster: &MockCluster, more: &[(&str, &str)]) -> Arc<dyn Consumer> {
    let subscription = Subscription::new("g", vec!["one".into()]);
    transport(cluster, more).open(subscription).await.unwrap_or_else(|error| panic!("{error:#}"))
}

impl Member {
    /// The only member of a group, with the only partition.
    async fn join(cluster: &MockCluster) -> Self {
        Self::join_as(opened(cluster, &[]).await).await
    }

    async fn join_as(consumer: Arc<dyn Consumer>) -> Self {
        let (sender, events) = unbounded_channel();
        consumer.run(Arc::new(Events(sender)));
        let mut member = Self {
            consumer,
            events,
            at: Assignment { at: kafka_tower_core::TopicPartition::new("one", 0), epoch: 1 },
            next_ticket: 0,
        };
        let GroupEvent::Assigned(assigned) = member.event().await else { panic!("no assignment") };
        assert_eq!(assigned, [member.at.at.clone()]);
        member.consumer.start(&member.at);
        member
    }

    async fn event(&mut self) -> GroupEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").unwrap()
    }

    async fn batch(&self, max: usize) -> (Vec<u32>, Batch) {
        let mut numbers = Numbers::default();
        let read = poll_fn(|cx| self.consumer.poll_batch(&self.at, max, &mut numbers, cx));
        let batch = tokio::time::timeout(PATIENCE, read).await.expect("a batch in time");
        (numbers.0.into(), batch)
    }

    async fn read(&self, count: usize) -> Vec<u32> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.batch(count - all.len()).await.0);
        }
        all
    }

    async fn commit(&mut self, offset: i64) -> CommitAnswer {
        self.next_ticket += 1;
        let ticket = CommitTicket(self.next_ticket);
        self.consumer.commit(&[TopicOffset { topic: "one".into(), partition: 0, offset }], ticket);
        loop {
            match self.event().await {
                GroupEvent::Committed { ticket: answered, mut answers } => {
                    assert_eq!((answered, answers.len()), (ticket, 1));
                    return answers.remove(0).1;
                }
                // After a code that says so, librdkafka looks for the coordinator, and may join again.
                GroupEvent::Revoked(revoked) => self.consumer.release(&revoked),
                GroupEvent::Assigned(_) => {
                    self.at.epoch += 1;
                    self.consumer.start(&self.at);
                }
                GroupEvent::Lost(_) => {}
                other => panic!("instead of an answer: {other:?}"),
            }
        }
    }

    async fn left(&mut self) {
        while !matches!(self.event().await, GroupEvent::Left) {}
        ended().await;
    }
}

/// Waits a while until no consumer is being destroyed or connected: memcheck would take its memory for lost.
async fn ended() {
    const OURS: [&str; 5] =
        ["kafka-tower-sou", "kafka-tower-con", "kafka-tower-que", "kafka-tower-ins", "kafka-tower-rea"];
    let is_left = || {
        let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let mut names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        names.any(|name| OURS.iter().any(|ours| name.starts_with(ours)))
    };
    let end = Instant::now() + Duration::from_secs(5);
    while is_left() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn cluster(records: u32) -> (MockCluster, RdkafkaTransport) {
    let cluster = MockCluster::start(1).unwrap();
    cluster.create_topic("one", 1).unwrap();
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", cluster.bootstrap());
    let mut transport = builder.connect().await.unwrap();
    append(&mut transport, 0..records).await;
    (cluster, transport)
}

async fn append(transport: &mut RdkafkaTransport, numbers: std::ops::Range<u32>) {
    let mut all = Vec::new();
    for number in numbers {
        all.push(call(transport, Record::new("one").with_partition(0).with_value(number.to_string())).await);
    }
    join_all(all).await.into_iter().for_each(|delivery| drop(delivery.unwrap()));
}

#[tokio::test]
async fn a_sink_that_panics_loses_nothing_of_the_client() {
    struct Bomb(u32);
    impl BatchSink for Bomb {
        fn record(&mut self, _: RecordRef<'_>) {
            self.0 += 1;
            assert!(self.0 < 3, "planted");
        }
    }
    let (cluster, mut transport) = cluster(20).await;
    let mut member = Member::join(&cluster).await;
    let read = poll_fn(|cx| {
        let mut bomb = Bomb(0);
        let polled = catch_unwind(AssertUnwindSafe(|| member.consumer.poll_batch(&member.at, 10, &mut bomb, cx)));
        match polled {
            // A position, or nothing yet.
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(batch)) if batch.records == 0 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Poll::Ready(batch)) if batch.records < 3 => panic!("too few to reach the planted panic: {batch:?}"),
            Ok(Poll::Ready(_)) => panic!("no panic"),
            Err(_) => Poll::Ready(()),
        }
    });
    tokio::time::timeout(PATIENCE, read).await.expect("a batch");
    // What was lent to it is gone, and its reader knows: nothing comes twice, and nothing else is missing.
    append(&mut transport, 20..25).await;
    let rest = member.read(15).await;
    assert_eq!(rest.last(), Some(&24), "{rest:?}");
    member.consumer.leave(PATIENCE);
    member.left().await;
}

/// Records are lent as they were written, or, if they are not wanted, without their headers.
#[tokio::test]
async fn headers_are_lent_if_they_are_wanted() {
    type Part = Option<Vec<u8>>;
    type Whole = (Part, Part, Vec<(String, Part)>);
    #[derive(Default)]
    struct Kept(Vec<Whole>);
    impl BatchSink for Kept {
        fn record(&mut self, record: RecordRef<'_>) {
            let own = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
            let headers = record.headers.iter().map(|(name, value)| ((*name).to_owned(), own(*value)));
            self.0.push((own(record.key), own(record.value), headers.collect()));
        }
    }
    let (cluster, mut sender) = cluster(0).await;
    let (mut sent, mut written) = (Vec::new(), Kept::default());
    for i in 0..40_usize {
        let key = (i % 3 == 0).then(|| vec![b'k'; i % 5]);
        let value = (i % 7 != 0).then(|| vec![0; i]);
        let headers = (0..i % 4).map(|n| (format!("h{n}"), (n != 1).then(|| vec![0; n])));
        let headers: Vec<_> = headers.collect();
        let mut record = Record::new("one").with_partition(0);
        (record.key, record.value) = (key.clone().map(Into::into), value.clone().map(Into::into));
        for (name, value) in &headers {
            match value {
                Some(value) => record.headers.push(name.clone(), value.clone()),
                None => record.headers.push_null(name.clone()),
            }
        }
        sent.push(call(&mut sender, record).await);
        written.0.push((key, value, headers));
    }
    join_all(sent).await.into_iter().for_each(|delivery| drop(delivery.unwrap()));
    for wanted in [true, false] {
        let mut subscription = Subscription::new(format!("g{wanted}"), vec!["one".into()]);
        subscription.headers = wanted;
        let opened = transport(&cluster, &[]).open(subscription).await.unwrap();
        let mut member = Member::join_as(opened).await;
        let mut kept = Kept::default();
        while kept.0.len() < written.0.len() {
            let read = poll_fn(|cx| member.consumer.poll_batch(&member.at, 30, &mut kept, cx));
            tokio::time::timeout(PATIENCE, read).await.expect("a batch in time");
        }
        assert_eq!(kept.0, written.0);
        written.0.iter_mut().for_each(|(.., headers)| headers.clear());
        member.consumer.leave(PATIENCE);
        member.left().await;
    }
}

/// The records of a batch belong to librdkafka until they were lent: it must not be destroyed before, and nobody else waits.
#[tokio::test]
async fn a_reader_that_is_stuck_delays_neither_the_end_nor_a_drop() {
    struct Stuck(mpsc::Sender<()>, mpsc::Receiver<()>);
    impl BatchSink for Stuck {
        fn record(&mut self, record: RecordRef<'_>) {
            let _ = self.0.send(());
            let _ = self.1.recv();
            // The bytes are still there.
            assert!(record.value.is_some_and(|value| value.len() == 1));
        }
    }
    let (cluster, _transport) = cluster(5).await;
    let mut member = Member::join(&cluster).await;
    let (consumer, at) = (Arc::clone(&member.consumer), member.at.clone());
    let ((is_in, entered), (go_on, goes_on)) = (mpsc::channel(), mpsc::channel());
    let reader = thread::spawn(move || {
        let mut stuck = Stuck(is_in, goes_on);
        while consumer.poll_batch(&at, 5, &mut stuck, &mut Context::from_waker(Waker::noop())).is_pending() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    tokio::task::spawn_blocking(move || entered.recv().unwrap()).await.unwrap();
    member.consumer.leave(Duration::from_secs(20));
    while !matches!(member.event().await, GroupEvent::Left) {}
    drop(member);
    drop(go_on);
    reader.join().unwrap();
    ended().await;
}

#[tokio::test]
async fn codes_of_commits_are_answers() {
    type Is = fn(&CommitAnswer) -> bool;
    let (cluster, _transport) = cluster(5).await;
    let mut member = Member::join(&cluster).await;
    let retry: Is = |answer| matches!(answer, CommitAnswer::Retry(_));
    let committed: Is = |answer| matches!(answer, CommitAnswer::Committed);
    let refused: Is = |answer| matches!(answer, CommitAnswer::Refused(_));
    // librdkafka repeats commits after 14, 15 and 16 by itself.
    for (code, is) in [
        (14, committed),
        (16, committed),
        (12, refused),
        (28, refused),
        (29, refused),
        (30, refused),
        (200, retry),
        // The last one: the member joins again, in its own time.
        (27, retry),
    ] {
        cluster.fail_requests(OFFSET_COMMIT, &[code]);
        let answer = member.commit(3).await;
        assert!(is(&answer), "{code}: {answer:?}");
        assert!(committed(&member.commit(4).await), "after {code}");
    }
    assert_eq!(member.read(5).await, [0, 1, 2, 3, 4]);
    member.consumer.leave(PATIENCE);
    member.left().await;
}

/// While the coordinator moves, it does not tell where the group's partitions begin, and librdkafka would not ask again.
#[tokio::test]
async fn a_partition_whose_offset_is_not_told_at_first_is_read() {
    let after = |codes: Vec<i32>| async move {
        let (cluster, _transport) = cluster(5).await;
        let consumer = opened(&cluster, &[]).await;
        cluster.fail_requests(OFFSET_FETCH, &codes);
        let mut member = Member::join_as(consumer).await;
        assert_eq!(member.read(5).await, [0, 1, 2, 3, 4], "after {codes:?}");
        member.consumer.leave(PATIENCE);
        member.left().await;
    };
    join_all([vec![16], vec![14, 15, 16], vec![7; 8], vec![200]].map(after)).await;
}

/// The coordinator does not tell it for longer than the group can wait.
#[tokio::test]
async fn a_partition_that_is_not_read_is_told() {
    let (cluster, _transport) = cluster(5).await;
    let consumer = opened(&cluster, &[]).await;
    cluster.fail_requests(OFFSET_FETCH, &[16; 500]);
    let mut member = Member::join_as(consumer).await;
    let GroupEvent::Unable { error, .. } = member.event().await else { panic!("nothing is told") };
    assert!(format!("{error:#}").contains("are not read until they are assigned again"), "{error:#}");
    member.consumer.leave(PATIENCE);
    member.left().await;
}

/// Also after codes that Kafka does not have: nothing is skipped, and nothing comes twice.
#[tokio::test]
async fn a_fetch_that_fails_leaves_no_gap() {
    let (cluster, mut transport) = cluster(5).await;
    let mut member = Member::join(&cluster).await;
    assert_eq!(member.read(5).await, [0, 1, 2, 3, 4]);
    let mut next = 5;
    for code in [200, 2, 87, 29, 103] {
        cluster.fail_requests(FETCH, &[code]);
        append(&mut transport, next..next + 3).await;
        assert_eq!(member.read(3).await, (next..next + 3).collect::<Vec<_>>(), "after {code}");
        next += 3;
    }
    member.consumer.leave(PATIENCE);
    member.left().await;
}

/// The group has committed an offset that the log does not have.
#[tokio::test]
async fn an_offset_that_is_not_in_the_log_is_an_event() {
    let (cluster, mut transport) = cluster(5).await;
    // The mock cluster gives the partition to the next member once the time of the one that left is over.
    let mut member = Member::join_as(opened(&cluster, &[("session.timeout.ms", "6000")]).await).await;
    assert!(matches!(member.commit(1_000).await, CommitAnswer::Committed));
    member.consumer.leave(PATIENCE);
    member.left().await;
    let mut member = Member::join(&cluster).await;
    // librdkafka reads from its beginning, and nothing of that is lent.
    let event = loop {
        let mut numbers = Numbers::default();
        let mut deaf = Context::from_waker(Waker::noop());
        let _ = member.consumer.poll_batch(&member.at, 10, &mut numbers, &mut deaf);
        assert!(numbers.0.is_empty(), "{:?}", numbers.0);
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(10), member.event()).await {
            break event;
        }
    };
    let GroupEvent::OutOfRange { at, offset: 1_000, start: 0, end: 5 } = event else { panic!("{event:?}") };
    assert_eq!(at, member.at);
    member.at.epoch += 1;
    member.consumer.seek(&member.at, 0);
    assert_eq!(member.read(5).await, [0, 1, 2, 3, 4]);
    append(&mut transport, 5..6).await;
    let (numbers, batch) = member.batch(10).await;
    assert_eq!((numbers, batch.position), (vec![5], Some(6)), "no position of before");
    member.consumer.leave(PATIENCE);
    member.left().await;
}

#[tokio::test]
async fn a_consumer_that_never_ran_ends_with_its_handle() {
    let (cluster, _transport) = cluster(1).await;
    drop(opened(&cluster, &[]).await);
    // Its future was dropped while it connected.
    let never = MockCluster::start(1).unwrap();
    never.broker_down(1).unwrap();
    let transport = transport(&never, &[]).with_connect_timeout(Duration::from_secs(3));
    let open = transport.open(Subscription::new("g", vec!["one".into()]));
    assert!(tokio::time::timeout(Duration::from_millis(50), open).await.is_err());
    ended().await;
}

#[tokio::test]
async fn opening_fails_with_the_cause() {
    let (cluster, _transport) = cluster(1).await;
    let error = |properties: Vec<(&'static str, String)>, topic: &'static str| async move {
        let transport = RdkafkaConsumerTransport::new(properties).with_connect_timeout(Duration::from_secs(5));
        let opened = transport.open(Subscription::new("g", vec![topic.into()])).await;
        opened.expect_err("it cannot be opened")
    };
    let bootstrap = || ("bootstrap.servers", cluster.bootstrap().to_owned());
    let refused = error(vec![bootstrap(), ("enable.auto.commit", "true".to_owned())], "one").await;
    assert_eq!(refused.message(), "the property `enable.auto.commit` is set by the source");
    let unknown = error(vec![bootstrap(), ("sesion.timeout.ms", "1".to_owned())], "one").await;
    assert_eq!(unknown.message(), "librdkafka has no property `sesion.timeout.ms`");
    let nowhere = error(vec![("bootstrap.servers", "127.0.0.1:1".to_owned())], "one").await;
    assert_eq!(nowhere.kind(), ErrorKind::Connection, "{nowhere}");
    assert!(nowhere.message().contains("Connection refused"), "{nowhere}");
    // The coordinator does not let this group read: FindCoordinator has the API key 10.
    cluster.fail_requests(10, &[30; 20]);
    let denied = error(vec![bootstrap()], "one").await;
    assert_eq!(
        (denied.kind(), denied.error_type()),
        (ErrorKind::Authorization, "GROUP_AUTHORIZATION_FAILED"),
        "{denied}"
    );
    assert!(denied.message().starts_with("cannot read as the group g: "), "{denied}");
    ended().await;
}

#[tokio::test]
async fn an_inspection_reads_the_ends_of_logs_and_what_a_group_has_committed() {
    let (cluster, _transport) = cluster(5).await;
    let mut member = Member::join(&cluster).await;
    assert!(matches!(member.commit(3).await, CommitAnswer::Committed));
    member.consumer.leave(PATIENCE);
    member.left().await;
    let inspect = async |topics: &[&str]| {
        let topics = topics.iter().map(|topic| (*topic).into()).collect();
        let found = transport(&cluster, &[]).inspect(Subscription::new("g", topics)).await;
        ended().await;
        found.unwrap_or_else(|error| panic!("{error:#}"))
    };
    let found = inspect(&["none", "one"]).await;
    let at = kafka_tower_core::TopicPartition::new("one", 0);
    assert_eq!(found.committed.unwrap().into_iter().collect::<Vec<_>>(), [(at.clone(), 3)]);
    let logs: Vec<_> = found.logs.into_iter().map(|(at, log)| (at, log.start, log.end)).collect();
    assert_eq!(logs, [(at, 0, 5)]);
    assert_eq!(found.topics["none"].as_ref().unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition);
    assert_eq!(found.topics["one"].as_ref().unwrap().partitions[0].leader, Some(1));
    // The mock cluster has no such requests. Nothing is guessed.
    assert_eq!(found.topics["one"].as_ref().unwrap().may_read, None);
    let group = found.group.unwrap();
    assert_eq!((group.state, group.may_read, group.members.len()), (None, None, 0));
    // Also codes that the binding's enum does not have.
    for (code, kind) in [(30, ErrorKind::Authorization), (4242, ErrorKind::Unknown)] {
        cluster.fail_requests(OFFSET_FETCH, &[code]);
        assert_eq!(inspect(&["one"]).await.committed.unwrap_err().kind(), kind, "{code}");
    }
    cluster.fail_requests(LIST_OFFSETS, &[4242; 20]);
    assert!(inspect(&["one"]).await.logs.is_empty());
}
