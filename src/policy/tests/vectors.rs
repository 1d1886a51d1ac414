//! The published vectors by which others got around such checks: Origins (O) and paths (P), with the reason that refuses
//! each, or "allow". The tests of the policy and those over the wire, in `tests/it/policy`, both go through them, and
//! through the cases about `self` and WeChat.

/// One Origin or path.
#[allow(dead_code, reason = "each of the two suites reads one of the outcomes")]
pub struct Vector {
    pub id: &'static str,
    pub value: &'static [u8],
    /// What the policy decides.
    pub policy: &'static str,
    /// What happens to it over the wire: HTTP trims the white space around a value, and refuses control characters first.
    pub wire: &'static str,
}

const fn both(id: &'static str, value: &'static [u8], outcome: &'static str) -> Vector {
    apart(id, value, outcome, outcome)
}

const fn apart(
    id: &'static str,
    value: &'static [u8],
    policy: &'static str,
    wire: &'static str,
) -> Vector {
    Vector {
        id,
        value,
        policy,
        wire,
    }
}

/// For a route that admits `https://app.example.com`, `https://*.mini.example.com`, `https://xn--mnchen-3ya.example` and the
/// Origins of WeChat.
#[rustfmt::skip]
pub const ORIGINS: &[Vector] = &[
    both("O1", b"https://app.example.com", "allow"),
    both("O2", b"https://app.example.com:443", "allow"),
    both("O3", b"HTTPS://APP.Example.COM", "allow"),
    both("O4", b"http://app.example.com", "origin_not_allowed"),
    both("O4", b"http://app.example.com:443", "origin_not_allowed"),
    both("O4", b"wss://app.example.com", "origin_not_allowed"),
    both("O5", b"https://app.example.com:8443", "origin_not_allowed"),
    both("O5", b"https://app.example.com:80", "origin_not_allowed"),
    both("O6", b"https://app.example.com.evil.com", "origin_not_allowed"),
    both("O7", b"https://evilapp.example.com", "origin_not_allowed"),
    both("O7", b"https://evilexample.com", "origin_not_allowed"),
    both("O8", b"https://appXexample.com", "origin_not_allowed"),
    both("O9", b"https://example.com", "origin_not_allowed"),
    both("O9", b"https://sub.app.example.com", "origin_not_allowed"),
    both("O10", b"https://a.mini.example.com", "allow"),
    both("O10", b"https://A.MINI.example.com:443", "allow"),
    both("O11", b"https://mini.example.com", "origin_not_allowed"),
    both("O11", b"https://.mini.example.com", "origin_malformed"),
    both("O12", b"https://a.b.mini.example.com", "origin_not_allowed"),
    both("O13", b"https://evil.com/.mini.example.com", "origin_malformed"),
    both("O13", b"https://evil.com?.mini.example.com", "origin_malformed"),
    both("O13", b"https://evil.com#.mini.example.com", "origin_malformed"),
    both("O14", b"https://evil.com\\.mini.example.com", "origin_malformed"),
    both("O14", b"https://evil.com`.mini.example.com", "origin_malformed"),
    both("O14", b"https://evil.com_.mini.example.com", "origin_not_allowed"),
    both("O14", b"https://evil.com%60.mini.example.com", "origin_malformed"),
    both("O14", b"https://a{.mini.example.com", "origin_malformed"),
    both("O15", b"https://app.example.com@evil.com", "origin_malformed"),
    both("O15", b"https://user:pw@app.example.com", "origin_malformed"),
    both("O16", b"https://app.example.com/", "origin_malformed"),
    both("O16", b"https://app.example.com/x", "origin_malformed"),
    both("O17", b"https://app.example.com.", "origin_not_allowed"),
    both("O17", b"https://a.mini.example.com.", "origin_not_allowed"),
    both("O18", b"null", "origin_null"),
    both("O18", b"NULL", "origin_malformed"),
    both("O18", b"\"null\"", "origin_malformed"),
    both("O20", b"", "origin_malformed"),
    both("O20", b"   ", "origin_malformed"),
    both("O20", b"\t", "origin_malformed"),
    both("O22", b"https://app.example.com https://evil.com", "origin_malformed"),
    both("O22", b"https://app.example.com, https://evil.com", "origin_malformed"),
    both("O22", b"https://app.example.com,https://app.example.com", "origin_malformed"),
    both("O22", b"null, https://app.example.com", "origin_malformed"),
    both("O23", "https://münchen.example".as_bytes(), "origin_malformed"),
    both("O23", b"https://m\xfcnchen.example", "origin_malformed"),
    both("O24", b"https://xn--mnchen-3ya.example", "allow"),
    both("O25", "https://\u{430}pp.example.com".as_bytes(), "origin_malformed"),
    both("O25", b"https://xn--pp-6kc.example.com", "origin_not_allowed"),
    both("O26", b"https://app%2eexample.com", "origin_malformed"),
    both("O26", b"https://app.example.com%00.evil.com", "origin_malformed"),
    apart("O26", b"https://app.example.com\t", "origin_malformed", "allow"),
    apart("O26", b" https://app.example.com", "origin_malformed", "allow"),
    apart("O26", b"https://app.example.com\0", "origin_malformed", "http_malformed"),
    apart("O26", b"  https://app.example.com  ", "origin_malformed", "allow"),
    both("O26", b"https://app.example.com\t.evil.com", "origin_malformed"),
    apart("O26", b"https://app.example.com\x0b", "origin_malformed", "http_malformed"),
    apart("O26", b"https://app.example.com\r.evil.com", "origin_malformed", "http_malformed"),
    both("O27", b"https://[::1]", "origin_not_allowed"),
    both("O27", b"https://127.0.0.1", "origin_not_allowed"),
    both("O27", b"https://2130706433", "origin_not_allowed"),
    both("O27", b"http://localhost", "origin_not_allowed"),
    both("O27", b"https://[::1", "origin_malformed"),
    both("O28", b"weapp://wechat-game-runtime", "allow"),
    both("O29", b"weapp://wechat-game-runtime.evil", "origin_not_allowed"),
    both("O29", b"WEAPP://wechat-game-runtime", "allow"),
    both("O29", b"weapp://WECHAT-game-runtime", "origin_not_allowed"),
    both("O29", b"weapp://x", "origin_not_allowed"),
    both("O29", b"weapp://wechat-game-runtime/", "origin_not_allowed"),
    both("O30", b"https://servicewechat.com", "allow"),
    both("O31", b"https://servicewechat.com.evil.com", "origin_not_allowed"),
    both("O31", b"http://servicewechat.com", "origin_not_allowed"),
    both("O32", b"file://", "origin_not_allowed"),
    both("O32", b"chrome-extension://abc", "origin_not_allowed"),
    both("O32", b"capacitor://localhost", "origin_not_allowed"),
    both("O32", b"data:", "origin_not_allowed"),
    both("O34", b"*", "origin_malformed"),
    both("O34", b"https://*.mini.example.com", "origin_malformed"),
    both("-", b"app.example.com", "origin_malformed"),
    both("-", b"app.example.com:443", "origin_malformed"),
    both("-", b"//app.example.com", "origin_malformed"),
    both("-", b"://app.example.com", "origin_malformed"),
    both("-", b"https:app.example.com", "origin_malformed"),
    both("-", b"https:/app.example.com", "origin_malformed"),
    both("-", b"https:///app.example.com", "origin_malformed"),
    both("-", b"https:", "origin_malformed"),
    both("-", b"https://", "origin_malformed"),
    both("-", b"https://:443", "origin_malformed"),
    both("-", b"https://app.example.com:", "origin_malformed"),
    both("-", b"https://app.example.com:0443", "origin_malformed"),
    both("-", b"https://app.example.com:443:443", "origin_malformed"),
    both("-", b"https://app.example.com:65979", "origin_malformed"),
    both("-", b"https://app..example.com", "origin_malformed"),
];

/// The Origin fields of a request to the route of [`ORIGINS`].
#[rustfmt::skip]
pub const FIELDS: &[(&str, &[&[u8]], &str)] = &[
    // For the policy O33 is the same as O19: it never sees a Sec-WebSocket-Origin.
    ("O19", &[], "origin_missing"),
    ("O21", &[b"https://app.example.com", b"https://evil.com"], "origin_multiple"),
    ("O21", &[b"https://evil.com", b"https://app.example.com"], "origin_multiple"),
    ("O21", &[b"https://app.example.com", b"https://app.example.com"], "origin_multiple"),
    ("O21", &[b"null", b"https://app.example.com"], "origin_multiple"),
    ("O21", &[b"", b"https://app.example.com"], "origin_multiple"),
];

/// The same for a route that admits `https://app.example.com` and requests without an Origin, but no other Origins.
#[rustfmt::skip]
pub const FIELDS_IF_NONE_IS_ALLOWED: &[(&str, &[&[u8]], &str)] = &[
    ("O19", &[], "allow"),
    ("O20", &[b""], "origin_malformed"),
    ("O18", &[b"null"], "origin_null"),
    ("O6", &[b"https://evil.com"], "origin_not_allowed"),
    ("O21", &[b"https://app.example.com", b"https://evil.com"], "origin_multiple"),
    ("O21", &[b"https://evil.com", b"https://app.example.com"], "origin_multiple"),
];

/// Host and Origin of requests over TLS to a route for `api.example.com` that admits `self` (O35). A hop that rewrites
/// Host, or a client that sends a false one, changes nothing.
#[rustfmt::skip]
pub const SELF: &[(&str, &str, &str)] = &[
    ("api.example.com", "https://api.example.com", "allow"),
    ("API.example.com", "https://API.example.com:443", "allow"),
    ("api.example.com", "http://api.example.com", "origin_not_allowed"),
    ("api.example.com:8443", "https://api.example.com:8443", "allow"),
    ("api.example.com:8443", "https://api.example.com", "allow"),
    ("api.example.com", "https://api.example.com:8443", "origin_not_allowed"),
    ("api.example.com:9443", "https://api.example.com:8443", "origin_not_allowed"),
    ("api.example.com", "https://evil.example.com", "origin_not_allowed"),
    ("api.example.com", "https://evil.com", "origin_not_allowed"),
    ("api.example.com", "https://api.example.com.", "origin_not_allowed"),
    ("api.example.com", "wss://api.example.com", "origin_not_allowed"),
    ("api.example.com", "weapp://api.example.com", "origin_not_allowed"),
    ("evil.com", "https://evil.com", "host_not_allowed"),
];

/// A route for the cases in [`WECHAT`].
pub struct WechatRoute {
    pub path: &'static str,
    /// `None`: any host.
    pub host: Option<&'static str>,
    pub origins: &'static [&'static str],
    pub app_ids: &'static [&'static str],
}

const OWN_ID: &str = "wxaaaaaaaaaaaaaaaa";
const SECOND_ID: &str = "wxbbbbbbbbbbbbbbbb";

const PRESET: &WechatRoute = &WechatRoute {
    path: "/preset",
    host: Some("api.example.com"),
    origins: &["wechat"],
    app_ids: &[OWN_ID],
};
const ANY_HOST: &WechatRoute = &WechatRoute {
    path: "/any-host",
    host: None,
    origins: &["wechat"],
    app_ids: &[OWN_ID, SECOND_ID],
};
/// Also lists the Origins of WeChat.
const BOTH: &WechatRoute = &WechatRoute {
    path: "/both",
    host: None,
    origins: &["wechat", WEB, GAME, APP],
    app_ids: &[OWN_ID, SECOND_ID],
};
/// Lists one of the Origins of WeChat, without the preset.
const WITHOUT: &WechatRoute = &WechatRoute {
    path: "/without",
    host: None,
    origins: &[APP, WEB],
    app_ids: &[OWN_ID, SECOND_ID],
};

/// All routes of [`WECHAT`].
pub const WECHAT_ROUTES: [&WechatRoute; 4] = [PRESET, ANY_HOST, BOTH, WITHOUT];

const WEB: &str = "https://servicewechat.com";
const GAME: &str = "weapp://wechat-game-runtime";
const APP: &str = "https://app.example.com";
const HOST: &str = "https://api.example.com";

// Referers.
const OWN: &str = "https://servicewechat.com/wxaaaaaaaaaaaaaaaa/0/page-frame.html";
const SECOND: &str = "https://servicewechat.com/wxbbbbbbbbbbbbbbbb/0/page-frame.html";
const FOREIGN: &str = "https://servicewechat.com/wxeeeeeeeeeeeeeeee/12/page-frame.html";
const LONGER: &str = "https://servicewechat.com/wxaaaaaaaaaaaaaaaaB/0/page-frame.html";
const UPPER: &str = "https://servicewechat.com/WXAAAAAAAAAAAAAAAA/0/page-frame.html";
const NO_PAGE: &str = "https://servicewechat.com/wxaaaaaaaaaaaaaaaa";
const NO_ID: &str = "https://servicewechat.com/";
const EVIL_HOST: &str = "https://servicewechat.com.evil/wxaaaaaaaaaaaaaaaa/0/page-frame.html";
const EVIL_QUERY: &str =
    "https://evil/?https://servicewechat.com/wxaaaaaaaaaaaaaaaa/0/page-frame.html";
const PLAIN: &str = "http://servicewechat.com/wxaaaaaaaaaaaaaaaa/0/page-frame.html";
const EVIL: &str = "https://evil.example/x";

/// A route, the Origin of a request to it, and its Referers.
pub type WechatCase = (
    &'static str,
    &'static WechatRoute,
    Option<&'static str>,
    &'static [&'static str],
    &'static str,
);

/// Origins and Referers of WeChat's clients, and of others that pretend to be one.
#[rustfmt::skip]
pub const WECHAT: &[WechatCase] = &[
    ("O30", PRESET, Some(WEB), &[], "allow"),
    ("O30", PRESET, Some(WEB), &[OWN], "allow"),
    ("O30", ANY_HOST, Some(WEB), &["https://servicewechat.com/wxbbbbbbbbbbbbbbbb/devtools/page-frame.html"], "allow"),
    ("O30", PRESET, Some(WEB), &[FOREIGN], "referer_appid_mismatch"),
    ("O30", PRESET, Some(WEB), &[OWN, FOREIGN], "referer_appid_mismatch"),
    ("O30", PRESET, Some(WEB), &[FOREIGN, OWN], "referer_appid_mismatch"),
    ("O30", PRESET, Some(WEB), &[NO_ID], "referer_appid_mismatch"),
    ("O30", PRESET, Some(WEB), &[NO_PAGE], "referer_appid_mismatch"),
    ("O30", PRESET, Some(WEB), &[EVIL], "referer_appid_mismatch"),
    ("O30", PRESET, Some(WEB), &[EVIL_HOST], "referer_appid_mismatch"),
    ("O30", PRESET, Some(WEB), &[""], "referer_appid_mismatch"),
    ("O30", PRESET, Some(WEB), &[OWN, OWN], "referer_appid_mismatch"),
    ("O30", ANY_HOST, Some(WEB), &[EVIL], "referer_appid_mismatch"),
    ("O30", ANY_HOST, Some(WEB), &[], "allow"),
    ("O30", PRESET, Some("https://servicewechat.com:443"), &[EVIL], "referer_appid_mismatch"),
    ("O28", PRESET, Some(GAME), &[], "allow"),
    ("O28", PRESET, Some(GAME), &[OWN], "allow"),
    ("O28", PRESET, Some(GAME), &[FOREIGN], "referer_appid_mismatch"),
    ("O28", PRESET, Some(GAME), &[EVIL], "referer_appid_mismatch"),
    ("O28", PRESET, Some(GAME), &[NO_ID], "referer_appid_mismatch"),
    ("O28", PRESET, Some(GAME), &[OWN, OWN], "referer_appid_mismatch"),
    ("O29", PRESET, Some("WEAPP://wechat-game-runtime"), &[EVIL], "referer_appid_mismatch"),
    // With the route's own origin, which older iOS clients send, only a foreign app id is refused.
    ("O35", PRESET, Some(HOST), &[], "allow"),
    ("O35", PRESET, Some(HOST), &[OWN], "allow"),
    ("O35", PRESET, Some(HOST), &["https://api.example.com/page"], "allow"),
    ("O35", PRESET, Some(HOST), &[EVIL], "allow"),
    ("O35", PRESET, Some(HOST), &[OWN, OWN], "allow"),
    ("O35", PRESET, Some(HOST), &[FOREIGN], "referer_appid_mismatch"),
    ("O35", PRESET, Some("https://localhost"), &[OWN], "origin_not_allowed"),
    ("O35", ANY_HOST, Some(HOST), &[OWN], "origin_not_allowed"),
    ("O31", PRESET, Some("https://servicewechat.com.evil.com"), &[OWN], "origin_not_allowed"),
    ("O31", PRESET, Some("http://servicewechat.com"), &[OWN], "origin_not_allowed"),
    ("O18", PRESET, Some("null"), &[OWN], "origin_null"),
    ("O6", BOTH, Some("https://evil.com"), &[OWN], "origin_not_allowed"),
    ("O6", PRESET, Some(APP), &[OWN], "origin_not_allowed"),
    ("O19", PRESET, None, &[OWN], "allow"),
    ("O19", ANY_HOST, None, &[OWN], "allow"),
    ("O19", ANY_HOST, None, &[SECOND], "allow"),
    ("O19", PRESET, None, &["https://servicewechat.com/wxaaaaaaaaaaaaaaaa/"], "allow"),
    ("O19", PRESET, None, &[], "origin_missing"),
    ("Referer", PRESET, None, &[SECOND], "referer_appid_mismatch"),
    ("Referer", PRESET, None, &[FOREIGN], "referer_appid_mismatch"),
    ("Referer", PRESET, None, &[LONGER], "referer_appid_mismatch"),
    ("Referer", PRESET, None, &[UPPER], "referer_appid_mismatch"),
    ("Referer", PRESET, None, &[NO_PAGE], "origin_missing"),
    ("Referer", PRESET, None, &[EVIL_HOST], "origin_missing"),
    ("Referer", PRESET, None, &[EVIL_QUERY], "origin_missing"),
    ("Referer", PRESET, None, &[PLAIN], "origin_missing"),
    ("Referer", PRESET, None, &[OWN, OWN], "origin_missing"),
    ("Referer", PRESET, None, &[OWN, FOREIGN], "referer_appid_mismatch"),
    // The rule belongs to the preset: other entries admit without it, but it applies even if they list the same Origin.
    ("Referer", BOTH, Some(WEB), &[FOREIGN], "referer_appid_mismatch"),
    ("Referer", BOTH, Some(WEB), &[EVIL], "referer_appid_mismatch"),
    ("Referer", BOTH, Some(GAME), &[FOREIGN], "referer_appid_mismatch"),
    ("Referer", BOTH, Some(GAME), &[EVIL], "referer_appid_mismatch"),
    ("Referer", BOTH, Some(GAME), &[OWN, OWN], "referer_appid_mismatch"),
    ("Referer", BOTH, Some(GAME), &[], "allow"),
    ("Referer", BOTH, Some(APP), &[FOREIGN], "allow"),
    ("Referer", BOTH, Some(APP), &[EVIL], "allow"),
    ("Referer", WITHOUT, Some(WEB), &[FOREIGN], "allow"),
    ("Referer", WITHOUT, Some(WEB), &[EVIL], "allow"),
    ("Referer", WITHOUT, None, &[OWN], "origin_missing"),
];

/// For the routes `/api/realtime-voice/stream` and `/public/*`. P18, the forms of a target, has tables in the tests of HTTP.
#[rustfmt::skip]
pub const PATHS: &[Vector] = &[
    both("P1", b"/api/realtime-voice/stream", "allow"),
    both("P1", b"/api/realtime-voice/stream?token=x", "allow"),
    both("P2", b"/api/realtime-voice/stream/", "path_near_miss"),
    both("P2", b"/api/realtime-voice/stream/?token=x", "path_near_miss"),
    both("P3", b"/API/Realtime-Voice/Stream", "path_near_miss"),
    both("P3", b"/API/Realtime-Voice/Stream/", "path_near_miss"),
    both("P3", b"/Public/a", "path_near_miss"),
    both("P4", b"//api/realtime-voice/stream", "path_ambiguous"),
    both("P4", b"/api//realtime-voice/stream", "path_ambiguous"),
    both("P4", b"/api/realtime-voice/stream//", "path_ambiguous"),
    both("P5", b"/api/./realtime-voice/stream", "path_ambiguous"),
    both("P5", b"/x/../api/realtime-voice/stream", "path_ambiguous"),
    both("P5", b"/public/../admin", "path_ambiguous"),
    both("P5", b"/public/..", "path_ambiguous"),
    both("P5", b"/public/.", "path_ambiguous"),
    both("P6", b"/public/%2e%2e/admin", "path_ambiguous"),
    both("P6", b"/public/%2E%2E/admin", "path_ambiguous"),
    both("P6", b"/public/.%2e/admin", "path_ambiguous"),
    both("P6", b"/%2e/api/realtime-voice/stream", "path_ambiguous"),
    both("P6", b"/public/.%2E/admin", "path_ambiguous"),
    both("P7", b"/public/..%2fadmin", "path_ambiguous"),
    both("P7", b"/public/%2e%2e%2fadmin", "path_ambiguous"),
    both("P7", b"/api%2frealtime-voice/stream", "path_ambiguous"),
    both("P7", b"/api%2Frealtime-voice/stream", "path_ambiguous"),
    both("P8", b"/public/..\\admin", "path_ambiguous"),
    both("P8", b"/public/..%5cadmin", "path_ambiguous"),
    apart("P8", b"\\api\\realtime-voice\\stream", "path_ambiguous", "http_malformed"),
    both("P9", b"/public/%252e%252e%252fadmin", "path_ambiguous"),
    both("P9", b"/api/%2572ealtime", "path_ambiguous"),
    both("P10", b"/public/%c0%ae%c0%ae/admin", "path_ambiguous"),
    both("P10", b"/public/%c0%af", "path_ambiguous"),
    both("P10", b"/public/%e0%80%af", "path_ambiguous"),
    both("P10", b"/public/%f0%80%80%af", "path_ambiguous"),
    both("P11", b"/public/%u002e%u002e/", "path_ambiguous"),
    both("P11", b"/public/%uff0e", "path_ambiguous"),
    both("P11", "/public/\u{ff0e}\u{ff0e}/".as_bytes(), "path_ambiguous"),
    both("P11", "/public/..\u{ff0f}admin".as_bytes(), "path_ambiguous"),
    both("P11", "/public/..\u{2215}admin".as_bytes(), "path_ambiguous"),
    both("P11", b"/public/%EF%BC%8E%EF%BC%8E/", "path_ambiguous"),
    both("P11", b"/public/..%EF%BC%8Fadmin", "path_ambiguous"),
    both("P11", b"/public/..%E2%88%95admin", "path_ambiguous"),
    both("P11", b"/public/..%E2%81%84admin", "path_ambiguous"),
    both("P11", b"/public/..%E2%A7%B8admin", "path_ambiguous"),
    both("P11", b"/public/%EF%B9%92%EF%B9%92/", "path_ambiguous"),
    both("P11", b"/public/..%EF%BC%BCadmin", "path_ambiguous"),
    both("P11", b"/public/%E2%80%A5/admin", "path_ambiguous"),
    both("P12", b"/public/..;/admin", "path_ambiguous"),
    both("P12", b"/public;x/../admin", "path_ambiguous"),
    both("P12", b"/api/realtime-voice/stream;jsessionid=1", "path_ambiguous"),
    both("P12", b"/api/realtime-voice/stream%3b", "path_ambiguous"),
    both("P13", b"/api/realtime-voice/stream%00", "path_ambiguous"),
    both("P13", b"/api/realtime-voice/stream%00.txt", "path_ambiguous"),
    both("P13", b"/public/%0d%0aX:%20y", "path_ambiguous"),
    both("P13", b"/public/%09", "path_ambiguous"),
    both("P13", b"/api/realtime-voice/stream%20", "path_ambiguous"),
    apart("P13", b"/public/\x01", "path_ambiguous", "http_malformed"),
    apart("P13", b"/public/ ", "path_ambiguous", "http_malformed"),
    apart("P13", b"/public/\x7f", "path_ambiguous", "http_malformed"),
    both("P13", b"/public/\x80", "path_ambiguous"),
    both("P13", b"/public/\xff", "path_ambiguous"),
    apart("P13", b"/public/\0", "path_ambiguous", "http_malformed"),
    apart("P13", b"/public/\t", "path_ambiguous", "http_malformed"),
    both("P14", b"/api/%72ealtime-voice/stream", "path_ambiguous"),
    both("P14", b"/api/realtime%2Dvoice/stream", "path_ambiguous"),
    both("P14", b"/public/%5F", "path_ambiguous"),
    both("P14", b"/public/%7E", "path_ambiguous"),
    both("P15", b"/api/realtime-voice/%zz", "path_ambiguous"),
    both("P15", b"/public/%", "path_ambiguous"),
    both("P15", b"/public/%1", "path_ambiguous"),
    both("P15", b"/public/%1/x", "path_ambiguous"),
    both("P15", b"/public/%+1", "path_ambiguous"),
    apart("P16", b"/api/realtime-voice/stream#x", "path_ambiguous", "http_malformed"),
    apart("P16", b"/admin#/../public/", "path_ambiguous", "http_malformed"),
    both("P17", b"/publicadmin", "path_not_allowed"),
    both("P17", b"/public", "path_not_allowed"),
    both("P17", b"/public/", "allow"),
    both("P17", b"/public/a/b", "allow"),
    both("P17", b"/public/a/b?c", "allow"),
    apart("P19", b"*", "path_not_allowed", "http_malformed"),
    apart("P19", b"api/realtime-voice/stream", "path_not_allowed", "http_malformed"),
    apart("P19", b"", "path_not_allowed", "http_malformed"),
    apart("P19", b"evil.com:443", "path_not_allowed", "http_malformed"),
    both("P21", b"/public/.../admin", "allow"),
    both("P21", b"/public/....//admin", "path_ambiguous"),
    both("P21", b"/public/..././admin", "path_ambiguous"),
    both("P22", b"/api/realtime-voice/stream/.websocket", "path_not_allowed"),
    both("-", b"/public/%E4%BD%A0%E5%A5%BD", "allow"),
    both("-", b"/public/a:b@c!$&'()*+,=~-._", "allow"),
    both("-", b"/", "path_not_allowed"),
    both("-", b"/public/%e4%bd%a0", "allow"),
    both("-", b"/public/a:b@c!$&'()*+,=~-._|^[]{}\"", "allow"),
    both("P20", b"/api/realtime-voice/stream?x=1?y=2", "allow"),
    both("P20", b"/api/realtime-voice/stream?/../admin", "allow"),
    both("P20", b"/api/realtime-voice/stream?a=%2f..%00%zz\\;//", "allow"),
    both("P20", b"/api/realtime-voice/stream?", "allow"),
];
