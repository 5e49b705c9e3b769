//! Recognises peers that are not Kafka listeners. librdkafka takes the first four bytes of their answer for a length
//! and advises to raise `receive.message.max.bytes`; those bytes show what the peer speaks.

pub(crate) use kafka_tower_core::wrong_protocol::NOT_KAFKA;
use kafka_tower_core::wrong_protocol::speaks;

const RESPONSE: &str = "Invalid response size ";
const ADVICE: &str = "increase receive.message.max.bytes";
const FRAME: &str = "Invalid frame size ";

/// Replaces the advice in librdkafka's text by what the peer speaks. None if the text is about something else, or if
/// the length may be that of a large Kafka response.
pub(crate) fn explain(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(RESPONSE).or_else(|| text.split_once(FRAME))?;
    let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
    let length: i32 = rest[..digits].parse().ok()?;
    let after = match rest.split_once(ADVICE) {
        Some((_, after)) => after,
        None => &rest[digits..],
    };
    Some(format!("{before}{}{after}", speaks(length)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(bytes: [u8; 4]) -> String {
        let length = i32::from_be_bytes(bytes);
        format!(
            "127.0.0.1:80/bootstrap: Receive failed: Invalid response size {length} (0..100000000): increase \
             receive.message.max.bytes (after 1ms in state APIVERSION_QUERY)"
        )
    }

    #[test]
    fn a_peer_that_is_not_kafka_is_named() {
        assert_eq!(
            explain(&response(*b"HTTP")).unwrap(),
            "127.0.0.1:80/bootstrap: Receive failed: the peer does not speak Kafka: it answers as an HTTP server (after 1ms in \
             state APIVERSION_QUERY)"
        );
        for (bytes, says) in [
            ([0x15, 3, 3, 0], "a TLS listener"),
            ([0x15, 3, 1, 0], "a TLS listener"),
            (*b"SSH-", "with \"SSH-\""),
            (*b"220 ", "with \"220 \""),
            ([0xff, 0xfd, 1, 3], "the bytes [ff, fd, 01, 03]"),
        ] {
            let text = explain(&response(bytes)).unwrap();
            assert!(text.contains(says) && !text.contains("receive.message.max.bytes"), "{text}");
        }
        let frame = explain("127.0.0.1:80/1: Receive failed: Invalid frame size 1213486160").unwrap();
        assert!(frame.ends_with("an HTTP server"), "{frame}");
    }

    #[test]
    fn a_large_answer_keeps_librdkafkas_advice() {
        assert_eq!(explain(&response(120_000_000_i32.to_be_bytes())), None);
        assert_eq!(explain("127.0.0.1:80/bootstrap: Connect failed: Connection refused"), None);
        assert_eq!(explain("Invalid response size many"), None);
    }
}
