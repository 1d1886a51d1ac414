//! The proxy's own answers to plain requests.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::policy::{Authority, Respond};

/// The answer of a `respond` route. OPTIONS gets the allowed methods instead of the body.
pub(super) fn response(respond: &Respond, method: &Method) -> Response<Bytes> {
    let is_asked_for = method != Method::OPTIONS;
    let body = match is_asked_for {
        true => respond.body.clone(),
        false => String::new(),
    };
    let mut response = Response::new(Bytes::from(body));
    if let Ok(status) = StatusCode::from_u16(respond.status) {
        *response.status_mut() = status;
    }
    let (name, value) = match is_asked_for {
        true => (header::CONTENT_TYPE, respond.content_type.clone()),
        false => (header::ALLOW, Respond::METHODS.join(", ")),
    };
    if let Ok(value) = HeaderValue::from_str(&value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The redirect to the same place over TLS. The method stays (RFC 9110 section 15.4.9).
pub(super) fn to_https(asked: &Authority, target: &http::Uri) -> Response<Bytes> {
    // Without the port, which is this listener's. `Display` writes the brackets of an IPv6 address.
    let host = Authority {
        port: None,
        ..asked.clone()
    };
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(location) = HeaderValue::from_str(&format!("https://{host}{path}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_names_the_host_as_a_url_does() {
        for (host, location) in [
            ("api.example.com:8080", "https://api.example.com/a?b"),
            ("[::1]:8080", "https://[::1]/a?b"),
            ("[2001:DB8::1]", "https://[2001:db8::1]/a?b"),
        ] {
            let asked = Authority::parse(host.as_bytes()).unwrap();
            let response = to_https(&asked, &http::Uri::from_static("/a?b"));
            assert_eq!(response.headers()[header::LOCATION], location);
        }
    }
}
