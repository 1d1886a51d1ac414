//! Keys of other programs, and the key that does the same here.

/// What to say about keys of nginx, HAProxy, Envoy, Caddy and Traefik wherever they are: lines of names, and below them what to
/// say.
const ANYWHERE: &str = "\
entrypoint entrypoints bind listen port socket_address frontend frontends
= the key for where to listen is listeners[].address
nodes service services targets url urls backend backends cluster clusters default_backend fastcgi_pass grpc_pass
lb_endpoints load_assignment proxy_pass reverse_proxy server servers target use_backend
= the servers behind the proxy are listed in upstreams.*.endpoints, and a route names one of the upstreams in routes[].upstream
host_name hostname hostnames hosts domain domains server_name server_names virtual_hosts vhost
= the key for a host name is routes[].host
path_prefix paths regex rule rules safe_regex handle handle_path location locations match matcher prefix uri
= the key for a path is routes[].path
certfile cert_path ssl_cert tls_certificate tls_certificates cert_file certificate certificate_chain crt
ssl_certificate tls_cert
= the key for a certificate is listeners[].tls.certificates[].cert
keyfile key_path ssl_key key_file private_key ssl_certificate_key tls_key
= the key for a private key is listeners[].tls.certificates[].key
ssl_min_ver ssl_protocols tls_minimum_protocol_version tls_params
= the key for TLS versions is listeners[].tls.min_version
cipher_suites ciphers ssl_ciphers ssl_prefer_server_ciphers
= the cipher suites can't be chosen, and all are safe; the key for TLS versions is listeners[].tls.min_version
ssl_trusted_certificate ca_file ssl_client_certificate ssl_verify_client
= the key for client certificates is listeners[].tls.client_auth
ssl tls_context transport_socket
= the key for TLS toward clients is listeners[].tls, and toward upstreams upstreams.*.tls
timeout timeouts timeout_idle idle_time proxy_read_timeout proxy_send_timeout read_timeout send_timeout
stream_idle_timeout timeout_client timeout_server timeout_tunnel
= the key for silence in a tunnel is routes[].websocket.idle_timeout, and in a plain answer routes[].http.idle_timeout
dial_timeout proxy_connect_timeout timeout_connect
= the key for connecting is upstreams.*.connect_timeout
client_header_timeout read_header_timeout request_headers_timeout timeout_http_request
= the key for how long a request head may take is limits.request_head
keepalive keepalive_requests keepalive_timeout timeout_http_keep_alive
= the key for unused connections is limits.keep_alive
client_max_body_size max_request_bytes max_body_size
= the key for the size of a request body is routes[].http.max_body
large_client_header_buffers max_request_headers_kb max_header_size
= the key for the size of a head is limits.header_bytes
max_connections maxconn worker_connections
= the key for open connections is limits.connections
limit_conn limit_req rate_limit stick_table
= the keys for what one client may do are limits.connections_per_client and limits.handshakes_per_client
header_up proxy_http_version proxy_set_header request_headers_to_add upgrade_configs
= Upgrade, Connection, Host and the X-Forwarded fields are sent as WebSocket needs them: remove this key
forwardfor real_ip_header set_real_ip_from trusted_proxy use_remote_address xff_num_trusted_hops
= the key for the proxies in front is trusted_proxies
accept_proxy proxy_protocol_v2 send_proxy
= the key for the PROXY protocol is listeners[].proxy_protocol
http_redirect https_redirect redir redirect return
= the key for an answer of the proxy itself is routes[].respond, and for a redirect to https listeners[].redirect_to_https
access_log error_log log_format logging
= records are written to standard output; the key for what is written is log
check fail_timeout fall health health_interval health_timeout healthcheck inter max_fails outlier_detection rise
health_checks health_uri httpchk
= the key for health checks of an upstream is upstreams.*.health_check
metrics prometheus stats stub_status
= metrics and health checks are served at probes.address
ip_hash least_conn lb_policy load_balancing lb_method
= the key for how endpoints are chosen is upstreams.*.balance
allow_origins allowed_origins origin allow_origin cors cors_origins
= the key for the pages that may connect is routes[].websocket.origins
client_body_timeout
= the key for how long the body of a request may take is routes[].http.request_timeout
proxy_ssl_trusted_certificate root_ca trusted_ca validation_context
= the key for the authorities of an upstream's certificate is upstreams.*.tls.ca
proxy_ssl_name proxy_ssl_server_name sni tls_server_name
= the key for the name in an upstream's certificate is upstreams.*.tls.server_name
proxy_ssl_certificate proxy_ssl_certificate_key
= the keys for the certificate shown to upstreams are upstreams.*.tls.cert and upstreams.*.tls.key
insecure_skip_tls_verify insecure_skip_verify proxy_ssl_verify tls_insecure_skip_verify
= certificates of upstreams are always verified; the key for the authority that issued them is upstreams.*.tls.ca
max_connection_duration max_stream_duration
= the key for how long a tunnel may stay open is routes[].websocket.max_lifetime
drain_timeout graceful_timeout hard_stop_after shutdown_timeout worker_shutdown_timeout
= the key for how long tunnels may take to end is shutdown.drain
circuit_breakers max_conns
= the key for how many tunnels an upstream accepts is upstreams.*.max_tunnels
heartbeat keepalive_interval ping_interval ping_timeout pong_timeout
= the keys for Pings are routes[].websocket.ping.interval and routes[].websocket.ping.timeout
upgrade websockets ws wss
= the key for opening handshakes is routes[].websocket
log_level loglevel verbosity
= the key for what is written is log.level
acl allow auth_basic basic_auth deny
= clients are recognised by Origin or certificate: the keys are routes[].websocket.origins and listeners[].tls.client_auth
acme auto_https certresolver email letsencrypt
= certificates are not fetched; the key for the file of one is listeners[].tls.certificates[].cert, and a renewal may replace the file
alias file_server index root static try_files
= files are not served; the key for an answer of the proxy itself is routes[].respond
prefix_rewrite rewrite strip_prefix
= the client's path is forwarded unchanged: write it in routes[].path as clients send it
add_header header header_down http_request http_response response_headers_to_add
= fields of requests and answers are forwarded unchanged: let the upstream send them
compression encode gzip
= messages and bodies are forwarded unchanged: remove this key
alpn_protocols h2 http2
= HTTP/2 is switched on by h2 in listeners[].tls.alpn, and its settings are in listeners[].http2
http2_max_concurrent_streams http2_protocol_options max_concurrent_streams tune_h2_fe_max_concurrent_streams
tune_h2_max_concurrent_streams
= the key for open streams of HTTP/2 is listeners[].http2.max_streams
dynamic_resources filter_chains filters http_filters middlewares route_config static_resources typed_config
= listeners, routes and upstreams are at the top level of the file: remove this key
mode stream
= the keys for what a route accepts are routes[].websocket and routes[].http; other protocols are not forwarded
option options
= each option of HAProxy has a separate key here, such as trusted_proxies and upstreams.*.health_check
daemon defaults events flush_interval global include nbthread pid proxy_buffering proxy_request_buffering resolver
sendfile ssl_dhparam ssl_ecdh_curve ssl_session_cache ssl_session_tickets ssl_session_timeout ssl_stapling
ssl_verify_depth tcp_nodelay threads user worker_processes workers
= this proxy has no such setting: remove this key";

/// What to say about `name` wherever it is.
pub fn anywhere(name: &str) -> Option<&'static str> {
    let folded = folded(name);
    let mut lines = ANYWHERE.lines();
    lines.find(|line| !line.starts_with("= ") && has(line, &folded))?;
    lines.find_map(|line| line.strip_prefix("= "))
}

/// What to say about `name` in a mapping; `table` has names, separated by spaces, and the words.
pub fn there(name: &str, table: &[(&str, &'static str)]) -> Option<&'static str> {
    let folded = folded(name);
    let found = table.iter().find(|(names, _)| has(names, &folded));
    found.map(|(_, words)| *words)
}

fn has(names: &str, name: &str) -> bool {
    names.split(' ').any(|other| other == name)
}

fn folded(name: &str) -> String {
    name.to_lowercase().replace(['-', ' ', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::paths::resolves;

    #[test]
    fn every_key_that_is_named_exists() {
        let helps = || ANYWHERE.lines().filter_map(|line| line.strip_prefix("= "));
        let mut named = 0;
        for help in helps() {
            let is_path =
                |word: &&str| word.contains("[]") || word.contains(".*") || word.contains('.');
            for path in help.split([' ', ',', ':', ';']).filter(is_path) {
                assert!(resolves(path), "{help}: {path}");
                named += 1;
            }
        }
        assert!(named >= helps().count(), "{named}");
    }

    #[test]
    fn no_name_is_listed_twice() {
        let lines = ANYWHERE.lines().filter(|line| !line.starts_with("= "));
        let mut all: Vec<_> = lines.flat_map(|names| names.split(' ')).collect();
        let count = all.len();
        assert!(count > 200, "{count}");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
