//! The request for a token (RFC 6749, section 4.4). Pure.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use percent_encoding::utf8_percent_encode;

use super::Client;
use crate::encoding::STRICT;

/// How a client shows its id and secret to the token endpoint. Default: `Basic`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// In the header `Authorization`, percent-encoded as RFC 6749 demands.
    #[default]
    Basic,
    /// The same without the encoding, as Java's clients and librdkafka do by default. It differs from `Basic` only for an id or a
    /// secret with other characters than letters, digits, `-`, `.`, `_` and `~`.
    BasicUnencoded,
    /// In the body, as `client_id` and `client_secret`.
    Body,
}

pub(super) fn request(client: &Client) -> Request<Full<Bytes>> {
    let mut body = String::from("grant_type=client_credentials");
    let mut add = |name: &str, value: &str| {
        body.extend(["&", &encoded(name), "=", &encoded(value)]);
    };
    if let Some(scope) = &client.scope {
        add("scope", scope);
    }
    client.parameters.iter().for_each(|(name, value)| add(name, value));
    if client.authentication == ClientAuthentication::Body {
        add("client_id", &client.id);
        add("client_secret", &client.secret);
    }
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = Method::POST;
    let path = client.endpoint.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(HOST, host(&client.endpoint));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kafka-tower/", env!("CARGO_PKG_VERSION"))));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let basic = match client.authentication {
        ClientAuthentication::Basic => format!("{}:{}", encoded(&client.id), encoded(&client.secret)),
        ClientAuthentication::BasicUnencoded => format!("{}:{}", client.id, client.secret),
        ClientAuthentication::Body => return request,
    };
    if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(basic))) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    request
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, STRICT).to_string()
}

/// The authority without the port that the scheme implies.
fn host(endpoint: &Uri) -> HeaderValue {
    let authority = endpoint.authority().map_or("", |authority| authority.as_str());
    let implied = if endpoint.scheme_str() == Some("http") { ":80" } else { ":443" };
    HeaderValue::from_str(authority.strip_suffix(implied).unwrap_or(authority)).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::OidcProvider;

    fn client(url: &str) -> OidcProvider {
        OidcProvider::new(url, "kafka app", "s+c/r%t~:").unwrap()
    }

    fn parts(provider: &OidcProvider) -> (Request<()>, String) {
        use http_body_util::BodyExt as _;
        use std::task::{Context, Poll, Waker};
        let (parts, body) = request(&provider.client).into_parts();
        let Poll::Ready(body) = std::pin::pin!(body.collect()).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("a body in memory is ready");
        };
        let Ok(body) = body;
        (Request::from_parts(parts, ()), String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }

    fn basic(request: &Request<()>) -> String {
        let value = &request.headers()[AUTHORIZATION];
        assert!(value.is_sensitive());
        let value = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        String::from_utf8(BASE64_STANDARD.decode(value).unwrap()).unwrap()
    }

    #[test]
    fn a_request_by_the_rfc() {
        let provider = client("https://login.example.com/a/token?v=2")
            .with_scope("kafka.read kafka.write")
            .with_parameter("audience", "https://kafka");
        let (request, body) = parts(&provider);
        assert_eq!((request.method(), request.uri().to_string()), (&Method::POST, "/a/token?v=2".to_owned()));
        assert_eq!(request.headers()[HOST], "login.example.com");
        assert_eq!(request.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert_eq!(body, "grant_type=client_credentials&scope=kafka.read%20kafka.write&audience=https%3A%2F%2Fkafka");
        assert_eq!(basic(&request), "kafka%20app:s%2Bc%2Fr%25t~%3A");
    }

    #[test]
    fn the_client_may_show_itself_in_other_ways() {
        let with = |how| parts(&client("https://a").with_authentication(how));
        let (request, body) = with(ClientAuthentication::BasicUnencoded);
        assert_eq!((basic(&request), &*body), ("kafka app:s+c/r%t~:".to_owned(), "grant_type=client_credentials"));
        let (request, body) = with(ClientAuthentication::Body);
        assert!(request.headers().get(AUTHORIZATION).is_none());
        assert_eq!(body, "grant_type=client_credentials&client_id=kafka%20app&client_secret=s%2Bc%2Fr%25t~%3A");
    }

    #[test]
    fn the_host_has_a_port_that_the_scheme_does_not_imply() {
        for (url, shown) in [
            ("https://a:443/t", "a"),
            ("https://a:80/t", "a:80"),
            ("http://a:80", "a"),
            ("http://127.0.0.1:8080/t", "127.0.0.1:8080"),
            ("https://[::1]:8443/t", "[::1]:8443"),
        ] {
            assert_eq!(parts(&client(url)).0.headers()[HOST], shown, "{url}");
        }
    }
}
