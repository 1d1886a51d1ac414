//! A proxy with both services, and requests to them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::{Client, Proxy, Response, Setup};

/// Starts the program with `probes` and `admin` on free ports; three addresses are bound, in this order.
pub fn start(setup: &Setup) -> Proxy {
    let services = "probes: { address: 127.0.0.1:0 }\nadmin: { address: 127.0.0.1:0 }\n";
    let setup = Setup {
        extra: setup.extra.clone() + services,
        ..setup.clone()
    };
    setup.start_bound(setup.folder(), 3)
}

pub fn probes(proxy: &Proxy) -> SocketAddr {
    proxy.addresses()[1]
}

pub fn admin(proxy: &Proxy) -> SocketAddr {
    proxy.addresses()[2]
}

/// A request as health checks and tools send it.
#[track_caller]
pub fn ask(address: SocketAddr, method: &str, path: &str) -> Response {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut client = Client::plain(address);
    let response = client.send(request).response();
    assert_eq!(client.rest(), b"");
    response
}

/// Status and text of the answer to a GET.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let response = ask(address, "GET", path);
    (response.status, response.text())
}

/// Writes the configuration with the real ports, as an operator would have it; gives the file's name.
pub fn write_real_ports(proxy: &Proxy) -> &'static str {
    const NAME: &str = "real.yaml";
    let folder: &Path = proxy.folder();
    let yaml = fs::read_to_string(folder.join("proxy.yaml")).unwrap();
    let yaml = yaml
        .replace(
            "probes: { address: 127.0.0.1:0 }",
            &format!("probes: {{ address: {} }}", probes(proxy)),
        )
        .replace(
            "admin: { address: 127.0.0.1:0 }",
            &format!("admin: {{ address: {} }}", admin(proxy)),
        );
    fs::write(folder.join(NAME), yaml).unwrap();
    NAME
}
