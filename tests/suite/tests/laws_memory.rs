//! The laws on the in-memory Kafka, under a paused clock.
#![allow(clippy::unwrap_used)] // a test may fail

use std::sync::Mutex;

use bytes::Bytes;
use kafka_tower_core::gate::Limits;
use kafka_tower_memory::{Hold, MemoryKafka, MemoryTransport};
use kafka_tower_test_suite::subject::{Boxed, Kafka};
use kafka_tower_test_suite::{Open, Subject, Written, run_laws};

struct Memory;

impl Subject for Memory {
    type Transport = MemoryTransport;

    fn open(&self, limits: Limits, partitions: u32) -> Boxed<'_, Open<MemoryTransport>> {
        Box::pin(async move {
            let kafka = MemoryKafka::new().with_topic("laws", partitions);
            let transport = kafka.transport_with(limits);
            let control = transport.control();
            Open { transport, control, topic: "laws".into(), kafka: Box::new(Broker { kafka, hold: Mutex::default() }) }
        })
    }

    fn open_transactional(&self) -> Boxed<'_, Option<[Open<MemoryTransport>; 2]>> {
        Box::pin(async {
            let kafka = MemoryKafka::new().with_topic("laws", 1);
            let transports = [kafka.transactional_transport("id"), kafka.transport()];
            let opens = transports.map(|transport| {
                let broker = Broker { kafka: kafka.clone(), hold: Mutex::default() };
                Open { control: transport.control(), transport, topic: "laws".into(), kafka: Box::new(broker) }
            });
            opens[0].control.transactions().unwrap().init(self.patience()).await.unwrap();
            Some(opens)
        })
    }
}

struct Broker {
    kafka: MemoryKafka,
    hold: Mutex<Option<Hold>>,
}

fn written(stored: &kafka_tower_memory::StoredRecord) -> Written {
    Written {
        partition: stored.partition,
        offset: stored.offset,
        key: stored.key().cloned(),
        value: stored.value().cloned(),
        headers: stored
            .record
            .headers
            .iter()
            .map(|h| (h.key.to_string(), h.value.clone()))
            .collect::<Vec<(String, Option<Bytes>)>>(),
        timestamp: Some(stored.timestamp.as_millis()),
    }
}

impl Kafka for Broker {
    fn read(&self) -> Boxed<'_, Vec<Written>> {
        Box::pin(async move { self.kafka.records("laws").iter().map(written).collect() })
    }

    fn committed(&self) -> Boxed<'_, Vec<Written>> {
        Box::pin(async move { self.kafka.committed("laws").iter().map(written).collect() })
    }

    fn silence(&self) -> Boxed<'_, bool> {
        Box::pin(async {
            *self.hold.lock().unwrap() = Some(self.kafka.script().always().hold());
            true
        })
    }

    fn answer(&self) -> Boxed<'_, ()> {
        Box::pin(async {
            self.hold.lock().unwrap().take();
        })
    }
}

run_laws!([tokio::test(start_paused = true)] async { Some(Memory) });
