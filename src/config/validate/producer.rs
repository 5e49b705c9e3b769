//! Checks the producer's fields and properties together.

use super::super::rdkafka::{message_timeout_ms, transaction_timeout_ms};
use super::super::{Conflict, KafkaSinkConfig, properties};

pub(super) fn check(config: &KafkaSinkConfig, found: &mut Vec<Conflict>) {
    acks(config, found);
    if config.enable_idempotence {
        idempotence(config, found);
    } else if properties::flag(&config.properties, "enable.gapless.guarantee") == Some(true) {
        found.push(Conflict::new(
            "properties",
            "`properties` has \"enable.gapless.guarantee\" while `enable_idempotence` is false",
            "set `enable_idempotence` to true, or remove the property",
        ));
    }
    if config.enable_transactions {
        transactions(config, found);
    }
    times(config, found);
}

fn acks(config: &KafkaSinkConfig, found: &mut Vec<Conflict>) {
    let field = match (config.enable_idempotence, config.enable_transactions) {
        (true, _) => "enable_idempotence",
        (_, true) => "enable_transactions",
        _ => return,
    };
    if matches!(config.acks.as_str(), "0" | "1") {
        found.push(Conflict::new(
            "acks",
            format!("`acks` is {:?} while `{field}` is true", config.acks),
            format!("set `acks` to \"all\", or `{field}` to false"),
        ));
    }
}

fn idempotence(config: &KafkaSinkConfig, found: &mut Vec<Conflict>) {
    let mut clash = |name: &str, cure: &str| {
        found.push(Conflict::new(
            "properties",
            format!("`properties` has {name} while `enable_idempotence` is true"),
            format!("{cure}, or set `enable_idempotence` to false"),
        ));
    };
    if let (Some((name, _)), Some(0)) =
        (properties::get(&config.properties, "retries"), properties::whole(&config.properties, "retries"))
    {
        clash(&format!("{name:?} with 0"), "allow 1 or more");
    }
    let strategy = properties::get(&config.properties, "queuing.strategy");
    if strategy.is_some_and(|(_, value)| value.eq_ignore_ascii_case("lifo")) {
        clash("\"queuing.strategy\" with lifo", "remove it");
    }
    if properties::whole(&config.properties, "queue.buffering.backpressure.threshold")
        .is_some_and(|threshold| threshold > 1)
    {
        clash("\"queue.buffering.backpressure.threshold\"", "set it to 1");
    }
}

fn transactions(config: &KafkaSinkConfig, found: &mut Vec<Conflict>) {
    match config.transactional_id.as_deref() {
        None | Some("") => found.push(Conflict::new(
            "transactional_id",
            "`transactional_id` is missing while `enable_transactions` is true",
            "give each producer its own id that stays the same after a restart",
        )),
        Some(id) if id.trim() != id => found.push(Conflict::new(
            "transactional_id",
            "`transactional_id` starts or ends with a space",
            "remove the space, because librdkafka drops it at the start",
        )),
        Some(id) => super::name("transactional_id", id, found),
    }
    if !config.enable_idempotence {
        found.push(Conflict::new(
            "enable_idempotence",
            "`enable_idempotence` is false while `enable_transactions` is true",
            "set it to true, because transactions need it",
        ));
    }
    let whole = transaction_timeout_ms(config);
    if i128::from(config.send_timeout_ms) > i128::from(whole) {
        found.push(Conflict::new(
            "send_timeout_ms",
            format!(
                "`send_timeout_ms` ({}) is longer than a transaction may take, which is the property \
                 \"transaction.timeout.ms\" ({whole})",
                config.send_timeout_ms
            ),
            "lower `send_timeout_ms`, or raise the property",
        ));
    }
    let mut longer = |name: &str, most: i64| {
        let Some((name, _)) = properties::get(&config.properties, name) else { return };
        if let Some(time) = properties::whole(&config.properties, name).filter(|time| *time > most) {
            found.push(Conflict::new(
                "properties",
                format!("`properties` has {name:?} ({time}) above \"transaction.timeout.ms\" ({whole})"),
                "lower it, or raise the other",
            ));
        }
    };
    longer("message.timeout.ms", whole);
    // librdkafka accepts up to 100 ms more.
    longer("socket.timeout.ms", whole.saturating_add(100));
}

fn times(config: &KafkaSinkConfig, found: &mut Vec<Conflict>) {
    if config.linger_ms > 0 && config.linger_ms >= config.send_timeout_ms {
        found.push(Conflict::new(
            "linger_ms",
            format!("`linger_ms` ({}) uses up `send_timeout_ms` ({})", config.linger_ms, config.send_timeout_ms),
            "lower `linger_ms`, or raise `send_timeout_ms`",
        ));
    }
    let timeout = message_timeout_ms(config);
    if timeout > 0 && i128::from(config.linger_ms) >= i128::from(timeout) {
        let of = properties::get(&config.properties, "message.timeout.ms")
            .map_or("transaction.timeout.ms", |(name, _)| name);
        found.push(Conflict::new(
            "linger_ms",
            format!("`linger_ms` ({}) uses up the {timeout} ms that {of:?} gives a record", config.linger_ms),
            "lower `linger_ms`, or raise the property",
        ));
    }
}
