//! What the group has committed.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kafka_tower_core::{Error, Persistence, Result, TopicPartition};
use tokio::sync::oneshot;

use super::shared::Shared;
use crate::ffi::consumer::Place;
use crate::{codes, threads};

pub(super) type Committed = Vec<(TopicPartition, Option<i64>)>;

/// Asks the group. Stable offsets only, because librdkafka asks for them if it reads committed records.
pub(super) async fn ask(shared: Arc<Shared>, at: Vec<TopicPartition>, within: Duration) -> Result<Committed> {
    // librdkafka's call blocks.
    let (sender, receiver) = oneshot::channel();
    let thread = thread::Builder::new().name("kafka-tower-committed".to_owned());
    let asks = move || {
        let lease = shared.lease();
        let instance = lease.as_ref().and_then(|lease| lease.instance());
        let partitions = at.iter().map(|at| (&*at.topic, at.partition));
        let answer = instance.map_or(Err(codes::LOCAL_DESTROY), |instance| instance.committed(partitions, within));
        let group = &shared.subscription.group_id;
        let answer = answer.map_err(|code| unknown(code, group));
        drop(sender.send(answer.and_then(|places| of_places(&at, &places, group))));
    };
    thread.spawn(asks).map_err(|error| threads::no_thread(error).without_record())?;
    receiver.await.unwrap_or_else(|_| Err(threads::panicked("the committed offsets are not known").without_record()))
}

/// Each partition has an offset, none, or an error, which is one of all: an answer about a part is none.
fn of_places(at: &[TopicPartition], places: &[Place], group: &str) -> Result<Committed> {
    let of = |at: &TopicPartition| {
        let place = places.iter().find(|place| place.topic == *at.topic && place.partition == at.partition);
        match place.map_or((codes::LOCAL_UNKNOWN_PARTITION, 0), |place| (place.code, place.offset)) {
            (0, offset) => Ok((at.clone(), (offset >= 0).then_some(offset))),
            (code, _) => Err(unknown(code, group)),
        }
    };
    at.iter().map(of).collect()
}

pub(crate) fn unknown(code: i32, group: &str) -> Error {
    let text = format!("the committed offsets of the group {group} are not known: {}", codes::describe(code));
    codes::error(code, Persistence::NotPersisted, text).without_record().with_help("ask again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32, offset: i64, code: i32) -> Place {
        Place { topic: "orders".to_owned(), partition, offset, code }
    }

    #[test]
    fn an_answer_is_about_all_partitions_or_an_error() {
        let at = [TopicPartition::new("orders", 0), TopicPartition::new("orders", 1)];
        let answer =
            |places: &[Place]| of_places(&at, places, "billing").map_err(|error| error.error_type().to_owned());
        let none = -1_001;
        assert_eq!(
            answer(&[place(1, none, 0), place(0, 7, 0)]),
            Ok(vec![(at[0].clone(), Some(7)), (at[1].clone(), None)])
        );
        let unstable = answer(&[place(0, 7, 0), place(1, none, kafka_tower_core::codes::UNSTABLE_OFFSET_COMMIT)]);
        assert_eq!(unstable, Err("UNSTABLE_OFFSET_COMMIT".to_owned()));
        assert!(answer(&[place(0, 7, 0)]).is_err(), "one is missing");
    }
}
