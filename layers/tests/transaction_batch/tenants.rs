//! Several sinks over one layer: each flushes, closes and counts its own records.

use crate::support::*;

fn of(sink: &Arc<dyn Control>, value: &str) -> Record {
    to(0, value).with_tenant(sink.tenant())
}

fn send_of(service: &TransactionBatch, sink: &Arc<dyn Control>, value: &str) -> TransactionBatchFuture {
    service.clone().call(of(sink, value))
}

#[tokio::test(start_paused = true)]
async fn sinks_share_a_transaction_and_count_their_own_records() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.age(SECOND)).await;
    let control = service.control();
    let [first, second] = [(); 2].map(|()| control.open_tenant().unwrap());
    let sent = vec![send_of(&service, &first, "a"), send_of(&service, &second, "b"), send(&service, 0, "c")];
    let counts = [&first, &second, &control].map(|control| control.in_flight().records);
    assert_eq!(counts, [1, 1, 3]);
    assert_eq!(offsets(&all(sent).await), [Some(0), Some(1), Some(2)]);
    assert_eq!(transactions(&kafka), (1, 0));
    assert!(kafka.records("orders").iter().all(|stored| stored.record.tenant().is_none()), "unknown below the layer");
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_a_sink_cuts_and_waits_for_its_own_records() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.age(SECOND)).await;
    let [first, second] = [(); 2].map(|()| service.control().open_tenant().unwrap());
    let mut sent = send_of(&service, &first, "a");
    let begun = Instant::now();
    first.flush().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(matches!(poll(&mut sent), Poll::Ready(Ok(_))));

    let blocked = block_commits(&kafka);
    let mut sent = send_of(&service, &first, "b");
    let mut flush = first.flush();
    assert!(poll(&mut flush).is_pending());
    settle().await;
    assert!(poll(&mut flush).is_pending(), "its commit has no answer");
    second.flush().await.unwrap();
    blocked.cancel();
    flush.await.unwrap();
    assert!(matches!(poll(&mut sent), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn a_closed_sink_is_refused_and_the_others_go_on() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let [first, second] = [(); 2].map(|()| service.control().open_tenant().unwrap());
    let sent = send_of(&service, &first, "a");
    let report = first.close(SECOND).await.unwrap();
    assert!(report.is_complete() && report.delivered == 1, "{report}");
    sent.await.unwrap();

    let refused = send_of(&service, &first, "b").await;
    assert_eq!(facts(&refused), (ErrorKind::Closed, Recovery::Fatal, Persistence::NotPersisted));
    send_of(&service, &second, "c").await.unwrap();
    assert_eq!(committed(&kafka), ["a", "c"]);
}

/// A record that its sink has given up is not sent later, and its room comes back.
#[tokio::test(start_paused = true)]
async fn a_close_gives_up_what_waits_for_room_or_for_its_lane() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.records(1).room(2, 1_000)).await;
    let [first, second] = [(); 2].map(|()| service.control().open_tenant().unwrap());
    let blocked = block_commits(&kafka);
    let other = send_of(&service, &second, "other");
    settle().await;
    let [waiting, parked] = ["waiting", "parked"].map(|value| send_of(&service, &first, value));
    assert_eq!((first.in_flight().records, first.in_flight().parked), (1, 1));

    let begun = Instant::now();
    let report = first.close(SECOND).await.unwrap();
    assert_eq!(begun.elapsed(), SECOND);
    assert_eq!((report.delivered, report.failed, report.unknown, report.undelivered.len()), (0, 2, 0, 2), "{report}");
    for sent in [waiting, parked] {
        assert_eq!(facts(&sent.await), (ErrorKind::Closed, Recovery::Fatal, Persistence::NotPersisted));
    }
    blocked.cancel();
    other.await.unwrap();
    send_of(&service, &second, "next").await.unwrap();
    assert_eq!(committed(&kafka), ["other", "next"]);
    assert_eq!(service.control().in_flight(), Default::default(), "no room is lost");
}

/// The error of a record whose lane is not back names why.
#[tokio::test(start_paused = true)]
async fn a_close_names_what_holds_the_lane_up() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.timeout(SECOND)).await;
    let [first, second] = [(); 2].map(|()| service.control().open_tenant().unwrap());
    let blocked = block_commits(&kafka);
    let other = send_of(&service, &second, "other").await;
    assert_eq!(other.unwrap_err().persistence(), Persistence::PossiblyPersisted);
    let sent = send_of(&service, &first, "a");
    let report = first.close(SECOND).await.unwrap();
    assert_eq!(report.undelivered.len(), 1);
    let error = sent.await.unwrap_err();
    assert!(error.message().contains("its lane cannot begin a transaction"), "{error}");
    blocked.cancel();
}
