use super::*;

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_the_limit_is_delivered_in_order() {
    let (kafka, sink) = limited(3).await;
    kafka.script().always().delay(Duration::from_millis(1));
    let results = sink.send_batch((0..1000).map(order)).await.unwrap();
    let offsets: Vec<_> = results.into_iter().map(|result| result.unwrap().offset.unwrap()).collect();
    assert_eq!(offsets, (0..1000).collect::<Vec<_>>());
    assert_eq!(ids(&kafka), (0..1000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_a_result_for_each_message_in_order() {
    let (kafka, sink) = limited(10).await;
    kafka.script().after(100).times(50).delay(Duration::from_secs(1));
    // Errors that certainly belong to these records: a record with an error that another record may have caused is
    // first sent alone.
    let refused = Error::new(ErrorKind::Rejected, "no").with_scope(Scope::Record);
    kafka.script().after(200).times(2).fail(refused);
    let messages = (0..300).map(|id| if id == 7 { order(id).with_topic("no topic!") } else { order(id) });
    let results = sink.send_batch(messages).await.unwrap();
    assert_eq!(results.len(), 300);
    let failed: Vec<_> = results.iter().enumerate().filter_map(|(i, result)| Some((i, facts(result)?.0))).collect();
    // The script does not count the record of the refused topic.
    assert_eq!(failed, [(7, ErrorKind::InvalidRecord), (201, ErrorKind::Rejected), (202, ErrorKind::Rejected)]);
    assert_eq!(results[299].as_ref().unwrap().offset, Some(299 - 3));
    let none = sink.send_batch(Vec::<Order>::new()).await.unwrap();
    assert!(none.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_room_fails_together() {
    let (kafka, sink) = limited(2).await;
    let hold = kafka.script().always().hold();
    let begun = Instant::now();
    let own = begun + Duration::from_secs(50);
    let messages = (0..1000).map(|id| if id == 500 { order(id).with_deadline(own) } else { order(id) });
    let results = sink.send_batch(messages).await.unwrap();
    assert_eq!(
        begun.elapsed().as_secs(),
        50,
        "the message with the long deadline used it, and the others got no additional time"
    );
    let possibly = Some((ErrorKind::Timeout, Persistence::PossiblyPersisted));
    assert_eq!([facts(&results[0]), facts(&results[1])], [possibly; 2], "they are in flight");
    assert!(results[2..].iter().all(|result| facts(result) == NO_ROOM));
    assert_eq!(ids(&kafka), [0, 1]);
    drop(hold);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_makes_progress_does_not_time_out() {
    let (kafka, sink) = limited(1).await;
    kafka.script().always().delay(Duration::from_secs(14));
    let begun = Instant::now();
    let results = sink.send_batch((0..10).map(order)).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(begun.elapsed().as_secs(), 140);
}

#[tokio::test(start_paused = true)]
async fn a_batch_may_change_its_task() {
    let (kafka, sink) = limited(100).await;
    kafka.script().always().delay(Duration::from_secs(1));
    let mut batch = sink.send_batch((0..100).map(order)).with_own_waker();
    batch.poll_pending();
    let results = tokio::spawn(batch.0).await.unwrap().unwrap();
    assert!(results.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_dropped_batch_sends_no_more() {
    let (kafka, sink) = limited(2).await;
    let hold = kafka.script().always().hold();
    let mut batch = sink.send_batch((0..10).map(order)).with_own_waker();
    batch.poll_pending();
    drop(batch);
    drop(hold);
    sink.flush().await.unwrap();
    assert_eq!(ids(&kafka), [0, 1]);
}
