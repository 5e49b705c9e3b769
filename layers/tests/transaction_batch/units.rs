use crate::support::*;

fn group(kafka: &MemoryKafka) -> ConsumerGroup {
    kafka.rebalance("g")
}

/// A unit that has consumed the record of partition 0 with this offset.
fn unit(values: &[&str], offset: i64, group: &ConsumerGroup) -> Unit {
    let next = TopicOffset { topic: "input".into(), partition: 0, offset: offset + 1 };
    Unit::new(values.iter().map(|value| to(0, value))).with_offsets([next], group.clone())
}

fn join(service: &TransactionBatch, unit: Unit) -> JoinFuture {
    service.clone().join(unit)
}

fn consumed(kafka: &MemoryKafka) -> Option<i64> {
    kafka.committed_offset("g", "input", 0)
}

fn facts(outcome: &Result<Vec<Delivery>>) -> (ErrorKind, Recovery, Persistence) {
    let error = outcome.as_ref().unwrap_err();
    (error.kind(), error.recovery(), error.persistence())
}

const REFUSED: (ErrorKind, Recovery, Persistence) =
    (ErrorKind::Transaction, Recovery::Reject, Persistence::NotPersisted);

fn is_after_earlier(outcome: &Result<Vec<Delivery>>) -> bool {
    let error = outcome.as_ref().unwrap_err();
    facts(outcome) == REFUSED && error.message().contains("an earlier unit") && error.help().contains("resume")
}

#[tokio::test(start_paused = true)]
async fn records_and_offsets_are_committed_together() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let g = group(&kafka);
    let commit = block_commits(&kafka);
    let mut joined = join(&service, unit(&["a", "b"], 4, &g));
    let plain = send(&service, 0, "plain");
    sleep(60 * MS).await;
    settle().await;
    assert_eq!((commit.used(), consumed(&kafka)), (1, None), "the commit is under way");
    assert!(poll(&mut joined).is_pending());
    commit.cancel();
    let offsets: Vec<_> = joined.await.unwrap().into_iter().map(|delivery| delivery.offset).collect();
    assert_eq!(offsets, [Some(0), Some(1)]);
    assert_eq!(plain.await.unwrap().offset, Some(2), "other records share the transaction");
    assert_eq!((committed(&kafka).len(), consumed(&kafka), transactions(&kafka)), (3, Some(5), (1, 0)));
    assert_eq!(service.control().in_flight(), kafka_tower_core::InFlight::default());
}

#[tokio::test(start_paused = true)]
async fn a_unit_is_not_split_by_the_limits() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.records(2).bytes(3).room(100, 4)).await;
    let g = group(&kafka);
    let units: Vec<_> = (0..5).map(|n| join(&service, unit(&["a", "b", "c"], n, &g))).collect();
    for joined in units {
        assert_eq!(joined.await.unwrap().len(), 3);
    }
    assert_eq!((committed(&kafka).len(), consumed(&kafka), transactions(&kafka)), (15, Some(5), (5, 0)));
    // Larger than the whole room.
    let outcome = join(&service, unit(&["abcde"], 5, &g)).await;
    assert_eq!(facts(&outcome), (ErrorKind::RecordTooLarge, Recovery::Reject, Persistence::NotPersisted));
    assert!(is_after_earlier(&join(&service, unit(&["a"], 6, &g)).await), "input 5 would be lost");
}

#[tokio::test(start_paused = true)]
async fn an_abort_replays_records_and_offsets() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let g = group(&kafka);
    kafka.script_transactions().on(TransactionCall::Commit).times(2).fail(must_abort());
    let sent = kafka.script_transactions().on(TransactionCall::SendOffsets).always().delay(Duration::ZERO);
    assert!(join(&service, unit(&["a"], 0, &g)).await.is_ok());
    assert_eq!((committed(&kafka), consumed(&kafka), transactions(&kafka)), (vec!["a".into()], Some(1), (1, 2)));
    assert_eq!(sent.used(), 3);
}

#[tokio::test(start_paused = true)]
async fn offsets_without_an_answer_are_sent_again() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let g = group(&kafka);
    kafka.script_transactions().on(TransactionCall::SendOffsets).times(3).lose_answer();
    let units = [join(&service, unit(&["a"], 0, &g)), join(&service, unit(&[], 1, &g))];
    for joined in units {
        assert!(joined.await.is_ok());
    }
    assert_eq!((committed(&kafka), consumed(&kafka)), (vec!["a".into()], Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_unit_without_records_is_committed_and_counts_in_flush_and_close() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.age(10 * SECOND)).await;
    let (control, g) = (service.control(), group(&kafka));
    let mut joined = join(&service, unit(&[], 0, &g));
    assert_eq!(control.in_flight().records, 1);
    control.flush().await.unwrap();
    assert!(matches!(poll(&mut joined), Poll::Ready(Ok(deliveries)) if deliveries.is_empty()));
    assert_eq!(consumed(&kafka), Some(1));
    // The close has no time for it: its report is not complete.
    let _lost = kafka.script_transactions().on(TransactionCall::SendOffsets).always().lose_request();
    let joined = join(&service, unit(&[], 1, &g));
    let report = control.close(SECOND).await.unwrap();
    assert!(!report.is_complete() && report.undelivered.is_empty(), "{report:?}");
    assert_eq!(facts(&joined.await), (ErrorKind::Closed, Recovery::Fatal, Persistence::NotPersisted));
    assert_eq!(consumed(&kafka), Some(1));
    let empty = join(&service, Unit::new([])).await;
    assert_eq!(facts(&empty), REFUSED);
}

#[tokio::test(start_paused = true)]
async fn a_close_reports_each_record_of_a_unit() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.records(1).room(1, 1_000)).await;
    let g = group(&kafka);
    let _hold = kafka.script().hold();
    let (sent, parked) = (join(&service, unit(&["a", "b"], 0, &g)), join(&service, unit(&["c"], 1, &g)));
    let report = service.control().close(4 * SECOND).await.unwrap();
    let values: Vec<_> = report.undelivered.iter().map(|left| left.record.value.clone().unwrap()).collect();
    assert_eq!((report.failed, report.unknown, values.len()), (3, 0, 3));
    for outcome in [sent.await, parked.await] {
        assert_eq!(facts(&outcome), (ErrorKind::Closed, Recovery::Fatal, Persistence::NotPersisted));
    }
    assert!(committed(&kafka).is_empty() && consumed(&kafka).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_close_does_not_report_units_that_came_after_it() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let g = group(&kafka);
    let before = join(&service, unit(&["a"], 0, &g));
    let control = service.control();
    let close = control.close(SECOND);
    let after = join(&service, unit(&["b"], 1, &g));
    assert!(close.await.unwrap().is_complete(), "the caller has the error");
    assert!(before.await.is_ok());
    assert_eq!(facts(&after.await), (ErrorKind::Closed, Recovery::Fatal, Persistence::NotPersisted));
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_fails_its_unit_as_a_whole() {
    for scope in [Scope::Record, Scope::Batch] {
        let kafka = kafka();
        let service = refusing(&kafka, &["poison"], scope).await;
        let g = group(&kafka);
        let before = join(&service, unit(&["a", "b"], 0, &g));
        let poison = join(&service, unit(&["c", "poison", "d"], 1, &g));
        let after = join(&service, unit(&["e"], 2, &g));
        let plain = send(&service, 0, "plain");
        let before = before.await;
        assert!(before.is_ok(), "{scope:?} {before:?}");
        assert!(plain.await.is_ok());
        let outcome = poison.await;
        assert_eq!(facts(&outcome), (ErrorKind::Rejected, Recovery::Reject, Persistence::NotPersisted));
        let message = outcome.unwrap_err().message().to_owned();
        assert_eq!(message, "not delivered to orders (a unit of 3 records): its record at index 1 was refused");
        assert!(is_after_earlier(&after.await));
        assert_eq!((committed(&kafka), consumed(&kafka)), (["a", "b", "plain"].map(String::from).to_vec(), Some(1)));
    }
}

/// Unit 5 fails, and units after it are in later batches, or wait for room, or are joined later.
#[tokio::test(start_paused = true)]
async fn after_a_failed_unit_no_later_one_of_its_partition_is_committed_until_it_is_resumed() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.records(1).replays(0).room(3, 1_000)).await;
    let g = group(&kafka);
    let other = |offset| {
        let next = TopicOffset { topic: "input".into(), partition: 1, offset };
        Unit::new([to(0, "other")]).with_offsets([next], g.clone())
    };
    kafka.script_transactions().on(TransactionCall::Commit).fail(must_abort());
    let failed = join(&service, unit(&["5"], 5, &g));
    let later: Vec<_> = (6..12).map(|n| join(&service, unit(&["later"], n, &g))).collect();
    let other = join(&service, other(1));
    let outcome = failed.await;
    assert_eq!(facts(&outcome), REFUSED, "the same unit cannot be joined again");
    assert!(outcome.unwrap_err().help().contains("resume"));
    let Poll::Ready(refused) = poll(&mut join(&service, unit(&["not resumed"], 5, &g))) else { panic!("at once") };
    assert!(is_after_earlier(&refused));
    for later in later {
        assert!(is_after_earlier(&later.await));
    }
    service.resume("g", "input", 0).unwrap();
    let again = join(&service, unit(&["5 again"], 5, &g));
    assert!(again.await.is_ok());
    assert!(other.await.is_ok(), "of another partition");
    let mut values = committed(&kafka);
    values.sort();
    assert_eq!((values, consumed(&kafka)), (["5 again", "other"].map(String::from).to_vec(), Some(6)));
}

/// The earlier unit is being committed: its input is not to be consumed again.
#[tokio::test(start_paused = true)]
async fn a_partition_is_resumed_only_when_its_units_have_their_outcomes() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.records(1).room(100, 4)).await;
    let g = group(&kafka);
    let commit = block_commits(&kafka);
    let first = join(&service, unit(&["a"], 0, &g));
    settle().await;
    assert!(join(&service, unit(&["too large"], 1, &g)).await.is_err());
    let early = service.resume("g", "input", 0).unwrap_err();
    assert_eq!(early.message(), "partition 0 of input is not resumed: 1 of its units have no outcome yet");
    commit.cancel();
    assert!(first.await.is_ok(), "the failure of a later unit does not concern it");
    service.resume("g", "input", 0).unwrap();
    assert!(join(&service, unit(&["b"], 1, &g)).await.is_ok());
    assert_eq!((committed(&kafka), consumed(&kafka)), (["a", "b"].map(String::from).to_vec(), Some(2)));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_end_fails_later_units_and_is_never_replayed() {
    for carried_out in [true, false] {
        let kafka = kafka();
        let service = service(&kafka, |layer| layer.records(1).timeout(5 * SECOND)).await;
        let g = group(&kafka);
        let rule = kafka.script_transactions().on(TransactionCall::Commit).times(60);
        let _ = if carried_out { rule.lose_answer() } else { rule.lose_request() };
        let unknown = join(&service, unit(&["a"], 0, &g));
        let later = join(&service, unit(&["b"], 1, &g));
        let outcome = unknown.await;
        assert_eq!(facts(&outcome), (ErrorKind::Transaction, Recovery::Reject, Persistence::PossiblyPersisted));
        assert!(outcome.unwrap_err().help().contains("committed offsets of group g"));
        assert!(is_after_earlier(&later.await));
        sleep(30 * SECOND).await;
        assert_eq!(kafka.len("orders"), 1);
        service.resume("g", "input", 0).unwrap();
        let from = consumed(&kafka).unwrap_or_default();
        assert!(join(&service, unit(&["next"], from, &g)).await.is_ok());
        assert_eq!(consumed(&kafka), Some(from + 1));
    }
}

/// Also together with units of the member that took over, whose metadata is valid.
#[tokio::test(start_paused = true)]
async fn offsets_of_an_old_generation_are_refused_and_their_neighbours_are_committed() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let (old, new) = (group(&kafka), group(&kafka));
    let of_partition = |partition, value, group: &ConsumerGroup| {
        let next = TopicOffset { topic: "input".into(), partition, offset: 8 };
        Unit::new([to(0, value)]).with_offsets([next], group.clone())
    };
    let current = join(&service, of_partition(1, "new", &new));
    let stale = join(&service, of_partition(0, "old", &old));
    let plain = send(&service, 0, "plain");
    let outcome = stale.await;
    assert_eq!(facts(&outcome), (ErrorKind::Transaction, Recovery::Reject, Persistence::NotPersisted));
    assert!(outcome.unwrap_err().message_with_causes().contains("generation"));
    assert!(current.await.is_ok() && plain.await.is_ok());
    assert_eq!((committed(&kafka), consumed(&kafka)), (["new", "plain"].map(String::from).to_vec(), None));
    assert_eq!((kafka.committed_offset("g", "input", 1), transactions(&kafka)), (Some(8), (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_tears_nothing() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let g = group(&kafka);
    drop(join(&service, unit(&["a", "b"], 0, &g)));
    assert!(join(&service, unit(&["c"], 1, &g)).await.is_ok());
    assert_eq!((committed(&kafka).len(), consumed(&kafka)), (3, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn with_several_lanes_the_input_partition_decides() {
    let kafka = MemoryKafka::new().with_topic("orders", 16);
    let transports: Vec<_> = (0..2).map(|lane| kafka.transactional_transport(format!("id-{lane}"))).collect();
    let layer = TransactionBatchLayer::lanes(transports.iter().map(MemoryTransport::control).collect());
    layer.init(SECOND).await.unwrap();
    let service = layer.layer_lanes(transports);
    let g = group(&kafka);
    let offset = |partition| TopicOffset { topic: "input".into(), partition, offset: 1 };
    let of = |partitions: &[i32]| {
        Unit::new([to(3, "x"), to(4, "y")]).with_offsets(partitions.iter().map(|p| offset(*p)), g.clone())
    };
    assert!(join(&service, of(&[0])).await.is_ok());
    assert!(join(&service, of(&[0, 2])).await.is_ok(), "one lane");
    for refused in [of(&[0, 1]), Unit::new([to(3, "x")])] {
        let outcome = join(&service, refused).await;
        assert_eq!(facts(&outcome), REFUSED);
        assert!(outcome.unwrap_err().message_with_causes().contains("lane"));
    }
    assert!(is_after_earlier(&join(&service, of(&[1])).await), "its input would be lost");
    assert_eq!(kafka.committed("orders").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn events_count_the_records_of_units() {
    let kafka = kafka();
    let seen: Arc<std::sync::Mutex<Vec<usize>>> = Arc::default();
    let hook = Arc::clone(&seen);
    let service = service(&kafka, move |layer| {
        layer.on_transaction(move |event| {
            assert_eq!(event.headers().count(), event.records);
            hook.lock().unwrap().push(event.records);
        })
    })
    .await;
    let g = group(&kafka);
    let units = [join(&service, unit(&["a", "b", "c"], 0, &g)), join(&service, unit(&[], 1, &g))];
    let plain = send(&service, 0, "plain");
    for joined in units {
        assert!(joined.await.is_ok());
    }
    assert!(plain.await.is_ok());
    assert_eq!(*seen.lock().unwrap(), [4]);
}
