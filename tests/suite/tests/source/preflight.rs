//! `preflight` of a source, and what the source then does.

use std::io;
use std::sync::Arc;

use kafka_tower::source::{Acked, Checkpoint, RebalanceListener, SourceErrorKind, SourcePreflightReport};
use kafka_tower::{
    CommitStrategy, KafkaSource, KafkaSourceConfig, OutOfRangePolicy, StartFrom, Timestamp, TopicPartition,
};
use kafka_tower_core::{Consumer, ConsumerTransport, ControlFuture, Subscription};
use kafka_tower_memory::MemoryKafka;
use tokio::time::timeout;

use crate::support::{GROUP, LONG, TOPIC, config, filled, kafka, next, source, take};

fn of(kafka: &MemoryKafka, config: KafkaSourceConfig) -> impl Future<Output = SourcePreflightReport> {
    let builder = KafkaSource::<u32>::builder(config).transport(kafka.clone());
    async move { builder.preflight().await }
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

fn begins(report: &SourcePreflightReport) -> Vec<i64> {
    report.begins.values().copied().collect()
}

#[tokio::test(start_paused = true)]
async fn it_joins_no_group_and_says_where_reading_begins() {
    let kafka = filled(2, 5).await;
    let report = of(&kafka, config(CommitStrategy::Each)).await;
    assert!(report.passed() && report.warnings.is_empty(), "{report}");
    assert_eq!(begins(&report), [0, 0]);
    assert!(!kafka.start_rebalance(GROUP), "the group has no members");
    let mut source = source(&kafka, config(CommitStrategy::Each)).await;
    let report = of(&kafka, config(CommitStrategy::Each)).await;
    assert!(
        report.to_string().contains("\ngroup billing: PreparingRebalance, 1 member, protocol classic\n"),
        "{report}"
    );
    for message in take(&mut source, 3).await {
        assert_eq!(message.ack(), Acked::Counted);
    }
    let before = source.assignment();
    drop(of(&kafka, config(CommitStrategy::Each)).await);
    assert_eq!(source.assignment(), before, "no rebalance");
    drop(source.close().await);
    let report = of(&kafka, config(CommitStrategy::Each)).await;
    assert_eq!(begins(&report).iter().sum::<i64>(), 3, "{report}");
    let shown = report.to_string();
    assert!(shown.starts_with("group billing\n") && shown.ends_with("\npassed"), "{shown}");
    assert!(shown.contains("log 0 to 5  committed"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn all_that_is_wrong_is_said_at_once_and_with_conflicts_nothing_is_asked() {
    let kafka = filled(2, 5).await;
    let two =
        KafkaSourceConfig { topics: vec!["no".into(), TOPIC.into(), "none".into()], ..config(CommitStrategy::Each) };
    let report = of(&kafka, two.clone()).await;
    assert!(!report.passed() && report.problems.len() == 2, "{report}");
    assert!(KafkaSource::<u32>::builder(two).transport(kafka.clone()).build().await.is_err());
    let report =
        of(&kafka, KafkaSourceConfig { group_id: String::new(), topics: Vec::new(), ..Default::default() }).await;
    assert!(!report.passed() && report.conflicts.len() == 2 && report.inspection.is_none(), "{report}");
    let shown = report.to_string();
    assert!(shown.contains("not connected: resolve the conflicts") && shown.ends_with("\nFAILED"), "{shown}");
    // `build` refuses it, although the settings alone can work.
    let report = of(&kafka, config(CommitStrategy::Checkpoint)).await;
    assert!(!report.passed() && report.problems[0].contains("`start_at`"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_the_log_does_not_have_is_said_before_the_source_meets_it() {
    let kafka = filled(1, 5).await;
    let each = config(CommitStrategy::Each);
    let mut first = source(&kafka, each.clone()).await;
    next(&mut first).await.ack();
    drop(first.close().await);
    kafka.delete_records(TOPIC, 0, 3);
    let fail = KafkaSourceConfig { on_out_of_range: Some(OutOfRangePolicy::Fail), ..each.clone() };
    let report = of(&kafka, fail.clone()).await;
    assert!(report.problems[0].starts_with("the committed offset 1 of orders[0] is not in the log"), "{report}");
    let error = source(&kafka, fail).await.recv().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::OffsetOutOfRange);
    let report = of(&kafka, each.clone()).await;
    assert!(report.passed() && report.warnings[0].contains("reading begins at 3"), "{report}");
    assert_eq!((begins(&report), next(&mut source(&kafka, each).await).await.offset()), (vec![3], 3));
}

#[tokio::test(start_paused = true)]
async fn each_start_begins_where_it_said() {
    let kafka = filled(1, 5).await;
    let explicit = StartFrom::Explicit([(at(0), 2)].into_iter().collect::<Checkpoint>());
    for (start, begin) in [(StartFrom::Earliest, vec![0]), (StartFrom::Latest, vec![5]), (explicit, vec![2])] {
        let config =
            KafkaSourceConfig { start: start.clone(), group_id: format!("{begin:?}"), ..config(CommitStrategy::Each) };
        let report = of(&kafka, config.clone()).await;
        assert!(report.passed() && begins(&report) == begin, "{report}");
        assert_eq!(report.warnings.len(), usize::from(start == StartFrom::Latest), "{report}");
        if begin != [5] {
            assert_eq!(next(&mut source(&kafka, config).await).await.offset(), begin[0]);
        }
    }
    let time = StartFrom::Timestamp(Timestamp::now());
    let report = of(&kafka, KafkaSourceConfig { start: time, ..config(CommitStrategy::Each) }).await;
    assert!(report.passed() && report.begins.is_empty(), "it is looked up later: {report}");
}

#[tokio::test(start_paused = true)]
async fn stored_offsets_come_first_and_a_failed_look_up_is_a_problem() {
    let kafka = filled(2, 5).await;
    let builder = || KafkaSource::<u32>::builder(config(CommitStrategy::Checkpoint));
    let stored = builder().start_at(|at| async move { Ok::<_, io::Error>((at.partition == 1).then_some(4)) });
    let report = stored.transport(kafka.clone()).preflight().await;
    assert_eq!(begins(&report), [0, 4], "{report}");
    let beyond = builder().start_at(|_| async { Ok::<_, io::Error>(Some(9)) }).transport(kafka.clone());
    let report = beyond.preflight().await;
    assert!(report.problems.len() == 2 && report.problems[0].contains("stored offset 9 of orders[0]"), "{report}");
    let fails = builder().start_at(|_| async { Err::<Option<i64>, _>(io::Error::other("no database")) });
    let report = fails.transport(kafka.clone()).preflight().await;
    assert_eq!(report.problems[0], "the look-up of `start_at` failed for orders[0]: no database");
    let panics = builder().start_at(|_| async { if true { panic!("no database") } else { Ok::<_, io::Error>(None) } });
    assert!(!panics.transport(kafka.clone()).preflight().await.passed());

    struct Knows;
    impl RebalanceListener for Knows {}
    let report = builder().listener(Arc::new(Knows)).transport(kafka).preflight().await;
    assert!(report.passed() && report.begins.is_empty(), "only the listener knows: {report}");
}

#[tokio::test(start_paused = true)]
async fn fixed_partitions_beside_members_are_a_problem() {
    let kafka = filled(2, 5).await;
    let assign = |partition| KafkaSourceConfig {
        topics: Vec::new(),
        assign: vec![at(partition)],
        commit_timeout_ms: 1_000,
        ..config(CommitStrategy::Each)
    };
    assert!(of(&kafka, assign(0)).await.passed());
    let report = of(&kafka, assign(2)).await;
    assert_eq!(report.problems, ["orders[2] does not exist, because the topic has 2 partitions: correct `assign`"]);
    let mut member = source(&kafka, config(CommitStrategy::Each)).await;
    drop(next(&mut member).await);
    let report = of(&kafka, assign(0)).await;
    assert!(report.problems[0].contains("has 1 member, so Kafka refuses the commits"), "{report}");
    let mut fixed = source(&kafka, assign(0)).await;
    next(&mut fixed).await.ack();
    let fails = async {
        loop {
            if let Err(error) = fixed.recv().await {
                break error;
            }
        }
    };
    let error = timeout(LONG, fails).await.expect("an error");
    assert_eq!(error.kind(), SourceErrorKind::Commit, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_pattern_finds_its_topics_now() {
    let kafka = kafka(1).with_topic("returns", 1);
    let matching = |pattern: &str| KafkaSourceConfig {
        topics: Vec::new(),
        topic_pattern: Some(pattern.to_owned()),
        ..config(CommitStrategy::Each)
    };
    let report = of(&kafka, matching("or.*")).await;
    assert!(report.passed() && report.warnings.is_empty(), "{report}");
    assert!(report.inspection.unwrap().topics.keys().map(|name| &**name).eq([TOPIC]));
    let report = of(&kafka, matching("bills")).await;
    assert!(report.passed() && report.warnings[0].contains("no topic matches `topic_pattern` (bills)"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_cannot_be_asked_does_not_pass() {
    #[derive(Debug)]
    struct Silent;
    impl ConsumerTransport for Silent {
        fn open(&self, _: Subscription) -> ControlFuture<'_, Arc<dyn Consumer>> {
            unreachable!("preflight opens nothing")
        }
    }
    let report = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(Silent).preflight().await;
    assert!(!report.passed() && report.inspection.is_none(), "{report}");
    kafka_tower_test_texts::assert_consistent(report.error.as_ref().unwrap());
    assert!(report.to_string().contains("  help: build the source"), "{report}");
}
