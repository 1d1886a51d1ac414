//! The host names of a certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::policy::HostSet;

/// The names and addresses in the subject alternative name (RFC 9525 section 6).
pub(super) fn names(leaf: &X509Certificate<'_>) -> HostSet {
    let mut names = HostSet::default();
    if let Ok(Some(extension)) = leaf.subject_alternative_name() {
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.insert(name),
                GeneralName::IPAddress(bytes) => {
                    if let Some(address) = ip_address(bytes) {
                        names.insert(&address.to_string());
                    }
                }
                _ => {}
            }
        }
    }
    names
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}
