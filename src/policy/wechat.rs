//! What WeChat's clients send: the Origins of mini programs and mini games, and the Referer that names the app.

/// The Origin of web views, the developer tools and previews: a tuple origin.
pub(super) const WEB_ORIGIN: &str = "https://servicewechat.com";

/// The Origin of the iOS mini game runtime, which is compared as a string.
pub(super) const GAME_ORIGIN: &str = "weapp://wechat-game-runtime";

/// The longest text that counts as an app id. Real ones are `wx` and 16 hexadecimal digits.
const LONGEST_APP_ID: usize = 64;

/// The app id in a Referer of the form `https://servicewechat.com/{app id}/{anything}`.
///
/// WeChat sets this field itself, and mini programs cannot change it. Other clients can, so it tells mini programs
/// apart but does not authenticate them.
#[must_use]
pub fn referer_app_id(referer: &[u8]) -> Option<&str> {
    let path = referer
        .strip_prefix(WEB_ORIGIN.as_bytes())?
        .strip_prefix(b"/")?;
    // Up to the slash, so that a listed id never matches the beginning of a longer one.
    let (id, _) = str::from_utf8(path).ok()?.split_once('/')?;
    is_app_id(id).then_some(id)
}

/// Whether a Referer is a page of WeChat's own site, even without an app id.
pub(super) fn is_of_wechat(referer: &[u8]) -> bool {
    let rest = referer.strip_prefix(WEB_ORIGIN.as_bytes());
    rest.is_some_and(|rest| matches!(rest, [] | [b'/' | b'?' | b'#', ..]))
}

/// Whether `text` can be an app id: ASCII letters and digits, at most 64.
#[must_use]
pub fn is_app_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST_APP_ID
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_id_ends_at_its_slash() {
        let long = format!("https://servicewechat.com/{}/0/", "a".repeat(65));
        for (referer, expected) in [
            (
                "https://servicewechat.com/wxAAA/0/page-frame.html",
                Some("wxAAA"),
            ),
            (
                "https://servicewechat.com/wxAAA/devtools/page-frame.html",
                Some("wxAAA"),
            ),
            ("https://servicewechat.com/wxAAA/", Some("wxAAA")),
            (
                "https://servicewechat.com/wxAAAB/0/page-frame.html",
                Some("wxAAAB"),
            ),
            ("https://servicewechat.com/wxAAA", None),
            ("https://servicewechat.com/", None),
            ("https://servicewechat.com", None),
            ("https://servicewechat.com//wxAAA/", None),
            ("https://servicewechat.com/wxAAA?x/", None),
            ("https://servicewechat.com/wx%41AA/", None),
            (
                "https://servicewechat.com.evil/wxAAA/0/page-frame.html",
                None,
            ),
            ("https://servicewechat.com@evil/wxAAA/", None),
            ("https://servicewechat.com:443/wxAAA/", None),
            ("http://servicewechat.com/wxAAA/0/page-frame.html", None),
            ("https://evil/?https://servicewechat.com/wxAAA/", None),
            (" https://servicewechat.com/wxAAA/", None),
            ("https://servicewechat.com/微信/", None),
            ("", None),
            (&long, None),
        ] {
            assert_eq!(referer_app_id(referer.as_bytes()), expected, "{referer}");
        }
    }
}
