//! The transport under test, over the simulated cluster.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Error, Record};
use kafka_tower_native::net::address::Address;
use kafka_tower_native::net::connector::{BoxStream, Connector, Opening};
use kafka_tower_native::net::dial::DialError;
use kafka_tower_native::{Acks, Codec, DeliveryFuture, NativeBuilder, NativeTransport};
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::cluster::Cluster;
use super::driver::{Client, Connect};
use super::profiles::Profile;
use super::workload::Random;

/// Connects [`NativeTransport`]s, with settings that follow from the seed.
#[derive(Debug)]
pub(crate) struct Native;

/// Opens connections to the cluster.
#[derive(Debug)]
struct Wire(Cluster);

impl Connector for Wire {
    fn connect(&self, address: &Address, deadline: Instant) -> Opening {
        let (cluster, Address { host, port }) = (self.0.clone(), address.clone());
        Box::pin(async move {
            let failed =
                |error| DialError::Connect(vec![(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Arc::new(error))]);
            match timeout_at(deadline, cluster.connect(&host, port)).await {
                Ok(Ok(stream)) => Ok(Box::new(stream) as BoxStream),
                Ok(Err(error)) => Err(failed(error)),
                Err(_) => Err(failed(std::io::ErrorKind::TimedOut.into())),
            }
        })
    }
}

/// A builder of a transport to a cluster with this number of brokers.
pub(crate) fn builder(cluster: &Cluster, brokers: i32) -> NativeBuilder {
    let brokers = (0..brokers).map(|id| format!("broker-{id}:9092")).collect::<Vec<_>>().join(",");
    NativeTransport::builder().bootstrap(brokers).connector(Arc::new(Wire(cluster.clone())))
}

impl Connect for Native {
    type Client = NativeTransport;

    async fn connect(&self, cluster: &Cluster, profile: &Profile) -> Result<NativeTransport, Error> {
        let random = Random::new(cluster.seed());
        let one_of = |choices: &[usize]| choices[usize::try_from(random.below(choices.len() as u64)).expect("few")];
        let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4];
        let codec = codecs[one_of(&[0, 0, 0, 1, 2, 3])];
        let acks = match profile.acks {
            0 => Acks::None,
            1 => Acks::Leader,
            _ => Acks::All,
        };
        let builder = builder(cluster, profile.brokers).acks(acks);
        let builder = profile.topics(1).iter().fold(builder, |builder, topic| builder.topic(topic.name));
        let builder = builder
            .compression(if codec.is_built() { codec } else { Codec::None })
            .batch_records(one_of(&[1, 2, 5, 20, 10_000]))
            .batch_bytes(one_of(&[1_000, 20_000, 1_000_000]))
            .linger(Duration::from_millis(one_of(&[0, 0, 1, 20]) as u64))
            .max_in_flight_requests(one_of(&[1, 2, 5, 5]))
            .limits(Limits { records: one_of(&[3, 20, 10_000]), bytes: 32 << 20 })
            .request_timeout(Duration::from_secs(one_of(&[1, 5, 30]) as u64))
            .delivery_bound(Duration::from_secs(one_of(&[20, 300]) as u64));
        builder.connect().await
    }
}

impl Client for NativeTransport {
    type Sending = DeliveryFuture;

    async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    fn call(&mut self, record: Record) -> DeliveryFuture {
        Service::call(self, record)
    }

    async fn flush(&self) -> Result<(), Error> {
        self.control().flush().await
    }

    async fn close(&self, within: Duration) -> Result<(), Error> {
        self.control().close(within).await.map(drop)
    }
}
