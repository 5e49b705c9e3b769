//! `golden/murmur2.txt`: Java's hash and partitions of 200 keys, to check compatibility with Java.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use kafka_tower_testkit::kafka::java;

const PARTITIONS: [i32; 6] = [1, 2, 3, 6, 12, 50];

/// Every length from 0 to 64 three times, and some typical keys.
fn keys() -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
    keys.extend(["a", "order-4711", "Grüße", "注文", "🦀"].map(|key| key.as_bytes().to_vec()));
    keys.push(vec![0; 4]);
    keys.push(vec![0xff; 4]);
    for _ in 0..3 {
        for length in 1..=64 {
            keys.push((0..length).map(|_| byte()).collect());
        }
    }
    keys
}

#[tokio::test]
async fn the_golden_vectors_match_java() {
    let keys = keys();
    assert_eq!(keys.len(), 200);
    let Some(hashes) = java::murmur2(&keys).await.unwrap() else {
        return;
    };
    let mut text = "# key in hex, murmur2, partition of 1, 2, 3, 6, 12, 50; see tests/kafka/golden.rs\n".to_owned();
    for (key, hash) in keys.iter().zip(hashes) {
        let partitions = PARTITIONS.map(|count| java::partition(hash, count).to_string());
        writeln!(text, "{},{hash},{}", java::hex(key), partitions.join(",")).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/murmur2.txt");
    if std::env::var_os("KAFKA_TOWER_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == text, "golden/murmur2.txt is not what Java says");
}
