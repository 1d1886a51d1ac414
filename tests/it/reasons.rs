//! A test provokes every reason: the table names, for each, the function that does it and returns the record.

/// The Chinese texts compared with the English ones.
mod chinese;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use wsgate::config;
use wsgate::reason::Reason;

use crate::harness::proxy;
use crate::{
    accept, admin, http, http2, limits, plain, policy, record, reload, stop, tls, tunnel, upstream,
};

macro_rules! provoked {
    ($( $reason:ident: $provoke:path, )*) => {
        const PROVOKED: &[Reason] = &[ $( Reason::$reason, )* ];

        #[expect(non_snake_case, reason = "each test is named like its reason's variant")]
        mod provoked {
            use super::*;
            $( #[test] fn $reason() { $provoke().expect(Reason::$reason); } )*
        }
    };
}

provoked! {
    TcpAcceptFailed: accept::tcp_accept_failed,
    TcpConnLimit: accept::tcp_conn_limit,
    ClientConnLimit: limits::client_conn_limit,
    TcpProbe: accept::tcp_probe,
    TcpResetBeforeRequest: accept::tcp_reset_before_request,
    TcpFirstByteTimeout: accept::tcp_first_byte_timeout,
    ProxyProtocolUnexpected: accept::proxy_protocol_unexpected,
    ProxyProtocolMissing: accept::proxy_header::proxy_protocol_missing,
    ProxyProtocolInvalid: accept::proxy_header::proxy_protocol_invalid,
    ProxyProtocolUntrusted: accept::proxy_header::proxy_protocol_untrusted,
    TlsOnPlainPort: accept::tls_on_plain_port,
    TlsPlainHttpOnTlsPort: tls::tls_plain_http_on_tls_port,
    TlsNotTls: tls::tls_not_tls,
    TlsHandshakeTimeout: tls::tls_handshake_timeout,
    TlsClientClosed: tls::tls_client_closed,
    TlsVersionUnsupported: tls::tls_version_unsupported,
    TlsNoCommonCipher: tls::tls_no_common_cipher,
    TlsNoCommonGroup: tls::tls_no_common_group,
    TlsNoCommonSigalg: tls::tls_no_common_sigalg,
    TlsSniUnknown: tls::tls_sni_unknown,
    TlsAlpnNoOverlap: tls::tls_alpn_no_overlap,
    TlsAlertUnknownCa: tls::tls_alert_unknown_ca,
    TlsAlertBadCertificate: tls::tls_alert_bad_certificate,
    TlsAlertCertExpired: tls::tls_alert_cert_expired,
    TlsAlertCertRevoked: tls::tls_alert_cert_revoked,
    TlsAlertOther: tls::tls_alert_other,
    TlsProtocolError: tls::tls_protocol_error,
    TlsClosedUnused: tls::tls_closed_unused,
    TlsClientCertMissing: tls::client_auth::tls_client_cert_missing,
    TlsClientCertInvalid: tls::client_auth::tls_client_cert_invalid,
    HttpHeaderTimeout: http::http_header_timeout,
    HttpHeadIncomplete: http::http_head_incomplete,
    HttpMalformed: http::http_malformed,
    HttpTooLarge: http::http_too_large,
    HttpVersionUnsupported: http::http_version_unsupported,
    HttpHostMissing: http::http_host_missing,
    HttpHostInvalid: http::http_host_invalid,
    HttpFramingConflict: http::http_framing_conflict,
    HttpBodyOnUpgrade: http::http_body_on_upgrade,
    HttpBodyTooLarge: plain::http_body_too_large,
    HttpBodyTimeout: plain::http_body_timeout,
    HttpBodyIncomplete: plain::http_body_incomplete,
    HttpEarlyData: http::http_early_data,
    HttpExpectRefused: http::http_expect_refused,
    HttpConnectionProtected: http::http_connection_protected,
    H2cRefused: http::h2c_refused,
    H2ProtocolError: http2::h2_protocol_error,
    H2Flood: http2::h2_flood,
    H2StreamLimit: http2::h2_stream_limit,
    H2MalformedRequest: http2::h2_malformed_request,
    H2ConnectionHeader: http2::h2_connection_header,
    H2WsUnsupported: http2::h2_ws_unsupported,
    H2ProtocolUnknown: http2::h2_protocol_unknown,
    WsMethodNotGet: http::ws_method_not_get,
    PlainHttpRequest: http::plain_http_request,
    WsHandshakeMissing: http::ws_handshake_missing,
    WsUpgradeHeaderMissing: http::ws_upgrade_header_missing,
    WsConnectionTokenMissing: http::ws_connection_token_missing,
    WsUpgradeNotWebsocket: http::ws_upgrade_not_websocket,
    WsKeyMissing: http::ws_key_missing,
    WsKeyInvalid: http::ws_key_invalid,
    WsVersionUnsupported: http::ws_version_unsupported,
    WsProtocolHeaderInvalid: http::ws_protocol_header_invalid,
    WsExtensionsHeaderInvalid: http::ws_extensions_header_invalid,
    LoopDetected: http::loops::loop_detected,
    HostNotAllowed: policy::host_not_allowed,
    PathNotAllowed: policy::path_not_allowed,
    PathNearMiss: policy::path_near_miss,
    PathAmbiguous: policy::path_ambiguous,
    OriginMissing: policy::origin_missing,
    OriginNull: policy::origin_null,
    OriginMalformed: policy::origin_malformed,
    OriginMultiple: policy::origin_multiple,
    OriginNotAllowed: policy::origin_not_allowed,
    RefererAppidMismatch: policy::referer_appid_mismatch,
    SubprotocolNotAllowed: policy::subprotocol_not_allowed,
    WebsocketNotAllowed: plain::websocket_not_allowed,
    HttpMethodNotAllowed: plain::http_method_not_allowed,
    RedirectRefused: plain::redirect_refused,
    Draining: stop::draining,
    ListenerChanged: reload::certificates::listener_changed,
    RateLimited: limits::rate_limited,
    ClientGaveUp: upstream::client_gave_up,
    UpstreamDnsFailed: upstream::upstream_dns_failed,
    UpstreamRefused: upstream::upstream_refused,
    UpstreamConnectTimeout: upstream::upstream_connect_timeout,
    UpstreamUnreachable: upstream::upstream_unreachable,
    UpstreamResetOnConnect: upstream::upstream_reset_on_connect,
    UpstreamPortsExhausted: upstream::upstream_ports_exhausted,
    UpstreamNoneHealthy: upstream::groups::upstream_none_healthy,
    UpstreamTunnelLimit: upstream::groups::upstream_tunnel_limit,
    UpstreamTlsToPlainPort: upstream::secure::upstream_tls_to_plain_port,
    UpstreamTlsVerifyFailed: upstream::secure::upstream_tls_verify_failed,
    UpstreamTlsFailed: upstream::secure::upstream_tls_failed,
    UpstreamTlsTimeout: upstream::secure::upstream_tls_timeout,
    UpstreamAlpnH2: upstream::secure::upstream_alpn_h2,
    UpstreamPlainToTlsPort: upstream::upstream_plain_to_tls_port,
    UpstreamHandshakeTimeout: upstream::upstream_handshake_timeout,
    UpstreamResponseTimeout: plain::upstream_response_timeout,
    UpstreamClosedBeforeResponse: upstream::upstream_closed_before_response,
    UpstreamMalformedResponse: upstream::upstream_malformed_response,
    UpstreamHeadTooLarge: upstream::upstream_head_too_large,
    UpstreamHttp10101: upstream::upstream_http10_101,
    UpstreamBadRequest: upstream::upstream_bad_request,
    UpstreamUnauthorized: upstream::upstream_unauthorized,
    UpstreamForbidden: upstream::upstream_forbidden,
    UpstreamNotFound: upstream::upstream_not_found,
    UpstreamUpgradeRequired: upstream::upstream_upgrade_required,
    UpstreamRedirect: upstream::upstream_redirect,
    UpstreamRateLimited: upstream::upstream_rate_limited,
    Upstream4xx: upstream::upstream_4xx,
    Upstream5xx: upstream::upstream_5xx,
    Upstream2xxInsteadOf101: upstream::upstream_2xx_instead_of_101,
    Upstream101NoUpgrade: upstream::upstream_101_no_upgrade,
    Upstream101NoConnection: upstream::upstream_101_no_connection,
    UpstreamAcceptMissing: upstream::upstream_accept_missing,
    UpstreamAcceptMismatch: upstream::upstream_accept_mismatch,
    UpstreamSubprotocolUnrequested: upstream::upstream_subprotocol_unrequested,
    UpstreamExtensionUnrequested: upstream::upstream_extension_unrequested,
    Upstream101WithBody: upstream::upstream_101_with_body,
    UpstreamDouble101: upstream::upstream_double_101,
    Upstream101Unsolicited: plain::upstream_101_unsolicited,
    UpstreamResponseCut: plain::upstream_response_cut,
    UpstreamResponseStalled: plain::upstream_response_stalled,
    ClientLeftResponse: plain::client_left_response,
    ClientStalledResponse: plain::client_stalled_response,
    ClientClose: tunnel::closes::client_close,
    ClientGoingAway: tunnel::closes::client_going_away,
    ClientEofNoClose: tunnel::client_eof_no_close,
    ClientReset: tunnel::client_reset,
    ClientTimeout: tunnel::gone::client_timeout,
    UpstreamClose: tunnel::closes::upstream_close,
    UpstreamCloseImmediate: tunnel::closes::upstream_close_immediate,
    UpstreamClosePolicy: tunnel::closes::upstream_close_policy,
    UpstreamCloseTooBig: tunnel::closes::upstream_close_too_big,
    UpstreamCloseError: tunnel::closes::upstream_close_error,
    UpstreamCloseRestart: tunnel::closes::upstream_close_restart,
    UpstreamEofNoClose: tunnel::upstream_eof_no_close,
    UpstreamReset: tunnel::upstream_reset,
    UpstreamTimeout: tunnel::gone::upstream_timeout,
    CloseHandshakeTimeout: tunnel::closes::close_handshake_timeout,
    HalfCloseTimeout: tunnel::half_close_timeout,
    IdleTimeout: tunnel::idle_timeout,
    MaxLifetime: tunnel::spoken::max_lifetime,
    ClosedByOperator: admin::close::closed_by_operator,
    PongTimeout: tunnel::spoken::pong_timeout,
    MessageTooBig: tunnel::spoken::message_too_big,
    ClientProtocolError: tunnel::foreign::client_protocol_error,
    UpstreamProtocolError: tunnel::foreign::upstream_protocol_error,
    ReservedCloseCodeOnWire: tunnel::closes::reserved_close_code_on_wire,
    TlsTruncated: tunnel::tls_truncated,
    TlsRecordError: tunnel::tls_record_error,
    ClientWriteStalled: tunnel::client_write_stalled,
    UpstreamWriteStalled: tunnel::upstream_write_stalled,
    DrainGraceful: tunnel::spoken::drain_graceful,
    DrainForced: stop::drain_forced,
    InternalAborted: record::internal_aborted,
}

#[test]
fn every_reason_is_provoked() {
    let provoked: HashSet<_> = PROVOKED.iter().collect();
    assert_eq!(provoked.len(), PROVOKED.len(), "a reason stands twice");
    let missing: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !provoked.contains(reason))
        .map(|reason| reason.code())
        .collect();
    assert_eq!(missing, [""; 0], "no test provokes these");
}

#[test]
fn the_reference_is_current() {
    let (code, current, _) = proxy::run(&["explain", "--markdown"], Path::new("."));
    assert_eq!(code, 0);
    let written = fs::read_to_string("docs/reasons.md").unwrap();
    assert!(
        written == current,
        "docs/reasons.md is old: run `wsgate explain --markdown > docs/reasons.md`"
    );
}

#[test]
fn every_code_is_explained() {
    for reason in Reason::ALL {
        let (code, text, _) = proxy::run(&["explain", reason.code()], Path::new("."));
        assert_eq!(code, 0);
        for part in [reason.code(), reason.spec().cause, reason.spec().fix] {
            assert!(text.contains(part), "{text}");
        }
    }
    let (code, list, _) = proxy::run(&["explain"], Path::new("."));
    assert_eq!(code, 0);
    assert!(
        Reason::ALL
            .iter()
            .all(|reason| list.contains(reason.code()))
    );
    let (code, _, error) = proxy::run(&["explain", "origin_not_alowed"], Path::new("."));
    assert_eq!(code, 2);
    assert!(error.contains("did you mean origin_not_allowed"), "{error}");
}

#[test]
fn every_key_and_command_that_a_hint_names_exists() {
    let commands = ["wsgate check", "wsgate explain"];
    for reason in Reason::ALL {
        let fix = reason.spec().fix;
        let quoted = fix.split('`').skip(1).step_by(2);
        for name in quoted {
            assert!(
                commands.contains(&name) || config::resolves(name),
                "{reason}: the hint names {name:?}, which is not a key of the configuration"
            );
        }
    }
}

/// Hints for single cases are in the code that knows the case.
#[test]
fn every_key_that_a_hint_of_a_case_names_exists() {
    let mut folders = vec![std::path::PathBuf::from("src")];
    let mut named = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap()
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let code: Vec<_> = code.collect();
            let sections = [
                "listeners[].",
                "routes[].",
                "upstreams.*.",
                "limits.",
                "shutdown.",
                "log.",
                "probes.",
                "admin.",
                "load_balancer.",
            ];
            let is_key = |name: &&str| {
                let is_plain = |c: char| c.is_ascii_lowercase() || "_.*[]".contains(c);
                name.chars().all(is_plain)
                    && sections.iter().any(|section| name.starts_with(section))
            };
            for line in &code {
                for name in line.split('`').skip(1).step_by(2).filter(is_key) {
                    assert!(
                        config::resolves(name),
                        "{}: {name:?} is not a key of the configuration: {line}",
                        path.display()
                    );
                    named += 1;
                }
            }
        }
    }
    assert!(named > 100, "{named}");
}
