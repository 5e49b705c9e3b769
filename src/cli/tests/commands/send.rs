use tokio::io::AsyncWriteExt as _;

use crate::mock;
use crate::support::{command, ended, run, signal};

/// Kafka's code `TOPIC_AUTHORIZATION_FAILED`.
const NOT_ALLOWED: i32 = 29;

#[tokio::test]
async fn lines_arrive_with_keys_and_headers() {
    let cluster = mock();
    let brokers = cluster.bootstrap();
    let sent = run(
        &["send", "--json", "-b", brokers, "-t", "orders", "-K", ":", "-H", "region=eu", "-H", "trace=1"],
        "a:first\r\nb:second\nwithout a key\n:\nlast without an end",
    )
    .await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let summary = sent.document();
    assert_eq!(
        (&summary["lines"], &summary["delivered"], &summary["not_persisted"]),
        (&5.into(), &5.into(), &0.into())
    );

    let read = run(&["tail", "--json", "-b", brokers, "-t", "orders", "--from", "earliest", "--until-end"], "").await;
    assert_eq!(read.code, Some(0), "{read:?}");
    let mut messages = read.documents();
    messages.sort_by_key(|message| message["value"].to_string());
    let contents: Vec<_> =
        messages.iter().map(|message| (message["key"].as_str(), message["value"].as_str())).collect();
    let expected = [
        (Some(""), Some("")),
        (Some("a"), Some("first")),
        (None, Some("last without an end")),
        (Some("b"), Some("second")),
        (None, Some("without a key")),
    ];
    assert_eq!(contents, expected);
    for message in &messages {
        let headers = serde_json::json!([{"name": "region", "value": "eu"}, {"name": "trace", "value": "1"}]);
        assert_eq!((&message["headers"], &message["topic"]), (&headers, &"orders".into()));
        assert!(message["offset"].is_i64() && message["partition"].is_i64() && message["timestamp_ms"].is_i64());
    }
}

#[tokio::test]
async fn a_line_that_is_no_document_is_named_and_kept() {
    let cluster = mock();
    let kept = std::env::temp_dir().join(format!("kafka-tower-kept-{}", std::process::id()));
    let path = kept.to_str().unwrap();
    let input = "{\"id\":1}\n{\"id\":\n\n{\"no\":2}\n{\"id\":3}\n";
    let options = ["send", "-b", cluster.bootstrap(), "-t", "orders", "--key-field", "id", "--not-written", path];
    let ran = run(&options, input).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let named: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(named.len(), 2, "{ran:?}");
    assert!(
        named[0].starts_with("line 2: the line is no JSON document: ") && named[0].contains("(not written) [help: ")
    );
    assert!(named[1].starts_with("line 4: the document has no field id (not written) [help: "), "{named:?}");
    assert!(ran.stdout.starts_with("5 lines: 2 delivered, 1 blank, 2 not written; "), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "{\"id\":\n{\"no\":2}\n");
    std::fs::remove_file(kept).unwrap();
}

#[tokio::test]
async fn a_line_that_a_broker_refuses_is_named_with_its_outcome() {
    let cluster = mock();
    let mut options = vec!["send", "--json", "-b", cluster.bootstrap(), "-t", "orders", "-X", "batch_size=1"];
    cluster.fail_produce(&[NOT_ALLOWED]);
    let ran = run(&options, "refused\n").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let failed = &ran.documents()[0];
    assert_eq!(
        (&failed["type"], &failed["line"], &failed["outcome"]),
        (&"failed".into(), &1.into(), &"not_persisted".into())
    );
    assert_eq!(failed["error"]["kind"], "authorization");

    options.extend(["--max-failed", "1"]);
    let many = "line\n".repeat(100_000);
    cluster.fail_produce(&[NOT_ALLOWED; 1_000]);
    let ran = run(&options, &many).await;
    let document = ran.document();
    assert_eq!((ran.code, &document["delivered"]), (Some(1), &0.into()), "{document}");
    assert!(document["lines"].as_u64().is_none_or(|lines| lines < 100_000), "it stops: {document}");
}

#[tokio::test]
async fn ctrl_c_sends_what_was_read_and_prints_the_summary() {
    let cluster = mock();
    let brokers = cluster.bootstrap();
    let mut child = command(&["send", "--json", "-b", brokers, "-t", "orders"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").await.unwrap();
    // Both are there, and the command waits for more.
    let read = run(&["tail", "-b", brokers, "-t", "orders", "--from", "earliest", "-n", "2"], "").await;
    assert_eq!((read.code, read.stdout.lines().count()), (Some(0), 2), "{read:?}");
    signal(&child, "-INT");
    let ran = ended(child).await;
    let summary = ran.document();
    assert_eq!(
        (ran.code, &summary["delivered"], &summary["interrupted"]),
        (Some(130), &2.into(), &true.into()),
        "{ran:?}"
    );
    drop(stdin);
}

#[tokio::test]
async fn options_that_do_not_fit_are_refused() {
    for options in
        [&["--key", "a", "--key-field", "b"][..], &["--key-field", "a", "--format", "lines"], &["--header", "x"]]
    {
        let ran = run(&[&["send", "-t", "orders"], options].concat(), "").await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    }
    let existing = ["send", "-t", "orders", "--not-written", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")];
    let ran = run(&existing, "").await;
    assert!(ran.code == Some(2) && ran.stderr.contains("exists already"), "{ran:?}");
    let ran = run(&["send", "-t", "orders", "no such file"], "").await;
    assert!(ran.code == Some(2) && ran.stderr.contains("cannot be read"), "{ran:?}");
}

#[tokio::test]
async fn an_empty_value_is_a_tombstone_if_that_is_asked_for() {
    let cluster = mock();
    let brokers = cluster.bootstrap();
    let sent = run(&["send", "-b", brokers, "-t", "orders", "-K", ":", "--tombstones"], "a:first\na:\nb\n:\n\n").await;
    assert_eq!(sent.code, Some(1), "{sent:?}");
    assert!(sent.stderr.starts_with("line 5: a tombstone needs a key, from --key or --key-separator (not written)"));
    let read = run(&["tail", "--json", "-b", brokers, "-t", "orders", "--from", "earliest", "--until-end"], "").await;
    let mut read: Vec<_> =
        read.documents().iter().map(|message| (message["key"].to_string(), message["value"].to_string())).collect();
    read.sort();
    let expected = [("\"\"", "null"), ("\"a\"", "\"first\""), ("\"a\"", "null"), ("null", "\"b\"")];
    assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn sending_ends_at_a_line_that_is_too_long() {
    let cluster = mock();
    let options = ["send", "--json", "-b", cluster.bootstrap(), "-t", "orders", "--max-line-bytes", "5"];
    let ran = run(&options, "12345\n123456\nafter\n").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let documents = ran.documents();
    assert_eq!(
        (&documents[0]["lines"], &documents[0]["delivered"], &documents[0]["stopped"]),
        (&1.into(), &1.into(), &true.into())
    );
    assert_eq!(documents[1]["error"]["message"], "line 2 is longer than 5 bytes", "{ran:?}");
}
