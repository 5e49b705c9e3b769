//! What happens to a consumer in its group.

use super::{Assignment, TopicPartition};
use crate::{Error, Persistence, codes};

/// Event of a consumer in its group.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GroupEvent {
    /// The consumer now owns these partitions, in addition to others. Answered by [`Consumer::start`](super::Consumer::start).
    Assigned(Vec<TopicPartition>),
    /// The group takes these partitions back and waits. Answered by [`Consumer::release`](super::Consumer::release), also if the list is empty.
    Revoked(Vec<TopicPartition>),
    /// These partitions may already belong to others: nothing of them may be committed.
    Lost(Vec<TopicPartition>),
    /// The answer to a commit, for each of its partitions.
    Committed {
        /// The commit.
        ticket: CommitTicket,
        /// The answer for each partition.
        answers: Vec<(TopicPartition, CommitAnswer)>,
    },
    /// The log of a partition begins anew, at an offset before what was read of it: it was truncated, or its topic was deleted
    /// and created again. The epoch has ended. Answered by [`Consumer::seek`](super::Consumer::seek) to this offset.
    Restarted {
        /// The partition.
        at: TopicPartition,
        /// The first offset of what comes now.
        from: i64,
    },
    /// The next offset to read is not in the log: records were deleted before they were read, or the offset is behind the end.
    /// What was before it in the epoch was lent, and nothing more of the epoch comes. Answered by [`Consumer::seek`](super::Consumer::seek).
    OutOfRange {
        /// The partition, and the epoch that has ended.
        at: Assignment,
        /// The offset.
        offset: i64,
        /// The first offset of the log.
        start: i64,
        /// The end of the log: the offset of its next record.
        end: i64,
    },
    /// The client cannot read at present, with an error [without a record](Error::without_record), and goes on trying: for
    /// example because a right is missing or no broker can be reached. Once for each cause, and not with each attempt.
    Unable {
        /// The cause.
        error: Error,
        /// The partition, if it is about one.
        at: Option<TopicPartition>,
    },
    /// The client has ended by an error [without a record](Error::without_record). [`Left`](Self::Left) follows.
    Failed(Error),
    /// The consumer has left its group. The last event.
    Left,
}

/// Answer to the commit of a partition. The errors are [without a record](Error::without_record).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CommitAnswer {
    /// The group has the offset.
    Committed,
    /// It was not committed, and may be when it is sent again.
    Retry(Error),
    /// It was not committed: the group does not know the member, or has a newer generation. The partition may already
    /// belong to another member.
    NotAMember(Error),
    /// It was not committed, and will not be soon: the principal may not, or the offset is not acceptable.
    Refused(Error),
}

impl CommitAnswer {
    /// The answer that a coordinator's error code means. 0 is `Committed`, and an unknown code means `Retry`.
    ///
    /// ```
    /// use kafka_tower_core::CommitAnswer;
    ///
    /// let answer = CommitAnswer::of_code(27, "orders");
    /// assert!(matches!(&answer, CommitAnswer::Retry(error) if error.error_type() == "REBALANCE_IN_PROGRESS"));
    /// ```
    #[must_use]
    pub fn of_code(code: i32, topic: &str) -> Self {
        let text = || format!("the offset of {topic} was not committed: {}", codes::describe(code));
        let error = || codes::error(code, Persistence::NotPersisted, text()).without_record();
        let reads = || error().with_help("grant this principal READ on the group and on the topic");
        match code {
            0 => Self::Committed,
            // ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, STALE_MEMBER_EPOCH
            22 | 25 | 82 | 113 => Self::NotAMember(error().with_help("nothing: the new owner reads the records again")),
            // TOPIC_, GROUP_ and TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            29 | 30 | 53 => Self::Refused(reads()),
            // OFFSET_METADATA_TOO_LARGE, INVALID_COMMIT_OFFSET_SIZE
            12 | 28 => Self::Refused(error().with_help("report it: the source sends small commits without metadata")),
            _ => Self::Retry(error().with_help("nothing: the offset is committed again")),
        }
    }
}

/// Number of a commit, unique in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitTicket(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code with which a coordinator answers a commit, and one that does not exist.
    #[test]
    fn each_code_of_a_commit_has_its_answer() {
        type Is = fn(&CommitAnswer) -> bool;
        let retry: Is = |answer| matches!(answer, CommitAnswer::Retry(_));
        let not_a_member: Is = |answer| matches!(answer, CommitAnswer::NotAMember(_));
        let refused: Is = |answer| matches!(answer, CommitAnswer::Refused(_));
        assert!(matches!(CommitAnswer::of_code(0, "orders"), CommitAnswer::Committed));
        for (codes, is) in [
            (&[3, 7, 14, 15, 16, 24, 27, -1, 200][..], retry),
            (&[22, 25, 82, 113], not_a_member),
            (&[12, 28, 29, 30, 53], refused),
        ] {
            for code in codes {
                let answer = CommitAnswer::of_code(*code, "orders");
                assert!(is(&answer), "{code}: {answer:?}");
            }
        }
    }
}
