//! Which requests the admin service refuses: those that another web page may have sent. A page in a browser on this machine
//! can reach loopback addresses too. But it can't omit the Origin of a POST, and a page whose name was made to resolve to
//! this machine (DNS rebinding) can't omit that name.

use std::net::IpAddr;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::uri::Authority;
use http::{Method, Request};

/// Fetch Metadata: the relation between the page that sends a request and the one that is asked.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is refused, if it is; `hosts` are the names of the service beside `localhost`. A page of the service itself
/// may read and close tunnels, but not use what `is_for_programs`.
pub(super) fn refusal<B>(
    request: &Request<B>,
    hosts: &[String],
    is_for_programs: bool,
) -> Result<(), String> {
    let named = named(request, hosts)?;
    let fields = request.headers();
    let has_origin = fields.contains_key(ORIGIN);
    if is_for_programs && (has_origin || is_change(request) && fields.contains_key(SEC_FETCH_SITE))
    {
        return Err(
            "refused: the request comes from a web page; use `wsgate drain` or curl".to_owned(),
        );
    }
    let own: Vec<_> = named.iter().map(|host| format!("http://{host}")).collect();
    let is_own = |origin: &HeaderValue| {
        let mut own = own.iter();
        own.all(|own| origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()))
    };
    if !all(fields, ORIGIN, is_own) {
        return Err("refused: the request has the Origin of another page".to_owned());
    }
    let is_own = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    if !all(fields, SEC_FETCH_SITE, is_own) {
        return Err(
            "refused: another page leads here (Sec-Fetch-Site); open the address in a new tab"
                .to_owned(),
        );
    }
    Ok(())
}

fn is_change<B>(request: &Request<B>) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD)
}

fn all(fields: &HeaderMap, name: HeaderName, condition: impl Fn(&HeaderValue) -> bool) -> bool {
    fields.get_all(name).iter().all(condition)
}

/// All hosts that the request names, with their ports; an error if one of them is not a name of this service.
fn named<B>(request: &Request<B>, hosts: &[String]) -> Result<Vec<Authority>, String> {
    let in_target = request.uri().authority().cloned();
    let fields = request.headers().get_all(HOST).iter();
    let in_fields = fields.map(|value| Authority::try_from(value.as_bytes()).ok());
    let mut named = Vec::new();
    for host in in_target.map(Some).into_iter().chain(in_fields) {
        match host.filter(|host| is_own_name(host.host(), hosts)) {
            Some(host) => named.push(host),
            None => {
                return Err(
                    "refused: the Host is not an IP address, not localhost and not in admin.hosts; call the service by its address"
                        .to_owned(),
                );
            }
        }
    }
    if named.is_empty() {
        return Err("refused: the request has no Host".to_owned());
    }
    Ok(named)
}

fn is_own_name(host: &str, hosts: &[String]) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let mut names = hosts.iter().map(String::as_str).chain(["localhost"]);
    names.any(|name| host.eq_ignore_ascii_case(name))
        || bare.unwrap_or(host).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["wsgate.internal"];

    fn judged(
        method: &Method,
        target: &str,
        fields: &[(&str, &str)],
        is_for_programs: bool,
    ) -> bool {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let names: Vec<_> = NAMES.iter().map(|name| (*name).to_owned()).collect();
        refusal(&request.body(()).unwrap(), &names, is_for_programs).is_ok()
    }

    #[test]
    fn only_addresses_and_known_names_are_names_of_this_service() {
        for (target, hosts, is_fine) in [
            ("/drain", &["127.0.0.1:9901"][..], true),
            ("/drain", &["[::1]:9901"], true),
            ("/drain", &["localhost"], true),
            ("/drain", &["LOCALHOST:80"], true),
            ("/drain", &["10.0.0.7:9901"], true),
            ("/", &["WSgate.internal:8080"], true),
            ("http://127.0.0.1:9901/drain", &["127.0.0.1:9901"], true),
            ("/drain", &["evil.example.com"], false),
            ("/drain", &["localhost.evil.example.com"], false),
            ("/drain", &["wsgate.internal.evil.example.com"], false),
            ("/drain", &["127.0.0.1.evil.example.com"], false),
            ("/drain", &["127.0.0.1", "evil.example.com"], false),
            ("http://evil.example.com/drain", &["127.0.0.1"], false),
            ("/drain", &[""], false),
            ("/drain", &["a b"], false),
            ("/drain", &[], false),
        ] {
            let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            for is_for_programs in [true, false] {
                let is_admitted = judged(&Method::POST, target, &fields, is_for_programs);
                assert_eq!(is_admitted, is_fine, "{target} {hosts:?}");
            }
        }
    }

    #[test]
    fn only_the_own_page_is_admitted_and_it_may_not_drain() {
        const HOST: (&str, &str) = ("host", "127.0.0.1:9901");
        // (fields, whether the page may read and close, whether a program may drain)
        for (fields, of_page, of_program) in [
            (&[][..], true, true),
            (&[("origin", "http://127.0.0.1:9901")], true, false),
            (&[("origin", "HTTP://127.0.0.1:9901")], true, false),
            (&[("sec-fetch-site", "same-origin")], true, false),
            (&[("sec-fetch-site", "none")], true, false),
            (&[("origin", "http://127.0.0.1:9902")], false, false),
            (&[("origin", "http://127.0.0.1")], false, false),
            (&[("origin", "https://127.0.0.1:9901")], false, false),
            (&[("origin", "http://localhost:9901")], false, false),
            (&[("origin", "null")], false, false),
            (&[("origin", "")], false, false),
            (
                &[
                    ("origin", "http://127.0.0.1:9901"),
                    ("origin", "http://evil.example"),
                ],
                false,
                false,
            ),
            (&[("sec-fetch-site", "cross-site")], false, false),
            (&[("sec-fetch-site", "same-site")], false, false),
            (
                &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
                false,
                false,
            ),
        ] {
            let fields = [&[HOST], fields].concat();
            assert_eq!(
                judged(&Method::POST, "/close", &fields, false),
                of_page,
                "{fields:?}"
            );
            assert_eq!(
                judged(&Method::POST, "/drain", &fields, true),
                of_program,
                "{fields:?}"
            );
        }
        // A person may type the address of a drain's progress.
        let typed = [HOST, ("sec-fetch-site", "none")];
        assert!(judged(&Method::GET, "/drain", &typed, true));
    }
}
