use std::time::SystemTime;

/// Makes a token for the [`Oauth`](crate::kafka::Listener::Oauth) listener: a JWT without a signature, for this user.
#[must_use]
pub fn unsigned_token(user: &str, expires_at: SystemTime) -> String {
    let expires = expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let claims = format!(r#"{{"sub":"{user}","exp":{expires:.3}}}"#);
    format!("{}.{}.", base64(br#"{"alg":"none"}"#), base64(claims.as_bytes()))
}

/// For URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | usize::from(chunk.get(i).copied().unwrap_or(0)));
        text.extend((0..=chunk.len()).map(|digit| char::from(DIGITS[bits >> (18 - 6 * digit) & 63])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_encoded_as_in_rfc_7515() {
        for (text, encoded) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
        assert_eq!(base64(br#"{"alg":"none"}"#), "eyJhbGciOiJub25lIn0");
        assert_eq!(base64(&[0xfb, 0xff]), "-_8");
    }
}
