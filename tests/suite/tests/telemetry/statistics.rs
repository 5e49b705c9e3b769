//! librdkafka's statistics as metrics, against its mock cluster.

use kafka_tower::rdkafka::MockCluster;
use kafka_tower::telemetry::statistics::{Statistics, metric};
use kafka_tower::{KafkaSink, KafkaSinkConfig};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connected_sink_reports_what_librdkafka_measures() {
    let mock = MockCluster::start(1).unwrap();
    mock.create_topic("orders", 1).unwrap();
    let backend = Backend::new();
    let config = KafkaSinkConfig {
        brokers: mock.bootstrap().to_owned(),
        topic: "orders".into(),
        client_id: "shop-1".into(),
        ..Default::default()
    };
    let config = config.with_property("statistics.interval.ms", "50");
    let sink = KafkaSink::<u32>::builder(config).telemetry(backend.telemetry()).build().await.unwrap();

    // Each interval reports only the records that were sent in it.
    let has = |name: &str| backend.points().keys().any(|point| point.starts_with(name));
    for round in 0.. {
        sink.send(round).await.unwrap();
        if metric::ALL.iter().all(|name| has(name) || *name == metric::BROKER_THROTTLE) {
            break;
        }
        let missing: Vec<_> = metric::ALL.iter().filter(|name| !has(name)).collect();
        assert!(round < 500, "not reported: {missing:?}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let points = backend.points();
    let (host, port) = mock.bootstrap().rsplit_once(':').unwrap();
    // "shop-1#producer-1", with a number that librdkafka counts in a process.
    let handle = points.keys().find_map(|point| point.strip_prefix(metric::PRODUCER_GENERATIONS)).unwrap().trim();
    assert!(handle.starts_with("librdkafka.handle=shop-1#producer-"), "{handle}");
    let of_broker = format!("broker.id=1 {handle} server.address={host} server.port={port}");
    let rtt = points[&format!("{} {of_broker} statistic=max", metric::BROKER_RTT)];
    assert!(rtt > 0.0 && rtt < 60.0, "seconds: {rtt}");
    assert!(points.contains_key(&format!("{} {of_broker}", metric::BROKER_OUTBUF_REQUESTS)));
    assert!(points[&format!("{} {handle} orders statistic=avg", metric::TOPIC_BATCH_MESSAGES)] >= 1.0);
    assert!(points[&format!("{} {handle}", metric::PRODUCER_GENERATIONS)] >= 1.0);
    let sent = &backend.spans()[0];
    assert_eq!(attribute(sent, "messaging.client.id").as_deref(), Some("shop-1"));
    assert_eq!(attribute(sent, "server.address").as_deref(), Some(host));
    assert_eq!(attribute(sent, "server.port").as_deref(), Some(port));
    sink.close().await.unwrap();
}

#[test]
fn windows_are_in_seconds_and_empty_ones_are_not_reported() {
    let backend = Backend::new();
    let statistics = Statistics::new(&backend.telemetry());
    let window = |cnt: u32| format!(r#"{{"cnt":{cnt},"avg":1500,"max":4000,"p99":3000,"min":1}}"#);
    let json = format!(
        r#"{{"name":"x","msg_cnt":3,"msg_size":300,"brokers":{{
            "kafka:9092/bootstrap":{{"nodename":"kafka:9092","nodeid":-1,"rtt":{w}}},
            "kafka:9092/1":{{"nodename":"kafka:9092","nodeid":1,"outbuf_cnt":2,"waitresp_cnt":1,"rtt":{w},"throttle":{w},
                "int_latency":{none}}}}},
          "topics":{{"orders":{{"batchsize":{w},"batchcnt":{none}}}}},
          "eos":{{"epoch_cnt":2,"idemp_state":"Assigned"}}}}"#,
        w = window(2),
        none = window(0),
    );
    statistics.record(&json).unwrap();
    let points: Vec<_> = backend.points().into_iter().filter(|(name, _)| !name.contains("client")).collect();
    let broker = "broker.id=1 librdkafka.handle=x server.address=kafka server.port=9092";
    let expected = [
        (format!("kafka_tower.librdkafka.broker.outbuf.requests {broker}"), 2.0),
        (format!("kafka_tower.librdkafka.broker.rtt {broker} statistic=avg"), 0.0015),
        (format!("kafka_tower.librdkafka.broker.rtt {broker} statistic=max"), 0.004),
        (format!("kafka_tower.librdkafka.broker.rtt {broker} statistic=p99"), 0.003),
        (format!("kafka_tower.librdkafka.broker.throttle {broker} statistic=avg"), 1.5),
        (format!("kafka_tower.librdkafka.broker.throttle {broker} statistic=max"), 4.0),
        (format!("kafka_tower.librdkafka.broker.throttle {broker} statistic=p99"), 3.0),
        (format!("kafka_tower.librdkafka.broker.waiting.requests {broker}"), 1.0),
        ("kafka_tower.librdkafka.queue.bytes librdkafka.handle=x".to_owned(), 300.0),
        ("kafka_tower.librdkafka.queue.messages librdkafka.handle=x".to_owned(), 3.0),
        ("kafka_tower.librdkafka.topic.batch.bytes librdkafka.handle=x orders statistic=avg".to_owned(), 1500.0),
        ("kafka_tower.librdkafka.topic.batch.bytes librdkafka.handle=x orders statistic=max".to_owned(), 4000.0),
        ("kafka_tower.librdkafka.topic.batch.bytes librdkafka.handle=x orders statistic=p99".to_owned(), 3000.0),
        ("kafka_tower.producer.generations librdkafka.handle=x".to_owned(), 2.0),
    ];
    assert_eq!(points.len(), expected.len(), "{points:#?}");
    for ((name, value), (expected_name, expected_value)) in points.iter().zip(&expected) {
        assert_eq!(name, expected_name);
        assert!((value - expected_value).abs() < 1e-9, "{name}: {value}");
    }
    let later = json.replace(&format!(r#""throttle":{}"#, window(2)), &format!(r#""throttle":{}"#, window(0)));
    statistics.record(&later).unwrap();
    let throttle = format!("kafka_tower.librdkafka.broker.throttle {broker} statistic=max");
    assert_eq!(backend.points()[&throttle], 0.0, "the broker no longer throttles");
    statistics.record("no JSON").unwrap_err();
}

/// A gauge keeps only the last value for the same attributes, so each sink needs its own.
#[test]
fn two_sinks_with_one_client_id_report_separately() {
    let backend = Backend::new();
    let telemetry = backend.telemetry().for_client("shop-1", None);
    let sinks = [Statistics::new(&telemetry), Statistics::new(&telemetry)];
    let window = r#"{"cnt":1,"avg":1,"max":1,"p99":1}"#;
    for (statistics, place) in sinks.iter().zip(1..) {
        let json = format!(
            r#"{{"name":"shop-1#producer-{place}","msg_cnt":{place},"msg_size":1,
                "brokers":{{"kafka:9092/1":{{"nodename":"kafka:9092","nodeid":1,"waitresp_cnt":{place}}}}},
                "topics":{{"orders":{{"batchsize":{window},"batchcnt":{window}}}}}}}"#
        );
        statistics.record(&json).unwrap();
    }
    let points = backend.points();
    for place in 1..=2 {
        let handle = format!("librdkafka.handle=shop-1#producer-{place}");
        assert_eq!(points[&format!("{} {handle}", metric::QUEUE_MESSAGES)], f64::from(place));
        let broker = format!("broker.id=1 {handle} server.address=kafka server.port=9092");
        assert_eq!(points[&format!("{} {broker}", metric::BROKER_WAITING_REQUESTS)], f64::from(place));
        assert!(points.contains_key(&format!("{} {handle} orders statistic=avg", metric::TOPIC_BATCH_BYTES)));
    }
}
