/// Calls `$callback! { $arguments; (Variant law_function "what the law demands") … }` with all laws: the one list of them.
#[doc(hidden)]
#[macro_export]
macro_rules! __with_laws {
    ($callback:path [$($arguments:tt)*]) => {
        $callback! { [$($arguments)*]
            (CallOrderIsLogOrder call_order_is_log_order
                "each partition has the records in the order of the calls")
            (DroppedFuturesDeliverAndGiveTheirRoomBack dropped_futures_deliver_and_give_their_room_back
                "dropping a future neither cancels its record nor keeps its room")
            (FlushWaitsForEarlierRecords flush_waits_for_earlier_records
                "a flush resolves when all earlier records are settled, and not before")
            (TheGateIsExactAndAlwaysWakes the_gate_is_exact_and_always_wakes
                "the limits hold under concurrent load, and no task sleeps for ever")
            (TheLimitsAreExactInRecordsAndBytes the_limits_are_exact_in_records_and_bytes
                "the transport admits as many records and bytes as its limits allow, and parks the others")
            (BackPressureIsAPendingThatWakes back_pressure_is_a_pending_that_wakes
                "a full transport is pending, and a delivery report wakes it")
            (EveryErrorStatesItsPersistence every_error_states_its_persistence
                "invalid records are refused with a typed error, and are not written")
            (AnErrorGivesItsRecordBack an_error_gives_its_record_back
                "an error contains its record, if the transport's control says so")
            (ADeadlineEndsTheWaitingTruthfully a_deadline_ends_the_waiting_truthfully
                "a deadline resolves the future: parked means not written, in flight means possibly written")
            (CloseDeliversEverything close_delivers_everything
                "a close delivers the records that were called before")
            (CloseReportsWhatItCouldNotDeliver close_reports_what_it_could_not_deliver
                "a close reports each undelivered record once, and its outcome agrees with the log")
            (DroppingTheLastHandleResolvesAll dropping_the_last_handle_resolves_all
                "every future resolves truthfully after the last handle was dropped")
            (RecordsArriveAsTheyWere records_arrive_as_they_were
                "key, value, headers and timestamp are in the log as they were sent")
            (KeysChoosePartitionsAsJavaDoes keys_choose_partitions_as_java_does
                "a key goes to the partition to which the Java client sends it")
            (AcceptanceIsReported acceptance_is_reported
                "the transport reports that it has accepted a record, and that its future has resolved")
            (TicketsAreCheckedAndAccountedFor tickets_are_checked_and_accounted_for
                "a record whose transaction has ended is refused, and an accepted one is accounted for")
            (ACloseAbortsAnOpenTransaction a_close_aborts_an_open_transaction
                "a close during a transaction aborts it")
            (DroppingTheLastHandleAbortsAnOpenTransaction dropping_the_last_handle_aborts_an_open_transaction
                "dropping the last handle during a transaction aborts it")
        }
    };
}

/// Makes a test of each law: `law_tests!(#[tokio::test] fixture)`.
///
/// The attributes are those of each test. The expression makes the [`Fixture`](crate::Fixture), once for each test. It
/// may `.await`, and `return` where the fixture is not available; then it should print why.
///
/// The test of a law that is [not applicable](crate::NotApplicable) prints the reason, past the harness's capture. It
/// fails if the fixture does not [list](crate::Fixture::not_applicable) the law.
#[macro_export]
macro_rules! law_tests {
    ($(#[$attribute:meta])+ $fixture:expr) => {
        $crate::__with_laws!($crate::__law_tests [[$(#[$attribute])+] $fixture, $crate::Law]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __law_tests {
    ([$attributes:tt $fixture:expr, $laws:ty] $(($variant:ident $law:ident $demand:literal))*) => {
        $($crate::__law_test!($attributes $fixture, $laws, $variant $law);)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __law_test {
    ([$(#[$attribute:meta])+] $fixture:expr, $laws:ty, $variant:ident $law:ident) => {
        $(#[$attribute])+
        async fn $law() {
            let fixture = $fixture;
            <$laws>::$variant.assert(&fixture).await;
        }
    };
}
