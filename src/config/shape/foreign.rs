//! Keys of other programs, and which key does the same here.

use super::{Block, LISTENER, PROBES, ROUTE, TLS, UPSTREAM_TLS};

const HOST: &str = "the key for a host name is routes[].host";

/// What is to be said of keys in one mapping.
static THERE: &[(&Block, &[&str], &str)] = &[
    (
        &UPSTREAM_TLS,
        &[
            "verify",
            "insecure",
            "insecure_skip_verify",
            "skip_verify",
            "ssl_verify",
            "reject_unauthorized",
        ],
        "certificates are always verified: name the authority that issued it, or a self-signed certificate itself, in ca",
    ),
    (&LISTENER, &["server_name"], HOST),
    (&TLS, &["server_name"], HOST),
    (&ROUTE, &["server_name"], HOST),
    (
        &PROBES,
        &["path", "paths"],
        "the paths are /healthz and /readyz",
    ),
];

/// What is to be said of keys of nginx, HAProxy, Envoy and Caddy, wherever they stand.
static ANYWHERE: &[(&[&str], &str)] = &[
    (
        &[
            "bind",
            "listen",
            "port",
            "socket_address",
            "frontend",
            "frontends",
        ],
        "the key for where to listen is listeners[].address",
    ),
    (
        &[
            "backend",
            "backends",
            "cluster",
            "clusters",
            "default_backend",
            "fastcgi_pass",
            "grpc_pass",
            "lb_endpoints",
            "load_assignment",
            "proxy_pass",
            "reverse_proxy",
            "server",
            "servers",
            "target",
            "use_backend",
        ],
        "the servers behind the proxy are listed in upstreams.*.endpoints, and a route names one of the upstreams in routes[].upstream",
    ),
    (
        &[
            "domain",
            "domains",
            "server_name",
            "server_names",
            "virtual_hosts",
            "vhost",
        ],
        HOST,
    ),
    (
        &[
            "handle",
            "handle_path",
            "location",
            "locations",
            "match",
            "matcher",
            "prefix",
            "uri",
        ],
        "the key for a path is routes[].path",
    ),
    (
        &[
            "cert_file",
            "certificate",
            "certificate_chain",
            "crt",
            "ssl_certificate",
            "tls_cert",
        ],
        "the key for a certificate is listeners[].tls.certificates[].cert",
    ),
    (
        &["key_file", "private_key", "ssl_certificate_key", "tls_key"],
        "the key for a private key is listeners[].tls.certificates[].key",
    ),
    (
        &[
            "ssl_min_ver",
            "ssl_protocols",
            "tls_minimum_protocol_version",
            "tls_params",
        ],
        "the key for TLS versions is listeners[].tls.min_version",
    ),
    (
        &[
            "cipher_suites",
            "ciphers",
            "ssl_ciphers",
            "ssl_prefer_server_ciphers",
        ],
        "the cipher suites can't be chosen, and all are safe; the key for TLS versions is listeners[].tls.min_version",
    ),
    (
        &["ca_file", "ssl_client_certificate", "ssl_verify_client"],
        "the key for client certificates is listeners[].tls.client_auth",
    ),
    (
        &["ssl", "tls_context", "transport_socket"],
        "the key for TLS toward clients is listeners[].tls, and toward upstreams upstreams.*.tls",
    ),
    (
        &[
            "idle_time",
            "proxy_read_timeout",
            "proxy_send_timeout",
            "read_timeout",
            "send_timeout",
            "stream_idle_timeout",
            "timeout_client",
            "timeout_server",
            "timeout_tunnel",
        ],
        "the key for silence in a tunnel is routes[].websocket.idle_timeout, and in a plain answer routes[].http.idle_timeout",
    ),
    (
        &["dial_timeout", "proxy_connect_timeout", "timeout_connect"],
        "the key for connecting is upstreams.*.connect_timeout",
    ),
    (
        &[
            "client_header_timeout",
            "read_header_timeout",
            "request_headers_timeout",
            "timeout_http_request",
        ],
        "the key for how long a request head may take is limits.request_head",
    ),
    (
        &["keepalive_timeout", "timeout_http_keep_alive"],
        "the key for unused connections is limits.keep_alive",
    ),
    (
        &["client_max_body_size", "max_request_bytes", "max_body_size"],
        "the key for the size of a request body is routes[].http.max_body",
    ),
    (
        &[
            "large_client_header_buffers",
            "max_request_headers_kb",
            "max_header_size",
        ],
        "the key for the size of a head is limits.header_bytes",
    ),
    (
        &["max_connections", "maxconn", "worker_connections"],
        "the key for open connections is limits.connections",
    ),
    (
        &["limit_conn", "limit_req", "rate_limit", "stick_table"],
        "the keys for what one client may do are limits.connections_per_client and limits.handshakes_per_client",
    ),
    (
        &[
            "header_up",
            "proxy_http_version",
            "proxy_set_header",
            "request_headers_to_add",
            "upgrade_configs",
        ],
        "Upgrade, Connection, Host and the X-Forwarded fields are passed on as WebSocket needs them: leave this key out",
    ),
    (
        &[
            "forwardfor",
            "real_ip_header",
            "set_real_ip_from",
            "trusted_proxy",
            "xff_num_trusted_hops",
        ],
        "the key for the proxies in front is trusted_proxies",
    ),
    (
        &["accept_proxy", "proxy_protocol_v2", "send_proxy"],
        "the key for the PROXY protocol is listeners[].proxy_protocol",
    ),
    (
        &[
            "http_redirect",
            "https_redirect",
            "redir",
            "redirect",
            "return",
        ],
        "the key for an answer of the proxy itself is routes[].respond, and for a redirect to https listeners[].redirect_to_https",
    ),
    (
        &["access_log", "error_log", "log_format", "logging"],
        "records are written to standard output; the key for what is written is log",
    ),
    (
        &["health_checks", "health_uri", "httpchk"],
        "the key for health checks of an upstream is upstreams.*.health_check",
    ),
    (
        &["metrics", "prometheus", "stats", "stub_status"],
        "metrics and health checks are served at probes.address",
    ),
    (
        &["lb_policy", "load_balancing", "lb_method"],
        "the key for how endpoints are chosen is upstreams.*.balance",
    ),
    (
        &["allow_origin", "cors", "cors_origins"],
        "the key for the pages that may connect is routes[].websocket.origins",
    ),
];

impl Block {
    /// What there is to say of `name`, which is not a key of this mapping but one of another program's that means
    /// something special here.
    #[must_use]
    pub fn foreign(&self, name: &str) -> Option<&'static str> {
        let folded = folded(name);
        let fits = |(block, names, _): &&(&Self, &[&str], &str)| {
            std::ptr::eq(*block, self) && names.contains(&folded.as_str())
        };
        THERE.iter().find(fits).map(|(_, _, help)| *help)
    }
}

/// Which key does what `name` does in another program.
#[must_use]
pub fn equivalent(name: &str) -> Option<&'static str> {
    let folded = folded(name);
    let fits = |(names, _): &&(&[&str], &str)| names.contains(&folded.as_str());
    ANYWHERE.iter().find(fits).map(|(_, help)| *help)
}

fn folded(name: &str) -> String {
    name.to_lowercase().replace(['-', ' ', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shape::resolves;

    #[test]
    fn every_key_that_is_named_exists() {
        let mut named = 0;
        for (names, help) in ANYWHERE {
            let is_path =
                |word: &&str| word.contains("[]") || word.contains(".*") || word.contains('.');
            for path in help.split([' ', ',', ':', ';']).filter(is_path) {
                assert!(resolves(path), "{names:?}: {path}");
                named += 1;
            }
        }
        assert!(named >= ANYWHERE.len(), "{named}");
    }

    #[test]
    fn no_name_is_listed_twice() {
        let mut all: Vec<_> = ANYWHERE.iter().flat_map(|(names, _)| *names).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
