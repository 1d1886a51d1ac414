//! Rules of the configuration: how they read, and what is said about bad ones.

use super::*;

#[test]
fn an_origin_rule_reads_back_in_its_folded_form() {
    for (text, written) in [
        ("self", "self"),
        ("wechat", "wechat"),
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://localhost:80", "http://localhost"),
        ("https://app.example.com:80", "https://app.example.com:80"),
        ("https://*.mini.example.com", "https://*.mini.example.com"),
        (
            "https://*.mini.example.com:8443",
            "https://*.mini.example.com:8443",
        ),
        ("https://[0::1]:8443", "https://[::1]:8443"),
        (
            "https://xn--mnchen-3ya.example",
            "https://xn--mnchen-3ya.example",
        ),
        ("WEAPP://wechat-game-runtime", "weapp://wechat-game-runtime"),
        ("chrome-extension://abc", "chrome-extension://abc"),
        ("file://", "file://"),
    ] {
        let rule = OriginRule::parse(text).unwrap();
        assert_eq!(rule.to_string(), written);
        assert_eq!(OriginRule::parse(written).as_ref(), Ok(&rule));
    }
}

#[test]
fn a_bad_origin_rule_is_explained() {
    for (text, words) in [
        ("", "write https://app.example.com, self or wechat"),
        ("*", "list each origin, or write https://*.example.com"),
        ("null", "serve the page from https"),
        ("NULL", "serve the page from https"),
        ("Self", "write self"),
        ("WeChat", "write wechat"),
        ("https://a.example, https://b.example", "one entry for each"),
        ("https://a.example,https://b.example", "one entry for each"),
        (" https://a.example", "write https://a.example"),
        (
            "https://a.example https://b.example",
            "write one entry for each, [https://a.example, https://b.example]",
        ),
        (
            "https://a.example;https://b.example",
            "write one entry for each, [https://a.example, https://b.example]",
        ),
        (
            "https://a.example|https://b.example",
            "write one entry for each, [https://a.example, https://b.example]",
        ),
        (
            "https://a.example or https://b.example",
            "write one entry for each, [https://a.example, https://b.example]",
        ),
        ("all", "list each origin, or write https://*.example.com"),
        ("https:a.example", "has no scheme: write https://a.example"),
        ("http:/a.example", "has no scheme: write http://a.example"),
        ("'https://a.example'", "write https://a.example"),
        ("//a.example", "write https://a.example"),
        ("https://a.example/rooms?x=1", "write https://a.example"),
        ("https://(a|b).example.com", "is a regular expression"),
        ("https://app?.example.com", "is a regular expression"),
        ("https://app.{0,3}.example.com", "is a regular expression"),
        ("https://{a,b}.example.com", "is a regular expression"),
        ("https://app.example.com$", "is a regular expression"),
        (r"^https://.*\.example\.com$", "is a regular expression"),
        (r"~ ^https://", "is a regular expression"),
        (r"https://[a-z]+\.example.com", "is a regular expression"),
        ("https://münchen.example", "write the xn-- form"),
        (
            "app.example.com",
            "has no scheme: write https://app.example.com",
        ),
        (
            "app.example.com/x",
            "has no scheme: write https://app.example.com",
        ),
        (
            "//app.example.com",
            "has no scheme: write https://app.example.com",
        ),
        (
            "localhost:3000",
            "has no scheme: write https://localhost:3000",
        ),
        (
            "*.example.com",
            "has no scheme: write https://*.example.com",
        ),
        (
            "*://example.com",
            "has no scheme: write https://example.com",
        ),
        ("://example.com", "has no scheme: write https://example.com"),
        ("data:", "has no scheme"),
        (
            "wss://app.example.com/stream",
            "an origin is the address of a page: write https://app.example.com",
        ),
        (
            "ws://localhost:3000",
            "an origin is the address of a page: write http://localhost:3000",
        ),
        (
            "https://app.example.com/",
            "trailing slash: remove the path, write https://app.example.com",
        ),
        (
            "https://app.example.com/x",
            "remove the path, write https://app.example.com",
        ),
        (
            "https://app.example.com?x",
            "remove the path, write https://app.example.com",
        ),
        (
            "https://app.example.com#x",
            "remove the path, write https://app.example.com",
        ),
        (
            "https://user:pw@app.example.com",
            "user name: write https://app.example.com",
        ),
        ("https://app.example.com.", "trailing dot"),
        ("https://app.example.com:0", "host or port"),
        ("https://app.example.com:", "host or port"),
        ("https://", "host or port"),
        ("https://a..example", "host or port"),
        ("https://*", "write https://*.example.com"),
        ("https://*.com", "at least two labels"),
        ("https://*.com.", "trailing dot"),
        ("https://*.0.0.1", "at least two labels"),
        ("https://*.*.example.com", "write https://*.example.com"),
        ("https://app.*.com", "write https://*.example.com"),
        ("https://a*.example.com", "write https://*.example.com"),
        ("https://app.example.com:*", "has a * for its port"),
        ("weapp://*", "only http and https"),
        ("weapp://a%b", "exactly as the client sends it"),
    ] {
        let problem = OriginRule::parse(text).unwrap_err();
        assert!(problem.contains(words), "{text}: {problem}");
    }
}

#[test]
fn keywords_say_what_else_the_route_needs() {
    for (text, exact_host, app_ids) in [
        ("self", true, false),
        ("wechat", false, true),
        ("https://app.example.com", false, false),
    ] {
        let rule = OriginRule::parse(text).unwrap();
        assert_eq!(
            (rule.needs_exact_host(), rule.needs_wechat_app_ids()),
            (exact_host, app_ids),
            "{text}"
        );
    }
}

#[test]
fn a_difference_is_named_only_between_origins_alike_otherwise() {
    for (own, theirs, expected) in [
        (
            "https://app.example.com",
            "http://app.example.com",
            Some("scheme"),
        ),
        (
            "https://app.example.com",
            "wss://app.example.com",
            Some("scheme"),
        ),
        (
            "https://app.example.com",
            "https://app.example.com:8443",
            Some("port"),
        ),
        (
            "https://app.example.com",
            "http://app.example.com:8080",
            Some("scheme and port"),
        ),
        (
            "https://app.example.com",
            "https://app.example.com.",
            Some("trailing dot"),
        ),
        (
            "https://*.example.com",
            "http://a.example.com",
            Some("scheme"),
        ),
        ("https://app.example.com", "https://evil.example.com", None),
        (
            "https://app.example.com",
            "https://app.example.com.evil.com",
            None,
        ),
        ("https://app.example.com", "weapp://app.example.com", None),
        ("weapp://Game", "weapp://game", Some("letter case")),
        ("weapp://game", "weapp://game2", None),
    ] {
        let OriginRule::Listed(pattern) = OriginRule::parse(own).unwrap() else {
            unreachable!()
        };
        let origin = Origin::parse(theirs.as_bytes()).unwrap();
        assert!(!pattern.matches(&origin), "{own} {theirs}");
        assert_eq!(
            pattern.difference(&origin).as_deref(),
            expected,
            "{own} {theirs}"
        );
    }
}
