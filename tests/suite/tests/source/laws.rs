//! The guarantee of a source: one function for each part of it, which panics if it is broken.

use std::time::Duration;

use kafka_tower::CommitStrategy;
use kafka_tower::source::{Acked, SourceErrorKind};
use tokio::time::sleep;

use crate::planted::{Defect, Source};
use crate::support::{GROUP, LONG, TOPIC, append, append_aborted, append_text, committed, config, filled};

const STRATEGIES: [CommitStrategy; 3] = [CommitStrategy::Automatic, CommitStrategy::Periodic, CommitStrategy::Each];

/// In whatever order messages are acknowledged, no strategy commits the offset of one that was not, nor one behind it.
pub(crate) async fn only_a_settled_prefix_is_committed(defect: Option<Defect>) {
    for strategy in STRATEGIES {
        let kafka = filled(1, 10).await;
        let mut source = Source::build(&kafka, config(strategy), defect).await;
        let mut messages = Vec::new();
        while messages.len() < 10 {
            messages.push(source.recv().await.unwrap());
        }
        let (fourth, _) = (messages.remove(4), ());
        for message in messages.iter().rev() {
            assert_eq!(message.ack(), Acked::Counted);
            assert!(committed(&kafka, 0) <= 4);
        }
        sleep(LONG).await;
        assert_eq!(committed(&kafka, 0), 4, "{strategy:?}: up to the message that was not acknowledged");
        fourth.ack();
        sleep(LONG).await;
        assert_eq!(committed(&kafka, 0), 10, "{strategy:?}");
    }
}

/// Aborted records and markers at the end of a log do not look like a reader that is behind.
pub(crate) async fn holes_at_the_end_leave_no_lag(defect: Option<Defect>) {
    let kafka = filled(1, 2).await;
    append_aborted(&kafka, 0, 3).await;
    append(&kafka, 0, 2..3).await;
    append_aborted(&kafka, 0, 3).await;
    let mut source = Source::build(&kafka, config(CommitStrategy::Automatic), defect).await;
    for value in 0..3 {
        let message = source.recv().await.unwrap();
        assert_eq!(message.value(), Some(&value));
        message.ack();
    }
    // A source that waits for the next message has reached the end.
    assert!(tokio::time::timeout(LONG, source.recv()).await.is_err());
    assert_eq!(Some(committed(&kafka, 0)), kafka.high_watermark(TOPIC, 0));
}

/// What was acknowledged before partitions are given back is committed before, so that their next owner does not get it.
pub(crate) async fn a_rebalance_repeats_nothing_settled(defect: Option<Defect>) {
    let kafka = filled(1, 5).await;
    let mut source = Source::build(&kafka, config(CommitStrategy::Automatic), defect).await;
    for _ in 0..3 {
        source.recv().await.unwrap().ack();
    }
    assert!(kafka.start_rebalance(GROUP));
    sleep(Duration::from_millis(1)).await;
    // The partition comes back, as it would come to another member.
    let message = tokio::time::timeout(LONG, source.recv()).await.expect("a message").unwrap();
    assert_eq!(message.offset(), 3, "offsets below were acknowledged");
}

/// A record that cannot be decoded is reported with its bytes, is not committed, and comes again until it is skipped.
pub(crate) async fn what_cannot_be_decoded_is_not_skipped(defect: Option<Defect>) {
    let kafka = filled(1, 1).await;
    append_text(&kafka, 0, "not a number").await;
    append(&kafka, 0, 2..3).await;
    let mut source = Source::build(&kafka, config(CommitStrategy::Each), defect).await;
    source.recv().await.unwrap().ack();
    for _ in 0..3 {
        let error = source.recv().await.expect_err("not a number");
        assert_eq!(error.kind(), SourceErrorKind::Decode);
        let record = error.record().unwrap();
        assert_eq!((record.offset, record.value.as_deref()), (1, Some(&b"not a number"[..])));
        assert!(tokio::time::timeout(LONG, source.recv()).await.is_err(), "its partition waits");
        assert_eq!(committed(&kafka, 0), 1);
        drop(error);
    }
    let error = source.recv().await.expect_err("not a number");
    let (_, acked) = error.skip().unwrap();
    assert_eq!(acked, Acked::Counted);
    let message = source.recv().await.unwrap();
    assert_eq!(message.offset(), 2);
    message.ack();
    sleep(LONG).await;
    assert_eq!(committed(&kafka, 0), 3);
}

/// A message that is dropped without an acknowledgement is not committed, and comes again.
pub(crate) async fn a_dropped_message_comes_again(defect: Option<Defect>) {
    let kafka = filled(1, 3).await;
    let mut source = Source::build(&kafka, config(CommitStrategy::Each), defect).await;
    source.recv().await.unwrap().ack();
    let message = source.recv().await.unwrap();
    assert_eq!((message.offset(), message.attempt()), (1, 1));
    source.drop_message(message);
    let message = source.recv().await.unwrap();
    assert_eq!((message.offset(), message.attempt()), (1, 2));
    assert_eq!(committed(&kafka, 0), 1);
    message.ack();
    assert_eq!(source.recv().await.unwrap().offset(), 2);
}

macro_rules! kept {
    ($($law:ident)*) => {
        mod kept {
            $(
                #[tokio::test(start_paused = true)]
                async fn $law() {
                    super::$law(None).await;
                }
            )*
        }
    };
}

kept! {
    only_a_settled_prefix_is_committed
    holes_at_the_end_leave_no_lag
    a_rebalance_repeats_nothing_settled
    what_cannot_be_decoded_is_not_skipped
    a_dropped_message_comes_again
}
