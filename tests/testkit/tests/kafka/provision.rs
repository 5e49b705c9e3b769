//! Sources of the cluster: an external one, none, and none although one is required.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use kafka_tower_testkit::kafka::{self as cluster, Cluster, Error};

const CHILD: &str = "KAFKA_TOWER_PROVISION_CHILD";

/// Run by the other tests as a separate process, with another environment.
#[tokio::test]
async fn child() {
    match std::env::var(CHILD).as_deref() {
        Ok("without") => {
            assert!(cluster::shared().await.is_none());
            assert!(Cluster::start(1).await.unwrap().is_none());
        }
        Ok("foreign") => {
            let kafka = cluster::shared().await.unwrap();
            let topic = kafka.topic("foreign", 1).await.unwrap();
            assert!(kafka.read(&topic).await.unwrap().is_empty());
            assert!(matches!(kafka.kill(1), Err(Error::External("kill"))));
            assert!(matches!(kafka.restart(1).await, Err(Error::External("restart"))));
            assert!(kafka.batches(&topic, 0).await.unwrap_err().to_string().contains("KAFKA_BROKERS"));
            assert!(Cluster::start(1).await.unwrap().is_none());
        }
        _ => {}
    }
}

fn child_with(what: &str, change: impl FnOnce(&mut Command)) -> (Output, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child"]).env(CHILD, what);
    command.env_remove("KAFKA_BROKERS").env_remove("KAFKA_TOWER_REQUIRE_KAFKA");
    change(&mut command);
    let output = command.output().unwrap();
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output, String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn without_kafka_a_suite_is_skipped_with_one_loud_line() {
    let (output, text) = child_with("without", |command| {
        command.env("PATH", "").env_remove("JAVA_HOME");
    });
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("SKIPPED: provision: no Apache Kafka: no Java").count(), 1, "{text}");
    assert!(text.contains("Install Java 17 and Maven"), "{text}");
}

#[test]
fn without_kafka_a_required_suite_fails() {
    let (output, text) = child_with("without", |command| {
        command.env("PATH", "").env_remove("JAVA_HOME").env("KAFKA_TOWER_REQUIRE_KAFKA", "1");
    });
    assert!(!output.status.success());
    assert!(text.contains("KAFKA_TOWER_REQUIRE_KAFKA=1, but no Apache Kafka"), "{text}");
}

#[tokio::test]
async fn an_external_cluster_is_used_and_left_alone() {
    let Some(kafka) = cluster::shared().await else {
        return;
    };
    let bootstrap = kafka.bootstrap().to_owned();
    let (output, text) = child_with("foreign", |command| {
        command.env("KAFKA_BROKERS", bootstrap);
    });
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("SKIPPED").count(), 1, "{text}");
}
