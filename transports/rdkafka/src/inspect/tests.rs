use super::*;

#[test]
fn brokers_that_cannot_be_reached_say_why() {
    let here = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = here.local_addr().unwrap().port();
    let seen =
        vec![(3, "127.0.0.1".to_owned(), 1), (1, "127.0.0.1".to_owned(), port), (2, "no.invalid".to_owned(), 9092)];
    let found = try_brokers(seen);
    assert_eq!(found.iter().map(|broker| broker.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(found[0].unreachable, None);
    assert!(found[1].unreachable.is_some());
    assert!(found[2].unreachable.as_deref().is_some_and(|why| why.contains("refused")), "{found:?}");
}

/// Also for memcheck: it reads what librdkafka allocates.
#[cfg(feature = "mock-cluster")]
#[tokio::test]
async fn a_mock_cluster_is_read_whole() {
    let mock = crate::MockCluster::start(2).unwrap();
    mock.create_topic("orders", 3).unwrap();
    let found = inspect([("bootstrap.servers", mock.bootstrap())], "orders", Duration::from_secs(20)).await.unwrap();
    assert_eq!(found.brokers.iter().map(|broker| broker.id).collect::<Vec<_>>(), [1, 2]);
    assert!(found.brokers.iter().all(|broker| broker.host == "127.0.0.1" && broker.unreachable.is_none()), "{found:?}");
    assert!(found.cluster_id.is_some_and(|id| id.starts_with("mockCluster")) && found.producer_id.is_none());
    let topic = found.topic.unwrap();
    assert_eq!(topic.partitions.iter().map(|partition| partition.id).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(topic.partitions.iter().all(|partition| partition.leader.is_some() && partition.error.is_none()));
    // The mock cluster does not know that question.
    assert!(topic.settings.is_err());
    // Codes that the binding's enum does not have.
    for (code, kind) in [(29, ErrorKind::Authorization), (4242, ErrorKind::Unknown)] {
        mock.set_topic_error("orders", code).unwrap();
        let found =
            inspect([("bootstrap.servers", mock.bootstrap())], "orders", Duration::from_secs(20)).await.unwrap();
        assert_eq!(found.topic.unwrap_err().kind(), kind);
    }
    assert!(inspect([("bootstrap.servers", mock.bootstrap())], "no\0name", Duration::from_secs(1)).await.is_err());
}
