//! Each transaction is reported once, with how it ended, before its records have their outcomes.

use std::sync::Mutex;

use kafka_tower_layers::transaction_batch::{CutReason, TransactionEvent, TransactionOutcome};

use crate::support::*;

type Seen = Arc<Mutex<Vec<(CutReason, TransactionOutcome, usize, u32, usize)>>>;

fn watch(seen: &Seen) -> impl FnOnce(TransactionBatchLayer) -> TransactionBatchLayer {
    let seen = Arc::clone(seen);
    move |layer| {
        layer.on_transaction(move |event: &TransactionEvent<'_>| {
            assert_eq!(event.headers().count(), event.records);
            assert_eq!(event.error.is_none(), event.outcome == TransactionOutcome::Committed);
            seen.lock().unwrap().push((event.cut, event.outcome, event.records, event.attempt, event.refused));
        })
    }
}

fn taken(seen: &Seen) -> Vec<(CutReason, TransactionOutcome, usize, u32, usize)> {
    std::mem::take(&mut *seen.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_the_cut() {
    use TransactionOutcome::Committed;
    let (kafka, seen) = (kafka(), Seen::default());
    let service = service(&kafka, |layer| watch(&seen)(layer.records(3).bytes(10).room(5, 1_000))).await;
    all(send_all(&service, ["1", "2", "3"])).await;
    all(send_all(&service, ["1234567890"])).await;
    all(send_all(&service, ["1"])).await;
    let cuts = [(CutReason::Records, 3), (CutReason::Bytes, 1), (CutReason::Age, 1)];
    assert_eq!(taken(&seen), cuts.map(|(cut, records)| (cut, Committed, records, 1, 0)));
    let first = send(&service, 0, "1");
    service.control().flush().await.unwrap();
    assert!(first.await.is_ok());
    let last = send(&service, 0, "1");
    let _report = service.control().close(SECOND).await.unwrap();
    assert!(last.await.is_ok());
    assert_eq!(taken(&seen), [CutReason::Flush, CutReason::Close].map(|cut| (cut, Committed, 1, 1, 0)));
}

#[tokio::test(start_paused = true)]
async fn no_room_is_a_reason() {
    let (kafka, seen) = (kafka(), Seen::default());
    let service = service(&kafka, |layer| watch(&seen)(layer.room(2, 1_000))).await;
    all(send_all(&service, ["1", "2"])).await;
    assert_eq!(taken(&seen), [(CutReason::Room, TransactionOutcome::Committed, 2, 1, 0)]);
}

#[tokio::test(start_paused = true)]
async fn aborts_refusals_and_unknown_ends() {
    use TransactionOutcome::{Aborted, Committed, Unknown};
    let (kafka, seen) = (kafka(), Seen::default());
    let service = service(&kafka, |layer| watch(&seen)(layer.timeout(SECOND))).await;
    let of_age = |outcome, records, attempt, refused| (CutReason::Age, outcome, records, attempt, refused);
    kafka.script().after(1).fail(Error::new(ErrorKind::Rejected, "planted").with_scope(Scope::Record));
    all(send_all(&service, ["a", "b", "c"])).await;
    assert_eq!(taken(&seen), [of_age(Aborted, 3, 1, 1), of_age(Committed, 2, 2, 0)]);
    let lost = kafka.script_transactions().on(TransactionCall::Commit).always().lose_request();
    all(send_all(&service, ["d"])).await;
    assert_eq!(taken(&seen), [of_age(Unknown, 1, 1, 0)]);
    lost.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_hook_changes_nothing() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.on_transaction(|_| panic!("planted"))).await;
    assert!(send(&service, 0, "a").await.is_ok());
    assert!(send(&service, 0, "b").await.is_ok());
}
