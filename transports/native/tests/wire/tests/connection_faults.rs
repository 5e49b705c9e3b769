//! Faults of connections, seen to happen: which requests are executed, and which are not.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::fault_kinds::{one, open, with};
use super::peer::{batch, bytes_of, produce};
use super::{numbers, topic_of};
use crate::faults::Kind;

#[tokio::test(start_paused = true)]
async fn a_connection_is_refused() {
    let cluster = with(Kind::Refused, 1, 0);
    assert_eq!(cluster.connect("broker-0", 9092).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    open(&cluster, 0).await;
    for (host, port) in [("broker-0", 9093), ("broker-2", 9092), ("broker-x", 9092), ("elsewhere", 9092)] {
        assert!(cluster.connect(host, port).await.is_err(), "{host}:{port}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_cut_are_not_executed() {
    for kind in [Kind::CutBefore, Kind::CutInside] {
        for seed in 0..20 {
            let cluster = with(kind, 1, seed);
            let mut stream = open(&cluster, 0).await;
            assert_eq!(one(&cluster, &mut stream, 0).await, None);
            assert_eq!((numbers(&cluster, 0).len(), cluster.seen(kind)), (0, 1), "{kind:?}");
            assert_eq!(one(&cluster, &mut open(&cluster, 0).await, 1).await, Some((0, 0)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_cut_are_of_executed_requests() {
    for kind in [Kind::CutAfter, Kind::CutInAnswer] {
        let mut lengths = Vec::new();
        for seed in 0..20 {
            let cluster = with(kind, 1, seed);
            let mut stream = open(&cluster, 0).await;
            let request = produce(topic_of(&cluster), 0, -1, 13, batch((-1, -1, -1), &[0], None));
            stream.write_all(&bytes_of(&request, 13, 1)).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            lengths.push(answer.len());
            assert_eq!(numbers(&cluster, 0), [0]);
        }
        lengths.sort_unstable();
        lengths.dedup();
        assert_eq!(lengths.len() > 10, kind == Kind::CutInAnswer, "{lengths:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_held_and_executed_after_the_connection_is_cut() {
    let mut late = 0;
    for seed in 0..20 {
        let cluster = with(Kind::Hold, 1, seed);
        assert_eq!(one(&cluster, &mut open(&cluster, 0).await, 0).await, None);
        assert_eq!(numbers(&cluster, 0), [0; 0]);
        sleep(Duration::from_secs(2)).await;
        late += u32::from(numbers(&cluster, 0).is_empty());
        sleep(Duration::from_secs(100)).await;
        assert_eq!(numbers(&cluster, 0), [0]);
        // Not if the broker ends first.
        let cluster = with(Kind::Hold, 1, seed);
        assert_eq!(one(&cluster, &mut open(&cluster, 0).await, 0).await, None);
        cluster.restart(0, Duration::ZERO);
        sleep(Duration::from_secs(200)).await;
        assert_eq!(numbers(&cluster, 0), [0; 0]);
    }
    assert!((2..15).contains(&late), "{late}");
}

#[tokio::test(start_paused = true)]
async fn slow_requests_and_answers_take_their_time() {
    for kind in [Kind::SlowRead, Kind::SlowAnswer] {
        let (mut longest, mut before, mut after) = (Duration::ZERO, 0, 0);
        for seed in 0..20 {
            let (cluster, start) = (with(kind, 1, seed), Instant::now());
            let mut stream = open(&cluster, 0).await;
            let request = produce(topic_of(&cluster), 0, -1, 13, batch((-1, -1, -1), &[0], None));
            stream.write_all(&bytes_of(&request, 13, 1)).await.unwrap();
            sleep(Duration::from_millis(1)).await;
            if numbers(&cluster, 0).is_empty() {
                before += 1
            } else {
                after += 1
            }
            stream.read_u8().await.unwrap();
            longest = longest.max(start.elapsed());
            assert_eq!(numbers(&cluster, 0), [0]);
        }
        let least = if kind == Kind::SlowRead { 8 } else { 30 };
        assert!(longest > Duration::from_secs(least), "{kind:?}: {longest:?}");
        assert!(before > 0 && (after > 0) == (kind == Kind::SlowAnswer), "{kind:?}: {before}, {after}");
    }
}
