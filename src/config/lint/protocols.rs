//! Listeners whose `alpn` and `http2` do not do what they seem to.

use super::super::{Alpn, Config};
use super::Notes;

/// What to write in most cases: browsers choose HTTP/2, and other WebSocket clients still find HTTP/1.1.
const BOTH: &str = "[h2, http/1.1]";

pub(super) fn lint(config: &Config, notes: &mut Notes<'_, '_>) {
    for (index, listener) in config.listeners.iter().enumerate() {
        let alpn = listener.tls.as_ref().map(|tls| tls.alpn.as_slice());
        let site = format!("listeners[{index}].tls.alpn");
        match alpn {
            Some([Alpn::Http11, Alpn::H2]) => notes.warn(
                &site,
                "found http/1.1 before h2: clients that offer both never use HTTP/2",
                format!("write {BOTH}"),
            ),
            Some([Alpn::H2]) => notes.warn(
                &site,
                "found h2 alone: most WebSocket clients speak HTTP/1.1 only, and their connections fail with \
                 tls_alpn_no_overlap",
                format!("write {BOTH}"),
            ),
            _ => {}
        }
        let site = format!("listeners[{index}].http2");
        if alpn.is_some_and(|alpn| alpn.contains(&Alpn::H2)) || !notes.is_written(&site) {
            continue;
        }
        let (why, help) = match alpn {
            Some(_) => ("tls.alpn has no h2", format!("write alpn: {BOTH} in tls")),
            None => ("HTTP/2 needs tls", format!("add tls with alpn: {BOTH}")),
        };
        notes.warn(
            &site,
            format!("found settings for HTTP/2, which this listener does not serve: {why}"),
            format!("{help}, or remove http2"),
        );
    }
}
