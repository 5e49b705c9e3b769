/// Calls `$callback! { $arguments; (Variant law_function "what the law demands") … }` with all laws: the one list of them.
#[doc(hidden)]
#[macro_export]
macro_rules! __with_consumer_laws {
    ($callback:path [$($arguments:tt)*]) => {
        $callback! { [$($arguments)*]
            (RecordsComeInOrderAndOnce records_come_in_order_and_once
                "each record of a partition comes once, in order, as it was written")
            (PositionsAreTrue positions_are_true
                "positions pass what cannot be read, and no record that can")
            (CommitsAreAnswered commits_are_answered
                "each commit is answered once, and Ok means that the group has the offset")
            (NothingOfAReleasedPartitionPasses nothing_of_a_released_partition_passes
                "a partition that was given back is not read any more")
            (AReleaseIsAnAnswer a_release_is_an_answer
                "the group waits for the release, and commits are accepted until then")
            (PendingWakes pending_wakes
                "a reader that waits is woken by the next record")
            (ASeekContinuesAtItsTarget a_seek_continues_at_its_target
                "after a seek the first readable record at or after the target comes, in the new epoch only")
            (AnOffsetOutOfRangeIsAnEvent an_offset_out_of_range_is_an_event
                "an offset that is not in the log is an event, and nothing behind it is read until a seek")
            (OpeningFindsTheTopics opening_finds_the_topics
                "a consumer of an unknown topic is not opened")
            (LeavingEndsTheConsumer leaving_ends_the_consumer
                "a consumer that leaves says so in time, and others get its partitions")
            (LookUpsAreTrue look_ups_are_true
                "what is looked up is what the group and the log have")
        }
    };
}

/// Makes a test of each law of a consumer: `consumer_law_tests!(#[tokio::test] fixture)`.
///
/// As [`law_tests!`](crate::law_tests), with a [`ConsumerFixture`](crate::consumer::ConsumerFixture).
#[macro_export]
macro_rules! consumer_law_tests {
    ($(#[$attribute:meta])+ $fixture:expr) => {
        $crate::__with_consumer_laws!(
            $crate::__law_tests [[$(#[$attribute])+] $fixture, $crate::consumer::ConsumerLaw]
        );
    };
}
