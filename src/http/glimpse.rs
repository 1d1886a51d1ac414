//! Reads from a refused head what the record needs to name the request, without parsing the head.
//!
//! Takes the bytes that were read. Uses only an ordinary request line and three fields.

use super::target::absolute;
use crate::text::is_token;

/// Records cut a path of this length, so it need not be complete.
const LONG: usize = 256;

/// The parts of a head as received; the record escapes and redacts them like the parts of a valid head.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Glimpse<'a> {
    /// The version after `HTTP/`, if it is a known one.
    pub version: Option<&'static str>,
    /// A token.
    pub method: &'a [u8],
    /// The target up to its first `?` or `#`, without scheme and authority.
    pub path: Option<&'a [u8]>,
    /// The part from the first `?` to a `#`.
    pub query: Option<&'a [u8]>,
    /// The authority of a target in absolute form, or else the values of Host.
    pub hosts: Vec<&'a [u8]>,
    /// The values of Origin.
    pub origins: Vec<&'a [u8]>,
    /// The values of User-Agent.
    pub user_agents: Vec<&'a [u8]>,
    /// Whether it is a plain request: the complete head has no field of an opening handshake, or the method is not GET.
    pub is_plain: bool,
}

impl<'a> Glimpse<'a> {
    /// Reads the beginning of a head; `None` if it does not look like a request line.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let line = lines.next()?;
        let is_whole = line.ends_with(b"\n");
        let mut words = line.trim_ascii_end().split(|&byte| byte == b' ');
        let method = words.next()?;
        let target = words.next()?;
        let version = words.next();
        if words.next().is_some() || !looks_like_one(method, target, version) {
            return None;
        }
        let mut seen = Self {
            method,
            version: match version {
                Some(b"HTTP/1.0") => Some("1.0"),
                Some(b"HTTP/1.1") => Some("1.1"),
                Some(b"HTTP/2.0") => Some("2.0"),
                _ => None,
            },
            ..Self::default()
        };
        let is_whole_target = is_whole || version.is_some();
        seen.see_target(target, is_whole_target);
        let has_authority = !seen.hosts.is_empty();
        let (mut is_whole, mut is_meant) = (false, false);
        for line in lines.take_while(|line| line.ends_with(b"\n")) {
            if line.trim_ascii() == b"" {
                is_whole = true;
                break;
            }
            let Some(colon) = line.iter().position(|&byte| byte == b':') else {
                continue;
            };
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"host") && !has_authority {
                seen.hosts.push(value);
            } else if name.eq_ignore_ascii_case(b"origin") {
                seen.origins.push(value);
            } else if name.eq_ignore_ascii_case(b"user-agent") {
                seen.user_agents.push(value);
            }
            is_meant |= is_of_handshake(name.trim_ascii(), value);
        }
        seen.is_plain = !is_meant && version.is_some() && (is_whole || method != b"GET");
        Some(seen)
    }

    fn see_target(&mut self, target: &'a [u8], is_whole: bool) {
        let target_end = target.iter().position(|&byte| byte == b'#');
        let target = target_end.map_or(target, |end| target.split_at(end).0);
        let mut halves = target.splitn(2, |&byte| byte == b'?');
        let before = halves.next().unwrap_or_default();
        let query = halves.next();
        if before.starts_with(b"/") {
            // An incomplete path could be mistaken for a shorter one.
            if is_whole || query.is_some() || target_end.is_some() || before.len() > LONG {
                self.path = Some(before);
                self.query = query;
            }
        } else if let Some((_, rest)) = absolute(before)
            // There may be a password before the `@`, and the password may contain `/` or `?`.
            && is_whole
            && !target.contains(&b'@')
        {
            let slash = rest.iter().position(|&byte| byte == b'/');
            let (authority, path) = rest.split_at(slash.unwrap_or(rest.len()));
            self.hosts.push(authority);
            self.path = Some(if path.is_empty() { b"/" } else { path });
            self.query = query;
        }
    }
}

/// Whether only an opening handshake has this field.
fn is_of_handshake(name: &[u8], value: &[u8]) -> bool {
    const PREFIX: &[u8] = b"sec-websocket-";
    let begins = |name: &[u8]| {
        name.get(..PREFIX.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(PREFIX))
    };
    let names_it = |value: &[u8]| {
        value
            .windows(9)
            .any(|word| word.eq_ignore_ascii_case(b"websocket"))
    };
    begins(name) || (name.eq_ignore_ascii_case(b"upgrade") && names_it(value))
}

/// Whether a line looks like a request line and not like a part of a body.
fn looks_like_one(method: &[u8], target: &[u8], version: Option<&[u8]>) -> bool {
    let is_target = target.starts_with(b"/") || target == b"*" || absolute(target).is_some();
    let is_upper = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-';
    let is_method = match version {
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            method.iter().copied().all(is_token)
        }
        Some([b'H', b'T', b'T', b'P', b'/', ..]) | None => method.iter().all(is_upper),
        Some(cut) => b"HTTP/".starts_with(cut) && method.iter().all(is_upper),
    };
    !method.is_empty() && is_method && is_target
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(head: &str) -> Option<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let all = |values: &[&[u8]]| text(&values.join(&b'|'));
        Glimpse::of(head.as_bytes()).map(|seen| {
            [
                seen.version.unwrap_or("-").to_owned(),
                text(seen.method),
                seen.path.map_or_else(|| "-".to_owned(), text),
                seen.query.map_or_else(|| "-".to_owned(), text),
                all(&seen.hosts),
                all(&seen.origins),
                all(&seen.user_agents),
            ]
            .join(" ")
        })
    }

    #[test]
    fn plain_is_what_can_be_no_handshake() {
        for (head, is_plain) in [
            ("GET / HTTP/1.0\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost : h\r\nUpgrade: h2c\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: h\r\n", false),
            ("POST / HTTP/1.1\r\nHost: h\r\n", true),
            ("POST / HTTP/1.1\r\nUpgrade: h2c, WebSocket\r\n", false),
            ("GET / HTTP/1.1\r\nUPGRADE : websocket\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nsec-WebSocket-Key: k\r\n\r\n", false),
            ("GET / HTTP/1.1\r\n\r\nUpgrade: websocket\r\n", true),
            ("GET /", false),
        ] {
            let seen = Glimpse::of(head.as_bytes()).unwrap();
            assert_eq!(seen.is_plain, is_plain, "{head:?}");
        }
    }

    #[test]
    fn heads_and_what_is_seen_of_them() {
        let long = "a".repeat(300);
        for (head, expected) in [
            (
                "GET /ws?a=b HTTP/1.0\r\nHost: h\r\nORIGIN:o\r\nUser-Agent: nginx\r\n\r\nHost: body",
                Some("1.0 GET /ws a=b h o nginx"),
            ),
            (
                "\r\nGET / HTTP/1.1\nHost: a\nHost: b\nOrig",
                Some("1.1 GET / - a|b  "),
            ),
            (
                "GET /a#s?t HTTP/1.1\r\nHost : h\r\n x\r\nHost: h\r\n",
                Some("1.1 GET /a - h  "),
            ),
            (
                "GET http://h:1/a?b HTTP/1.1\r\nHost: i\r\n\r\n",
                Some("1.1 GET /a b h:1  "),
            ),
            ("GET HTTP://h HTTP/1.1\r\n", Some("1.1 GET / - h  ")),
            ("GET http://u:p@h/a HTTP/1.1\r\n", Some("1.1 GET - -   ")),
            ("GET http://u:p/w@h/a HTTP/1.1\r\n", Some("1.1 GET - -   ")),
            ("PRI * HTTP/2.0\r\n\r\n", Some("2.0 PRI - -   ")),
            ("GET /ws\r\nHost: h\r\n", Some("- GET /ws - h  ")),
            ("GET /ws HTTP/1.1", Some("1.1 GET /ws -   ")),
            ("GET /wsx", Some("- GET - -   ")),
            ("GET /ws?to", Some("- GET /ws to   ")),
            (
                &format!("GET /{long}"),
                Some(&*format!("- GET /{long} -   ")),
            ),
            ("GET /a b HTTP/1.1\r\n", None),
            ("G@T / HTTP/1.1\r\n", None),
            ("secret /a HTTP/x\r\n", None),
            ("secret /a\r\n", None),
            ("SECRET word", None),
            ("SEE /secret below\r\nHost: h\r\n", None),
            ("", None),
            ("\x16\x03\x01", None),
        ] {
            assert_eq!(seen(head).as_deref(), expected, "{head:.60}");
        }
    }
}
