use crate::mock;
use crate::support::{command, ended, run, signal};

#[tokio::test]
async fn a_good_cluster_passes_beside_records_of_others() {
    let cluster = mock();
    let brokers = cluster.bootstrap();
    let soak = ["soak", "-b", brokers, "-t", "orders", "--rate", "0", "--size", "200"];
    let judged = [&soak[..], &["--count", "2000", "--json"]].concat();
    let other = [&soak[..], &["--count", "1000", "--keys", "1"]].concat();
    let (ran, other) = tokio::join!(run(&judged, ""), run(&other, ""));
    let verdict = ran.document();
    assert_eq!((ran.code, &verdict["passed"]), (Some(0), &true.into()), "{ran:?}");
    assert_eq!((&verdict["delivered"], &verdict["read"]), (&2_000.into(), &2_000.into()));
    assert_eq!((other.code, other.stdout.ends_with("passed\n")), (Some(0), true), "{other:?}");
}

#[tokio::test]
async fn a_run_that_delivers_nothing_fails() {
    let cluster = mock();
    cluster.set_topic_error("orders", 29).unwrap();
    let soak = ["soak", "-b", cluster.bootstrap(), "-t", "orders", "--count", "3", "--json", "--settle", "5s"];
    let ran = run(&soak, "").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[tokio::test]
async fn ctrl_c_ends_the_sends_and_judges() {
    let cluster = mock();
    let brokers = cluster.bootstrap();
    let soak = command(&["soak", "-b", brokers, "-t", "orders", "--duration", "1h", "--json"]).spawn().unwrap();
    // It sends.
    let read = run(&["tail", "-b", brokers, "-t", "orders", "--from", "earliest", "-n", "10"], "").await;
    assert_eq!(read.code, Some(0), "{read:?}");
    signal(&soak, "-INT");
    let ran = ended(soak).await;
    assert_eq!((ran.code, &ran.document()["passed"]), (Some(130), &true.into()), "{ran:?}");
}
