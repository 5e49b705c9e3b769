//! Checks the transactional batching layer: callers that share transactions, stacks that are closed or dropped while sends
//! are in flight, faults of records and of the requests that end transactions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_tower::layers::transaction_batch::{TransactionBatch, TransactionBatchLayer};
use kafka_tower::memory::sim::{Lanes, Order, Report, Verdict, check_batches};
use kafka_tower::memory::{FaultKind, Faults};
use kafka_tower::{Control, KafkaSink, Record, Result};
use tower::ServiceExt;

use super::planted::{Plant, Planted, number};
use super::transactions::Moody;
use super::{BoxedStack, SEEDS, assert_kept, config, typed};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Connected = (BoxedStack, Arc<dyn Control>);

fn planted(lanes: &Lanes, plant: Plant) -> Vec<Planted> {
    lanes.transports().into_iter().map(|transport| Planted::new(transport, plant)).collect()
}

fn layer(transports: &[Planted]) -> TransactionBatchLayer {
    let layer = TransactionBatchLayer::lanes(transports.iter().map(Planted::control).collect()).timeout(2 * SECOND);
    // One lane: most batches are cut by their age or for want of room. Several: at once, or by their size.
    match transports.len() {
        1 => layer.records(4).age(10 * MS).room(10, 2_000),
        _ => layer.records(5).age(Duration::ZERO).room(20, 4_000),
    }
}

async fn batching(transports: Vec<Planted>) -> Result<TransactionBatch> {
    let layer = layer(&transports);
    layer.init(60 * SECOND).await?;
    Ok(layer.layer_lanes(transports))
}

async fn stack(transports: Vec<Planted>) -> Result<Connected> {
    let service = batching(transports).await?;
    let control = service.control();
    Ok((BoxedStack::new(service), control))
}

/// A sink over the layer, with a serializer that refuses some messages and waits for others.
async fn sink(transports: Vec<Planted>, serializer: Moody) -> Result<Connected> {
    let service = batching(transports).await?;
    let control = service.control();
    let builder = KafkaSink::<Bytes>::builder(config()).serializer(Arc::new(serializer)).transport(service);
    Ok((typed(builder.jitter_seed(1).build().await?), control))
}

#[track_caller]
fn assert_kept_under_faults(report: &Report) {
    assert_kept(report);
    assert!(report.faults > 40 * report.seeds, "the runs are dull: {report}");
}

/// The log has the order of the calls, also after replays.
#[test]
fn the_batching_layer_keeps_exactly_once() {
    let check = check_batches(async |lanes| stack(planted(&lanes, Plant::None)).await);
    assert_kept_under_faults(&check.seeds(SEEDS).run_batches());
}

/// The layer picks the partition of records without a key.
#[test]
fn lanes_keep_exactly_once() {
    let check = check_batches(async |lanes| stack(planted(&lanes, Plant::None)).await).lanes(3);
    assert_kept_under_faults(&check.seeds(SEEDS).run_batches());
}

/// Lanes that come back after a transaction without a clean end, and whose producers are replaced, unless the next stack
/// has taken over.
#[test]
fn lanes_that_come_back_keep_exactly_once() {
    let check = check_batches(async |lanes| {
        let transports = planted(&lanes, Plant::None);
        let layer = layer(&transports);
        layer.init(60 * SECOND).await?;
        let service = layer.layer_lanes_with(transports, move |lane| {
            let transport = Planted::new(lanes.transport(lane), Plant::None);
            let control = transport.control();
            std::future::ready(Ok((transport, control)))
        });
        let control = service.control();
        Ok((BoxedStack::new(service), control))
    });
    assert_kept_under_faults(&check.lanes(3).seeds(SEEDS).run_batches());
}

/// The retry layer of the sink sends the records of a batch that was given up again, behind later ones; and so does a
/// serializer that waits.
#[test]
fn a_sink_over_the_batching_layer_keeps_exactly_once() {
    let connect = async |lanes| sink(planted(&lanes, Plant::None), Moody { waits: true }).await;
    assert_kept_under_faults(&check_batches(connect).order(Order::None).seeds(SEEDS).run_batches());
}

/// A planted defect is found within `seeds` seeds, with one of these verdicts first.
#[track_caller]
pub(crate) fn assert_found(report: &Report, seeds: u64, verdicts: &[Verdict]) {
    println!("{} seeds, {:.0?}: {:?}", report.seeds, report.elapsed, report.verdicts());
    let failure = report.failure.as_ref().expect("the defect is not found");
    assert!(verdicts.contains(&failure.violations[0].verdict), "{report}");
    assert!(report.seeds <= seeds, "found only by seed {}", failure.seed);
    assert_eq!(failure.not_deterministic, None);
}

#[test]
fn an_answer_before_the_commit_is_found() {
    let connect = async |lanes| stack(planted(&lanes, Plant::AnswerBeforeCommit)).await;
    let report = check_batches(connect).shrink(false).run_batches();
    assert_found(&report, 1, &[Verdict::PersistedNotInLog, Verdict::LostAcknowledged]);
}

#[test]
fn a_replay_after_an_unknown_commit_is_found() {
    let connect = async |lanes| stack(planted(&lanes, Plant::DoubtIsRefusal)).await;
    let faults = Faults::default().with(FaultKind::LoseTransactionAnswer, 0.35);
    let report = check_batches(connect).faults(faults).shrink(false).run_batches();
    assert_found(&report, 5, &[Verdict::Duplicate, Verdict::NotPersistedInLog]);
}

/// A record that is called while a transaction is open joins it, although it belongs to the next batch.
#[test]
fn a_record_that_joins_the_transaction_of_another_batch_is_found() {
    let report = check_batches(async |lanes| {
        let (planted, ahead) = Planted::ahead(lanes.transport(0), |record| number(record).is_multiple_of(5));
        let (service, control) = stack(vec![planted]).await?;
        let service = service.map_request(move |record| {
            ahead.send(&record);
            record
        });
        Ok((BoxedStack::new(service), control))
    });
    let report = report.order(Order::None).shrink(false).run_batches();
    assert_found(&report, 5, &[Verdict::LostAcknowledged, Verdict::Duplicate, Verdict::NotPersistedInLog]);
}

/// The lane is picked by the record and not by its partition.
#[test]
fn lanes_that_share_a_partition_are_found() {
    let report = check_batches(async |lanes| {
        let by_key = |mut record: Record| {
            record.partition = record.partition.filter(|_| record.key.is_none());
            record
        };
        let transports = lanes.transports().into_iter().map(|transport| Planted::changing(transport, by_key));
        let (service, control) = stack(transports.collect()).await?;
        let any_lane = |record: Record| {
            let partition = number(&record) % 3;
            record.with_partition(partition as i32)
        };
        Ok((BoxedStack::new(service.map_request(any_lane)), control))
    });
    let report = report.lanes(3).shrink(false).run_batches();
    assert_found(&report, 1, &[Verdict::PersistedNotInLog, Verdict::Reordered]);
}
