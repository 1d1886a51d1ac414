//! Why a client may have rejected the certificate that it got, and what to do about it.

use std::time::SystemTime;

use super::validity::{Certificate, day};
use super::{Server, TlsFacts, alert};
use crate::reason::{Failure, Reason};

impl Server {
    /// Adds to the failure of a handshake, or after one, what is wrong with the certificate.
    #[must_use]
    pub fn explain(&self, failure: Failure, facts: &TlsFacts) -> Failure {
        let Some(identity) = &facts.served else {
            return failure;
        };
        let is_about_it = matches!(
            failure.reason,
            Reason::TlsAlertUnknownCa
                | Reason::TlsAlertBadCertificate
                | Reason::TlsAlertCertExpired
                | Reason::TlsClientClosed
                | Reason::TlsClosedUnused
        );
        if !is_about_it {
            return failure;
        }
        let certificate = identity.certificate();
        let is_strange = facts
            .sni
            .as_ref()
            .is_some_and(|name| !identity.covers(name));
        let faults = faults(certificate, is_strange, SystemTime::now());
        let hint = self.hint(&failure, certificate, &faults);
        let words = match faults.is_empty() {
            true => format!("it was issued by {}", certificate.leaf.issuer),
            false => joined(faults.iter().map(|fault| &*fault.words), ", "),
        };
        let failure = alert::say(failure, &format!("of the certificate served: {words}"));
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    fn hint(
        &self,
        failure: &Failure,
        certificate: &Certificate,
        faults: &[Fault],
    ) -> Option<String> {
        let reason = failure.reason;
        let is_silent = matches!(reason, Reason::TlsClientClosed | Reason::TlsClosedUnused);
        if is_silent && self.authorities.is_some() {
            return Some(
                "this listener asks for a client certificate (`listeners[].tls.client_auth`), and a client such as \
                 Chromium leaves without an alert if it does not have one: give it one, or let browsers and WeChat use \
                 a listener that does not ask"
                    .to_owned(),
            );
        }
        // Nearly everyone first meets a client that does not trust this certificate, and a chain would not help.
        if self.self_signed && reason != Reason::TlsAlertCertExpired {
            return Some(
                "this listener serves the development certificate of `listeners[].tls.self_signed`: let the client \
                 trust certs/dev.pem and dial localhost, or configure a certificate from an authority"
                    .to_owned(),
            );
        }
        let mut remedies: Vec<_> = faults.iter().map(|fault| fault.remedy.clone()).collect();
        let issuer = &certificate.leaf.issuer;
        match reason {
            Reason::TlsAlertUnknownCa if certificate.leaf.is_self_signed => {}
            Reason::TlsAlertUnknownCa if certificate.leaf.is_alone => remedies.push(format!(
                "the client does not know the issuer, {issuer}: if that is your own authority, let the client trust \
                 it; if it is an intermediate, append its certificate to the leaf in \
                 `listeners[].tls.certificates[].cert`, because Android does not fetch it"
            )),
            Reason::TlsAlertUnknownCa => remedies.push(format!(
                "the client does not know the root behind the chain in `listeners[].tls.certificates[].cert`, whose \
                 leaf was issued by {issuer}: if that is your own authority, let the client trust it; if it is a \
                 public one, look for a missing certificate in the chain, or an old list of roots on the client"
            )),
            Reason::TlsClientClosed if faults.is_empty() => remedies.push(format!(
                "the client probably refused the certificate: Node and Python's asyncio send no alert then, so read \
                 the client's own error. The issuer is {issuer}: if that is your own authority, let the client trust \
                 it (`wsgate check` can't see whether it does); other causes are a lost network and a scanner"
            )),
            _ => {}
        }
        (!remedies.is_empty()).then(|| joined(remedies.iter().map(String::as_str), "; "))
    }
}

/// A problem with a certificate in words, and its remedy.
struct Fault {
    words: String,
    remedy: String,
}

fn joined<'a>(texts: impl Iterator<Item = &'a str>, separator: &str) -> String {
    texts.collect::<Vec<_>>().join(separator)
}

/// The problems of a certificate that the proxy can see; `is_strange`: it does not cover the requested name.
fn faults(certificate: &Certificate, is_strange: bool, now: SystemTime) -> Vec<Fault> {
    const FILE: &str = "`listeners[].tls.certificates[].cert`";
    let mut faults = Vec::new();
    if certificate.expires < now {
        let day = day(certificate.expires);
        faults.push(Fault {
            words: format!("it expired on {day}"),
            remedy: format!("renew the certificate in {FILE}, which expired on {day}"),
        });
    }
    if now < certificate.begins {
        let day = day(certificate.begins);
        faults.push(Fault {
            words: format!("it is not valid before {day}"),
            remedy: format!(
                "put a certificate that is valid now into {FILE}: this one is not valid before {day}"
            ),
        });
    }
    if certificate.leaf.is_self_signed {
        faults.push(Fault {
            words: "it is self-signed".to_owned(),
            remedy: format!(
                "the certificate in {FILE} is self-signed: let each client trust it, or use one from an authority \
                 that the clients trust"
            ),
        });
    }
    if is_strange {
        faults.push(Fault {
            words: "it is not for the requested name (sni)".to_owned(),
            remedy: "add a certificate for the name in sni to `listeners[].tls.certificates`, or let the client use \
                     a name that the existing certificate is for"
                .to_owned(),
        });
    }
    faults
}
