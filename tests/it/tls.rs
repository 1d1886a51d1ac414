//! The TLS stage: every way a handshake can fail.

use crate::harness::Line;

pub fn tls_plain_http_on_tls_port() -> Line {
    todo!()
}

pub fn tls_not_tls() -> Line {
    todo!()
}

pub fn tls_handshake_timeout() -> Line {
    todo!()
}

pub fn tls_client_closed() -> Line {
    todo!()
}

pub fn tls_version_unsupported() -> Line {
    todo!()
}

pub fn tls_no_common_cipher() -> Line {
    todo!()
}

pub fn tls_no_common_group() -> Line {
    todo!()
}

pub fn tls_no_common_sigalg() -> Line {
    todo!()
}

pub fn tls_sni_unknown() -> Line {
    todo!()
}

pub fn tls_alpn_no_overlap() -> Line {
    todo!()
}

pub fn tls_alert_unknown_ca() -> Line {
    todo!()
}

pub fn tls_alert_bad_certificate() -> Line {
    todo!()
}

pub fn tls_alert_cert_expired() -> Line {
    todo!()
}

pub fn tls_alert_cert_revoked() -> Line {
    todo!()
}

pub fn tls_alert_other() -> Line {
    todo!()
}

pub fn tls_protocol_error() -> Line {
    todo!()
}

pub fn tls_closed_unused() -> Line {
    todo!()
}
