use std::thread;

use super::reachability::connect_to;
use super::*;

#[test]
fn a_port_that_cannot_be_reached_says_why() {
    let here = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = here.local_addr().unwrap().port();
    let within = Duration::from_secs(5);
    assert_eq!(connect_to("127.0.0.1", port, within), Ok(()));
    assert!(connect_to("127.0.0.1", 1, within).unwrap_err().contains("refused"));
    assert!(connect_to("no.invalid", 9092, within).is_err());
}

#[test]
fn a_request_without_an_answer_ends_with_its_client() {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", "127.0.0.1:1");
    let client = Arc::new(Client::create(&config).unwrap());
    let asks = thread::spawn({
        let client = Arc::clone(&client);
        move || client.broker_settings(1, Duration::from_secs(60))
    });
    // No event says that the request is under way.
    thread::sleep(Duration::from_millis(200));
    client.destroy();
    assert_eq!(asks.join().unwrap(), Err(codes::LOCAL_DESTROY), "its own time-out is `_TIMED_OUT`");
}

/// Also run under memcheck: it reads memory that librdkafka allocated.
#[cfg(feature = "mock-cluster")]
#[tokio::test]
async fn a_mock_cluster_is_read_whole() {
    let mock = crate::MockCluster::start(2).unwrap();
    mock.create_topic("orders", 3).unwrap();
    let found =
        inspect([("bootstrap.servers", mock.bootstrap())], "orders", Duration::from_secs(20), None).await.unwrap();
    assert_eq!(found.brokers.iter().map(|broker| broker.id).collect::<Vec<_>>(), [1, 2]);
    assert!(found.brokers.iter().all(|broker| broker.host == "127.0.0.1" && broker.unreachable.is_none()), "{found:?}");
    assert!(found.cluster_id.is_some_and(|id| id.starts_with("mockCluster")) && found.producer_id.is_none());
    let topic = found.topic.unwrap();
    assert_eq!(topic.partitions.iter().map(|partition| partition.id).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(topic.partitions.iter().all(|partition| partition.leader.is_some() && partition.error.is_none()));
    // The mock cluster does not implement that request.
    assert!(topic.settings.is_err());
    // Codes that the binding's enum does not have.
    for (code, kind) in [(29, ErrorKind::Authorization), (4242, ErrorKind::Unknown)] {
        mock.set_topic_error("orders", code).unwrap();
        let found =
            inspect([("bootstrap.servers", mock.bootstrap())], "orders", Duration::from_secs(20), None).await.unwrap();
        assert_eq!(found.topic.unwrap_err().kind(), kind);
    }
    assert!(
        inspect([("bootstrap.servers", mock.bootstrap())], "no\0name", Duration::from_secs(1), None).await.is_err()
    );
}

#[cfg(feature = "mock-cluster")]
#[tokio::test]
async fn a_refused_producer_id_hides_nothing_else() {
    const INIT_PRODUCER_ID: i16 = 22;
    let mock = crate::MockCluster::start(1).unwrap();
    mock.fail_requests(INIT_PRODUCER_ID, &[31]);
    // The topic is looked at for a second, and the producer id is refused meanwhile.
    mock.set_topic_error("orders", codes::LEADER_NOT_AVAILABLE).unwrap();
    let properties = [("bootstrap.servers", mock.bootstrap()), ("enable.idempotence", "true")];
    let found = inspect(properties, "orders", Duration::from_secs(20), None).await.unwrap();
    assert_eq!(found.producer_id.unwrap().kind(), ErrorKind::Authorization);
    assert!(found.topic.unwrap_err().to_string().contains("LEADER_NOT_AVAILABLE"));
}

#[test]
fn the_texts_about_a_topic_agree_with_their_facts() {
    let client = Client::create(&rdkafka::ClientConfig::new()).unwrap();
    for code in codes::all().map(|row| row.code).filter(|code| *code != 0) {
        let seen = DescribedTopic { code, partitions: Vec::new() };
        let found = found_topic(&client, "orders", "kafka-1:9092", &seen, None, Duration::ZERO);
        kafka_tower_test_texts::assert_consistent(&found.err().unwrap());
        kafka_tower_test_texts::assert_consistent(&settings_not_seen("orders", code));
    }
}
