use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_record_that_is_named_is_refused_and_its_neighbours_are_committed() {
    let kafka = kafka();
    let service = refusing(&kafka, &["c"], Scope::Record).await;
    let outcomes = all(send_all(&service, ["a", "b", "c", "d"])).await;
    assert_eq!(facts(&outcomes[2]), (ErrorKind::Rejected, Recovery::Reject, Persistence::NotPersisted));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
    assert_eq!(committed(&kafka), ["a", "b", "d"]);
    assert_eq!(transactions(&kafka), (1, 1), "one abort finds it");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_not_named_is_found_by_halves() {
    let kafka = kafka();
    let service = refusing(&kafka, &["5"], Scope::Batch).await;
    let outcomes = all(send_all(&service, 0..8)).await;
    let failed: Vec<_> = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_err()).map(|(n, _)| n).collect();
    assert_eq!(failed, [5]);
    let error = outcomes[5].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.scope(), error.message()), (ErrorKind::Rejected, Scope::Record, "planted"));
    assert_eq!(committed(&kafka), ["0", "1", "2", "3", "4", "6", "7"], "in the order of the calls");
    assert_eq!(transactions(&kafka), (3, 4), "0-3, 4, 6-7 are committed; 0-7, 4-7, 4-5 and 5 are aborted");
}

#[tokio::test(start_paused = true)]
async fn several_refused_records_are_found() {
    let kafka = kafka();
    let service = refusing(&kafka, &["0", "3", "7"], Scope::Batch).await;
    let outcomes = all(send_all(&service, 0..8)).await;
    let failed: Vec<_> = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_err()).map(|(n, _)| n).collect();
    assert_eq!(failed, [0, 3, 7]);
    assert_eq!(committed(&kafka), ["1", "2", "4", "5", "6"]);
}

/// The transport refuses the record itself.
#[tokio::test(start_paused = true)]
async fn an_unknown_topic_fails_its_record_only() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let good = send(&service, 0, "good");
    let bad = service.clone().call(Record::new("nowhere").with_value("bad"));
    let later = send(&service, 0, "later");
    assert_eq!(facts(&bad.await).0, ErrorKind::UnknownTopicOrPartition);
    assert!(good.await.is_ok() && later.await.is_ok());
    assert_eq!(committed(&kafka), ["good", "later"]);
}
