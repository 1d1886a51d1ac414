//! The upstream stage: endpoints that fail, and answers that are not a good 101.

use crate::harness::Line;

pub fn client_gave_up() -> Line {
    todo!()
}

pub fn upstream_dns_failed() -> Line {
    todo!()
}

pub fn upstream_refused() -> Line {
    todo!()
}

pub fn upstream_connect_timeout() -> Line {
    todo!()
}

pub fn upstream_unreachable() -> Line {
    todo!()
}

pub fn upstream_reset_on_connect() -> Line {
    todo!()
}

pub fn upstream_ports_exhausted() -> Line {
    todo!()
}

pub fn upstream_plain_to_tls_port() -> Line {
    todo!()
}

pub fn upstream_handshake_timeout() -> Line {
    todo!()
}

pub fn upstream_closed_before_response() -> Line {
    todo!()
}

pub fn upstream_malformed_response() -> Line {
    todo!()
}

pub fn upstream_head_too_large() -> Line {
    todo!()
}

pub fn upstream_http10_101() -> Line {
    todo!()
}

pub fn upstream_bad_request() -> Line {
    todo!()
}

pub fn upstream_unauthorized() -> Line {
    todo!()
}

pub fn upstream_forbidden() -> Line {
    todo!()
}

pub fn upstream_not_found() -> Line {
    todo!()
}

pub fn upstream_upgrade_required() -> Line {
    todo!()
}

pub fn upstream_redirect() -> Line {
    todo!()
}

pub fn upstream_rate_limited() -> Line {
    todo!()
}

pub fn upstream_4xx() -> Line {
    todo!()
}

pub fn upstream_5xx() -> Line {
    todo!()
}

pub fn upstream_2xx_instead_of_101() -> Line {
    todo!()
}

pub fn upstream_101_no_upgrade() -> Line {
    todo!()
}

pub fn upstream_101_no_connection() -> Line {
    todo!()
}

pub fn upstream_accept_missing() -> Line {
    todo!()
}

pub fn upstream_accept_mismatch() -> Line {
    todo!()
}

pub fn upstream_subprotocol_unrequested() -> Line {
    todo!()
}

pub fn upstream_extension_unrequested() -> Line {
    todo!()
}

pub fn upstream_101_with_body() -> Line {
    todo!()
}

pub fn upstream_double_101() -> Line {
    todo!()
}
