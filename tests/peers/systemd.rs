//! systemd starts the program and passes sockets to it.

use std::net::TcpListener;
use std::process::Command;

use crate::harness::client::try_socket;
use crate::harness::frames::echoes;
use crate::harness::proxy::program;
use crate::harness::services::ask;
use crate::harness::{Client, Proxy, Setup, eventually, handshake};

#[test]
fn systemd_starts_it_with_its_first_client() {
    let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = ports.each_ref().map(|port| port.local_addr().unwrap());
    drop(ports);
    let setup = Setup {
        extra: format!("probes: {{ address: {} }}\n", addresses[1]),
        address: addresses[0],
        ..Setup::plain("\"builtin:echo\"")
    };
    let folder = setup.folder();
    let mut command = Command::new("systemd-socket-activate");
    for address in &addresses {
        command.arg(format!("--listen={address}"));
    }
    command
        .arg("--fdname=web:probes")
        .arg(program())
        .arg("--config")
        .arg(folder.path().join("proxy.yaml"));
    let mut proxy = Proxy::follow(folder, command, 0);
    let client = eventually("systemd's sockets", || try_socket(addresses[0]).ok());
    let mut client = Client::Plain(client);
    client.send(handshake("/ws", &[]));
    assert_eq!(client.response().status, 101);
    echoes(&mut client, "hello");
    assert_eq!(ask(addresses[1], "GET", "/readyz").status, 200);
    proxy.event_number("listening", 2);
    let details: Vec<_> = proxy
        .lines()
        .iter()
        .filter(|line| line.text("event") == "listening")
        .map(|line| line.text("detail").to_owned())
        .collect();
    let expected = [
        "without TLS, on an inherited socket",
        "probes, on an inherited socket",
    ];
    assert_eq!(details, expected);
    drop(client);
    proxy.terminal();
    proxy.stop();
}
