//! Errors as responses of axum.

use axum_core::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::status::StatusCode;

use super::{Error, HttpProblem};

impl IntoResponse for HttpProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [(CONTENT_TYPE, Self::CONTENT_TYPE)], self.to_json()).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The response of [`HttpProblem::of`]. The error itself is in the response's extensions, so that a middleware can log it.
///
/// ```
/// use axum_core::response::IntoResponse;
/// use kafka_tower_core::{Error, ErrorKind};
///
/// let response = Error::refused("more than 10 bytes").into_response();
/// assert_eq!(response.status(), 422);
/// assert_eq!(response.extensions().get::<Error>().map(Error::kind), Some(ErrorKind::Refused));
/// ```
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = HttpProblem::of(&self).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_response_has_the_problems_status_and_headers() {
        let open = Error::new(ErrorKind::CircuitOpen, "open").with_retry_after(Duration::from_millis(1_500));
        let response = open.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        let error = response.extensions().get::<Error>().unwrap();
        assert_eq!((error.kind(), error.message()), (ErrorKind::CircuitOpen, "open"));

        let response = Error::new(ErrorKind::Timeout, "late").into_response();
        assert_eq!(response.status(), 504);
        assert!(!response.headers().contains_key(RETRY_AFTER));
    }
}
