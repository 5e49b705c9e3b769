//! Recognises peers that are not Kafka listeners, by the first four bytes of their answer, which a client takes for its length.

/// Beginning of the texts of [`speaks`], but that about TLS.
pub const NOT_KAFKA: &str = "the peer does not speak Kafka: ";
/// The text about a peer that expects TLS.
pub const TLS: &str = "the peer does not speak Kafka without TLS: it answers as a TLS listener";

/// Says what the peer speaks. `None` if the length may be that of a large Kafka response.
///
/// ```
/// use kafka_tower_core::wrong_protocol::speaks;
///
/// let http = speaks(i32::from_be_bytes(*b"HTTP"));
/// assert_eq!(http.as_deref(), Some("the peer does not speak Kafka: it answers as an HTTP server"));
/// ```
#[must_use]
pub fn speaks(length: i32) -> Option<String> {
    let bytes = length.to_be_bytes();
    match bytes {
        [0x15 | 0x16, 0x03, ..] => Some(TLS.to_owned()),
        [b'H', b'T', b'T', b'P'] => Some(format!("{NOT_KAFKA}it answers as an HTTP server")),
        _ if bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => {
            Some(format!("{NOT_KAFKA}its answer begins with {:?}", String::from_utf8_lossy(&bytes)))
        }
        _ if length < 4 => Some(format!("{NOT_KAFKA}its answer begins with the bytes {bytes:02x?}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_not_kafka_is_named() {
        for (bytes, says) in [
            (*b"HTTP", "the peer does not speak Kafka: it answers as an HTTP server"),
            ([0x15, 3, 3, 0], "the peer does not speak Kafka without TLS: it answers as a TLS listener"),
            ([0x16, 3, 1, 0], "the peer does not speak Kafka without TLS: it answers as a TLS listener"),
            (*b"SSH-", "the peer does not speak Kafka: its answer begins with \"SSH-\""),
            (*b"220 ", "the peer does not speak Kafka: its answer begins with \"220 \""),
            ([0xff, 0xfd, 1, 3], "the peer does not speak Kafka: its answer begins with the bytes [ff, fd, 01, 03]"),
            ([0, 0, 0, 3], "the peer does not speak Kafka: its answer begins with the bytes [00, 00, 00, 03]"),
        ] {
            assert_eq!(speaks(i32::from_be_bytes(bytes)).as_deref(), Some(says));
        }
        assert_eq!(speaks(120_000_000), None);
    }
}
