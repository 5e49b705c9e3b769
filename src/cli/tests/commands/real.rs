//! Against a real Kafka.

use kafka_tower_testkit::kafka::{Cluster, shared};
use tokio::io::AsyncWriteExt as _;

use crate::support::{command, ended, run, run_with};

#[tokio::test]
async fn check_tells_good_settings_from_bad_ones() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("cli-check", 2).await.unwrap();
    let both = ["check", "-b", kafka.bootstrap(), "-t", &topic, "--group", "billing"];
    let ran = run(&both, "").await;
    assert_eq!((ran.code, ran.stdout.matches("passed").count()), (Some(0), 2), "{ran:?}");
    let checked = run(&[&both[..], &["--json"]].concat(), "").await.document();
    assert_eq!((&checked["passed"], checked["source"]["begins"].as_array().map(Vec::len)), (&true.into(), Some(2)));

    let ran = run(&["check", "--json", "-b", kafka.bootstrap(), "-t", "no such topic"], "").await;
    assert_eq!((ran.code, &ran.document()["passed"]), (Some(1), &false.into()), "{ran:?}");
}

#[tokio::test]
async fn what_is_sent_is_read_with_keys_and_headers() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("cli-round-trip", 3).await.unwrap();
    let vars = [("KAFKA_BROKERS", kafka.bootstrap()), ("KAFKA_TOPIC", &topic), ("KAFKA_COMPRESSION_TYPE", "gzip")];
    let lines: String = (0..1_000).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    let sent = run_with(&["send", "--key-field", "id", "-H", "a=é"], &vars, &lines).await;
    assert!(sent.code == Some(0) && sent.stdout.starts_with("1000 lines: 1000 delivered; "), "{sent:?}");
    let read = run_with(&["tail", "--json", "--from", "earliest", "-e"], &vars, "").await;
    let messages = read.documents();
    assert_eq!((read.code, messages.len()), (Some(0), 1_000), "{}", read.stderr);
    for message in messages {
        assert_eq!(message["value"], format!("{{\"id\":{}}}", message["key"].as_str().unwrap()));
        assert_eq!(message["headers"][0]["value"], "é");
    }
    for (from, messages) in [("1h", 1_000), ("2100-01-01T00:00:00Z", 0), ("2000-01-01 00:00:00", 1_000)] {
        let read = run_with(&["tail", "--from", from, "-e"], &vars, "").await;
        assert_eq!((read.code, read.stdout.lines().count()), (Some(0), messages), "{from}: {}", read.stderr);
    }
}

#[tokio::test]
async fn a_group_goes_on_where_it_was() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("cli-group", 2).await.unwrap();
    let vars = [("KAFKA_BROKERS", kafka.bootstrap()), ("KAFKA_TOPIC", &topic)];
    assert_eq!(run_with(&["send", "--key", "k"], &vars, "a\nb\nc\n").await.code, Some(0));
    let read = async |group: &str, options: &[&str]| {
        let ran = run_with(&[&["tail", "--group", group], options].concat(), &vars, "").await;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let group = format!("{topic}-first");
    assert_eq!(read(&group, &["-n", "2", "--from", "earliest"]).await, ["a", "b"]);
    assert_eq!(read(&group, &["-n", "1", "--from", "latest"]).await, ["c"]);
    assert!(read(&group, &["--until-end"]).await.is_empty());
    assert!(read(&format!("{topic}-second"), &["-e", "--from", "latest"]).await.is_empty());
    assert_eq!(read(&format!("{topic}-third"), &["-e", "--from", "-1"]).await, ["c"]);
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("cli-transaction", 1).await.unwrap();
    let vars = [("KAFKA_BROKERS", kafka.bootstrap()), ("KAFKA_TOPIC", &topic)];
    let send = ["send", "--json", "--format", "json", "--transactional-id", &topic];
    let aborted = run_with(&send, &vars, "1\n2\nno document\n").await;
    let summary = aborted.document();
    assert_eq!((aborted.code, &summary["transaction"]), (Some(1), &"aborted".into()), "{aborted:?}");
    assert_eq!((&summary["delivered"], &summary["not_persisted"]), (&0.into(), &3.into()));
    let committed = run_with(&send, &vars, "3\n4\n").await;
    assert_eq!((committed.code, &committed.document()["transaction"]), (Some(0), &"committed".into()), "{committed:?}");
    let read = run_with(&["tail", "--from", "earliest", "-e"], &vars, "").await;
    assert_eq!((read.code, read.stdout.as_str()), (Some(0), "3\n4\n"), "{read:?}");
}

#[tokio::test]
async fn a_soak_passes() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("cli-soak", 3).await.unwrap();
    let soak = ["soak", "--json", "-b", kafka.bootstrap(), "-t", &topic, "--count", "5000", "--rate", "0"];
    let ran = run(&soak, "").await;
    let verdict = ran.document();
    assert_eq!((ran.code, &verdict["passed"], &verdict["read"]), (Some(0), &true.into(), &5_000.into()), "{ran:?}");
}

/// The broker is frozen while two lines are under way: they may have been written.
#[tokio::test]
async fn lines_without_an_answer_are_named_as_possibly_written() {
    let Some(kafka) = Cluster::start(1).await.unwrap() else { return };
    let topic = kafka.topic("cli-frozen", 1).await.unwrap();
    let kept = std::env::temp_dir().join(format!("kafka-tower-doubt-{}", std::process::id()));
    let mut child = command(&[
        "send",
        "--json",
        "-b",
        kafka.bootstrap(),
        "-t",
        &topic,
        "--possibly-written",
        kept.to_str().unwrap(),
    ])
    .env("KAFKA_SEND_TIMEOUT_MS", "8000")
    .spawn()
    .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\n").await.unwrap();
    let read = run(&["tail", "-b", kafka.bootstrap(), "-t", &topic, "--from", "earliest", "-n", "1"], "").await;
    assert_eq!((read.code, read.stdout.as_str()), (Some(0), "one\n"), "{read:?}");

    kafka.stop(1).unwrap();
    stdin.write_all(b"two\nthree\n").await.unwrap();
    drop(stdin);
    let ran = ended(child).await;
    kafka.cont(1).unwrap();
    let documents = ran.documents();
    assert_eq!((ran.code, documents.len()), (Some(1), 3), "{ran:?}");
    for (document, line) in documents.iter().zip([2, 3]) {
        assert_eq!((&document["line"], &document["outcome"]), (&line.into(), &"possibly_persisted".into()), "{ran:?}");
    }
    assert_eq!((&documents[2]["delivered"], &documents[2]["possibly_persisted"]), (&1.into(), &2.into()));
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "two\nthree\n");
    std::fs::remove_file(kept).unwrap();
}

/// The broker is killed: what was not sent before is named, and Ctrl-C of a command that waits for it ends it in time.
#[tokio::test]
async fn a_soak_without_a_broker_is_truthful() {
    let Some(kafka) = Cluster::start(1).await.unwrap() else { return };
    let topic = kafka.topic("cli-killed", 2).await.unwrap();
    let soak = ["soak", "--json", "-b", kafka.bootstrap(), "-t", &topic, "--duration", "1h", "--rate", "200"];
    let child = command(&soak).env("KAFKA_ENABLE_CIRCUIT_BREAKER", "false").spawn().unwrap();
    let tail = ["tail", "-b", kafka.bootstrap(), "-t", &topic, "--from", "earliest", "-n", "100"];
    assert_eq!(run(&tail, "").await.code, Some(0));
    kafka.kill(1).unwrap();
    kafka.restart(1).await.unwrap();
    let tail = ["tail", "-b", kafka.bootstrap(), "-t", &topic, "--from", "latest", "-n", "100"];
    assert_eq!(run(&tail, "").await.code, Some(0), "it goes on");
    crate::support::signal(&child, "-INT");
    let ran = ended(child).await;
    let verdict = ran.document();
    // A broker alone may lose what it had acknowledged and not flushed only if the machine ends, not if its process does.
    assert_eq!((ran.code, &verdict["passed"]), (Some(130), &true.into()), "{ran:?}");
}
