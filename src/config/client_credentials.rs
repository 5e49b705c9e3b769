//! OAuth 2 client credentials among librdkafka's properties: everything that a provider of tokens needs. Pure.
#![cfg_attr(not(feature = "oidc"), allow(dead_code, reason = "only what is missing is named"))]

use super::properties::{Properties, get};

/// What a request for a token needs.
pub(super) struct Credentials<'a> {
    pub(super) endpoint: &'a str,
    pub(super) id: &'a str,
    pub(super) secret: &'a str,
    pub(super) scope: Option<&'a str>,
    pub(super) extensions: Vec<(&'a str, &'a str)>,
    /// Whether id and secret are percent-encoded, as RFC 6749 demands. Neither Java nor librdkafka does so by default.
    pub(super) encoded: bool,
    /// The only authorities that the endpoint's certificate may be of. Without them: those that the system trusts.
    pub(super) roots: Option<Roots<'a>>,
}

/// Certificates of authorities, in PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Roots<'a> {
    Pem(&'a str),
    /// The path of a file.
    File(&'a str),
}

/// A property that cannot be used, what is wrong (a phrase that follows its name), and what to do.
pub(super) type Wrong = (&'static str, String, &'static str);

pub(super) const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
const EXTENSIONS: &str = "sasl.oauthbearer.extensions";
pub(super) const CA_FILE: &str = "https.ca.location";
pub(super) const CA_PEM: &str = "https.ca.pem";
const NEEDED: [&str; 3] = [ENDPOINT, "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret"];

/// Whether a provider of tokens takes the place of this property.
pub(super) fn is_replaced(name: &str) -> bool {
    name.starts_with("https.ca.") || name.starts_with("sasl.oauthbearer.") && name != "sasl.oauthbearer.config"
}

/// Reads the properties. `None` if they are not for this grant, or lack something that may still be set.
pub(super) fn read(properties: &Properties) -> Result<Option<Credentials<'_>>, Wrong> {
    let value = |name| text(properties, name);
    let [Some(endpoint), Some(id), Some(secret)] = NEEDED.map(value) else { return Ok(None) };
    if !are_meant(properties) {
        return Ok(None);
    }
    // `probe` lets librdkafka look for the system's.
    let file = value(CA_FILE).filter(|path| *path != "probe");
    let roots = match (file, value(CA_PEM)) {
        (Some(_), Some(_)) => {
            let problem = format!(" and {CA_PEM:?}, which both name the certificates of the token endpoint");
            return Err((CA_FILE, problem, "remove one of them"));
        }
        (Some(path), None) => Some(Roots::File(path)),
        (None, pem) => pem.map(Roots::Pem),
    };
    let extensions = value(EXTENSIONS).map_or(Ok(Vec::new()), pairs);
    let extensions = extensions.map_err(|problem| (EXTENSIONS, problem.to_owned(), PAIRS))?;
    let scope = value("sasl.oauthbearer.scope");
    Ok(Some(Credentials { endpoint, id, secret, scope, extensions, encoded: false, roots }))
}

/// What is missing of client credentials that are set in part.
pub(super) fn lacking(properties: &Properties) -> Option<&'static str> {
    let is_set = |name: &&str| text(properties, name).is_some();
    if !are_meant(properties) || !NEEDED.iter().any(is_set) {
        return None;
    }
    NEEDED.into_iter().find(|name| !is_set(name))
}

/// Whether everything is there, but the mechanism is another one.
pub(super) fn lack_the_mechanism(properties: &Properties) -> bool {
    let mechanism = text(properties, "sasl.mechanism");
    mechanism.is_none_or(|mechanism| mechanism != "OAUTHBEARER")
        && NEEDED.iter().all(|name| text(properties, name).is_some())
}

/// Whether tokens come from an identity server, by this grant.
fn are_meant(properties: &Properties) -> bool {
    let is = |name, wanted: &str| text(properties, name).is_none_or(|value| value.eq_ignore_ascii_case(wanted));
    text(properties, "sasl.mechanism").is_some_and(|mechanism| mechanism == "OAUTHBEARER")
        && is("sasl.oauthbearer.method", "oidc")
        && is("sasl.oauthbearer.grant.type", "client_credentials")
        && is("sasl.oauthbearer.metadata.authentication.type", "none")
}

pub(super) const PAIRS: &str = "write name=value, separated by commas";

/// `a=1,b=2`.
pub(super) fn pairs(text: &str) -> Result<Vec<(&str, &str)>, &'static str> {
    let all = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    all.map(|pair| pair.split_once('=').ok_or(" has an extension without `=`")).collect()
}

fn text<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
    get(properties, name).map(|(_, value)| value).filter(|value| !value.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(&str, &str); 5] = [
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.client.id", "i"),
        ("sasl.oauthbearer.client.secret", "s"),
        ("sasl.oauthbearer.token.endpoint.url", "https://a/t"),
    ];

    fn with(more: &[(&str, &str)]) -> Properties {
        ALL.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn whole_credentials_make_a_provider() {
        let more = [
            ("sasl.oauthbearer.scope", "x y"),
            ("sasl.oauthbearer.extensions", "logicalCluster=lkc-1, pool=p=1"),
            (CA_FILE, "/ca.pem"),
        ];
        let properties = with(&more);
        let found = read(&properties).unwrap().unwrap();
        assert_eq!((found.endpoint, found.id, found.secret, found.scope), ("https://a/t", "i", "s", Some("x y")));
        assert_eq!(found.extensions, [("logicalCluster", "lkc-1"), ("pool", "p=1")]);
        assert_eq!((found.roots, found.encoded), (Some(Roots::File("/ca.pem")), false));
        let roots = |more| read(&with(&[more])).unwrap().unwrap().roots.is_some();
        assert!(roots((CA_PEM, "-----")) && !roots((CA_FILE, "probe")));
        let mut aliases = with(&[("sasl.oauthbearer.client.credentials.client.id", "j")]);
        aliases.remove("sasl.oauthbearer.client.id");
        assert_eq!(read(&aliases).unwrap().unwrap().id, "j");
    }

    #[test]
    fn other_ways_to_a_token_are_left_alone() {
        for other in [
            ("sasl.mechanism", "PLAIN"),
            ("sasl.oauthbearer.method", "default"),
            ("sasl.oauthbearer.grant.type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("sasl.oauthbearer.metadata.authentication.type", "azure_imds"),
            ("sasl.oauthbearer.client.secret", " "),
        ] {
            assert!(read(&with(&[other])).is_ok_and(|found| found.is_none()), "{other:?}");
        }
        assert!(is_replaced(ENDPOINT) && is_replaced(CA_PEM) && !is_replaced("sasl.oauthbearer.config"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for name in NEEDED {
            let mut properties = with(&[]);
            properties.remove(name);
            assert_eq!(lacking(&properties), Some(name));
        }
        assert_eq!(lacking(&with(&[])), None);
        assert!(lack_the_mechanism(&with(&[("sasl.mechanism", "PLAIN")])) && !lack_the_mechanism(&with(&[])));
        assert_eq!(lacking(&with(&[("sasl.mechanism", "PLAIN"), ("sasl.oauthbearer.client.id", "")])), None);
        assert_eq!(lacking(&Properties::from([("sasl.mechanism".into(), "OAUTHBEARER".into())])), None);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let wrong = |more: &[(&str, &str)]| read(&with(more)).err().map(|(name, problem, _)| (name, problem));
        let (name, problem) = wrong(&[(CA_FILE, "a"), (CA_PEM, "b")]).unwrap();
        assert!(name == CA_FILE && problem.contains("which both name"), "{problem}");
        let (name, problem) = wrong(&[("sasl.oauthbearer.extensions", "a")]).unwrap();
        assert!(name == EXTENSIONS && problem.contains("without `=`"), "{problem}");
    }
}
