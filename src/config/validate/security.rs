//! Checks TLS and SASL settings for completeness and consistency. Reads no file and shows no text value.

use super::super::built::Built;
use super::super::properties::{self, Properties};
use super::super::{Conflict, TokenSource};

/// Makes librdkafka create the tokens of OAUTHBEARER itself, without a signature.
pub(super) const UNSECURED: &str = "enable.sasl.oauthbearer.unsecure.jwt";

/// The settings that choose protocol and mechanism.
pub(super) struct Security<'a> {
    /// In lower case. Default: `plaintext`.
    pub(super) protocol: String,
    pub(super) mechanism: Option<(&'a str, &'a str)>,
}

impl<'a> Security<'a> {
    pub(super) fn of(properties: &'a Properties) -> Self {
        let protocol = properties::get(properties, "security.protocol").map_or("plaintext", |(_, value)| value);
        Self { protocol: protocol.to_ascii_lowercase(), mechanism: properties::get(properties, "sasl.mechanism") }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.protocol.as_str(), "ssl" | "sasl_ssl")
    }

    pub(super) fn is_sasl(&self) -> bool {
        matches!(self.protocol.as_str(), "sasl_plaintext" | "sasl_ssl")
    }

    pub(super) fn mechanism(&self) -> &'a str {
        self.mechanism.map_or("", |(_, value)| value)
    }
}

pub(super) fn check(properties: &Properties, built: Built, found: &mut Vec<Conflict>) {
    let security = Security::of(properties);
    let mut add = |problem: String, cure: &'static str| found.push(Conflict::new("properties", problem, cure));
    if security.is_tls() && !built.tls {
        add(format!("`properties` has \"security.protocol\" with {}, which needs TLS", security.protocol), Built::TLS);
    }
    if let Some((name, mechanism)) = security.mechanism {
        if (mechanism.starts_with("SCRAM-") || mechanism == "OAUTHBEARER") && !built.tls {
            add(format!("`properties` has {name:?} with {mechanism}, which needs OpenSSL"), Built::TLS);
        }
        if mechanism == "GSSAPI" && !built.gssapi {
            add(format!("`properties` has {name:?} with GSSAPI, which needs Kerberos"), Built::GSSAPI);
        }
    } else if security.is_sasl() && !built.gssapi {
        add(
            format!(
                "`properties` has \"security.protocol\" with {} and no \"sasl.mechanism\", which means Kerberos (GSSAPI), \
                 and that needs the cargo feature `gssapi`",
                security.protocol
            ),
            "set it to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
        );
    }
    credentials(properties, &security, &mut add);
    certificates(properties, &mut add);
}

fn credentials(properties: &Properties, security: &Security<'_>, add: &mut impl FnMut(String, &'static str)) {
    let mechanism = security.mechanism();
    if security.is_sasl() && (mechanism == "PLAIN" || mechanism.starts_with("SCRAM-")) {
        for name in ["sasl.username", "sasl.password"] {
            if !properties::has(properties, name) {
                add(format!("`properties` has no {name:?}, which {mechanism} needs"), "set it");
            }
        }
    }
}

/// What to do without a provider of tokens.
const PROVIDER: &str =
    "set one with `with_token_provider`, for example `tokens::OidcProvider` of the crate feature `oidc`";
const OF_MSK: &str = "set one with `with_token_provider`: `tokens::MskIamProvider` of the crate feature `aws-msk-iam`";

/// Checks whether there are tokens for OAUTHBEARER.
pub(in crate::config) fn tokens(
    properties: &Properties,
    brokers: &str,
    source: &TokenSource,
    found: &mut Vec<Conflict>,
) {
    let security = Security::of(properties);
    let Some((name, "OAUTHBEARER")) = security.mechanism.filter(|_| security.is_sasl()) else { return };
    let makes_own = properties::flag(properties, UNSECURED) == Some(true);
    if source.get().is_none() && !makes_own {
        found.push(Conflict::new(
            "token_provider",
            format!("`properties` has {name:?} with OAUTHBEARER, and there is no provider of tokens"),
            if [".amazonaws.com", ".api.aws"].iter().any(|suffix| brokers.contains(suffix)) {
                OF_MSK
            } else {
                PROVIDER
            },
        ));
    }
}

fn certificates(properties: &Properties, add: &mut impl FnMut(String, &'static str)) {
    let has = |name: &str| properties::has(properties, name);
    let keystore = has("ssl.keystore.location");
    if keystore && !has("ssl.keystore.password") {
        add("`properties` has \"ssl.keystore.location\" and no \"ssl.keystore.password\"".to_owned(), "set it");
    }
    let one = |names: [&'static str; 2]| names.into_iter().find(|name| has(name));
    let key = one(["ssl.key.location", "ssl.key.pem"]);
    let certificate = one(["ssl.certificate.location", "ssl.certificate.pem"]);
    match (key, certificate) {
        (Some(key), None) if !keystore => add(
            format!("`properties` has {key:?} and no certificate for it"),
            "set \"ssl.certificate.location\" or \"ssl.certificate.pem\"",
        ),
        (None, Some(certificate)) if !keystore => add(
            format!("`properties` has {certificate:?} and no key for it"),
            "set \"ssl.key.location\" or \"ssl.key.pem\"",
        ),
        _ => {}
    }
}
