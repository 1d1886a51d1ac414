//! The accept stage: connections that end before a protocol is spoken.

use crate::harness::Line;

pub fn tcp_accept_failed() -> Line {
    todo!()
}

pub fn tcp_conn_limit() -> Line {
    todo!()
}

pub fn tcp_probe() -> Line {
    todo!()
}

pub fn tcp_reset_before_request() -> Line {
    todo!()
}

pub fn tcp_first_byte_timeout() -> Line {
    todo!()
}

pub fn proxy_protocol_unexpected() -> Line {
    todo!()
}

pub fn tls_on_plain_port() -> Line {
    todo!()
}
