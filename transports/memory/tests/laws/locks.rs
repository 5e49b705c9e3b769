//! Values of the test are dropped without the broker's lock: their code may use the broker.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kafka_tower_core::{Error, ErrorKind, Persistence, Record};
use kafka_tower_memory::MemoryKafka;
use tower::Service;

use crate::support::*;

/// Uses the broker on another thread when it is dropped, and notes whether that had an end.
#[derive(Debug)]
struct Uses {
    kafka: MemoryKafka,
    ended: Arc<Mutex<Vec<bool>>>,
}

impl AsRef<[u8]> for Uses {
    fn as_ref(&self) -> &[u8] {
        b"value"
    }
}

impl std::fmt::Display for Uses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("planted")
    }
}

impl std::error::Error for Uses {}

impl Drop for Uses {
    fn drop(&mut self) {
        let (done, end) = std::sync::mpsc::channel();
        let kafka = self.kafka.clone();
        std::thread::spawn(move || done.send(kafka.len("orders")));
        // It ends at once, unless this thread holds the lock.
        self.ended.lock().unwrap().push(end.recv_timeout(std::time::Duration::from_secs(60)).is_ok());
    }
}

fn uses(kafka: &MemoryKafka) -> (Uses, Arc<Mutex<Vec<bool>>>) {
    let ended = Arc::default();
    (Uses { kafka: kafka.clone(), ended: Arc::clone(&ended) }, ended)
}

#[tokio::test]
async fn deleted_records() {
    let (kafka, mut transport) = orders(1);
    let (value, ended) = uses(&kafka);
    assert!(transport.call(Record::new("orders").with_value(Bytes::from_owner(value))).await.is_ok());
    assert!(ended.lock().unwrap().is_empty(), "the log has it");
    kafka.delete_records("orders", 0, 1);
    assert_eq!(*ended.lock().unwrap(), [true]);
}

#[tokio::test]
async fn errors_of_rules() {
    let (kafka, _transport) = orders(1);
    for is_cancelled in [false, true] {
        let (source, ended) = uses(&kafka);
        let error = Error::new(ErrorKind::Broker, "refused").with_persistence(Persistence::NotPersisted);
        let rule = kafka.script().fail(error.with_source(source));
        if is_cancelled {
            rule.cancel()
        } else {
            kafka.clear_script()
        }
        assert_eq!(*ended.lock().unwrap(), [true]);
    }
}
