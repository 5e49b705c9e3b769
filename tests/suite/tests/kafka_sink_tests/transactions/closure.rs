//! `in_transaction`.

use std::cell::Cell;

use kafka_tower::{BoxError, TransactionOptions};

use super::*;

#[tokio::test(start_paused = true)]
async fn ok_commits_and_err_aborts() {
    let (kafka, sink) = stage().await;
    let sent = sink.in_transaction(async |tx| {
        tx.send(1).await?;
        Ok::<_, Error>("sent")
    });
    assert_eq!(sent.await.unwrap(), "sent");
    let failed = sink.in_transaction(async |tx| {
        tx.send(2).await?;
        Err::<(), BoxError>("of the caller".into())
    });
    assert_eq!(failed.await.unwrap_err().to_string(), "of the caller");
    assert_eq!(committed(&kafka), [1]);
}

/// The closure may borrow what is around it.
#[tokio::test(start_paused = true)]
async fn it_runs_in_a_spawned_task() {
    let (kafka, sink) = stage().await;
    let task = tokio::spawn(async move {
        let numbers = vec![1, 2];
        let done = sink.in_transaction(async |tx| {
            for n in &numbers {
                tx.send(*n).await?;
            }
            Ok::<_, Error>(())
        });
        done.await
    });
    task.await.unwrap().unwrap();
    assert_eq!(committed(&kafka), [1, 2]);
}

/// Sends 1 in a transaction whose first `fails` calls lose a record without looking at its error.
async fn fail(
    kafka: &MemoryKafka,
    sink: &KafkaSink<u32>,
    options: TransactionOptions,
    fails: u32,
) -> (u32, Result<()>) {
    let calls = Cell::new(0);
    let result = sink.in_transaction_with(options, async |tx| {
        calls.set(calls.get() + 1);
        tx.send(1).await?;
        if calls.get() <= fails {
            kafka.script().lose_request();
            let _observed = tx.send(2).await;
        }
        Ok(())
    });
    let result = result.await;
    (calls.get(), result)
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_was_certainly_aborted_is_replayed() {
    let options = TransactionOptions::new();
    for (options, fails, calls) in
        [(options, 0, 1), (options, 1, 2), (options, 3, 4), (options, 9, 4), (options.replays(0), 9, 1)]
    {
        let (kafka, sink) = stage().await;
        let (called, result) = fail(&kafka, &sink, options, fails).await;
        assert_eq!((called, result.is_ok()), (calls, fails < calls), "{result:?}");
        let refused = (ErrorKind::Transaction, Recovery::AbortTransaction, Persistence::NotPersisted);
        if result.is_err() {
            assert_eq!(facts(result), refused);
        }
        assert_eq!(committed(&kafka).len(), usize::from(fails < calls));
    }
}

/// The closure got an error that asks for an abort, and returned it.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_transaction_that_the_closure_returns_is_replayed() {
    let (kafka, sink) = stage().await;
    let calls = Cell::new(0);
    let result = sink.in_transaction(async |tx| {
        calls.set(calls.get() + 1);
        if calls.get() == 1 {
            kafka.script().lose_request();
            tx.send(1).await.unwrap_err();
            // The transaction cannot be committed any more.
            return tx.send(2).await.map(drop);
        }
        tx.send(3).await.map(drop)
    });
    result.await.unwrap();
    assert_eq!((calls.get(), committed(&kafka)), (2, vec![3]));

    // Another error is the caller's to judge.
    let calls = Cell::new(0);
    let result = sink.in_transaction(async |_| {
        calls.set(calls.get() + 1);
        Err::<(), _>(Error::refused("of the caller"))
    });
    assert_eq!((result.await.unwrap_err().kind(), calls.get()), (ErrorKind::Refused, 1));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_never_replayed() {
    for refusal in [Recovery::AbortTransaction, Recovery::Fatal, Recovery::Retry] {
        let (kafka, sink) = stage().await;
        // Carried out, without an answer; the repeated request is refused.
        kafka.script_transactions().on(TransactionCall::Commit).lose_answer();
        let no = Error::new(ErrorKind::Transaction, "planted");
        let no = no.with_recovery(refusal).with_persistence(Persistence::NotPersisted);
        kafka.script_transactions().on(TransactionCall::Commit).after(1).always().fail(no);
        let calls = Cell::new(0);
        let result = sink.in_transaction(async |tx| {
            calls.set(calls.get() + 1);
            tx.send(1).await.map(drop)
        });
        let error = result.await.unwrap_err();
        assert_eq!((error.persistence(), calls.get()), (Persistence::PossiblyPersisted, 1), "{error:#}");
        assert_eq!(committed(&kafka), [1], "it was carried out");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_panics_or_is_dropped_is_aborted() {
    let (kafka, sink) = stage().await;
    let panics = tokio::spawn({
        let sink = sink.clone();
        async move {
            let result = sink.in_transaction(async |tx| {
                tx.send(1).await?;
                assert!(tx.send(1).await.is_err(), "planted");
                Ok::<_, Error>(())
            });
            result.await
        }
    });
    assert!(panics.await.unwrap_err().is_panic());
    let dropped = sink.in_transaction(async |tx| {
        tx.send(2).await?;
        std::future::pending::<Result<()>>().await
    });
    tokio::time::timeout(TIME, dropped).await.expect_err("it never ends");
    sink.in_transaction(async |tx| tx.send(3).await).await.unwrap();
    assert_eq!(committed(&kafka), [3]);
}

/// A clone of the `Transaction` that outlives its closure sends nothing, ends nothing, and its drop changes nothing.
#[tokio::test(start_paused = true)]
async fn a_clone_that_outlives_the_closure_has_ended() {
    for commits in [true, false] {
        let (kafka, sink) = stage().await;
        let kept = std::sync::Mutex::new(None);
        let done = sink.in_transaction(async |tx| {
            tx.send(1).await?;
            *kept.lock().unwrap() = Some(std::sync::Arc::clone(&tx));
            if commits { Ok(()) } else { Err(Error::serialization("planted")) }
        });
        assert_eq!(done.await.is_ok(), commits);
        let clone = kept.into_inner().unwrap().unwrap();
        let before = committed(&kafka);
        assert_eq!(before, if commits { vec![1] } else { vec![] });
        assert_misuse(clone.send(2).await, "has ended", "before its transaction is ended");
        let next = sink.transaction().await.unwrap();
        assert_misuse(clone.send(3).await, "has ended", "before its transaction is ended");
        next.send(4).await.unwrap();
        let group =
            ConsumerGroup { group_id: "g".into(), generation: -1, member_id: String::new(), group_instance_id: None };
        assert_misuse(clone.send_offsets(Vec::new(), group).await, "has ended", "begin, send, commit or abort");
        // Neither its end nor its drop ends the next transaction.
        let clone = std::sync::Arc::into_inner(clone).unwrap();
        assert_misuse(clone.commit().await, "has ended", "begin, send, commit or abort");
        tokio::task::yield_now().await;
        next.commit().await.unwrap();
        assert_eq!(committed(&kafka), [before, vec![4]].concat());
    }
}

/// The same if `in_transaction` itself is dropped: the transaction is aborted, although a clone is there.
#[tokio::test(start_paused = true)]
async fn a_clone_does_not_keep_a_dropped_transaction_open() {
    let (kafka, sink) = stage().await;
    let kept = std::sync::Mutex::new(None);
    let done = sink.in_transaction(async |tx| {
        tx.send(1).await?;
        *kept.lock().unwrap() = Some(tx);
        std::future::pending::<Result<()>>().await
    });
    assert!(tokio::time::timeout(TIME, done).await.is_err());
    let clone = kept.into_inner().unwrap().unwrap();
    assert_misuse(clone.send(2).await, "has ended", "before its transaction is ended");
    let next = sink.transaction().await.unwrap();
    drop(clone);
    next.send(3).await.unwrap();
    next.commit().await.unwrap();
    assert_eq!(committed(&kafka), [3]);
}
