//! Signs a token. Pure: credentials, region and time are arguments.
//!
//! The token is a presigned URL (Signature Version 4, in the query) of the action `kafka-cluster:Connect`, in base64url without
//! padding. Brokers check it as the service would check a request of that URL.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use kafka_tower_core::{BoxError, OauthToken};
use percent_encoding::utf8_percent_encode;
use tracing::Dispatch;

use crate::encoding::STRICT;

/// The longest lifetime that brokers accept.
const LIFETIME: Duration = Duration::from_secs(900);
const SERVICE: &str = "kafka-cluster";
/// Brokers only log it. It is not a part of what is signed.
const USER_AGENT: &str = concat!("kafka-tower/", env!("CARGO_PKG_VERSION"));

/// Signs a token that is valid from `now` until 15 minutes later, or until the credentials expire.
///
/// # Errors
///
/// Credentials that are empty or have expired.
pub(super) fn token(credentials: &Credentials, region: &str, now: SystemTime) -> Result<OauthToken, BoxError> {
    if credentials.access_key_id().is_empty() || credentials.secret_access_key().is_empty() {
        return Err("the AWS credentials are empty".into());
    }
    // The signature has whole seconds.
    let signed_at = now - Duration::from_nanos(now.duration_since(SystemTime::UNIX_EPOCH)?.subsec_nanos().into());
    let url = format!("https://kafka.{region}.amazonaws.com/?Action=kafka-cluster%3AConnect");
    let mut url = presign(url, SERVICE, credentials, region, signed_at, LIFETIME)?;
    add(&mut url, "User-Agent", USER_AGENT);
    let expires_at = credentials.expiry().map_or(signed_at + LIFETIME, |expiry| expiry.min(signed_at + LIFETIME));
    if expires_at <= now {
        return Err("the AWS credentials have expired".into());
    }
    Ok(OauthToken::until(BASE64_URL_SAFE_NO_PAD.encode(url), expires_at))
}

/// Adds the signature of a `GET` request to the query of its URL, which has a query.
fn presign(
    mut url: String,
    service: &str,
    credentials: &Credentials,
    region: &str,
    time: SystemTime,
    lifetime: Duration,
) -> Result<String, BoxError> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(lifetime);
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(settings)
        .build()?
        .into();
    let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(&[]))?;
    // The signer logs session tokens, at the level `TRACE`.
    let signed = tracing::dispatcher::with_default(&Dispatch::none(), || sign(request, &params))?;
    let (instructions, _) = signed.into_parts();
    for (name, value) in instructions.params() {
        add(&mut url, name, value);
    }
    Ok(url)
}

fn add(url: &mut String, name: &str, value: &str) {
    url.extend(["&", name, "="]);
    url.extend(utf8_percent_encode(value, STRICT));
}

#[cfg(test)]
mod tests;
