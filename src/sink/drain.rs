//! Waiting for what was called before: in the transport, and above it.
//!
//! A record that backs off or that a layer keeps is in no transport, and comes to it again: a transport that is closed meanwhile would
//! refuse it, and say that all is well.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_tower_core::{CloseReport, Control, Error, ErrorKind, Result, TransactionEnd};

use super::deadline::{self, within};
use super::edge::Shared;

/// How long a failed send may take to be polled, which then backs off or has its answer. One that is not polled for so long is held by
/// its caller: nothing goes on in it.
const SEEN: Duration = Duration::from_secs(1);

pub(super) async fn flush<T>(shared: &Shared<T>) -> Result<()> {
    let (sends, control) = (&shared.sends, &shared.control);
    let epoch = sends.next_epoch();
    let flushed = async {
        // What lingers goes, and gives its room to those who wait for it.
        control.flush().await?;
        sends.settled(epoch).await;
        control.flush().await?;
        within(SEEN, control.seen()).await.transpose()?;
        // Those that failed and are sent again.
        sends.settled(epoch).await;
        Ok(())
    };
    let time = shared.send_timeout;
    within(time, flushed).await.unwrap_or_else(|| Err(unanswered(shared, time)))
}

fn unanswered<T>(shared: &Shared<T>, time: Duration) -> Error {
    let on_their_way = shared.control.in_flight().records;
    let open = shared.sends.list();
    let topics: BTreeSet<_> = open.iter().filter_map(|open| open.topic.as_deref()).take(3).collect();
    let to = if topics.is_empty() { String::new() } else { format!(" (to {})", Vec::from_iter(topics).join(", ")) };
    let text = format!(
        "after {time:.1?} {on_their_way} records were on their way and {} sends had no answer{to}: \
         they waited for room, backed off, were being encoded or were kept by a layer",
        open.len()
    );
    Error::new(ErrorKind::Timeout, text)
        .with_help("flush again to go on waiting; sends go on only while they are polled")
}

pub(super) async fn close<T>(shared: &Shared<T>, time: Duration) -> Result<CloseReport> {
    let (sends, control) = (&shared.sends, &shared.control);
    shared.close();
    sends.wake();
    let begun = deadline::now();
    let left = || time.saturating_sub(deadline::now().saturating_duration_since(begun));
    // An open transaction is aborted: the transport would refuse what is above it in any case.
    if shared.whole.is_none() {
        let epoch = sends.next_epoch();
        within(left(), rested(shared, epoch, &**control)).await;
    }
    // Failed, and in no report of the transport: their callers have not looked.
    let unseen = control.unseen();
    let mut report = control.close(left()).await?;
    let epoch = sends.next_epoch();
    // The transport refuses them now.
    within(left(), sends.settled(epoch)).await;
    report.unanswered.extend(sends.list());
    report.unfinished += (report.unanswered.len() + unseen) as u64;
    shared.ended(report.transaction.as_ref());
    Ok(report)
}

/// Until the transport answers for each send that was called before, and none of them is about to back off.
async fn rested<T>(shared: &Shared<T>, epoch: u64, control: &dyn Control) {
    loop {
        shared.sends.settled(epoch).await;
        // Without an answer of the transport there is nothing to wait for.
        let _seen = within(SEEN, control.seen()).await;
        if shared.sends.is_settled(epoch) {
            return;
        }
    }
}

impl<T> Shared<T> {
    /// The transport's close has ended the transaction that was open.
    fn ended(&self, end: Option<&TransactionEnd>) {
        let result = match end {
            None => return,
            Some(TransactionEnd::Committed) => return self.traces.committed(&Ok(())),
            Some(TransactionEnd::Unknown(error)) => Err(error.clone()),
            Some(_) => Ok(()),
        };
        self.traces.aborting();
        self.traces.aborted(&result);
    }
}
