use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::mock;
use crate::support::{command, ended, run, run_with, signal};

async fn send(brokers: &str, lines: &[&str]) {
    let sent = run(&["send", "-b", brokers, "-t", "orders", "--key", "k"], &lines.join("\n")).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
}

#[tokio::test]
async fn places_and_limits_select_messages() {
    let cluster = mock();
    let brokers = cluster.bootstrap();
    send(brokers, &["a", "b", "c", "d"]).await;
    let values = async |options: &[&str]| {
        let ran = run_with(
            &[&["tail", "-e"], options].concat(),
            &[("KAFKA_BROKERS", brokers), ("KAFKA_TOPIC", "orders")],
            "",
        )
        .await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(values(&["--from", "earliest"]).await, ["a", "b", "c", "d"]);
    assert_eq!(values(&["--from", "-2"]).await, ["c", "d"]);
    assert_eq!(values(&["--from", "1"]).await, ["b", "c", "d"]);
    assert_eq!(values(&["--from", "1", "-n", "1"]).await, ["b"]);
    assert!(values(&["--from", "latest"]).await.is_empty());
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_quietly() {
    let cluster = mock();
    let brokers = cluster.bootstrap();
    // More than a pipe holds.
    let line = "x".repeat(1_000);
    send(brokers, &vec![line.as_str(); 500]).await;
    let mut child = command(&["tail", "-b", brokers, "-t", "orders", "--from", "earliest"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).await.unwrap();
    assert_eq!(first.trim_end(), line);
    drop(stdout);
    let ran = ended(child).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
}

#[tokio::test]
async fn ctrl_c_ends_it() {
    let cluster = mock();
    let brokers = cluster.bootstrap();
    send(brokers, &["a"]).await;
    let mut child = command(&["tail", "-b", brokers, "-t", "orders", "--from", "earliest"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).await.unwrap();
    assert_eq!(first, "a\n", "printed at once");
    signal(&child, "-TERM");
    let ran = ended(child).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(143), ""), "{ran:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error() {
    let cluster = mock();
    let ran = run(&["tail", "-b", cluster.bootstrap()], "").await;
    assert!(ran.code == Some(2) && ran.stderr.contains("there is no topic"), "{ran:?}");
    let vars = [("KAFKA_SOURCE_CONNECT_TIMEOUT_MS", "4000")];
    let ran = run_with(&["tail", "-b", "127.0.0.1:1", "-t", "orders", "--json"], &vars, "").await;
    assert_eq!((ran.code, &ran.document()["error"]["kind"]), (Some(1), &"connection".into()), "{ran:?}");
}
