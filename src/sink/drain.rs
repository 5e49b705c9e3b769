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
use super::inner::Member;
use super::telemetry::SinkTelemetry;
use super::transaction::Claim;

/// How long to wait until a failed send is polled, in seconds: the poll returns its answer or begins a backoff. A send
/// that is not polled for that long makes no progress.
const SEEN: Duration = Duration::from_secs(1);

/// Flushes sinks over the transport, or the part of it, that is controlled.
pub(super) async fn flush(sinks: &[Member], control: &dyn Control, time: Duration) -> Result<()> {
    let epochs: Vec<_> = sinks.iter().map(|sink| (&sink.sends, sink.sends.next_epoch())).collect();
    let settled = async || {
        for (sends, epoch) in &epochs {
            sends.settled(*epoch).await;
        }
    };
    let flushed = async {
        // Sends lingering batches, which frees room for waiting sends.
        control.flush().await?;
        settled().await;
        control.flush().await?;
        within(SEEN, control.unseen().seen()).await;
        // Failed sends that were retried.
        settled().await;
        Ok(())
    };
    within(time, flushed).await.unwrap_or_else(|| Err(unanswered(sinks, control, time)))
}

fn unanswered(sinks: &[Member], control: &dyn Control, time: Duration) -> Error {
    let on_their_way = control.in_flight().records;
    let open: Vec<_> = sinks.iter().flat_map(|sink| sink.sends.list()).collect();
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

/// Closes sinks, and then the transport, or the part of it, that is controlled. `waits`: for the sends above it.
pub(super) async fn close(sinks: &[Member], control: &dyn Control, waits: bool, time: Duration) -> Result<Closed> {
    sinks.iter().for_each(Member::close);
    let begun = deadline::now();
    let left = || time.saturating_sub(deadline::now().saturating_duration_since(begun));
    if waits {
        within(left(), rested(sinks, control)).await;
    }
    // Failed records whose futures have not been polled: the transport's report does not contain them.
    let unseen = control.unseen();
    let report = control.close(left()).await?;
    // The transport rejects the remaining sends from now on.
    let rejected = async {
        for Member { sends, .. } in sinks {
            sends.settled(sends.next_epoch()).await;
        }
    };
    within(left(), rejected).await;
    let unanswered: Vec<_> = sinks.iter().flat_map(|sink| sink.sends.list()).collect();
    let unfinished = (unanswered.len() + unseen.count()) as u64;
    Ok(Closed { report, unfinished, unanswered })
}

/// The transport of a sink or a client was closed: ends its transactions, and releases their ids.
pub(super) fn ended(closed: &Closed, completeness: Option<&Completeness>, claims: &[Claim], telemetry: &SinkTelemetry) {
    completeness.into_iter().for_each(Completeness::closed);
    claims.iter().for_each(Claim::release);
    closed.report.transaction.iter().for_each(|end| telemetry.ended(end));
}

/// Waits until the transport tracks every earlier send, and none of them is about to back off.
async fn rested(sinks: &[Member], control: &dyn Control) {
    let epochs: Vec<_> = sinks.iter().map(|sink| (&sink.sends, sink.sends.next_epoch())).collect();
    loop {
        for (sends, epoch) in &epochs {
            sends.settled(*epoch).await;
        }
        // Without an answer from the transport there is nothing to wait for.
        let _seen = within(SEEN, control.unseen().seen()).await;
        if epochs.iter().all(|(sends, epoch)| sends.is_settled(*epoch)) {
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
