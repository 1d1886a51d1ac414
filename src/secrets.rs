//! Decides what of a peer's bytes may be shown outside the fields that are meant for them.
//!
//! A record has fields for text from peers (docs/records.md lists them). Everywhere else, for example in details, only
//! words of closed lists, names that don't look like tokens, numbers and sizes are shown. Pure: takes bytes, gives
//! text.

mod beginning;

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::text::peer_text;

pub use beginning::{first_bytes, frame_bytes, is_http, is_text, status_of};

/// Longest name that is shown. Bearer tokens are longer, and browsers can send one only as a subprotocol.
const LONGEST_NAME: usize = 24;

/// A run of this many letters and digits, with some of both, is a key and not a word with a version.
const KEY: usize = 16;

/// Longest name of a field that is shown. The parts between its dashes are checked like other names.
const LONGEST_FIELD: usize = 64;

/// Most members of a list that are shown.
const LISTED: usize = 8;

/// Most members of a list that are looked up among known words.
const LOOKED_AT: usize = 256;

/// Whether `text`, which should be a name, may be a token.
#[must_use]
pub fn is_token_like(text: &[u8]) -> bool {
    let is_key = |run: &[u8]| {
        run.len() >= KEY
            && run.iter().any(u8::is_ascii_digit)
            && run.iter().any(u8::is_ascii_alphabetic)
    };
    text.len() > LONGEST_NAME || text.split(|byte| !byte.is_ascii_alphanumeric()).any(is_key)
}

/// A name that a peer chose, such as a subprotocol, or `*` if it may be a token.
#[must_use]
pub fn name(text: &str) -> &str {
    if is_token_like(text.as_bytes()) {
        "*"
    } else {
        text
    }
}

/// The name of a field (RFC 9110 section 5.1), or `*` if it may be a token.
#[must_use]
pub fn field_name(text: &str) -> &str {
    let is_usual = text.len() <= LONGEST_FIELD
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.split('-').all(|word| !is_token_like(word.as_bytes()));
    if is_usual { text } else { "*" }
}

/// The words that are known in the lists of fields, by field.
pub mod words {
    /// Options of Connection (RFC 9110 section 7.6.1), which may also list names of fields.
    pub const CONNECTION: &[&str] = &["close", "keep-alive", "upgrade", "http2-settings"];
    /// Well-known fields.
    pub const FIELDS: &[&str] = &[
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "location",
        "origin",
        "pragma",
        "proxy-authorization",
        "proxy-connection",
        "referer",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "server",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    ];
    /// Protocols in Upgrade.
    pub const UPGRADE: &[&str] = &[
        "websocket",
        "h2c",
        "h2",
        "h3",
        "http/1.1",
        "http/2",
        "http/2.0",
        "tls",
        "tls/1.0",
        "tls/1.1",
        "tls/1.2",
        "tls/1.3",
        "connect-udp",
        "connect-ip",
        "tcp",
        "websocket/13",
        "websockets",
    ];
    /// Transfer codings.
    pub const CODINGS: &[&str] = &[
        "chunked", "identity", "gzip", "x-gzip", "deflate", "compress", "br", "zstd",
    ];
    /// WebSocket extensions.
    pub const EXTENSIONS: &[&str] = &[
        "permessage-deflate",
        "permessage-bzip2",
        "permessage-compress",
        "permessage-gzip",
        "perframe-deflate",
        "x-webkit-deflate-frame",
        "deflate-frame",
        "deflate-stream",
        "bbf-usp-protocol",
        "mux",
    ];
    /// ALPN protocols (RFC 7301).
    pub const ALPN: &[&str] = &[
        "http/0.9",
        "http/1.0",
        "http/1.1",
        "h2",
        "h2c",
        "h3",
        "spdy/1",
        "spdy/2",
        "spdy/3",
        "spdy/3.1",
        "acme-tls/1",
        "mqtt",
        "postgresql",
        "imap",
        "pop3",
        "ftp",
        "xmpp-client",
        "stun.turn",
        "webrtc",
        "grpc-exp",
        "dot",
        "ntske/1",
        "tds/8.0",
    ];
    /// Request methods.
    pub const METHODS: &[&str] = &[
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI",
        "PROPFIND", "QUERY",
    ];
}

/// A well-known field's name in lower case.
#[must_use]
pub fn common_field(name: &[u8]) -> Option<&'static str> {
    let is_it = |known: &&&str| known.as_bytes().eq_ignore_ascii_case(name);
    words::FIELDS.iter().find(is_it).copied()
}

/// The members of a peer's list that are in one of `lists`, as received, and the number of the others. Of a long list
/// only the beginning is compared.
pub fn known<'a>(members: impl IntoIterator<Item = &'a [u8]>, lists: &[&[&str]]) -> String {
    let is_known = |member: &[u8]| {
        let mut words = lists.iter().copied().flatten();
        words.any(|word| word.as_bytes().eq_ignore_ascii_case(member))
    };
    let mut text = String::new();
    let (mut shown, mut others) = (0_usize, 0_usize);
    for (index, member) in members.into_iter().enumerate() {
        if shown == LISTED || index >= LOOKED_AT || !is_known(member) {
            others += 1;
            continue;
        }
        if shown > 0 {
            text.push_str(", ");
        }
        // A known word is ASCII.
        text.push_str(&String::from_utf8_lossy(member));
        shown += 1;
    }
    // Writing to a String cannot fail.
    let _ = match (shown, others) {
        (0, 0) => write!(text, "nothing"),
        (_, 0) => Ok(()),
        (0, 1) => write!(text, "an unknown value"),
        (0, _) => write!(text, "{others} unknown values"),
        (_, 1) => write!(text, " and one more"),
        (_, _) => write!(text, " and {others} more"),
    };
    text
}

/// A value that should be a number, if it is short and has only digits, signs, commas and spaces; otherwise its length.
#[must_use]
pub fn number(value: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_digit() || b"+-, ".contains(byte);
    match std::str::from_utf8(value) {
        Ok("") => "nothing".to_owned(),
        Ok(text) if text.len() <= LONGEST_NAME && value.iter().all(is_plain) => text.to_owned(),
        _ => format!("something other than a number, of length {}", value.len()),
    }
}

/// An Origin, a URL or an authority in which `*` replaces the userinfo, which may be a password, and the query or
/// fragment, which may contain a token.
///
/// The userinfo ends at the last `@`: if a password contains `/`, what looks like the host is part of the password.
#[must_use]
pub fn without_secrets(text: &[u8]) -> Cow<'_, [u8]> {
    let text = without_userinfo(text);
    match text.iter().position(|byte| b"?#".contains(byte)) {
        Some(end) => Cow::Owned([text.get(..=end).unwrap_or_default(), b"*"].concat()),
        None => text,
    }
}

fn without_userinfo(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(at) = text.iter().rposition(|&byte| byte == b'@') else {
        return Cow::Borrowed(text);
    };
    let (userinfo, rest) = text.split_at(at);
    let scheme = userinfo
        .windows(3)
        .position(|three| three == b"://")
        .and_then(|end| userinfo.get(..end + 3))
        .unwrap_or_default();
    Cow::Owned([scheme, b"*", rest].concat())
}

/// The Location of an answer without parts that may repeat a client's secrets: query, fragment, userinfo, and tokens in
/// the path.
#[must_use]
pub fn location(value: &[u8]) -> String {
    let target = value.split(|byte| b"?#".contains(byte)).next();
    let target = target.unwrap_or_default();
    // Only at the beginning or after a scheme do two slashes begin an authority (RFC 3986 section 4.2).
    let slashes = target
        .windows(2)
        .position(|pair| pair == b"//")
        .filter(|at| {
            let before = target.get(..*at).unwrap_or_default();
            before.is_empty() || (before.ends_with(b":") && !before.contains(&b'/'))
        });
    let (scheme, rest) = target.split_at(slashes.map_or(0, |at| at + 2));
    let path = match slashes {
        Some(_) => rest
            .iter()
            .position(|&byte| byte == b'/')
            .unwrap_or(rest.len()),
        None => 0,
    };
    let (authority, path) = rest.split_at(path);
    let host = authority.rsplit(|&byte| byte == b'@').next();
    let segments: Vec<&[u8]> = path
        .split(|&byte| byte == b'/')
        .map(|segment| {
            if is_token_like(segment) {
                b"*"
            } else {
                segment
            }
        })
        .collect();
    peer_text(&[scheme, host.unwrap_or_default(), &segments.join(&b'/')].concat())
}

/// A request target in which `*` replaces the values of the query, except those of the parameters in `keep`.
///
/// A name may be a secret too: a bare token, base64 with its padding, or a token before a second `?`. So a name is
/// shown only if it looks like a name and has a value.
#[must_use]
pub fn redact_query(path: &[u8], query: Option<&[u8]>, keep: &[String]) -> String {
    let mut text = peer_text(path);
    if let Some(query) = query {
        text.push('?');
        let mut redacted = Vec::with_capacity(query.len());
        for (index, parameter) in query.split(|&byte| byte == b'&').enumerate() {
            if index > 0 {
                redacted.push(b'&');
            }
            let mut halves = parameter.splitn(2, |&byte| byte == b'=');
            let name = halves.next().unwrap_or_default();
            let value = halves.next().unwrap_or_default();
            if keep.iter().any(|kept| kept.as_bytes() == name) {
                redacted.extend_from_slice(parameter);
            } else if is_parameter_name(name) && value.iter().any(|&byte| byte != b'=') {
                redacted.extend_from_slice(name);
                redacted.extend_from_slice(b"=*");
            } else {
                redacted.push(b'*');
            }
        }
        text.push_str(&peer_text(&redacted));
    }
    text
}

fn is_parameter_name(name: &[u8]) -> bool {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    !name.is_empty() && !is_token_like(name) && name.iter().all(is_usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_from_names() {
        for name in [
            "",
            "chat",
            "v1.json",
            "graphql-transport-ws",
            "v4.channel.k8s.io",
            "base64.channel.k8s.io",
            "mqttv3.1",
            "realtimevoicestream",
            "1234567890123456",
        ] {
            assert!(!is_token_like(name.as_bytes()), "{name}");
            assert_eq!(super::name(name), name);
        }
        for token in [
            "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
            "9f8a7b6c5d4e3f2a",
            "Bearer.9f8a7b6c5d4e3f2a",
            "550e8400-e29b-41d4-a716-446655440000",
            "aaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(is_token_like(token.as_bytes()), "{token}");
            assert_eq!(name(token), "*");
        }
    }

    #[test]
    fn a_field_name_that_looks_like_a_token_is_masked() {
        for name in ["Cookie", "Access-Control-Request-Headers", "X-Api-Key2"] {
            assert_eq!(field_name(name), name);
        }
        for token in ["eyJhbGciOiJIUzI1NiJ9eyJhbGciOiJ", "x-9f8a7b6c5d4e3f2a"] {
            assert_eq!(field_name(token), "*");
        }
        assert_eq!(field_name(&"x-".repeat(40)), "*");
    }

    #[test]
    fn of_lists_only_known_words_are_shown() {
        let of = |list: &str| known(list.split(", ").map(str::as_bytes), &[words::UPGRADE]);
        for (list, shown) in [
            ("websocket", "websocket"),
            ("WebSocket, h2c", "WebSocket, h2c"),
            ("websocket, secret", "websocket and one more"),
            ("s1, websocket, s2", "websocket and 2 more"),
            ("secret", "an unknown value"),
            ("s1, s2", "2 unknown values"),
        ] {
            assert_eq!(of(list), shown);
        }
        assert_eq!(known([], &[]), "nothing");
        assert!(known([&b"h2c"[..]; 1000], &[words::UPGRADE]).len() < 60);
    }

    #[test]
    fn numbers_are_shown_and_nothing_else() {
        for (value, shown) in [
            (&b"13, 8"[..], "13, 8"),
            (b"-1", "-1"),
            (b"", "nothing"),
            (b"0x5", "something other than a number, of length 3"),
            (b"\xff", "something other than a number, of length 1"),
            (&[b'1'; 25], "something other than a number, of length 25"),
        ] {
            assert_eq!(number(value), shown);
        }
    }

    #[test]
    fn userinfo_query_and_fragment_are_never_shown() {
        for (text, shown) in [
            ("https://host/a?token=b", "https://host/a?*"),
            ("https://host/a#token=b", "https://host/a#*"),
            ("https://user:p?w@host?token=b", "https://*@host?*"),
            ("https://user:pw@host:1", "https://*@host:1"),
            ("user:pw@host", "*@host"),
            ("https://u@a, https://v@b", "https://*@b"),
            ("https://host", "https://host"),
            ("u:p/w@host", "*@host"),
            ("https://user:p/w@host", "https://*@host"),
            ("https://a@b@host", "https://*@host"),
            ("//user:pw@host", "*@host"),
            ("https://@", "https://*@"),
        ] {
            assert_eq!(&*without_secrets(text.as_bytes()), shown.as_bytes());
        }
    }

    #[test]
    fn a_location_is_shown_without_secrets() {
        let long = format!("https://{}@app.example.com/", "u:p".repeat(200));
        for (value, shown) in [
            (
                "https://a.example/ws/?token=SECRET",
                "https://a.example/ws/",
            ),
            ("https://a.example/ws#token=SECRET", "https://a.example/ws"),
            ("https://user:SECRET@a.example/ws", "https://a.example/ws"),
            ("//user:S@CRET@a.example/w@s", "//a.example/w@s"),
            ("/ws/?token=SECRET", "/ws/"),
            ("?token=SECRET", ""),
            ("/login@home", "/login@home"),
            (&long, "https://app.example.com/"),
        ] {
            assert_eq!(location(value.as_bytes()), shown);
        }
    }

    #[test]
    fn a_part_of_a_path_that_looks_like_a_token_is_masked() {
        for (url, shown) in [
            ("https://a.example/login", "https://a.example/login"),
            (
                "https://a-long-name-of-a-host.example.com/9f8a7b6c5d4e3f2a/x",
                "https://a-long-name-of-a-host.example.com/*/x",
            ),
            (
                "//a-long-name-of-a-host.example.com/x",
                "//a-long-name-of-a-host.example.com/x",
            ),
            ("/reset/eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "/reset/*"),
            // Two slashes in a path do not begin a host.
            ("/reset//9f8a7b6c5d4e3f2a", "/reset//*"),
            ("/reset/9f8a7b6c5d4e3f2a//x", "/reset/*//x"),
            ("/r/9f8a7b6c5d4e3f2a/https://x", "/r/*/https://x"),
            ("9f8a7b6c5d4e3f2a//x", "*//x"),
            ("https://a.example", "https://a.example"),
            ("", ""),
        ] {
            assert_eq!(location(url.as_bytes()), shown);
        }
    }

    #[test]
    fn query_values_are_hidden_unless_kept() {
        let keep = ["v".to_owned()];
        for (query, shown) in [
            (&b"token=abc&v=2"[..], "/p?token=*&v=2"),
            (b"secret", "/p?*"),
            (b"", "/p?*"),
            (b"a=1?b=2", "/p?a=*"),
            (b"v=1&v=2", "/p?v=1&v=2"),
            (b"v=&v", "/p?v=&v"),
            (b"c2VjcmV0dG9rZW4=", "/p?*"),
            (b"c2VjcmV0dG9rZQ==", "/p?*"),
            (b"SECRETJWT?v=1", "/p?*"),
            (b"a-1._Z=x&a%20b=x&=x", "/p?a-1._Z=*&*&*"),
            (
                b"nnnnnnnnnnnnnnnnnnnnnnnn=x",
                "/p?nnnnnnnnnnnnnnnnnnnnnnnn=*",
            ),
            (b"nnnnnnnnnnnnnnnnnnnnnnnnn=x", "/p?*"),
            (b"9f8a7b6c5d4e3f2a=x", "/p?*"),
        ] {
            assert_eq!(redact_query(b"/p", Some(query), &keep), shown);
        }
        assert_eq!(redact_query(b"/p", None, &keep), "/p");
    }
}
