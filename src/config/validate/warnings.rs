//! Warnings about settings that work but may be unintended.

use super::super::KafkaSinkConfig;
use super::super::properties::property::Kind;
use super::super::properties::{self as given, Properties};
use super::super::rdkafka::{IN_FLIGHT_WITH_IDEMPOTENCE, MAX_IDLE_MS, transaction_timeout_ms};
use super::event_hubs;
use super::security::{Security, UNSECURED};

/// librdkafka's default, in bytes.
const MESSAGE_MAX_BYTES: i64 = 1_000_000;

/// Default of the brokers' `transaction.max.timeout.ms`.
const TRANSACTION_MAX_MS: i64 = 900_000;

pub(in crate::config) fn warnings(config: &KafkaSinkConfig) -> Vec<String> {
    let mut found = Vec::new();
    guarantees(config, &mut found);
    times(config, &mut found);
    sizes(config, &mut found);
    transactions(config, &mut found);
    event_hubs::warnings(config, &mut found);
    security(&config.properties, &mut found);
    found
}

fn guarantees(config: &KafkaSinkConfig, found: &mut Vec<String>) {
    // Factor 2: one set of requests on the wire, one being filled.
    if config.enable_idempotence && config.max_in_flight_requests > 2 * IN_FLIGHT_WITH_IDEMPOTENCE {
        found.push(format!(
            "`max_in_flight_requests` is {}: with idempotence the client sends at most {IN_FLIGHT_WITH_IDEMPOTENCE} \
             requests at a time to a broker, which is Kafka's limit; the number still bounds what the sink admits",
            config.max_in_flight_requests
        ));
    }
    if config.acks == "0" {
        found.push(
            "`acks` is \"0\": a send is answered before a broker has seen it, and offsets are unknown".to_owned(),
        );
    }
    let finite = given::whole(&config.properties, "message.timeout.ms").is_some_and(|time| time > 0);
    if let (false, true, Some((name, _))) =
        (config.enable_transactions, finite, given::get(&config.properties, "message.timeout.ms"))
    {
        found.push(format!(
            "the property {name:?} is finite: when a record times out in the client after it may have been sent, \
             the client sends others a second time and reports them delivered (thousands in an outage); \
             `send_timeout_ms` bounds a send without that"
        ));
    }
}

/// librdkafka's default.
const SOCKET_TIMEOUT_MS: i64 = 60_000;

/// Warns about times that leave too little of the time budget of a send.
fn times(config: &KafkaSinkConfig, found: &mut Vec<String>) {
    let budget = config.send_timeout_ms;
    if config.linger_ms > budget / 4 && config.linger_ms < budget {
        found.push(format!(
            "`linger_ms` ({}) is more than a quarter of `send_timeout_ms` ({budget}): little of it is left for the broker and for \
             retries; lower `linger_ms`, or raise `send_timeout_ms`",
            config.linger_ms
        ));
    }
    let socket = given::whole(&config.properties, "socket.timeout.ms").unwrap_or(SOCKET_TIMEOUT_MS);
    let forgets = given::flag(&config.properties, "socket.keepalive.enable") != Some(true)
        && given::whole(&config.properties, "connections.max.idle.ms").unwrap_or(MAX_IDLE_MS) == 0;
    if forgets && i128::from(socket) > i128::from(budget) {
        found.push(format!(
            "\"socket.timeout.ms\" ({socket}) is above `send_timeout_ms` ({budget}), while \
             \"socket.keepalive.enable\" and \"connections.max.idle.ms\" are off: if a load balancer has dropped an \
             idle connection, sends on it fail until that time has passed; leave \"connections.max.idle.ms\" out, \
             or lower \"socket.timeout.ms\""
        ));
    }
    let backoff = u128::from(config.base_backoff_ms);
    if config.max_retries > 0 && backoff > u128::from(budget) / 4 {
        found.push(format!(
            "`base_backoff_ms` ({backoff}) is more than a quarter of `send_timeout_ms` ({budget}): hardly any of `max_retries` ({}) fits \
             into it; lower `base_backoff_ms`, or raise `send_timeout_ms`",
            config.max_retries
        ));
    }
}

/// Warns about sizes that prevent each other from being reached.
fn sizes(config: &KafkaSinkConfig, found: &mut Vec<String>) {
    let largest = given::whole(&config.properties, "message.max.bytes").unwrap_or(MESSAGE_MAX_BYTES);
    if usize::try_from(largest).is_ok_and(|largest| config.buffer_memory < largest) {
        found.push(format!(
            "`buffer_memory` ({}) is below \"message.max.bytes\" ({largest}): larger records are refused; raise `buffer_memory`, or lower \
             \"message.max.bytes\"",
            config.buffer_memory
        ));
    }
    if config.linger_ms > 0 && config.batch_size == 1 {
        found.push(format!(
            "`linger_ms` is {} while `batch_size` is 1: no record waits for others; set `linger_ms` to 0, or raise `batch_size`",
            config.linger_ms
        ));
    }
    if config.compression_type == "none" && given::get(&config.properties, "compression.level").is_some() {
        let text = "the property \"compression.level\" is set but unused: `compression_type` is none";
        found.push(text.to_owned());
    }
}

fn transactions(config: &KafkaSinkConfig, found: &mut Vec<String>) {
    if !config.enable_transactions {
        if config.transactional_id.is_some() {
            found.push("`transactional_id` is set but unused: `enable_transactions` is false".to_owned());
        }
        if given::get(&config.properties, "transaction.timeout.ms").is_some() {
            let text = "the property \"transaction.timeout.ms\" is set but unused: `enable_transactions` is false";
            found.push(text.to_owned());
        }
        return;
    }
    let timeout = transaction_timeout_ms(config);
    if timeout > TRANSACTION_MAX_MS {
        found.push(format!(
            "the property \"transaction.timeout.ms\" is {timeout}: brokers refuse more than their \
             transaction.max.timeout.ms (default {TRANSACTION_MAX_MS})"
        ));
    }
    if given::whole(&config.properties, "message.timeout.ms") == Some(0) {
        let text = "the property \"message.timeout.ms\" is 0: a record that cannot be sent holds its transaction until the \
                    brokers abort it; leave the property out, and it fails just before";
        found.push(text.to_owned());
    }
}

/// Warns about settings of any client: protection, and texts that look mistyped.
pub(in crate::config) fn security(properties: &Properties, found: &mut Vec<String>) {
    let security = Security::of(properties);
    let protocol = &security.protocol;
    let mut add = |text: String| found.push(text);
    if protocol == "sasl_plaintext" {
        match security.mechanism() {
            "PLAIN" => add("the password goes over the network in the clear (PLAIN over sasl_plaintext): set \
                 \"security.protocol\" to sasl_ssl, or use SCRAM if the network is trusted"
                .to_owned()),
            "OAUTHBEARER" => {
                add("the token goes over the network in the clear (OAUTHBEARER over sasl_plaintext): set \
                 \"security.protocol\" to sasl_ssl"
                    .to_owned())
            }
            _ => {}
        }
    }
    if security.is_sasl() && security.mechanism.is_none() {
        add("no \"sasl.mechanism\" is set: that means GSSAPI (Kerberos)".to_owned());
    }
    if !security.is_sasl() {
        let sasl = properties.keys().find(|name| name.starts_with("sasl."));
        if let Some(name) = sasl {
            add(format!("the property {name:?} is set but unused: \"security.protocol\" is {protocol}"));
        }
    }
    if !security.is_tls() {
        let tls = properties.keys().find(|name| name.starts_with("ssl."));
        if let Some(name) = tls {
            add(format!(
                "the property {name:?} is set but unused: \"security.protocol\" is {protocol}, and nothing is encrypted"
            ));
        }
    }
    if given::flag(properties, "enable.ssl.certificate.verification") == Some(false) {
        add("\"enable.ssl.certificate.verification\" is off: any server can claim to be the broker".to_owned());
    } else if given::get(properties, "ssl.endpoint.identification.algorithm")
        .is_some_and(|(_, value)| value.eq_ignore_ascii_case("none"))
    {
        add("\"ssl.endpoint.identification.algorithm\" is none: any certificate of the same authority \
             is accepted as the broker's"
            .to_owned());
    }
    if given::flag(properties, UNSECURED) == Some(true) {
        add(format!("{UNSECURED:?} is on: its tokens are not signed, for tests only"));
    } else if security.mechanism() == "OAUTHBEARER" && properties.contains_key("sasl.oauthbearer.config") {
        add("the property \"sasl.oauthbearer.config\" is set but unused: tokens come from the provider".to_owned());
    }
    for (name, value) in properties {
        let is_text = given::find(name).is_some_and(|property| matches!(property.kind, Kind::Text));
        if !is_text || name.ends_with(".pem") {
            continue;
        }
        if value.trim() != value {
            add(format!(
                "the property {name:?} starts or ends with a space or a line break: remove it unless it is intended"
            ));
        } else if value.contains(['\n', '\r']) {
            add(format!("the property {name:?} has a line break: remove it unless it is intended"));
        }
    }
}
