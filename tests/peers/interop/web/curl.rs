use std::fs;
use std::process::{Command, Stdio};

use wsgate::reason::Reason;

use super::{HOST, ROUTES, Web, read};
use crate::tools::programs::{Family, Server, field, said, tool};

#[test]
fn curl_and_what_it_can_ask_for() {
    let version = said(&tool("WSGATE_CURL"), &["--version"]);
    let words: Vec<_> = version.split(' ').take(2).collect();
    let mut family = Family::new(words.join(" "));
    let app = Server::program("web_server.js", &["express"]);
    let web = Web::open(ROUTES, &app);
    kept(&web, &app);
    uploads(&web, &app);
    answers(&web);
    refused(&web);
    family.add(14);
    web.close(&app);
    family.finish();
}

/// Several addresses on one connection.
fn kept(web: &Web, app: &Server) {
    let target = "/api/json?case=curl_kept";
    let did = web.curl(&["--write-out", "%{num_connects}"], &[target; 3]);
    assert_eq!(
        did.text(),
        r#"{"token":null}1{"token":null}0{"token":null}0"#
    );
    let records = web.requests("curl_kept", 3);
    let conns: Vec<_> = records.iter().map(|line| line.text("conn")).collect();
    assert_eq!(conns, [conns[0]; 3]);
    let outcomes: Vec<_> = records
        .iter()
        .map(|line| line.0["attempts"][0]["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["connected", "reused", "reused"]);
    let seen = app.line("the request", |line| line.text("url") == target);
    assert_eq!(
        field(&seen, "host"),
        web.secure(HOST).strip_prefix("https://").unwrap()
    );
    assert_eq!(field(&seen, "x-forwarded-proto"), "https");
    assert_eq!(field(&seen, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(field(&seen, "x-request-id"), records[0].text("request_id"));
}

fn uploads(web: &Web, app: &Server) {
    let file = web.proxy.folder().join("upload.bin");
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(&file, &content).unwrap();
    let path = file.display().to_string();
    let length = content.len() as u64;

    // From standard input the length is unknown, so chunks are used.
    let url = format!("{}/api/hash?case=curl_chunks", web.plain());
    let output = Command::new(tool("WSGATE_CURL"))
        .args([
            "--silent",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--upload-file",
            "-",
            &url,
        ])
        .stdin(Stdio::from(fs::File::open(&file).unwrap()))
        .output()
        .unwrap();
    assert!(output.status.success());
    let chunked = app.line("the request", |line| {
        line.text("url").ends_with("=curl_chunks")
    });
    assert_eq!(field(&chunked, "transfer-encoding"), "chunked");

    // The proxy itself sends 100 once; the application gets no Expect.
    let expecting = [
        "--include",
        "--header",
        "Expect: 100-continue",
        "--expect100-timeout",
        "15",
    ];
    let data = format!("@{path}");
    let whole = [&expecting[..], &["--data-binary", &data]].concat();
    let did = web.curl(&whole, &["/api/hash?case=curl_expect"]);
    assert_eq!(
        did.text().matches("HTTP/1.1 100 Continue").count(),
        1,
        "{}",
        did.text()
    );
    let digests: Vec<_> = ["curl_chunks", "curl_expect"]
        .iter()
        .map(|case| {
            let read = read(app, case);
            assert_eq!(read.number("bytes"), Some(length));
            let record = web.request(case);
            assert_eq!(record.number("bytes_client_to_upstream"), Some(length));
            read.text("sha256").to_owned()
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
    assert!(
        !app.lines()
            .iter()
            .any(|line| line.text("event") == "expects")
    );

    // An answer before the body: the body is not requested.
    let did = web.curl(&whole, &["/api/impatient?case=curl_impatient"]);
    assert!(
        did.text().contains("413 Payload Too Large"),
        "{}",
        did.text()
    );
    assert_eq!(web.request("curl_impatient").number("status"), Some(413));

    // A body that is larger than the route allows is refused before it is sent.
    let large = web.proxy.folder().join("large.bin");
    fs::File::create(&large).unwrap().set_len(33 << 20).unwrap();
    let data = format!("@{}", large.display());
    let did = web.curl(
        &[&expecting[..], &["--data-binary", &data]].concat(),
        &["/api/hash?case=curl_large"],
    );
    assert!(did.text().contains("http_body_too_large"), "{}", did.text());
    assert!(!did.text().contains("100 Continue"), "{}", did.text());
    web.failed("curl_large", Reason::HttpBodyTooLarge);

    let file = format!("file=@{};type=text/plain", web.authority.display());
    let did = web.curl(
        &["--form", "words=世界", "--form", &file],
        &["/api/hash?case=curl_form"],
    );
    let got = did.json();
    assert!(
        got.text("text")
            .contains(&fs::read_to_string(&web.authority).unwrap())
    );
    assert!(got.text("text").contains("世界"));
    let bytes = web.request("curl_form").number("bytes_client_to_upstream");
    assert_eq!(bytes, got.number("bytes"));
}

fn answers(web: &Web) {
    let did = web.curl(&["--include"], &["/api/cookies?case=curl_cookies"]);
    let set: Vec<_> = did
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("Set-Cookie: "))
        .collect();
    assert_eq!(
        set,
        [
            "a=1; Path=/; HttpOnly",
            "b=2, 3; Secure",
            "c=\"4\"; SameSite=Lax"
        ]
    );

    let did = web.curl(&["--head"], &["/api/json?case=curl_head"]);
    assert!(did.text().contains("Content-Length: 14"), "{}", did.text());
    assert_eq!(
        web.request("curl_head").number("bytes_upstream_to_client"),
        Some(0)
    );

    // Compressed by the application.
    let did = web.curl(&["--raw"], &["/api/gzip?case=curl_gzip"]);
    assert_eq!((did.code, &did.body[..2]), (0, &[0x1f, 0x8b][..]));
    let length = web.request("curl_gzip").number("bytes_upstream_to_client");
    assert_eq!(length, Some(did.body.len() as u64));

    // Clients that accept trailers get them.
    let wanting = [
        "--raw",
        "--header",
        "TE: trailers",
        "--header",
        "Connection: TE",
    ];
    let did = web.curl(&wanting, &["/api/trailers?case=curl_trailers"]);
    assert!(
        did.text().ends_with("0\r\nx-sum: abc\r\n\r\n"),
        "{}",
        did.text()
    );
}

/// What is not supported is refused with words that say what is.
fn refused(web: &Web) {
    let old = ["--http1.0", "--include"];
    let did = web.curl_at(&web.plain(), &old, &["/api/json?case=curl_old"]);
    assert!(did.text().starts_with("HTTP/1.1 400 "), "{}", did.text());
    assert!(
        did.text().contains("http_version_unsupported\n"),
        "{}",
        did.text()
    );
    assert!(did.text().contains("use HTTP/1.1\n"), "{}", did.text());
    web.failed("curl_old", Reason::HttpVersionUnsupported);

    // Over TLS curl offers only http/1.0, and gets the same answer.
    let did = web.curl(&old, &["/api/json?case=curl_old_tls"]);
    assert!(
        did.text().contains("http_version_unsupported\n"),
        "{}",
        did.text()
    );
    let failure = web.failed("curl_old_tls", Reason::HttpVersionUnsupported);
    assert_eq!(failure.text("alpn"), "http/1.0");

    let did = web.curl_at(
        &web.plain(),
        &["--http2", "--include"],
        &["/api/json?case=curl_h2c"],
    );
    assert!(did.text().starts_with("HTTP/1.1 200 "), "{}", did.text());
    assert_eq!(web.request("curl_h2c").text("http_version"), "1.1");

    // Over TLS there is ALPN, and curl accepts what the proxy offers.
    let did = web.curl(&["--http2"], &["/api/json?case=curl_alpn"]);
    assert_eq!(did.text(), r#"{"token":null}"#);
    assert_eq!(web.request("curl_alpn").text("alpn"), "http/1.1");
}
