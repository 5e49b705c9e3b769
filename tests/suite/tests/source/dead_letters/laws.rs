//! What a dead letter guarantees: one function for each part of it, and a planted defect that it finds.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    SkipsWhatIsNotDelivered,
    AnswersBeforeTheDelivery,
    HasNoLoopGuard,
}

/// The dead letter layer, with a defect.
fn broken(
    kafka: &MemoryKafka,
    defect: Option<Defect>,
) -> impl Service<FailedRecord, Response = (), Error = Error, Future: Send> + Clone + Send + 'static {
    let layer = match defect {
        Some(Defect::HasNoLoopGuard) => DeadLetterLayer::default().max_hops(u32::MAX),
        _ => DeadLetterLayer::default(),
    };
    let letters = ServiceBuilder::new().layer(layer).service(kafka.transport());
    service_fn(move |failed| {
        let letters = letters.clone();
        async move {
            match defect {
                Some(Defect::SkipsWhatIsNotDelivered) => drop(letters.oneshot(failed).await),
                Some(Defect::AnswersBeforeTheDelivery) => drop(tokio::spawn(letters.oneshot(failed))),
                _ => drop(letters.oneshot(failed).await?),
            }
            Ok(())
        }
    })
}

/// Until the dead letter is in the log, the offset of its record is not committed.
async fn nothing_is_committed_before_its_letter_is_delivered(defect: Option<Defect>) {
    for persistence in [None, Some(Persistence::NotPersisted), Some(Persistence::PossiblyPersisted)] {
        let kafka = kafka(1).with_topic(DEAD, 1);
        append_text(&kafka, 0, "bad").await;
        append(&kafka, 0, 1..2).await;
        match persistence {
            Some(persistence) => drop(kafka.script().times(3).fail(planted(persistence))),
            None => drop(kafka.script().delay(20 * SECOND)),
        }
        let mut source = source_with(&kafka, broken(&kafka, defect)).await;
        for _ in 0..200 {
            // An error is dropped, so that the letter is sent again.
            if let Ok(Ok(message)) = timeout(SECOND, source.recv()).await {
                message.ack();
            }
            assert!(committed(&kafka, 0) == 0 || originals(&kafka).contains(&(0, 0)), "{persistence:?}");
        }
        assert_eq!((committed(&kafka, 0), originals(&kafka)), (2, vec![(0, 0)]));
    }
}

/// A tool that sends dead letters back to their topic does not make them go round for ever.
async fn a_record_that_comes_back_ends_as_an_error(defect: Option<Defect>) {
    let kafka = kafka(1).with_topic(DEAD, 1);
    append_text(&kafka, 0, "bad").await;
    let mut source = source_with(&kafka, broken(&kafka, defect)).await;
    let mut sent_back = 0;
    let error = loop {
        match timeout(SECOND, source.recv()).await {
            Ok(received) => break received.unwrap_err(),
            Err(_) => {
                let letters = kafka.records(DEAD);
                assert!(sent_back < 4, "it goes round");
                let letter = &letters[sent_back].record;
                let again =
                    Record::new(TOPIC).with_value(letter.value.clone().unwrap()).with_headers(letter.headers.clone());
                kafka.transport().call(again).await.unwrap();
                sent_back += 1;
            }
        }
    };
    assert_eq!((error.kind(), sent_back, committed(&kafka, 0)), (SourceErrorKind::DeadLetter, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn the_laws_hold() {
    nothing_is_committed_before_its_letter_is_delivered(None).await;
    a_record_that_comes_back_ends_as_an_error(None).await;
}

#[tokio::test(start_paused = true)]
async fn each_defect_is_found() {
    for defect in [Defect::SkipsWhatIsNotDelivered, Defect::AnswersBeforeTheDelivery] {
        let run = AssertUnwindSafe(nothing_is_committed_before_its_letter_is_delivered(Some(defect)));
        assert!(run.catch_unwind().await.is_err(), "{defect:?} is not found");
    }
    let run = AssertUnwindSafe(a_record_that_comes_back_ends_as_an_error(Some(Defect::HasNoLoopGuard)));
    assert!(run.catch_unwind().await.is_err(), "the loop is not found");
}
