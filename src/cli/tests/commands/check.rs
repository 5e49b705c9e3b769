use crate::mock;
use crate::support::{run, run_with};

#[tokio::test]
async fn a_topic_that_can_be_used_passes() {
    let cluster = mock();
    let ran = run(&["check", "-b", cluster.bootstrap(), "-t", "orders"], "").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.ends_with("passed\n") && ran.stdout.contains("topic orders: 3 partitions"), "{ran:?}");
    assert!(!ran.stdout.contains('\x1b'), "no colours outside of a terminal");

    let ran = run(&["check", "--json", "-b", cluster.bootstrap(), "-t", "orders", "--group", "billing"], "").await;
    let checked = ran.document();
    assert_eq!((checked["type"].as_str(), checked["sink"]["passed"].as_bool()), (Some("check"), Some(true)), "{ran:?}");
    assert_eq!(checked["sink"]["topics"]["orders"], 3);
    assert_eq!((checked["source"]["group"].as_str(), ran.documents().len()), (Some("billing"), 1));
}

#[tokio::test]
async fn what_cannot_work_is_named() {
    // Nothing listens on port 1.
    let vars = [("KAFKA_BROKERS", "127.0.0.1:1"), ("KAFKA_TOPIC", "orders"), ("KAFKA_CONNECT_TIMEOUT_MS", "4000")];
    let ran = run_with(&["check"], &vars, "").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("not connected") && ran.stdout.ends_with("FAILED\n"), "{ran:?}");
    let checked = run_with(&["check", "--json"], &vars, "").await.document();
    assert_eq!((&checked["passed"], &checked["sink"]["error"]["kind"]), (&false.into(), &"connection".into()));
    assert!(checked["sink"]["error"]["help"].as_str().is_some_and(|help| !help.is_empty()), "{checked}");

    let conflict = run_with(&["check", "--json", "-X", "acks=1"], &vars, "").await;
    assert_eq!(conflict.code, Some(1), "a conflict is a finding: {conflict:?}");
    assert_eq!(conflict.document()["sink"]["conflicts"][0]["field"], "acks");
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_an_error_of_usage() {
    let ran = run(&["check"], "").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert_eq!(ran.stderr, "error: there is no topic [help: name it with --topic, or set KAFKA_TOPIC]\n");
    let ran = run_with(&["check", "-t", "a", "--json"], &[("KAFKA_LINGR_MS", "5")], "").await;
    assert_eq!(ran.code, Some(2));
    let failed = ran.document();
    assert_eq!((&failed["type"], &failed["error"]["kind"]), (&"error".into(), &"config".into()), "{failed}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("did you mean KAFKA_LINGER_MS?"), "{failed}");
    assert_eq!(run(&["check", "--no-such-option"], "").await.code, Some(2));
}

#[tokio::test]
async fn a_file_has_the_settings_and_no_secret_is_printed() {
    let cluster = mock();
    let path = std::env::temp_dir().join(format!("kafka-tower-check-{}.properties", std::process::id()));
    let text = format!("bootstrap.servers={}\nsasl.username=ada\nsasl.password=hunter2\n", cluster.bootstrap());
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    for json in [&[][..], &["--json"]] {
        let ran = run(&[&["check", "-C", path, "-t", "orders", "-v"], json].concat(), "").await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.contains("sasl.password") && !format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
    std::fs::remove_file(path).unwrap();
    let ran = run(&["check", "-C", path, "-t", "orders"], "").await;
    assert!(ran.code == Some(2) && ran.stderr.contains("cannot be read: "), "{ran:?}");
}
