//! The http stage: malformed requests, and requests that are no opening handshake.

use crate::harness::Line;

pub fn http_header_timeout() -> Line {
    todo!()
}

pub fn http_head_incomplete() -> Line {
    todo!()
}

pub fn http_malformed() -> Line {
    todo!()
}

pub fn http_too_large() -> Line {
    todo!()
}

pub fn http_version_unsupported() -> Line {
    todo!()
}

pub fn http_host_missing() -> Line {
    todo!()
}

pub fn http_host_invalid() -> Line {
    todo!()
}

pub fn http_framing_conflict() -> Line {
    todo!()
}

pub fn http_body_on_upgrade() -> Line {
    todo!()
}

pub fn http_early_data() -> Line {
    todo!()
}

pub fn http_expect_refused() -> Line {
    todo!()
}

pub fn http_connection_protected() -> Line {
    todo!()
}

pub fn h2c_refused() -> Line {
    todo!()
}

pub fn ws_method_not_get() -> Line {
    todo!()
}

pub fn plain_http_request() -> Line {
    todo!()
}

pub fn ws_upgrade_header_missing() -> Line {
    todo!()
}

pub fn ws_connection_token_missing() -> Line {
    todo!()
}

pub fn ws_upgrade_not_websocket() -> Line {
    todo!()
}

pub fn ws_key_missing() -> Line {
    todo!()
}

pub fn ws_key_invalid() -> Line {
    todo!()
}

pub fn ws_version_unsupported() -> Line {
    todo!()
}

pub fn ws_protocol_header_invalid() -> Line {
    todo!()
}

pub fn ws_extensions_header_invalid() -> Line {
    todo!()
}
