//! Checks the target of a request, before anything parses it.

use http::Uri;

use crate::reason::{Failure, Reason};

/// Checks a path with its query that did not come in a request line.
///
/// # Errors
/// `http_malformed` and `path_ambiguous`, as for a target.
pub(crate) fn check_path(path: &str) -> Result<(), Failure> {
    match path.starts_with('/') {
        true => check_target(path.as_bytes()),
        false => {
            let found = if path == "*" { ": found *" } else { "" };
            Err(malformed(format!("the path does not begin with /{found}")))
        }
    }
}

/// The path and query alone, or `/` without a path (RFC 9112 section 3.2.1).
pub(crate) fn origin_form(uri: &Uri) -> Uri {
    match uri.path_and_query() {
        Some(path) => Uri::from(path.clone()),
        None => Uri::from_static("/"),
    }
}

/// Checks that the target is a path or a URL in absolute form (RFC 9112 section 3.2), and that hyper can read it.
pub(super) fn check_target(target: &[u8]) -> Result<(), Failure> {
    let query = target.iter().position(|&byte| byte == b'?');
    for (at, &byte) in target.iter().enumerate() {
        let is_in_query = query.is_some_and(|query| at > query);
        match byte {
            b'#' => {
                return Err(malformed(format!(
                    "byte {at} of the target is '#': fragments must not be sent to a server"
                )));
            }
            0x80.. => {
                let detail = format!("byte {at} of the target is \\x{byte:02x}, outside ASCII");
                return Err(Failure::new(Reason::PathAmbiguous, detail));
            }
            _ if is_in_target(byte, is_in_query) => {}
            b'!'..=b'~' => {
                return Err(malformed(format!(
                    "byte {at} of the target is {:?}, which must be percent-encoded there",
                    char::from(byte)
                )));
            }
            _ => {
                return Err(malformed(format!(
                    "byte {at} of the target is the control character \\x{byte:02x}"
                )));
            }
        }
    }
    if target.starts_with(b"/") {
        return Ok(());
    }
    let Some((_, rest)) = absolute(target) else {
        let found = match target {
            b"*" => "found *",
            _ if target.windows(3).any(|three| three == b"://") => "found another scheme",
            _ => "found neither / nor http:// at the beginning",
        };
        return Err(malformed(format!(
            "the target is neither a path nor an http URL: {found}"
        )));
    };
    let authority = rest.split(|byte| b"/?".contains(byte)).next();
    if authority.is_some_and(|authority| authority.contains(&b'@')) {
        return Err(malformed("the target has userinfo".to_owned()));
    }
    Uri::try_from(target)
        .map(drop)
        .map_err(|error| malformed(format!("the target is not a valid URL: {error}")))
}

/// Accepts what `http::Uri` accepts, which is more than RFC 3986 section 3.3 allows; a test compares the two.
pub(super) fn is_in_target(byte: u8, is_in_query: bool) -> bool {
    byte.is_ascii_graphic()
        && !b"<>#".contains(&byte)
        && (is_in_query || byte != b'`')
        && (!is_in_query || byte != b'"')
}

/// The scheme and the rest of a target in absolute form. A scheme is case-insensitive (RFC 3986 section 3.1).
pub(super) fn absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .filter_map(|scheme| {
            target
                .split_at_checked(scheme.len())
                .map(|cut| (scheme, cut))
        })
        .find_map(|(scheme, cut)| cut.0.eq_ignore_ascii_case(scheme).then_some(cut))
}

fn malformed(detail: String) -> Failure {
    Failure::new(Reason::HttpMalformed, detail)
}
