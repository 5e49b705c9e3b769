//! Checks a token, and converts it for librdkafka. Pure: the time is an argument.
//!
//! librdkafka checks tokens too, but its errors quote the token.

use std::ffi::CString;
use std::time::SystemTime;

use kafka_tower_core::OauthToken;

/// A token as librdkafka takes it.
pub(crate) struct NativeToken {
    pub(crate) value: CString,
    /// In milliseconds since the epoch.
    pub(crate) expires_ms: i64,
    pub(crate) principal: CString,
    /// Names and values in turn.
    pub(crate) extensions: Vec<CString>,
}

impl NativeToken {
    /// The error shows nothing of the token.
    pub(crate) fn new(token: &OauthToken, now: SystemTime) -> Result<Self, String> {
        let refused = |why: &str| Err(format!("the token provider's token cannot be used: {why}"));
        if token.value().is_empty() {
            return refused("it is empty");
        }
        if !token.value().bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused("it has a space, a line break, or another character that no token has");
        }
        if token.expires_at() <= now {
            return refused("it has expired");
        }
        let mut extensions = Vec::new();
        for (name, value) in token.extensions() {
            if name.is_empty() || name == "auth" || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return refused(
                    "an extension has a name that does not consist of the letters A to Z and a to z, or is `auth`",
                );
            }
            if !value.bytes().all(|byte| byte.is_ascii_graphic() || b" \t\r\n".contains(&byte)) {
                return refused("an extension has a value with a control character, or one that is not ASCII");
            }
            extensions.extend([name, value].map(|text| CString::new(text).unwrap_or_default()));
        }
        let Ok(principal) = CString::new(token.principal()) else {
            return refused("its principal has a NUL");
        };
        let expires = token.expires_at().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            value: CString::new(token.value()).unwrap_or_default(),
            // As microseconds it must fit into 64 bits, too.
            expires_ms: i64::try_from(expires.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 1_000),
            principal,
            extensions,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIME: Duration = Duration::from_secs(60);

    #[test]
    fn a_token_is_converted() {
        let now = SystemTime::UNIX_EPOCH + TIME;
        let token = OauthToken::until("a.b.c", now + TIME).with_principal("ada").with_extension("pool", "p 1");
        let native = NativeToken::new(&token, now).unwrap();
        assert_eq!((&*native.value, &*native.principal, native.expires_ms), (c"a.b.c", c"ada", 120_000));
        assert_eq!(native.extensions, [c"pool".to_owned(), c"p 1".to_owned()]);
        let eternal = NativeToken::new(&OauthToken::new("a", Duration::MAX), now).unwrap();
        assert!(eternal.expires_ms.checked_mul(1_000).is_some());
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_showing_it() {
        let now = SystemTime::now();
        let token = |value: &str| OauthToken::until(value, now + TIME);
        for (token, why) in [
            (token(""), "it is empty"),
            (token("hunter2\n"), "a line break"),
            (token("hunter2\0"), "another character"),
            (token("hünter2"), "another character"),
            (OauthToken::until("hunter2", now), "it has expired"),
            (token("a").with_extension("hunter2", "v"), "the letters A to Z"),
            (token("a").with_extension("", "hunter2"), "the letters A to Z"),
            (token("a").with_extension("auth", "hunter2"), "or is `auth`"),
            (token("a").with_extension("n", "hunter2\0"), "a control character"),
            (token("a").with_extension("n", "hünter2"), "not ASCII"),
            (token("a").with_principal("hunter2\0"), "a NUL"),
        ] {
            let error = NativeToken::new(&token, now).err().unwrap();
            assert!(error.contains(why) && !error.contains("nter2"), "{error}");
        }
    }
}
