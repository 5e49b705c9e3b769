//! Makes the lanes: their transports, the claims to their transactional ids, and the layer over them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Control, Result, TransactionControl, Transport};
use kafka_tower_layers::transaction_batch::{TransactionBatch, TransactionBatchLayer};

use super::super::deadline;
use super::super::telemetry::{SinkTelemetry, transactions};
use super::super::transaction::Claim;
use super::TransactionBatchOptions;
use crate::KafkaSinkConfig;

/// Makes the transport with this transactional id.
pub(in crate::sink) type ConnectLane<S> = Arc<dyn Fn(String) -> Connecting<S> + Send + Sync>;
type Connecting<S> = Pin<Box<dyn Future<Output = Result<(S, Arc<dyn Control>)>> + Send>>;

/// Boxes a function that makes the transport with a transactional id.
pub(in crate::sink) fn connect_lane<S, Fut>(connect: impl Fn(String) -> Fut + Send + Sync + 'static) -> ConnectLane<S>
where
    Fut: Future<Output = Result<(S, Arc<dyn Control>)>> + Send + 'static,
{
    Arc::new(move |id| Box::pin(connect(id)))
}

/// Maximum time to close the producer of a lane that is no longer used.
const RETIRED: Duration = Duration::from_secs(2);

/// Makes the transports of all lanes, acquires their transactional ids, and puts the layer over them.
pub(in crate::sink) async fn connect_lanes<S: Transport + Sync>(
    config: &KafkaSinkConfig,
    options: TransactionBatchOptions,
    telemetry: &SinkTelemetry,
    connect: ConnectLane<S>,
) -> Result<(TransactionBatch, Arc<dyn Control>, Arc<[Claim]>)> {
    let base = config.transactional_id.clone().unwrap_or_default();
    // First: nothing that is sent later can be overtaken by a lane of an old process.
    for lane in options.lanes..options.earlier_lanes {
        retire(&lane_id(&base, lane), config.send_timeout(), &connect).await?;
    }
    let (mut services, mut controls, mut claims) = (Vec::new(), Vec::new(), Vec::new());
    for lane in 0..options.lanes {
        let id = lane_id(&base, lane);
        let (service, control) = connect(id.clone()).await?;
        claims.extend(Claim::of(&*transactions(&*control)?, &id)?);
        services.push(service);
        controls.push(control);
    }
    let layer = telemetry.shared_transactions(options.set(TransactionBatchLayer::lanes(controls), config));
    layer.init(config.send_timeout()).await?;
    let claims: Arc<[Claim]> = claims.into();
    // The lanes hold the claims too: they may outlive the sink until what it sent is committed.
    let held = Arc::clone(&claims);
    let batch = layer.layer_lanes_with(services, move |lane| {
        let _held = &held;
        connect(lane_id(&base, lane))
    });
    let control = batch.control();
    Ok((batch, control, claims))
}

/// The transactional id of a lane.
pub(in crate::sink) fn lane_id(base: &str, lane: usize) -> String {
    format!("{base}-{lane}")
}

/// Acquires the transactional id of a lane that is no longer used, so that an old producer is fenced.
async fn retire<S: Transport>(id: &str, within: Duration, connect: &ConnectLane<S>) -> Result<()> {
    let begun = deadline::now();
    let (service, control) = connect(id.to_owned()).await?;
    let transactions: Arc<dyn TransactionControl> = transactions(&*control)?;
    let _in_use = Claim::of(&*transactions, id)?;
    let left = within.saturating_sub(deadline::now().saturating_duration_since(begun));
    transactions.init(left).await?;
    let _nothing_was_sent = control.close(RETIRED).await;
    drop((service, transactions, control));
    Ok(())
}
