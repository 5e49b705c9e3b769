//! Fields that are set by their names, from texts.

use super::KafkaSinkConfig;
use super::properties::value::{self, Fault, shown};

/// Sets one of [`FIELDS`](super::properties::FIELDS).
pub(super) fn set(config: &mut KafkaSinkConfig, field: &str, text: &str) -> Result<(), Fault> {
    match field {
        "acks" => config.acks = text.to_owned(),
        "base_backoff_ms" => config.base_backoff_ms = number(text)?,
        "batch_size" => config.batch_size = number(text)?,
        "brokers" => config.brokers = text.to_owned(),
        "buffer_memory" => config.buffer_memory = number(text)?,
        "circuit_breaker_threshold" => config.circuit_breaker_threshold = number(text)?,
        "circuit_breaker_timeout_secs" => config.circuit_breaker_timeout_secs = number(text)?,
        "client_id" => config.client_id = text.to_owned(),
        "compression_type" => config.compression_type = text.to_owned(),
        "enable_circuit_breaker" => config.enable_circuit_breaker = flag(text)?,
        "enable_idempotence" => config.enable_idempotence = flag(text)?,
        "enable_transactions" => config.enable_transactions = flag(text)?,
        "linger_ms" => config.linger_ms = number(text)?,
        "max_in_flight_requests" => config.max_in_flight_requests = number(text)?,
        "max_retries" => config.max_retries = number(text)?,
        "send_timeout_ms" => config.send_timeout_ms = number(text)?,
        "topic" => config.topic = text.to_owned(),
        "transactional_id" => config.transactional_id = Some(text.to_owned()),
        _ => {
            return Err(Fault { problem: "is no field".to_owned(), cure: "correct its name".to_owned() });
        }
    }
    Ok(())
}

fn number<T: TryFrom<i64>>(text: &str) -> Result<T, Fault> {
    value::whole(text).and_then(|number| T::try_from(number).ok()).ok_or_else(|| Fault {
        problem: format!("{} is no whole number, or out of range", shown(text)),
        cure: "write digits, without a unit".to_owned(),
    })
}

fn flag(text: &str) -> Result<bool, Fault> {
    value::flag(text).ok_or_else(|| Fault {
        problem: format!("{} is neither true nor false", shown(text)),
        cure: "write true or false".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::properties::FIELDS;
    use super::*;

    #[test]
    fn each_field_is_set_and_by_nothing_else() {
        for field in FIELDS {
            let values = ["7", "false", "true"];
            let changes = values.iter().any(|value| {
                let mut config = KafkaSinkConfig::default();
                set(&mut config, field, value).is_ok() && config != KafkaSinkConfig::default()
            });
            assert!(changes, "{field}");
        }
        assert!(set(&mut KafkaSinkConfig::default(), "properties", "x").is_err());
    }

    #[test]
    fn numbers_fit() {
        let set = |field: &str, text: &str| set(&mut KafkaSinkConfig::default(), field, text).is_ok();
        assert!(set("max_retries", "4294967295") && !set("max_retries", "4294967296"));
        assert!(set("send_timeout_ms", "9223372036854775807") && !set("send_timeout_ms", "9223372036854775808"));
        for text in ["-1", "", "5ms", "0x10", "010", " 5", "1_000"] {
            assert!(!set("batch_size", text), "{text:?}");
        }
    }
}
