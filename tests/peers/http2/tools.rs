use std::fs;
use std::process::Command;

use super::{Site, output};
use crate::harness::proxy::is_terminal;
use crate::tools::programs::{Family, said, tool};

const MIB: usize = 1024 * 1024;

/// curl on this machine's address, with more arguments.
fn curl(site: &Site, arguments: &[&str]) -> String {
    let mut command = Command::new(tool("WSGATE_CURL"));
    command
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--cacert",
        ])
        .arg(&site.authority)
        .args(["--resolve", &format!("localhost:{}:127.0.0.1", site.port())])
        .args(arguments);
    // With --parallel it shows its progress on the other output, whatever --silent says.
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

#[test]
fn curl_chooses_the_version_that_it_wants() {
    let version = said(&tool("WSGATE_CURL"), &["--version"]);
    let words: Vec<_> = version.split(' ').take(2).collect();
    let mut family = Family::new(format!("{} --http2", words.join(" ")));
    let site = Site::open();
    let url = site.url("/api/json?case=curl_get");
    let did = curl(&site, &["--http2", "--write-out", "%{http_version}", &url]);
    assert_eq!(did, r#"{"token":null}2"#);
    site.answered("curl_get");

    // A client that wants HTTP/1.1 gets it from the same listener.
    let url = site.url("/api/json?case=curl_old");
    let did = curl(
        &site,
        &["--http1.1", "--write-out", "%{http_version}", &url],
    );
    assert_eq!(did, r#"{"token":null}1.1"#);
    let old = site.records("curl_old", 1).remove(0);
    assert_eq!(
        (old.text("http_version"), old.text("alpn")),
        ("1.1", "http/1.1")
    );
    assert_eq!(old.number("stream_id"), None, "{old:?}");

    // The same file there and back, and the length that the application saw.
    let file = site.proxy.folder().join("upload.bin");
    let content: Vec<u8> = (0..=255).cycle().take(12 * MIB).collect();
    fs::write(&file, &content).unwrap();
    let from = file.display().to_string();
    let url = site.url("/api/hash?case=curl_upload");
    let did = curl(&site, &["--http2", "--upload-file", &from, &url]);
    assert!(
        did.contains(&format!("\"bytes\":{}", content.len())),
        "{did}"
    );
    let record = site.answered("curl_upload");
    let sent = record.number("bytes_client_to_upstream");
    assert_eq!(sent, Some(content.len() as u64), "{record:?}");
    let url = site.url(&format!(
        "/api/download?bytes={}&case=curl_download",
        32 * MIB
    ));
    let size = [
        "--http2",
        "--output",
        "/dev/null",
        "--write-out",
        "%{size_download}",
        &url,
    ];
    assert_eq!(curl(&site, &size), (32 * MIB).to_string());
    site.answered("curl_download");

    // Several at the same time share one connection.
    let urls: Vec<_> = (0..8)
        .map(|number| site.url(&format!("/api/json?case=curl_parallel_{number}")))
        .collect();
    let mut arguments = vec!["--http2", "--parallel", "--parallel-max", "8"];
    arguments.extend(urls.iter().map(String::as_str));
    assert_eq!(curl(&site, &arguments), r#"{"token":null}"#.repeat(8));
    for number in 0..8 {
        site.answered(&format!("curl_parallel_{number}"));
    }
    family.add(5);
    site.close("curl_parallel");
    family.finish();
}

#[test]
fn nghttp_gets_a_page_and_what_it_needs() {
    let mut family = Family::new(said(&tool("WSGATE_NGHTTP"), &["--version"]));
    let site = Site::open();
    let mut command = Command::new(tool("WSGATE_NGHTTP"));
    command
        .args([
            "--verbose",
            "--null-out",
            "--timeout=20",
            "--trailer=x-sum: abc",
        ])
        .arg(format!("--data={}", site.authority.display()))
        // A body of known length has no trailers in HTTP/1.1.
        .arg("--no-content-length")
        .arg(site.url("/api/hash?case=nghttp_post"));
    let said = output(&mut command);
    assert!(said.contains(":status: 200"), "{said}");
    assert!(
        said.contains("SETTINGS_ENABLE_CONNECT_PROTOCOL(0x08):1"),
        "{said}"
    );
    site.answered("nghttp_post");
    let read = site.app.line("the body", |line| {
        line.text("event") == "read" && line.text("url").ends_with("=nghttp_post")
    });
    assert_eq!(read.0["trailers"]["x-sum"], "abc", "{read:?}");

    // Many streams with priorities, which RFC 9113 does not use any more.
    let mut command = Command::new(tool("WSGATE_NGHTTP"));
    command.args(["--null-out", "--multiply=50", "--stat", "--timeout=20"]);
    command.arg(site.url("/api/json?case=nghttp_many"));
    output(&mut command);
    let many = site.records("nghttp_many", 50);
    assert_eq!(many.len(), 50);
    many.iter().for_each(super::expect_h2);
    family.add(2);
    site.close("nghttp_many");
    family.finish();
}

#[test]
fn h2load_gets_only_good_answers() {
    const REQUESTS: usize = 1000;
    let mut family = Family::new(format!(
        "{}: under load",
        said(&tool("WSGATE_H2LOAD"), &["--version"])
    ));
    let site = Site::open();
    let mut command = Command::new(tool("WSGATE_H2LOAD"));
    command
        .args([
            &format!("-n{REQUESTS}"),
            "-c4",
            "-m20",
            "--connection-active-timeout=20",
        ])
        .arg(site.url("/api/json?case=load"));
    let said = output(&mut command);
    assert!(
        said.contains(&format!(
            "status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx"
        )),
        "{said}"
    );
    assert!(said.contains("0 failed, 0 errored, 0 timeout"), "{said}");
    let records = site.records("load", REQUESTS);
    assert_eq!(records.len(), REQUESTS);
    for record in &records {
        super::expect_h2(record);
        assert!(
            is_terminal(record) && record.text("reason").is_empty(),
            "{record:?}"
        );
    }
    let mut conns: Vec<_> = records.iter().map(|record| record.text("conn")).collect();
    conns.sort_unstable();
    conns.dedup();
    assert_eq!(conns.len(), 4, "{conns:?}");
    family.add(REQUESTS);
    site.proxy.stop();
    family.finish();
}
