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
}

struct Broker {
    kafka: MemoryKafka,
    hold: Mutex<Option<Hold>>,
}

impl Kafka for Broker {
    fn read(&self) -> Boxed<'_, Vec<Written>> {
        let written = |stored: kafka_tower_memory::StoredRecord| Written {
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
        };
        Box::pin(async move { self.kafka.records("laws").into_iter().map(written).collect() })
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
