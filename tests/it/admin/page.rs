//! The files of the page.

use serde_json::Value;
use wsgate::reason::Reason;

use super::{ECHO, request};
use crate::harness::proxy::run;
use crate::harness::services::{admin, ask, get, probes, start};
use crate::harness::{Setup, between};

const FILES: [&str; 4] = ["/", "/page.js", "/words.js", "/page.css"];

#[test]
fn its_files_are_in_the_program_and_nothing_is_loaded_from_elsewhere() {
    let proxy = start(&Setup::plain(ECHO));
    for (path, kind) in FILES
        .into_iter()
        .zip(["html", "javascript", "javascript", "css"])
    {
        let response = ask(admin(&proxy), "GET", path);
        assert_eq!(response.status, 200, "{path}");
        let field = |name: &str| response.field(name).unwrap().to_owned();
        assert!(field("content-type").contains(kind), "{path}");
        assert_eq!(field("x-content-type-options"), "nosniff");
        assert_eq!(field("cache-control"), "no-store");
        assert_eq!(field("referrer-policy"), "no-referrer");
        assert_eq!(field("x-frame-options"), "DENY");
        let policy = field("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        for part in [
            "script-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{policy}"
        );
        let text = response.text();
        for foreign in ["https://", "//cdn", "@import", "url(http"] {
            let found = text.lines().find(|line| line.contains(foreign));
            // The name space of SVG is not loaded.
            let found = found.filter(|line| !line.contains("www.w3.org/2000/svg"));
            assert_eq!(found, None, "{path} has {foreign}");
        }
        assert_eq!(get(probes(&proxy), path).0, 404, "{path}");
    }
    let page = get(admin(&proxy), "/").1;
    assert!(!page.contains("{{"), "{page}");
    proxy.stop();
}

#[test]
fn each_process_has_another_token() {
    let token = || {
        let proxy = start(&Setup::plain(ECHO));
        let page = get(admin(&proxy), "/").1;
        proxy.stop();
        between(&page, "name=\"wsgate-token\" content=\"", "\"").to_owned()
    };
    let (one, other) = (token(), token());
    assert_eq!((one.len(), other.len()), (32, 32));
    assert_ne!(one, other);
}

#[test]
fn every_code_is_explained_in_both_languages() {
    let proxy = start(&Setup::plain(ECHO));
    let read = |query: &str| -> Value {
        let (status, text) = get(admin(&proxy), &format!("/vocabulary.json{query}"));
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let (english, chinese) = (read("?lang=en"), read("?lang=zh"));
    assert_eq!(read(""), english);
    assert_eq!(
        english["reasons"].as_object().unwrap().len(),
        Reason::ALL.len()
    );
    for list in ["reasons", "troubles", "notes", "stages", "parties"] {
        let (english, chinese) = (&english[list], &chinese[list]);
        let codes =
            |list: &Value| -> Vec<_> { list.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(codes(english), codes(chinese), "{list}");
        for (code, meaning) in chinese.as_object().unwrap() {
            assert!(
                !meaning.to_string().is_ascii(),
                "{list} {code} is not Chinese"
            );
        }
    }
    for code in english["troubles"].as_object().unwrap().keys() {
        let (exit, said, _) = run(&["explain", code], proxy.folder());
        let cause = english["troubles"][code]["cause"].as_str().unwrap();
        assert!(exit == 0 && said.contains(cause), "{code}: {said}");
    }
    assert_eq!(get(admin(&proxy), "/vocabulary.json?lang=fr").0, 400);
    proxy.stop();
}

#[test]
fn other_pages_can_neither_load_it_nor_lead_to_it() {
    let proxy = start(&Setup::plain(ECHO));
    for path in FILES {
        let first = format!("GET {path}");
        for (host, field) in [
            ("127.0.0.1", "Sec-Fetch-Site: cross-site"),
            ("127.0.0.1", "Origin: https://evil.example"),
            ("rebound.example", "Sec-Fetch-Site: none"),
        ] {
            let refused = request(&proxy, &first, host, &[field]);
            assert_eq!(refused.status, 403, "{path} {host} {field}");
        }
        let typed = request(&proxy, &first, "127.0.0.1", &["Sec-Fetch-Site: none"]);
        assert_eq!(typed.status, 200, "{path}");
    }
    proxy.stop();
}
