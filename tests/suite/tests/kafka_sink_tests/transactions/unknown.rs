//! The end of a transaction whose commit was requested and not confirmed is unknown, whatever is answered later.

use super::*;

const UNKNOWN: (Recovery, Persistence) = (Recovery::Fatal, Persistence::PossiblyPersisted);

fn refusals() -> Vec<Error> {
    use kafka_tower_core::codes;
    let fenced = |code| codes::error(code, Persistence::NotPersisted, "planted".to_owned());
    vec![
        fenced(codes::INVALID_PRODUCER_EPOCH),
        fenced(49),
        Error::new(ErrorKind::Transaction, "it requires an abort"),
        Error::new(ErrorKind::Fenced, "another producer took over").with_persistence(Persistence::NotPersisted),
    ]
}

/// The first request was carried out, or lost; the client's second request was refused, in the same call or in the next.
#[tokio::test(start_paused = true)]
async fn every_answer_but_ok_after_an_unanswered_commit_is_unknown() {
    for refusal in refusals() {
        for carried_out in [true, false] {
            for second_call in [true, false] {
                let (kafka, sink) = stage().await;
                let tx = sink.transaction().await.unwrap();
                tx.send(1).await.unwrap();
                let lost = if second_call { 100 } else { 1 };
                let script = || kafka.script_transactions().on(TransactionCall::Commit).times(lost);
                let first = if carried_out { script().lose_answer() } else { script().lose_request() };
                let mut error = if second_call {
                    let error = tx.commit().await.unwrap_err();
                    assert_eq!((error.recovery(), error.persistence()), (Recovery::Retry, UNKNOWN.1), "{error:#}");
                    assert_consistent(&error);
                    first.cancel();
                    kafka.script_transactions().on(TransactionCall::Commit).always().fail(refusal.clone());
                    sink.commit_transaction().await.unwrap_err()
                } else {
                    kafka.script_transactions().on(TransactionCall::Commit).after(1).always().fail(refusal.clone());
                    tx.commit().await.unwrap_err()
                };
                // Also if it is called again.
                for _ in 0..2 {
                    assert_consistent(&error);
                    assert_eq!((error.recovery(), error.persistence()), UNKNOWN, "{error:#}");
                    for what in ["do not abort and replay", "create a new sink", "committed offsets"] {
                        assert!(error.help().contains(what), "{error:#}");
                    }
                    error = sink.commit_transaction().await.unwrap_err();
                }
                let aborted = sink.abort_transaction().await.unwrap_err();
                assert_eq!(aborted.persistence(), Persistence::PossiblyPersisted, "{aborted:#}");
                assert_eq!(committed(&kafka).len(), usize::from(carried_out));
            }
        }
    }
}

/// The answer itself leaves open whether the request was carried out.
#[tokio::test(start_paused = true)]
async fn an_answer_that_leaves_it_open_asks_for_no_abort() {
    let (kafka, sink) = stage().await;
    sink.begin_transaction().await.unwrap();
    sink.send(1).await.unwrap();
    let open = Error::new(ErrorKind::Transaction, "it is not known").with_persistence(Persistence::PossiblyPersisted);
    kafka.script_transactions().on(TransactionCall::Commit).lose_answer_with(open);
    for _ in 0..2 {
        let error = sink.commit_transaction().await.unwrap_err();
        assert_eq!((error.recovery(), error.persistence()), UNKNOWN, "{error:#}");
    }
    assert_eq!(committed(&kafka), [1]);
}

/// The transport's own control says the same.
#[tokio::test(start_paused = true)]
async fn the_memory_transport_says_so_itself() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let mut transport = kafka.transactional_transport("id");
    let transactions = transport.control().transactions().unwrap();
    transactions.init(TIME).await.unwrap();
    transactions.begin(TIME).await.unwrap();
    let record = kafka_tower::Record::new("numbers").with_value("1");
    tower::ServiceExt::oneshot(&mut transport, record).await.unwrap();
    let open = Error::new(ErrorKind::Transaction, "it is not known").with_persistence(Persistence::PossiblyPersisted);
    kafka.script_transactions().on(TransactionCall::Commit).lose_answer_with(open);
    for _ in 0..2 {
        let error = transactions.commit(TIME).await.unwrap_err();
        assert_eq!((error.recovery(), error.persistence()), UNKNOWN, "{error:#}");
        assert_consistent(&error);
    }
    let error = transactions.abort(TIME).await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
}

/// A refusal before the coordinator was asked is certain.
#[tokio::test(start_paused = true)]
async fn a_refusal_at_the_first_try_is_certain() {
    let (kafka, sink) = stage().await;
    sink.begin_transaction().await.unwrap();
    kafka.script().lose_request();
    sink.send(1).await.unwrap_err();
    let refused = (ErrorKind::Transaction, Recovery::AbortTransaction, Persistence::NotPersisted);
    for _ in 0..2 {
        assert_eq!(facts(sink.commit_transaction().await), refused);
    }
    sink.abort_transaction().await.unwrap();
}
