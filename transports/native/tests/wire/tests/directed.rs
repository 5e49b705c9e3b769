//! Single courses of events that the transport once got wrong, or that random faults rarely hit.

use std::time::Duration;

use kafka_tower_core::{Delivery, Record, Result};
use kafka_tower_native::{Acks, NativeBuilder, NativeTransport};
use tokio::time::{sleep, timeout};
use tower_service::Service as _;

use super::{TOPIC, cluster, numbers};
use crate::batch::value;
use crate::cluster::{Cluster, TopicConfig, Versions};
use crate::faults::Faults;
use crate::native::builder;

/// Longer than any pause of the client, and shorter than the age of its metadata and than its bound for deliveries.
const SOON: Duration = Duration::from_secs(20);
const METADATA_AGE: Duration = Duration::from_secs(300);

async fn connect(builder: NativeBuilder) -> NativeTransport {
    builder.topic(TOPIC).connect().await.unwrap_or_else(|error| panic!("{error:#}"))
}

fn record(number: u64) -> Record {
    Record::new(TOPIC).with_partition(0).with_value(value(number, 20))
}

async fn send(transport: &mut NativeTransport, number: u64) -> Result<Delivery> {
    let sent = transport.call(record(number));
    timeout(SOON, sent).await.unwrap_or_else(|_| panic!("record {number} has no outcome"))
}

/// Without answers a broker refuses by closing the connection.
#[tokio::test(start_paused = true)]
async fn without_acknowledgements_records_follow_a_leader_that_moved() {
    let cluster = cluster(2, Faults::none(1));
    let mut transport = connect(builder(&cluster, 2).acks(Acks::None)).await;
    send(&mut transport, 1).await.unwrap();
    sleep(SOON).await;
    cluster.move_leader(TOPIC, 0, 1);
    send(&mut transport, 2).await.unwrap();
    sleep(SOON).await;
    send(&mut transport, 3).await.unwrap();
    sleep(SOON).await;
    assert_eq!(numbers(&cluster, 0), [1, 3], "the second one was refused, and nobody can know it");
}

/// A broker to which topics are named by name appends to the new topic what the client sends to the old one.
#[tokio::test(start_paused = true)]
async fn numbers_of_a_topic_that_was_made_anew_are_not_used_again() {
    let cluster = Cluster::new(1, Versions::Kafka39, &[TopicConfig::new(TOPIC, 1)], Faults::none(1));
    let mut transport = connect(builder(&cluster, 1)).await;
    cluster.make_anew(TOPIC, Duration::ZERO);
    // The client does not know yet.
    send(&mut transport, 1).await.unwrap();
    sleep(METADATA_AGE + SOON).await;
    for number in [2, 3] {
        send(&mut transport, number).await.unwrap();
    }
    assert_eq!(numbers(&cluster, 0), [1, 2, 3], "an acknowledged record is there");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_the_client_does_not_know_is_connected_to() {
    let cluster = cluster(2, Faults::none(1));
    cluster.restart(1, SOON);
    sleep(SOON / 2).await;
    let mut transport = connect(builder(&cluster, 1)).await;
    send(&mut transport, 1).await.unwrap();
    sleep(SOON).await;
    cluster.move_leader(TOPIC, 0, 1);
    send(&mut transport, 2).await.unwrap();
    assert_eq!(numbers(&cluster, 0), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_closed_sink_leaves_no_room_taken() {
    let cluster = cluster(1, Faults::none(1));
    let mut transport = connect(builder(&cluster, 1)).await;
    send(&mut transport, 1).await.unwrap();
    cluster.restart(0, METADATA_AGE * 2);
    sleep(SOON).await;
    let control = transport.control();
    let sink = control.open_tenant().expect("tenants are told apart");
    let sent = transport.call(record(2).with_tenant(sink.tenant()));
    let report = sink.close(Duration::from_secs(1)).await.unwrap();
    assert_eq!((report.failed, report.unknown), (1, 0), "{report:?}");
    assert!(sent.await.is_err());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(control.in_flight().records, 0, "its room is free");
}
