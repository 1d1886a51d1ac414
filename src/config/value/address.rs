//! IP addresses with a port, to listen on.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value as Json, json};

use super::{Choice, Definition, Literal, Spelled, ValueType};

static ADDRESS: Definition = Definition {
    name: "address",
    schema: || {
        // Up to 65535.
        const PORT: &str =
            "([0-9]{1,4}|[1-5][0-9]{4}|6([0-4][0-9]{3}|5([0-4][0-9]{2}|5([0-2][0-9]|3[0-5]))))";
        json!({
            "description": "An IP address and a port such as `0.0.0.0:8443` or `[::]:8443`.",
            "type": "string",
            "pattern": format!(r"^([0-9.]+|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]):{PORT}$"),
        })
    },
};

/// An IP address and a port.
#[derive(Debug)]
pub struct Address;

impl ValueType for Address {
    fn words(&self) -> String {
        "IP:port".to_owned()
    }

    fn expected(&self) -> String {
        "an IP address and a port such as 0.0.0.0:8443 or [::]:8443".to_owned()
    }

    fn choices(&self) -> Vec<Choice> {
        vec![Choice::Defined(&ADDRESS)]
    }
}

impl Literal for Address {
    type Read = SocketAddr;

    fn parse(&self, found: &Spelled, _: bool) -> Result<SocketAddr, Complaint> {
        let Ok(address) = found.text.parse::<SocketAddr>() else {
            let help = remedy(&found.text);
            return Err(Complaint {
                help,
                ..found.but_expected(&self.expected())
            });
        };
        let canonical = SocketAddr::new(address.ip().to_canonical(), address.port());
        if canonical.is_ipv4() && address.is_ipv6() {
            let wrong = Complaint::new(format!("found {address}, which is an IPv4 address"));
            return Err(wrong.help(format!("write {canonical}")));
        }
        Ok(address)
    }

    fn written(&self, value: &SocketAddr) -> Json {
        json!(value)
    }
}

/// What to write instead of `text`, which is not an address with a port.
fn remedy(text: &str) -> Option<String> {
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.trim_end_matches('/');
    let port = text.strip_prefix(':').or_else(|| text.strip_prefix("*:"));
    let port = port.unwrap_or(text);
    if bare.parse::<SocketAddr>().is_ok() {
        Some(format!("write {bare}"))
    } else if port.parse::<u16>().is_ok() {
        Some(format!("write 0.0.0.0:{port}"))
    } else if let Some(port) = text.strip_prefix("localhost:") {
        Some(format!("write 127.0.0.1:{port}"))
    } else if text.parse::<Ipv4Addr>().is_ok() {
        Some(format!("write {text}:8443"))
    } else if bare.matches(':').count() > 1 && !bare.starts_with('[') {
        Some("write an IPv6 address in brackets, such as [::1]:8443".to_owned())
    } else if has_large_port(bare) {
        Some("the highest port is 65535".to_owned())
    } else {
        None
    }
}

/// Whether only the number of the port is wrong.
fn has_large_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u32>().is_ok_and(|port| port > 65535)
            && format!("{host}:0").parse::<SocketAddr>().is_ok()
    })
}

/// Whether two sockets can't be bound to these addresses at the same time. A wildcard covers its own family only, and each
/// port 0 becomes a different port.
pub fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && same_ip
}
use super::super::problem::Complaint;
