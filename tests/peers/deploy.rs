//! What `deploy/` promises: the image runs as described, and the examples work.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::certs::{Authority, Kind};
use crate::harness::{Client, handshake};
use crate::tools::programs::tool;

/// Compose, and the Express example behind the proxy.
mod compose;
/// The examples in docs/deploy.md.
mod docs;
/// The container image.
mod image;
/// The Kubernetes manifests, and the end of a pod.
mod kubernetes;
/// Linters.
mod lint;
/// The application and the proxy in one container.
mod one_image;
/// The licences and the bill of materials.
mod supply;
/// The units for systemd.
mod systemd;

/// The path in all examples.
const STREAM: &str = "/api/realtime-voice/stream";

/// A file of the examples in which some text is replaced, such as a public port that a test can't use.
#[track_caller]
fn example(file: &str, changes: &[(&str, &str)]) -> String {
    let path = Path::new("deploy").join(file);
    let text = fs::read_to_string(&path).unwrap();
    changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{} has no {from:?}", path.display());
        text.replace(from, to)
    })
}

/// Makes the folder `certs` in `folder`, with a valid certificate for `name`, under the names in the examples.
fn certificate(folder: &Path, name: &str) {
    let certs = folder.join("certs");
    fs::create_dir(&certs).unwrap();
    let (cert, key) = Authority::shared().write(&certs, "new", &[name], Kind::Good);
    fs::rename(cert, certs.join("fullchain.pem")).unwrap();
    fs::rename(key, certs.join("privkey.pem")).unwrap();
}

/// A program that was installed together with Python packages.
fn python_tool(name: &str) -> PathBuf {
    Path::new(&tool("WSGATE_PYTHON"))
        .parent()
        .unwrap()
        .join(name)
}

/// Opens a tunnel through the proxy.
#[track_caller]
fn open(mut client: Client, path: &str, changes: &[(&str, &str)]) -> Client {
    let response = client.send(handshake(path, changes)).response();
    assert_eq!(response.status, 101, "{}", response.text());
    client
}
