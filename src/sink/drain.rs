//! `flush` and `close`: wait for earlier sends, in the transport and above it.
//!
//! A record that backs off or that a layer holds is not in the transport yet and reaches it later. A transport that was
//! closed meanwhile would reject it after reporting a complete close.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_tower_core::text::{count, seconds};
use kafka_tower_core::{Control, Error, ErrorKind, Result};

use super::close::Closed;
use super::completeness::Completeness;
use super::deadline::{self, within};
use super::inner::SinkInner;
use super::transaction::Claim;

/// How long to wait until a failed send is polled, in seconds: the poll returns its answer or begins a backoff. A send
/// that is not polled for that long makes no progress.
const SEEN: Duration = Duration::from_secs(1);

pub(super) async fn flush<T>(inner: &SinkInner<T>) -> Result<()> {
    let (sends, control) = (&inner.parts.sends, &inner.parts.transport);
    let epoch = sends.next_epoch();
    let flushed = async {
        // Sends lingering batches, which frees room for waiting sends.
        control.flush().await?;
        sends.settled(epoch).await;
        control.flush().await?;
        within(SEEN, control.unseen().seen()).await;
        // Failed sends that were retried.
        sends.settled(epoch).await;
        Ok(())
    };
    let time = inner.parts.send_timeout;
    within(time, flushed).await.unwrap_or_else(|| Err(unanswered(inner, time)))
}

fn unanswered<T>(inner: &SinkInner<T>, time: Duration) -> Error {
    let on_their_way = inner.parts.transport.in_flight().records;
    let open = inner.parts.sends.list();
    let topics: BTreeSet<_> = open.iter().filter_map(|open| open.topic.as_deref()).take(3).collect();
    let to = if topics.is_empty() { String::new() } else { format!(" (to {})", Vec::from_iter(topics).join(", ")) };
    not_flushed(time, on_their_way, open.len(), &to)
}

/// Error of a flush that timed out. `to` names topics of the sends without an answer.
fn not_flushed(time: Duration, on_their_way: usize, sends: usize, to: &str) -> Error {
    let was = if on_their_way == 1 { "was" } else { "were" };
    let mut text = format!("after {} {} {was} in flight", seconds(time), count(on_their_way, "record"));
    if sends > 0 {
        text += &format!(
            " and {} had no answer{to}: waiting for room, backing off, being encoded or held by a layer",
            count(sends, "send")
        );
    }
    Error::new(ErrorKind::Timeout, text)
        .with_help("flush again to keep waiting; sends make progress only while they are polled")
}

pub(super) async fn close<T>(inner: &SinkInner<T>, time: Duration) -> Result<Closed> {
    let (sends, control) = (&inner.parts.sends, &inner.parts.transport);
    inner.close();
    sends.wake();
    let begun = deadline::now();
    let left = || time.saturating_sub(deadline::now().saturating_duration_since(begun));
    // With transactions an open one is aborted, and the transport rejects the sends above it in any case: no wait.
    if inner.parts.completeness.is_none() {
        let epoch = sends.next_epoch();
        within(left(), rested(inner, epoch, &**control)).await;
    }
    // Failed records whose futures have not been polled: the transport's report does not contain them.
    let unseen = control.unseen();
    let report = control.close(left()).await?;
    let epoch = sends.next_epoch();
    // The transport rejects the remaining sends from now on.
    within(left(), sends.settled(epoch)).await;
    let unanswered = sends.list();
    let unfinished = (unanswered.len() + unseen.count()) as u64;
    inner.parts.completeness.iter().for_each(Completeness::closed);
    inner.parts.claims.iter().for_each(Claim::release);
    report.transaction.iter().for_each(|end| inner.parts.telemetry.ended(end));
    Ok(Closed { report, unfinished, unanswered })
}

/// Waits until the transport tracks every earlier send, and none of them is about to back off.
async fn rested<T>(inner: &SinkInner<T>, epoch: u64, control: &dyn Control) {
    loop {
        inner.parts.sends.settled(epoch).await;
        // Without an answer from the transport there is nothing to wait for.
        let _seen = within(SEEN, control.unseen().seen()).await;
        if inner.parts.sends.is_settled(epoch) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn all_texts_match_their_errors() {
        for (records, sends) in [(0, 1), (1, 0), (1, 1), (3, 2)] {
            assert_consistent(&not_flushed(Duration::from_secs(30), records, sends, " (to orders)"));
        }
        assert_eq!(
            not_flushed(Duration::from_secs(2), 1, 1, " (to orders)").message(),
            "after 2 s 1 record was in flight and 1 send had no answer (to orders): waiting for room, backing off, \
             being encoded or held by a layer"
        );
    }
}
