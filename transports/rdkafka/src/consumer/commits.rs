//! Answers to commits.

use kafka_tower_core::{CommitAnswer, CommitTicket, GroupEvent, Persistence, TopicOffset};

use super::shared::Shared;
use crate::codes;
use crate::ffi::consumer::Place;

/// librdkafka's answer to a commit, as the source's event.
pub(super) fn answer(shared: &Shared, number: u64, code: i32, places: &[Place]) -> GroupEvent {
    let answers = places.iter().zip(of_places(code, places));
    let answers =
        answers.map(|(place, code)| (shared.name(&place.topic, place.partition), of_code(code, &place.topic)));
    GroupEvent::Committed { ticket: CommitTicket(number), answers: answers.collect() }
}

/// The event of a commit that librdkafka did not take.
pub(super) fn not_sent(shared: &Shared, offsets: &[TopicOffset], ticket: CommitTicket, code: i32) -> GroupEvent {
    let answer = |offset: &TopicOffset| (shared.name(&offset.topic, offset.partition), of_code(code, &offset.topic));
    GroupEvent::Committed { ticket, answers: offsets.iter().map(answer).collect() }
}

/// The code of each partition. The code of the whole commit is one of them, unless there was no answer about partitions: then
/// it is that of all.
fn of_places(code: i32, places: &[Place]) -> impl Iterator<Item = i32> {
    let answered = code == 0 || places.iter().any(|place| place.code != 0);
    places.iter().map(move |place| if answered { place.code } else { code })
}

/// As [`CommitAnswer::of_code`], also for librdkafka's own codes: the request may have been carried out.
pub(crate) fn of_code(code: i32, topic: &str) -> CommitAnswer {
    if code >= -1 {
        return CommitAnswer::of_code(code, topic);
    }
    let text = format!("the commit of the offset of {topic} failed: {}", codes::describe(code));
    let error = codes::error(code, Persistence::NotPersisted, text).without_record();
    CommitAnswer::Retry(error.with_help("nothing: the offset is committed again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(code: i32, of_places: &[i32]) -> Vec<i32> {
        let place = |code: &i32| Place { topic: "orders".to_owned(), partition: 0, offset: 1, code: *code };
        let places: Vec<_> = of_places.iter().map(place).collect();
        super::of_places(code, &places).collect()
    }

    #[test]
    fn a_partition_is_committed_only_if_nothing_says_otherwise() {
        assert_eq!(codes(0, &[0, 0]), [0, 0]);
        assert_eq!(codes(29, &[0, 29]), [0, 29], "the other one is committed");
        assert_eq!(codes(0, &[0, 29]), [0, 29]);
        assert_eq!(codes(-180, &[0, 0]), [-180, -180], "nothing was sent");
        assert_eq!(codes(27, &[27, 27]), [27, 27]);
    }
}
