//! The settings by which Java's clients and librdkafka get tokens: what has no effect here, and what replaces it.

use std::collections::BTreeMap;

use super::Reader;
#[cfg(feature = "oidc")]
use super::oidc::Roots;
use super::oidc::{self, Oidc};
use crate::config::client_properties::jaas::Login;
use crate::config::client_properties::text::Line;
use crate::config::fields::Settings;
#[cfg(feature = "oidc")]
use crate::config::token_maker::{self, Part, Unusable};

/// Why these names have no effect: phrases that follow "which".
const PROVIDER: &str = "a provider of tokens replaces (`with_token_provider`)";
const MSK: &str = "a provider of tokens replaces (`with_token_provider`): `tokens::MskIamProvider` of the crate feature \
                   `aws-msk-iam`, with the AWS credentials that the program has";
#[cfg(not(feature = "oidc"))]
const OIDC: &str =
    "the crate feature `oidc` makes a provider of tokens of; without it, set one (`with_token_provider`)";
#[cfg(feature = "oidc")]
const OIDC: &str = "the provider of tokens replaces that is made of them";

/// Options of Amazon's login module that say whose credentials it takes.
const OF_CREDENTIALS: [&str; 6] =
    ["awsProfileName", "awsRoleAccessKeyId", "awsRoleArn", "awsRoleExternalId", "awsRoleSessionName", "awsStsRegion"];

/// What the file says about getting tokens.
pub(super) struct Tokens {
    /// By name, without the login.
    pub(super) lines: BTreeMap<String, Line>,
    /// `sasl.jaas.config`, if its module gets tokens.
    pub(super) login: Option<(Line, Login)>,
}

impl Tokens {
    /// Whether Amazon's library for Java gets them.
    fn is_msk(&self) -> bool {
        let of_class = |line: &Line| line.name.ends_with(".class") && line.value.starts_with("software.amazon.msk.");
        self.login.as_ref().is_some_and(|(_, login)| login.module == "IAMLoginModule")
            || self.lines.values().any(of_class)
    }

    /// All names. Options of the login that the program has to take over stand behind its name.
    fn names(&self) -> Vec<String> {
        let login = self.login.as_ref().map(|(line, login)| {
            let options = OF_CREDENTIALS.into_iter().filter(|option| login.options.contains_key(*option));
            match options.collect::<Vec<_>>() {
                options if options.is_empty() => line.name.clone(),
                options => format!("{} ({})", line.name, options.join(", ")),
            }
        });
        self.lines.keys().cloned().chain(login).collect()
    }
}

impl<C: Settings> Reader<C> {
    /// Takes the settings that get tokens, if the mechanism needs some.
    pub(super) fn tokens(&mut self) -> Option<Tokens> {
        let mut by_token = false;
        for name in ["sasl.mechanism", "sasl.mechanisms"] {
            let Some(line) = self.lines.get_mut(name) else { continue };
            // The name of Amazon's module for Java. Other clients log in to the same port with tokens.
            if line.value == "AWS_MSK_IAM" {
                line.value = "OAUTHBEARER".to_owned();
            }
            by_token |= line.value == "OAUTHBEARER";
        }
        let gets_tokens = |name: &str| {
            name == "sasl.client.callback.handler.class"
                || name.starts_with("https.ca.")
                || name.starts_with("sasl.login.")
                || name.starts_with("sasl.oauthbearer.") && name != "sasl.oauthbearer.config"
        };
        by_token.then(|| {
            let lines = std::mem::take(&mut self.lines);
            let (lines, others) = lines.into_iter().partition(|(name, _)| gets_tokens(name));
            self.lines = others;
            Tokens { lines, login: None }
        })
    }

    /// Makes a provider of the settings, if they say all that it needs, and says what replaces the others.
    pub(super) fn token_provider(&mut self, tokens: &Tokens) {
        let why = if tokens.is_msk() {
            MSK
        } else {
            match oidc::read(tokens) {
                Ok(Some(found)) => self.oidc(&found),
                Ok(None) => PROVIDER,
                Err((line, problem, cure)) => return self.fault(line, &problem, cure),
            }
        };
        self.ignored.entry(why).or_default().extend(tokens.names());
    }

    #[cfg(not(feature = "oidc"))]
    fn oidc(&mut self, _: &Oidc<'_>) -> &'static str {
        OIDC
    }

    #[cfg(feature = "oidc")]
    fn oidc(&mut self, found: &Oidc<'_>) -> &'static str {
        match token_maker::make(&found.credentials()) {
            Ok(source) => self.overlay.set_token_provider(source),
            Err(Unusable { part, problem, cure }) => {
                let (line, _) = match (part, &found.roots) {
                    (Part::Roots, Some(Roots::Pem(text) | Roots::File(text))) => *text,
                    (Part::Endpoint | Part::Roots, _) => found.endpoint,
                };
                self.fault(line, &problem, cure);
            }
        }
        OIDC
    }
}
