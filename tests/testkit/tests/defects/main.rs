//! Each law finds a defect: transports over the in-memory Kafka with one planted defect each.
#![allow(clippy::unwrap_used)] // a test may fail

mod broken;
mod fixture;
#[path = "../memory/mod.rs"]
mod memory;

use std::collections::BTreeSet;

use kafka_tower_testkit::{Law, Verdict, laws};

use crate::broken::Defect;
use crate::fixture::Planted;

/// The laws that break with each defect, at least.
const FINDS: &[(Defect, &[Law])] = &[
    (
        Defect::SendsAtTheFirstPoll,
        &[Law::CallOrderIsLogOrder, Law::DroppedFuturesDeliverAndGiveTheirRoomBack, Law::CloseDeliversEverything],
    ),
    (Defect::KeepsTheRoomOfDroppedFutures, &[Law::DroppedFuturesDeliverAndGiveTheirRoomBack]),
    (Defect::FlushesNothing, &[Law::FlushWaitsForEarlierRecords]),
    (Defect::ForgetsTheWaker, &[Law::TheGateIsExactAndAlwaysWakes, Law::BackPressureIsAPendingThatWakes]),
    (Defect::AdmitsOneMore, &[Law::TheLimitsAreExactInRecordsAndBytes]),
    (Defect::AlwaysReady, &[Law::BackPressureIsAPendingThatWakes]),
    (Defect::FailsWhereItIsFull, &[Law::TheGateIsExactAndAlwaysWakes, Law::BackPressureIsAPendingThatWakes]),
    (Defect::DoubtsEveryError, &[Law::EveryErrorStatesItsPersistence, Law::ADeadlineEndsTheWaitingTruthfully]),
    (Defect::KeepsTheRecord, &[Law::AnErrorGivesItsRecordBack]),
    (Defect::IgnoresDeadlines, &[Law::ADeadlineEndsTheWaitingTruthfully]),
    (Defect::AnswersBeforeTheAppend, &[Law::CloseReportsWhatItCouldNotDeliver, Law::EveryErrorStatesItsPersistence]),
    (Defect::ReportsNothing, &[Law::CloseReportsWhatItCouldNotDeliver]),
    (Defect::ForgetsFuturesWithTheLastHandle, &[Law::DroppingTheLastHandleResolvesAll]),
    (Defect::DropsHeaders, &[Law::RecordsArriveAsTheyWere]),
    (Defect::SendsToTheFirstPartition, &[Law::KeysChoosePartitionsAsJavaDoes]),
    (Defect::AcceptsSilently, &[Law::AcceptanceIsReported]),
    (Defect::DropsTickets, &[Law::TicketsAreCheckedAndAccountedFor]),
    (Defect::LeavesTransactionsOpen, &[Law::ACloseAbortsAnOpenTransaction]),
    (Defect::LeaksAHandle, &[Law::DroppingTheLastHandleAbortsAnOpenTransaction]),
];

#[tokio::test(start_paused = true)]
async fn each_defect_is_found() {
    for (defect, expected) in FINDS {
        for law in *expected {
            let verdict = law.judge(&Planted(Some(*defect))).await;
            assert!(matches!(verdict, Verdict::Broken(_)), "{defect:?} breaks {law}: {verdict:?}");
        }
    }
}

#[test]
fn each_law_finds_a_defect() {
    let finding: BTreeSet<Law> = FINDS.iter().flat_map(|(_, laws)| laws.iter().copied()).collect();
    assert_eq!(finding, Law::ALL.iter().copied().collect());
}

#[tokio::test(start_paused = true)]
async fn no_law_breaks_without_a_defect() {
    let report = laws::all(&Planted(None)).await;
    assert!(report.is_kept(), "{report}");
    assert!(report.verdicts().iter().all(|(_, verdict)| *verdict == Verdict::Kept), "{report}");
}
