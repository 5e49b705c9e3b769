//! Tests that the text of every error for codes and time-outs matches its facts.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Error, Persistence, Record, Recovery};
use kafka_tower_test_texts::faults;
use rdkafka::ClientConfig;

use crate::callbacks::Hooks;
use crate::connect::ConnectCheck;
use crate::explain::Explanation;
use crate::ffi::{Client, TransactionError};
use crate::inner::TransportInner;
use crate::probe::{PeerProtocol, Probing};
use crate::properties::{self, Properties};
use crate::slot::Slot;
use crate::transport::RdkafkaTransport;
use crate::{classify, codes, consumer, event_loop, recent_errors, threads, tokens, transactions, wrong_protocol};

const ALL: [Persistence; 3] = [Persistence::NotPersisted, Persistence::PossiblyPersisted, Persistence::Persisted];

fn assert_all(errors: impl IntoIterator<Item = Error>) {
    let faults: Vec<_> = errors.into_iter().flat_map(|error| faults(&error)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn all_codes() -> impl Iterator<Item = i32> {
    codes::all().map(|row| row.code).chain([134, 200, -1_000])
}

fn records() -> [Record; 3] {
    let mut isolated = Record::new("orders");
    isolated.isolated = true;
    let mut placed = Record::new("orders");
    placed.partition = Some(1);
    [Record::new("orders"), placed, isolated]
}

#[test]
fn of_reports() {
    assert_all(all_codes().flat_map(|code| {
        // With each status, and with the event loop's knowledge that a record without a partition was never sent.
        let by_status = [-1, 0, 1, 2].map(|status| classify::persistence(code, status));
        let known = by_status.into_iter().chain([Persistence::NotPersisted]);
        known.flat_map(move |persistence| {
            records().map(|record| classify::record_error(code, persistence, &record, Duration::ZERO))
        })
    }));
}

#[test]
fn of_calls_without_a_record() {
    assert_all(all_codes().flat_map(|code| {
        let texts = [None, Some("127.0.0.1:1/1: it failed")];
        texts.map(|text| classify::client_error(code, "cannot connect to kafka-1:9092", text).without_record())
    }));
    assert_all([threads::no_thread(std::io::Error::other("no memory"))]);
    assert_all([tokens::no_provider(), tokens::no_runtime(), tokens::no_timers()]);
    assert_all([tokens::not_connected("cannot connect to kafka-1:9092 within 10 s".to_owned())]);
}

#[test]
fn of_time_outs() {
    let start = Instant::now();
    let now = start + Duration::from_secs(30);
    let given = [0, 1, 400, 1_000, 8_000, 30_000].map(Duration::from_millis);
    assert_all(given.into_iter().flat_map(|given| {
        let record = Record::new("orders").with_expires_at(start + given).with_given(given);
        let slot = Slot::new(record.clone(), now);
        let expired = |handed_over| classify::expired(&slot, handed_over, now, None);
        [expired(true), expired(false)]
    }));
}

const ADVERTISED: &str = "kafka:9092/1: Failed to resolve 'kafka:9092': Name or service not known";

/// A client without a broker.
fn inner() -> Arc<TransportInner> {
    let config = ClientConfig::new();
    let client = Client::create(&config).unwrap();
    TransportInner::new(
        client,
        config,
        Limits { records: 1, bytes: 1 },
        Hooks::default(),
        Duration::from_secs(300),
        Vec::new(),
        event_loop::spawn_isolated,
    )
}

/// No cause, one with its own help, and others without.
fn explanations() -> [Option<Explanation>; 5] {
    let last = |code, text: &str| Explanation::new(Some(code), format!("last broker error 0.4 s ago: {text}"));
    [
        None,
        Some(last(codes::LOCAL_RESOLVE, ADVERTISED)),
        Some(last(codes::LOCAL_TRANSPORT, "Connect to ipv4#127.0.0.1:1 failed: Connection refused")),
        Some(Explanation::unsent("nothing was sent to any broker in that time".to_owned())),
        Some(Explanation::without_token(
            "there is no valid token: the token provider failed: no answer (0.4 s ago)".to_owned(),
        )),
    ]
}

#[test]
fn of_records_that_the_transport_does_not_take() {
    assert_all([classify::larger_than_gate(kafka_tower_core::error::transport::larger_than_gate("orders", 10, 5))]);
    assert_all(explanations().map(|why| classify::without_room_at_close("orders", why.as_ref())));
    let inner = inner();
    assert_all(all_codes().flat_map(|code| {
        let slots = records().map(|record| Slot::new(record, Instant::now()));
        slots.map(|slot| inner.refused(code, &slot, &inner.client))
    }));
}

#[test]
fn of_records_that_are_given_up() {
    let inner = inner();
    let slot = Slot::new(Record::new("orders"), Instant::now());
    for aborting in [false, true] {
        inner.transactions.aborting.store(aborting, Ordering::Release);
        assert_all(ALL.map(|persistence| inner.given_up(&inner.client, &slot, 0, persistence).unwrap()));
    }
    for code in all_codes() {
        assert_all(ALL.map(|persistence| classify::ended(code, "orders[0]", persistence)));
        assert_all(ALL.map(|persistence| classify::implied("orders[0]", persistence)));
    }
    assert_all([classify::replaced_at_close("orders")]);
    for why in explanations() {
        let bound = Duration::from_secs(300);
        assert_all(ALL.map(|persistence| classify::overdue("orders", bound, persistence, why.as_ref())));
        if let Some(why) = &why {
            let left = |code, persistence| classify::left(code, persistence, &Record::new("orders"), why);
            assert_all(ALL.map(|persistence| left(codes::LOCAL_PURGE_QUEUE, persistence)));
            assert_all(ALL.map(|persistence| left(codes::LOCAL_PURGE_INFLIGHT, persistence)));
        }
    }
}

#[test]
fn a_name_that_a_broker_advertises_is_named_with_its_cure() {
    let [_, why, ..] = explanations();
    let now = Instant::now();
    let slot = Slot::new(Record::new("orders").with_expires_at(now + Duration::from_secs(1)), now);
    let why = why.as_ref();
    let expired = |handed_over| classify::expired(&slot, handed_over, now + Duration::from_secs(1), why);
    let overdue = classify::overdue("orders", Duration::from_secs(300), Persistence::PossiblyPersisted, why);
    for error in [expired(true), expired(false), overdue] {
        assert!(error.help().starts_with("broker 1 advertises kafka:9092, which does not resolve here"), "{error}");
        assert_eq!(error.help().ends_with("the record may still arrive"), error.may_be_written(), "{error}");
        assert_all([error]);
    }
}

#[test]
fn of_transactions() {
    assert_all(ALL.into_iter().take(2).map(|persistence| {
        transactions::errors::failed(&classify::outcome("orders", persistence), "it was refused", persistence)
    }));
    assert_all([
        transactions::errors::unanswered(),
        transactions::errors::no_group_coordinator(),
        transactions::errors::not_aborted(""),
        transactions::errors::taken_over().without_record(),
        transactions::errors::not_handed_over(),
        transactions::errors::record_failed(),
        transactions::errors::not_flushed(""),
        transactions::errors::not_rebuilt("").without_record(),
        transactions::errors::not_rebuilt("; last broker error 0.4 s ago: it failed").without_record(),
        transactions::errors::not_flushed("; last broker error 0.4 s ago: it failed"),
        threads::panicked("commit"),
        threads::panicked("cannot connect").without_record(),
    ]);
}

#[tokio::test]
async fn of_calls_that_concern_no_record() {
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", "127.0.0.1:1");
    let builder = builder.property("transactional.id", "payments-1").connect_check(false);
    let control = builder.connect().await.unwrap().control();
    let transactions = control.transactions().unwrap();
    let too_early = transactions.begin(Duration::from_secs(1)).await.unwrap_err();
    let unanswered = transactions.init(Duration::from_millis(100)).await.unwrap_err();
    let bad_topic = RdkafkaTransport::builder().topic("orders of today").connect().await.unwrap_err();
    for error in [too_early, unanswered, bad_topic] {
        assert!(!error.to_string().contains("written"), "{error}");
        assert_all([error]);
    }
}

/// Wrong call order too: its code is `_STATE`.
#[test]
fn of_calls_of_transactions() {
    let inner = inner();
    let call = transactions::call::Call::new(&inner, Duration::from_secs(1));
    for code in all_codes() {
        for (retriable, fatal, abort) in
            [(false, false, false), (true, false, false), (false, true, false), (false, false, true)]
        {
            for text in ["", "Operation not valid in state Ready"] {
                let error = TransactionError { code, text: text.to_owned(), retriable, fatal, abort };
                let fates = [Persistence::NotPersisted, Persistence::PossiblyPersisted];
                assert_all(fates.map(|fate| transactions::call::commit_error(&call, &error, fate)));
                let in_doubt = transactions::call::commit_error(&call, &error, Persistence::PossiblyPersisted);
                assert_eq!(in_doubt.persistence(), Persistence::PossiblyPersisted);
                assert!(matches!(in_doubt.recovery(), Recovery::Retry | Recovery::Fatal), "{in_doubt:#}");
                assert_all(fates.map(|fate| call.error("the transaction was not aborted", &error, fate)));
                let without = |what| call.error(what, &error, Persistence::NotPersisted);
                assert_all([
                    without("the transactional id was not acquired").without_record(),
                    without("the transaction was not begun").without_record(),
                    without("the offsets were not added to the transaction"),
                ]);
            }
        }
    }
}

#[test]
fn of_connecting() {
    let fails = [
        (codes::LOCAL_RESOLVE, "kafka:9092/bootstrap: Failed to resolve 'kafka:9092': Name or service not known"),
        (codes::LOCAL_RESOLVE, ADVERTISED),
        (codes::LOCAL_AUTHENTICATION, "SASL authentication error: no such user"),
        (codes::LOCAL_SSL, "SSL handshake failed: certificate verify failed"),
        (codes::LOCAL_TRANSPORT, "Connect to ipv4#127.0.0.1:1 failed: Connection refused"),
        (codes::LOCAL_TRANSPORT, &format!("{}it answers as an HTTP server", wrong_protocol::NOT_KAFKA)),
        (29, "not allowed"),
    ];
    let no_fail = [None].into_iter().chain(fails.map(Some));
    for fail in no_fail {
        let inner = inner();
        let now = Instant::now();
        if let Some((code, text)) = fail {
            inner.recent_errors().push(recent_errors::of_event(code, text, now));
        }
        for plaintext in [false, true] {
            for speaks in [None, Some(PeerProtocol::Tls), Some(PeerProtocol::Plaintext)] {
                let probing = OnceCell::new();
                let _first = probing.set(Probing::answered(speaks));
                let check = ConnectCheck {
                    inner: &inner,
                    brokers: "kafka-1:9092",
                    plaintext,
                    topics: &[],
                    purpose: "send to",
                    producer_id: true,
                    timeout: Duration::from_secs(10),
                    deadline: now,
                    given_up: &|| false,
                    probing,
                };
                assert_all([
                    check.no_broker(now).without_record(),
                    check.unknown_topic("orders").without_record(),
                    check.wait_for_producer_id().unwrap_err().without_record(),
                    check.ended(codes::LOCAL_FATAL, "the producer has ended").without_record(),
                ]);
            }
        }
    }
}

#[test]
fn of_consumers() {
    use kafka_tower_core::CommitAnswer;

    assert_all(all_codes().filter_map(|code| match consumer::commits::of_code(code, "orders") {
        CommitAnswer::Retry(error) | CommitAnswer::NotAMember(error) | CommitAnswer::Refused(error) => Some(error),
        _ => None,
    }));
    let causes = [None, Some("FindCoordinator response error: Broker: Coordinator not available")];
    let no_coordinator =
        |cause| consumer::open::no_coordinator("kafka-1:9092", Duration::from_secs(10), "billing", cause);
    assert_all(causes.map(no_coordinator));
    let no_consumer =
        consumer::inspect::of_another_kind("billing", "GroupId billing is not a consumer group (connect).");
    assert_all([no_consumer, consumer::inspect::nothing_reached("billing")]);
    assert_all(all_codes().flat_map(|code| {
        [None, Some("it failed")].map(|text| consumer::client_events::ended(code, "the consumer has ended", text))
    }));
    assert_all(all_codes().flat_map(|code| {
        [None, Some("it failed")].map(|text| consumer::open::denied(code, "as the group billing", text))
    }));
    let what = "an offset of orders[0]";
    assert_all(all_codes().map(|code| consumer::look_up::not_found(code, what, Duration::from_secs(10))));
    assert_all([consumer::look_up::closed(what)]);
}

#[test]
fn of_properties() {
    let bad: [&[(&str, &str)]; 8] = [
        &[("delivery.report.only.error", "true")],
        &[("compression.codec", "zstd")],
        &[("security.protocol", "ssl")],
        &[("security.protocol", "sasl_plaintext")],
        &[("sasl.mechanisms", "SCRAM-SHA-512")],
        &[("sasl.mechanisms", "GSSAPI")],
        &[("ssl.ca.location", "ca.pem")],
        &[("enabled_events", "1")],
    ];
    // A setting whose feature is enabled is not an error.
    assert_all(bad.into_iter().filter_map(|pairs| {
        let all: Properties = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        properties::client_config(&all).err()
    }));
    for (name, value) in [("lingr.ms", "5"), ("linger.ms", "soon"), ("transactional.id", "a"), ("acks", "77777")] {
        let mut config = ClientConfig::new();
        config.set(name, value).set("enable.idempotence", "false");
        assert_all(Client::create(&config).err().map(|error| properties::creation_error(&error, &config)));
    }
    let other = rdkafka::error::KafkaError::Canceled;
    assert_all([properties::creation_error(&other, &ClientConfig::new())]);
}

#[cfg(feature = "mock-cluster")]
#[test]
fn of_the_mock_cluster() {
    assert_all([crate::mock::not_built_in()]);
    assert_all(all_codes().map(|code| crate::mock::refused(code, "orders")));
}
