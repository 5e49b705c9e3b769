//! Reads the answer of a token endpoint (RFC 6749, sections 5.1 and 5.2). Pure.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::LOCATION;
use http::response::Parts;
use serde_json::Value;

/// Longer texts of the server are cut to this number of characters.
const SHOWN: usize = 300;

/// A token, and when it expires.
#[derive(PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) token: String,
    pub(super) expires_at: SystemTime,
}

/// The error is a phrase that follows the server's name. It shows nothing of a token, and not the secret.
pub(super) fn read(parts: &Parts, body: &[u8], asked_at: SystemTime, secret: &str) -> Result<Granted, String> {
    let json = serde_json::from_slice::<Value>(body);
    if parts.status.is_redirection() {
        let to = parts.headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| to.split(['?', '#']).next());
        let to = to.map(|to| format!(" to {}", shown(to, secret))).unwrap_or_default();
        return Err(format!("answered {}{to}: a redirect is not followed with a secret", parts.status));
    }
    if !parts.status.is_success() {
        let refusal = json.ok().and_then(|json| refusal(&json, secret));
        return Err(refusal.map_or_else(
            || format!("answered {}", parts.status),
            |refusal| format!("answered {}, {refusal}", parts.status),
        ));
    }
    let json = json.map_err(|_| "answered with something that is not JSON: its URL may be wrong".to_owned())?;
    if let Some(refusal) = refusal(&json, secret) {
        return Err(format!("answered {refusal}"));
    }
    let Some(token) = json["access_token"].as_str() else {
        return Err("answered without an `access_token`".to_owned());
    };
    if json["token_type"].as_str().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err("answered with a token whose `token_type` is not Bearer".to_owned());
    }
    let expires_at = match expires_in(&json["expires_in"]) {
        Some(lifetime) => asked_at + lifetime.min(LONG),
        None => expiry_of_jwt(token)
            .ok_or("answered with a token without its lifetime: neither `expires_in` nor the claim `exp`")?,
    };
    Ok(Granted { token: token.to_owned(), expires_at })
}

/// A lifetime that no clock can show: the token does not expire.
const LONG: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Seconds. Some servers write the number as a text.
fn expires_in(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The claim `exp`, if the token is a JWT.
fn expiry_of_jwt(token: &str) -> Option<SystemTime> {
    let claims = token.split('.').nth(1)?.trim_end_matches('=');
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(claims["exp"].as_f64()?).ok()?)
}

/// `error` and `error_description`.
fn refusal(json: &Value, secret: &str) -> Option<String> {
    let error = shown(json["error"].as_str()?, secret);
    let description = json["error_description"].as_str().map(|text| shown(text, secret));
    Some(description.map_or_else(|| error.clone(), |description| format!("{error}: {description}")))
}

/// A text of the server, in one line and without the secret.
fn shown(text: &str, secret: &str) -> String {
    let text = if secret.is_empty() { text.to_owned() } else { text.replace(secret, "***") };
    let mut words = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    match words.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Response, StatusCode};

    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn answer(status: u16, body: &str) -> Result<Granted, String> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert(LOCATION, HeaderValue::from_static("https://b.example.com/t?state=hunter2"));
        read(&response.into_parts().0, body.as_bytes(), SystemTime::UNIX_EPOCH + NOW, "hunter2")
    }

    fn lifetime(body: &str) -> Duration {
        let granted = answer(200, body).unwrap_or_else(|error| panic!("{error}: {body}"));
        granted.expires_at.duration_since(SystemTime::UNIX_EPOCH + NOW).unwrap_or_default()
    }

    #[test]
    fn the_lifetime_is_that_of_the_answer() {
        let secs = Duration::from_secs;
        assert_eq!(lifetime(r#"{"access_token":"a","token_type":"bearer","expires_in":3599}"#), secs(3599));
        assert_eq!(lifetime(r#"{"access_token":"a","expires_in":"3599"}"#), secs(3599));
        assert_eq!(lifetime(r#"{"access_token":"a","expires_in":1e18}"#), LONG);
        assert_eq!(lifetime(r#"{"access_token":"a","expires_in":0}"#), secs(0));
        let claims = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{}}}"#, NOW.as_secs() + 60));
        assert_eq!(lifetime(&format!(r#"{{"access_token":"h.{claims}.s"}}"#)), secs(60));
        assert_eq!(lifetime(&format!(r#"{{"access_token":"h.{claims}.s","expires_in":30}}"#)), secs(30));
        assert!(answer(200, r#"{"access_token":"a","expires_in":1}"#).is_ok_and(|granted| granted.token == "a"));
    }

    #[test]
    fn what_is_wrong_is_said_without_a_secret() {
        for (status, body, why) in [
            (401, r#"{"error":"invalid_client"}"#, "answered 401 Unauthorized, invalid_client"),
            (
                400,
                r#"{"error":"invalid_scope","error_description":"no scope\n for hunter2"}"#,
                "answered 400 Bad Request, invalid_scope: no scope for ***",
            ),
            (503, "<html>hunter2", "answered 503 Service Unavailable"),
            (302, "", "answered 302 Found to https://b.example.com/t: a redirect is not followed with a secret"),
            (200, "<html>hunter2", "answered with something that is not JSON: its URL may be wrong"),
            (200, "[]", "answered without an `access_token`"),
            (200, r#"{"access_token":5}"#, "answered without an `access_token`"),
            (200, r#"{"error":"invalid_client"}"#, "answered invalid_client"),
            (
                200,
                r#"{"access_token":"hunter2","token_type":"mac","expires_in":5}"#,
                "answered with a token whose `token_type` is not Bearer",
            ),
            (
                200,
                r#"{"access_token":"hunter2","expires_in":-5}"#,
                "answered with a token without its lifetime: neither `expires_in` nor the claim `exp`",
            ),
        ] {
            assert_eq!(answer(status, body).err().as_deref(), Some(why));
        }
        let long = answer(400, &format!(r#"{{"error":"{}"}}"#, "ü".repeat(1_000))).err().unwrap();
        assert_eq!(long.chars().count(), "answered 400 Bad Request, ".len() + SHOWN + 1);
    }
}
