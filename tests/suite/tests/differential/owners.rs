//! Ownership of a transactional id, and which consumer's offsets a group accepts.

use kafka_tower_core::{ErrorKind, Recovery};
use kafka_tower_memory::MemoryKafka;

use crate::ends::{Pair, group};
use crate::support::*;

/// A new producer takes the id in each state of the old owner. The old owner's next call must fail.
#[tokio::test]
async fn ten_fenced_producers_have_the_same_results() {
    let Some(kafka) = real().await else { return };
    let topic = kafka.topic("differential-fenced", 2).await.unwrap();
    let memory = MemoryKafka::new().with_topic(&topic, 2);
    let group = group(&topic);
    for scenario in 0..10 {
        let what = format!("fence {scenario}");
        let id = format!("{topic}-{scenario}");
        let value = |n: i32| (n % 2, format!("{scenario}.{n}"));
        let mut old = Pair::new(&kafka, &memory, &topic, &id).await;
        old.begin().await;
        old.send(&[value(0), value(1)], &what).await;
        let mut new = Pair::new(&kafka, &memory, &topic, &id).await;
        let told = match scenario % 5 {
            0 | 1 => old.end(scenario % 2 == 0, &what).await,
            2 => old.offsets(&group, 1, &what).await,
            3 => {
                let told = old.send(&[value(2)], &what).await;
                assert!(matches!(told[0], Told::Failed(ErrorKind::Fenced, _)), "{what}: {told:?}");
                old.end(true, &what).await
            }
            _ => {
                new.begin().await;
                new.send(&[value(3)], &what).await;
                old.end(true, &what).await
            }
        };
        let (kind, recovery, _) = told.expect("the old owner is fenced");
        assert_eq!((kind, recovery), (ErrorKind::Fenced, Recovery::Fatal), "{what}");
        if scenario % 5 < 4 {
            new.begin().await;
            new.send(&[value(4)], &what).await;
        }
        assert_eq!(new.end(true, &what).await, None);
        assert_alike(&kafka, &memory, &topic).await;
    }
}
