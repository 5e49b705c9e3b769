//! Waiting for what is on its way: in the transport, and between the layers.
//!
//! A record that backs off is in no transport, and comes to it again. A transport that is closed meanwhile would refuse
//! it, and say that all is well.

use std::time::Duration;

use kafka_tower_core::{CloseReport, Error, ErrorKind, Result};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::edge::Shared;

/// An answer that is there was not looked at yet: whose it is may begin to back off. It is awake, and soon has its turn.
const TURNS: usize = 16;

pub(super) async fn flush<T>(shared: &Shared<T>) -> Result<()> {
    let flushed = async {
        loop {
            shared.control.flush().await?;
            if at_rest(shared).await {
                return Ok(());
            }
            shared.unfinished.none().await;
        }
    };
    let within = shared.send_timeout;
    timeout(within, flushed).await.unwrap_or_else(|_| {
        let unfinished = shared.unfinished.count();
        let in_flight = shared.control.in_flight().records;
        let text = format!(
            "after {within:.1?} {in_flight} records were on their way and {unfinished} sends backed off or were being encoded"
        );
        Err(Error::new(ErrorKind::Timeout, text).with_help("flush again to go on waiting"))
    })
}

pub(super) async fn close<T>(shared: &Shared<T>, within: Duration) -> Result<CloseReport> {
    shared.close();
    let begun = Instant::now();
    let rested = async {
        while !at_rest(shared).await {
            shared.unfinished.none().await;
        }
    };
    let unfinished = match timeout(within, rested).await {
        Ok(()) => 0,
        Err(_) => shared.unfinished.count(),
    };
    let mut report = shared.control.close(within.saturating_sub(begun.elapsed())).await?;
    report.unfinished += unfinished as u64;
    Ok(report)
}

async fn at_rest<T>(shared: &Shared<T>) -> bool {
    for _ in 0..TURNS {
        if shared.unfinished.count() > 0 {
            return false;
        }
        yield_now().await;
    }
    shared.unfinished.count() == 0
}
