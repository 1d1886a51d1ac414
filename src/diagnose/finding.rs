//! What a diagnosis can find: the closed list, with the cause and the remedy of each in English and Chinese.

use crate::reason::Reason;
use crate::text::Language;

macro_rules! findings {
    ($( $variant:ident = $id:literal, $reason:expr,
        $cause:literal, $cause_zh:literal,
        $fix:literal, $fix_zh:literal; )*) => {
        /// What a diagnosis found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Finding { $( #[doc = $cause] $variant, )* }

        impl Finding {
            /// Every finding.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// Its stable snake_case name.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $( Self::$variant => $id, )* }
            }

            /// The reason that a record has for the same thing.
            #[must_use]
            pub const fn reason(self) -> Option<Reason> {
                match self { $( Self::$variant => $reason, )* }
            }

            /// What happened, in one line.
            #[must_use]
            pub const fn cause(self, language: Language) -> &'static str {
                match self { $( Self::$variant => language.pick($cause, $cause_zh), )* }
            }

            /// What to do.
            #[must_use]
            pub const fn fix(self, language: Language) -> &'static str {
                match self { $( Self::$variant => language.pick($fix, $fix_zh), )* }
            }
        }
    };
}

findings! {
    Works = "works", None,
        "the WebSocket opens, answers and closes as it should", "WebSocket 能够正常打开、应答和关闭",
        "if real clients still fail, run this from their network, with their Origin (--origin), or with --idle 90s", "如果真实客户端仍然失败，请在它们所在的网络、用它们的 Origin（--origin）运行本命令，或加上 --idle 90s";

    DnsFailed = "dns_failed", Some(Reason::UpstreamDnsFailed),
        "the host's name can't be resolved", "无法解析该主机名",
        "check the spelling of the host, and that it has an A or AAAA record in the DNS that clients use", "检查主机名的拼写，并确认客户端使用的 DNS 里有它的 A 或 AAAA 记录";
    Refused = "connection_refused", Some(Reason::UpstreamRefused),
        "nothing listens on this address and port", "该地址和端口上没有程序在监听",
        "start the server, correct the port, or let the server listen on this address instead of only on 127.0.0.1", "启动服务器，改正端口，或者让服务器监听这个地址，而不只是 127.0.0.1";
    ConnectTimeout = "connect_timeout", Some(Reason::UpstreamConnectTimeout),
        "the address does not answer a TCP connection", "该地址不应答 TCP 连接",
        "open the port in the firewall or security group, and check that the address in DNS is the current one", "在防火墙或安全组中放行该端口，并确认 DNS 中的地址是当前的地址";
    Unreachable = "unreachable", Some(Reason::UpstreamUnreachable),
        "there is no route to the address", "没有到该地址的路由",
        "if it is an IPv6 address, this network may not have IPv6; otherwise check the address and the routing", "如果是 IPv6 地址，可能是本网络没有 IPv6；否则检查地址和路由";
    ConnectFailed = "connect_failed", Some(Reason::UpstreamUnreachable),
        "the connection could not be made", "无法建立连接",
        "detail has the system's message", "detail 中有系统的错误信息";
    AddressesDiffer = "addresses_differ", None,
        "the addresses of this host behave differently: some clients fail, depending on the address that they get", "该主机的各个地址表现不同：客户端是否失败，取决于它得到哪个地址",
        "repair the address that fails, or take it out of DNS", "修复有问题的地址，或从 DNS 中去掉它";

    PlainOnTlsPort = "server_speaks_plain_http", Some(Reason::UpstreamTlsToPlainPort),
        "this port speaks plain HTTP, not TLS", "该端口使用明文 HTTP，而不是 TLS",
        "use ws:// for this port, or give the server a certificate and let it speak TLS here", "对该端口使用 ws://，或者给服务器配置证书并在这里启用 TLS";
    NotTls = "not_tls", Some(Reason::UpstreamTlsToPlainPort),
        "the server's answer is not TLS", "服务器的应答不是 TLS",
        "check the port: another service answers here", "检查端口：这里应答的是另一个服务";
    TlsTimeout = "tls_timeout", Some(Reason::UpstreamTlsTimeout),
        "the server accepted the connection and did not finish the TLS handshake", "服务器接受了连接，但没有完成 TLS 握手",
        "the server or a hop in front of it is stuck or overloaded, or large packets are lost on the way (MTU)", "服务器或它前面的某一跳卡住或过载，或者路上丢失较大的数据包（MTU）";
    TlsClosed = "tls_closed", Some(Reason::UpstreamTlsFailed),
        "the server closed the connection during the TLS handshake", "服务器在 TLS 握手期间关闭了连接",
        "look at the server's log: it has no certificate for this name, speaks plain HTTP here (ws://), or expects the PROXY protocol; or a firewall ends connections to this name", "查看服务器日志：它没有该名称的证书、在这里使用明文 HTTP（ws://），或要求 PROXY 协议；也可能是防火墙切断到该名称的连接";
    Reset = "reset", Some(Reason::UpstreamResetOnConnect),
        "the connection was reset before any answer", "连接在没有任何应答之前被重置",
        "the server's process crashes, its backlog is full, or it expects the PROXY protocol; or a firewall resets connections to this name", "服务器进程崩溃、队列已满，或要求 PROXY 协议；也可能是防火墙重置到该名称的连接";
    TlsTooOld = "tls_version_too_old", Some(Reason::UpstreamTlsFailed),
        "the server supports only TLS 1.0 or 1.1, which browsers, phones and WeChat refuse", "服务器只支持 TLS 1.0 或 1.1，浏览器、手机和微信都会拒绝",
        "switch on TLS 1.2 and 1.3 in the server or the load balancer", "在服务器或负载均衡上启用 TLS 1.2 和 1.3";
    OldCiphers = "tls_old_ciphers", Some(Reason::UpstreamTlsFailed),
        "the server has only old cipher suites, which many clients of today refuse", "服务器只有旧的密码套件，当今许多客户端会拒绝",
        "switch on ECDHE with AES-GCM or ChaCha20, or simply TLS 1.3, in the server or the load balancer", "在服务器或负载均衡上启用 ECDHE 加 AES-GCM 或 ChaCha20，或直接启用 TLS 1.3";
    TlsAlert = "tls_alert", Some(Reason::UpstreamTlsFailed),
        "the server refused the TLS handshake with an alert", "服务器以告警拒绝了 TLS 握手",
        "detail names the alert; compare what other clients get in the list above, and look at the server's log", "detail 中有告警名；与上面其他客户端得到的结果比较，并查看服务器日志";
    SniUnknown = "sni_unknown", Some(Reason::TlsSniUnknown),
        "the server has no certificate for this name", "服务器没有该名称的证书",
        "add a certificate for the name at the server or load balancer, or correct the host or DNS", "在服务器或负载均衡上添加该名称的证书，或改正主机名、DNS";
    ClientCertificate = "client_certificate_required", Some(Reason::TlsClientCertMissing),
        "the server requires a client certificate, which browsers' WebSockets and mini programs can't send", "服务器要求客户端证书，而浏览器的 WebSocket 和小程序无法发送",
        "switch client certificates off for this host, and authenticate clients with a token", "对该主机关闭客户端证书，改用令牌验证客户端";
    TlsFailed = "tls_failed", Some(Reason::UpstreamTlsFailed),
        "the TLS handshake failed", "TLS 握手失败",
        "detail has the cause; look at the server's TLS settings and log", "detail 中有原因；查看服务器的 TLS 设置和日志";
    OnlyHttp2 = "only_http2", Some(Reason::UpstreamAlpnH2),
        "the server supports only HTTP/2 on this port, and most WebSocket clients need HTTP/1.1", "该端口只支持 HTTP/2，而多数 WebSocket 客户端需要 HTTP/1.1",
        "let the server accept http/1.1 by ALPN too", "让服务器在 ALPN 中也接受 http/1.1";

    CertificateExpired = "certificate_expired", Some(Reason::UpstreamTlsVerifyFailed),
        "the certificate has expired", "证书已过期",
        "renew the certificate (or, if detail names another one of the chain, install the authority's current one), and reload the server; check that the renewal runs automatically", "更新证书（如果 detail 指出的是链中的另一张证书，请安装该机构当前的证书），并让服务器重新加载；确认自动续期正常运行";
    CertificateNotYetValid = "certificate_not_yet_valid", Some(Reason::UpstreamTlsVerifyFailed),
        "the certificate is not valid yet", "证书尚未生效",
        "install the certificate that is valid now, or correct the clock of the machine that issued it", "安装当前有效的证书，或校正签发机器的时钟";
    CertificateWrongName = "certificate_wrong_name", Some(Reason::UpstreamTlsVerifyFailed),
        "the certificate is for another name", "证书属于另一个名称",
        "get a certificate that covers this host (a wildcard covers one label), or use the host that it covers", "申请覆盖该主机名的证书（通配符只覆盖一级），或使用证书所覆盖的主机名";
    CertificateSelfSigned = "certificate_self_signed", Some(Reason::UpstreamTlsVerifyFailed),
        "the certificate is self-signed, so clients don't trust it", "证书是自签名的，客户端不信任",
        "use a certificate of a public authority; phones with WeChat can't install your own", "使用公共机构签发的证书；装有微信的手机无法安装你自己的证书";
    CertificateOfAuthority = "certificate_of_an_authority", Some(Reason::UpstreamTlsVerifyFailed),
        "the server presents the certificate of an authority (CA:TRUE) as its own", "服务器把证书颁发机构的证书（CA:TRUE）当作自己的证书",
        "let the authority issue a certificate for the server, with basicConstraints CA:FALSE", "让该机构为服务器签发证书，basicConstraints 为 CA:FALSE";
    MissingIntermediate = "missing_intermediate", Some(Reason::UpstreamTlsVerifyFailed),
        "an intermediate certificate is missing: desktop browsers may find it, Android and WeChat do not", "缺少中间证书：桌面浏览器可能会自己找到，安卓和微信不会",
        "serve the full chain, the server's certificate first and then each issuer (fullchain.pem instead of cert.pem); if the issuer is an authority of your own, name it with --ca", "提供完整证书链：先是服务器证书，然后依次是各级签发者（用 fullchain.pem，而不是 cert.pem）；如果签发者是你自己的机构，请用 --ca 指定";
    UnknownAuthority = "unknown_authority", Some(Reason::UpstreamTlsVerifyFailed),
        "the certificate's authority is not trusted here", "这里不信任签发该证书的机构",
        "use a certificate of a public authority; if the authority is your own, install it on the clients and name it with --ca", "使用公共机构签发的证书；如果是自己的机构，请安装到客户端，并用 --ca 指定";
    CertificateWeakKey = "certificate_weak_key", Some(Reason::UpstreamTlsVerifyFailed),
        "the certificate's key is too short", "证书的密钥太短",
        "have it reissued for an ECDSA P-256 key or an RSA key of 2048 bits", "用 ECDSA P-256 密钥或 2048 位 RSA 密钥重新签发";
    CertificateUnverified = "certificate_unverified", Some(Reason::UpstreamTlsVerifyFailed),
        "the certificate can't be verified", "证书无法通过验证",
        "detail has the cause; have the certificate reissued", "detail 中有原因；请重新签发证书";

    TlsOnPlainPort = "server_requires_tls", Some(Reason::UpstreamPlainToTlsPort),
        "this port requires TLS", "该端口要求 TLS",
        "use wss:// for this port", "对该端口使用 wss://";
    NoAnswer = "no_answer", Some(Reason::UpstreamHandshakeTimeout),
        "the server does not answer the opening handshake", "服务器不应答 WebSocket 握手",
        "the application's upgrade handler hangs (a blocked event loop, a slow login check), or a gateway holds the request", "应用的 upgrade 处理卡住（事件循环阻塞、登录校验太慢），或者网关扣住了请求";
    ClosedBeforeAnswer = "closed_before_answer", Some(Reason::UpstreamClosedBeforeResponse),
        "the server closed the connection without answering the opening handshake", "服务器没有应答 WebSocket 握手就关闭了连接",
        "look at the application's log: its upgrade handler destroys the socket or crashes (no handler for this path, a failed login)", "查看应用日志：它的 upgrade 处理函数销毁了连接或者崩溃（该路径没有处理函数、登录失败）";
    ClosesEverything = "closes_every_request", Some(Reason::UpstreamClosedBeforeResponse),
        "the server closes the connection without an answer, even if a plain request is sent", "服务器不作任何应答就关闭连接，普通请求也是如此",
        "what listens there expects the PROXY protocol, admits only some addresses, or has no backend (nginx: return 444): look at its log", "在那里监听的程序要求 PROXY 协议、只放行部分地址，或没有后端（nginx：return 444）：查看它的日志";
    NotHttp = "not_http", Some(Reason::UpstreamMalformedResponse),
        "the answer is not HTTP/1.1", "应答不是 HTTP/1.1",
        "detail says what is wrong: another protocol answers on this port, or a hop or the application sends an invalid head", "detail 说明了问题：该端口上是另一种协议，或者某一跳或应用发送了不合法的响应头";
    Redirect = "redirect", Some(Reason::UpstreamRedirect),
        "the answer is a redirect, which WebSocket clients do not follow", "应答是重定向，WebSocket 客户端不会跟随",
        "let clients use the final URL from the start, or take the redirect off this path (http to https, a slash at the end, a login page)", "让客户端一开始就使用最终的 URL，或者在该路径上去掉重定向（http 转 https、末尾的斜杠、登录页）";
    BadRequest = "bad_request", Some(Reason::UpstreamBadRequest),
        "the server answers a correct opening handshake with 400", "服务器对正确的 WebSocket 握手返回 400",
        "a hop takes Upgrade or Connection away (nginx needs proxy_http_version 1.1 and both fields), the WebSocket library has another path, or the server expects the PROXY protocol", "某一跳去掉了 Upgrade 或 Connection（nginx 需要 proxy_http_version 1.1 和这两个字段），WebSocket 库配置了另一个路径，或者服务器要求 PROXY 协议";
    UpgradeRefused = "upgrade_refused", Some(Reason::UpstreamBadRequest),
        "the server sees the upgrade, and refuses something in it with 400", "服务器看到了升级请求，并以 400 拒绝其中的内容",
        "check the path of the WebSocket library, whether it requires a subprotocol (--subprotocol), and that only one WebSocket server answers on this port", "检查 WebSocket 库的路径、它是否要求子协议（--subprotocol），并确认该端口上只有一个 WebSocket 服务器应答";
    UpgradeIgnored = "upgrade_ignored", Some(Reason::WsUpgradeHeaderMissing),
        "the answer is the same as to a plain request: a hop takes Upgrade away, or nothing handles upgrades on this path", "应答与普通请求的相同：某一跳去掉了 Upgrade，或者该路径上没有程序处理升级",
        "in nginx set proxy_http_version 1.1 and both proxy_set_header lines, on a CDN switch WebSocket on; if the hop has them, check the path and attach the WebSocket server to it", "nginx 中设置 proxy_http_version 1.1 和两行 proxy_set_header，CDN 上打开 WebSocket 开关；如果这一跳已经设置，请检查路径，并把 WebSocket 服务器绑定到该路径";
    UpgradeStripped = "upgrade_stripped", Some(Reason::WsUpgradeHeaderMissing),
        "a hop in front of the server takes Upgrade away, so the server sees a plain request", "服务器前面的某一跳去掉了 Upgrade，服务器看到的是普通请求",
        "let that hop pass Upgrade and Connection on: in nginx proxy_http_version 1.1 and both proxy_set_header lines, on a CDN its WebSocket switch; if it serves the page itself, route this path to the WebSocket server", "让这一跳转发 Upgrade 和 Connection：nginx 中设置 proxy_http_version 1.1 和两行 proxy_set_header，CDN 上打开 WebSocket 开关；如果页面由它自己提供，请把该路径转到 WebSocket 服务器";
    Unauthorized = "unauthorized", Some(Reason::UpstreamUnauthorized),
        "the server requires a login", "服务器要求登录",
        "send a valid token (--header 'Authorization: Bearer …' or in the URL; browsers can't set fields for a WebSocket); if the server checks the Origin (verifyClient of ws answers 401 then), try that of your page with --origin", "发送有效的令牌（--header 'Authorization: Bearer …'，或放在 URL 中；浏览器无法为 WebSocket 设置字段）；如果服务器检查 Origin（ws 的 verifyClient 此时返回 401），请用 --origin 尝试页面的 Origin";
    Forbidden = "forbidden", Some(Reason::UpstreamForbidden),
        "the server refuses the handshake with 403", "服务器以 403 拒绝握手",
        "if it has a list of Origins, run this again with the Origin of your page (--origin https://…); otherwise look for a firewall rule, an access list, or a token that is missing", "如果服务器有 Origin 列表，请用页面的 Origin 再运行一次（--origin https://…）；否则查找防火墙规则、访问列表，或缺少的令牌";
    UpgradeDisabled = "upgrade_disabled", Some(Reason::UpstreamForbidden),
        "the gateway refuses upgrades for this route, while it answers plain requests", "网关在该路由上拒绝升级，但会应答普通请求",
        "switch WebSocket on at the gateway (Envoy and Istio: upgrade_configs with upgrade_type websocket; CDNs: their WebSocket switch)", "在网关上启用 WebSocket（Envoy、Istio：upgrade_configs，upgrade_type 为 websocket；CDN：WebSocket 开关）";
    OriginNotAllowed = "origin_not_allowed", Some(Reason::OriginNotAllowed),
        "the server refuses this Origin and accepts another one, or none", "服务器拒绝这个 Origin，但接受别的 Origin 或没有 Origin 的请求",
        "add the page's Origin to the server's list, exactly as the browser sends it (scheme, host, port)", "把页面的 Origin 加入服务器的列表，与浏览器发送的完全一致（协议、主机、端口）";
    OriginMissing = "origin_required", Some(Reason::OriginMissing),
        "the server refuses handshakes without an Origin", "服务器拒绝没有 Origin 的握手",
        "if clients without an Origin are yours (native apps, WeChat on Android), admit them at the server and authenticate them with a token", "如果没有 Origin 的客户端是你自己的（原生应用、安卓微信），请在服务器上放行，并用令牌验证";
    NotFound = "not_found", Some(Reason::UpstreamNotFound),
        "nothing serves WebSocket on this path", "该路径上没有 WebSocket 服务",
        "check the path, that the application attached its WebSocket handler to this server (express-ws: expressWs(app, server)), and that no hop takes Upgrade away", "检查路径，确认应用把 WebSocket 处理函数绑定到了这个服务器（express-ws：expressWs(app, server)），并确认没有哪一跳去掉了 Upgrade";
    UpgradeRequired = "upgrade_required", Some(Reason::UpstreamUpgradeRequired),
        "the server answers 426: it saw no upgrade", "服务器返回 426：它没有看到升级请求",
        "a hop in front of the server takes Upgrade or Sec-WebSocket-Version away: let it pass them on", "服务器前面的某一跳去掉了 Upgrade 或 Sec-WebSocket-Version：让它转发这些字段";
    VersionRefused = "version_refused", Some(Reason::UpstreamUpgradeRequired),
        "the server requires another version of the WebSocket protocol", "服务器要求另一个版本的 WebSocket 协议",
        "update the server's WebSocket library: clients of today know only version 13 (RFC 6455)", "更新服务器的 WebSocket 库：如今的客户端只支持版本 13（RFC 6455）";
    Intermittent = "intermittent", None,
        "the server refuses the same handshake at one time and accepts it at another", "服务器时而拒绝、时而接受同样的握手",
        "look for servers behind this address that differ (one is old, starting or broken), and for a limit on connections; then run this again", "查找该地址后面表现不同的服务器（其中一台是旧版本、正在启动或有故障），以及连接数限制；然后再次运行";
    RateLimited = "rate_limited", Some(Reason::UpstreamRateLimited),
        "the server limits how often this client may connect", "服务器限制该客户端的连接频率",
        "wait, and let clients reconnect with growing, random delays", "稍等，并让客户端以递增的随机延迟重连";
    ClientError = "client_error", Some(Reason::Upstream4xx),
        "the server refuses the handshake with a status in the 400s", "服务器以 4xx 状态码拒绝握手",
        "detail has the status; look at the log of the hop that answered", "detail 中有状态码；查看应答的那一跳的日志";
    GatewayError = "gateway_error", Some(Reason::Upstream5xx),
        "a gateway can't reach the application behind it", "网关无法到达它后面的应用",
        "start the application, or correct the gateway's backend address, its scheme (http or https) and its health check; if the application runs, it may close the connection during the upgrade: look at its log", "启动应用，或改正网关的后端地址、协议（http 或 https）和健康检查；如果应用在运行，可能是它在升级时关闭了连接：查看它的日志";
    GatewayTimeout = "gateway_timeout", Some(Reason::Upstream5xx),
        "a gateway waited in vain for the answer of the application behind it", "网关没有等到它后面的应用的应答",
        "the application's upgrade handler hangs (a blocked event loop, a slow login check): look at its log", "应用的 upgrade 处理卡住（事件循环阻塞、登录校验太慢）：查看它的日志";
    ServerError = "server_error", Some(Reason::Upstream5xx),
        "the server fails with a status in the 500s", "服务器以 5xx 状态码失败",
        "look at the application's log at this time", "查看应用此时的日志";
    NotUpgraded = "not_upgraded", Some(Reason::Upstream2xxInsteadOf101),
        "the server answers as if it were a plain request, instead of switching to WebSocket", "服务器按普通请求应答，而没有切换到 WebSocket",
        "a plain HTTP handler or a single-page application's fallback serves this path: route it to the WebSocket server, and let no hop take Upgrade away", "该路径由普通 HTTP 处理函数或单页应用的兜底页面应答：请把它转到 WebSocket 服务器，并确认没有哪一跳去掉 Upgrade";
    ExtensionRefused = "extension_refused", Some(Reason::WsExtensionsHeaderInvalid),
        "the server refuses handshakes that offer compression, which browsers always do", "服务器拒绝提供压缩的握手，而浏览器总会提供",
        "update the WebSocket library of the server, or let it ignore Sec-WebSocket-Extensions", "更新服务器的 WebSocket 库，或让它忽略 Sec-WebSocket-Extensions";
    SubprotocolRefused = "subprotocol_refused", Some(Reason::SubprotocolNotAllowed),
        "the server refuses the subprotocol that was offered", "服务器拒绝所提供的子协议",
        "offer a subprotocol that the server knows, or none", "提供服务器支持的子协议，或不提供";

    Http10With101 = "http10_101", Some(Reason::UpstreamHttp10101),
        "the 101 came in HTTP/1.0, which has no upgrades", "101 以 HTTP/1.0 返回，而 HTTP/1.0 没有升级",
        "let the hop that answered speak HTTP/1.1", "让应答的那一跳使用 HTTP/1.1";
    NoUpgradeField = "101_without_upgrade", Some(Reason::Upstream101NoUpgrade),
        "the 101 has no Upgrade: websocket", "101 中没有 Upgrade: websocket",
        "a hop takes it out of the answer, or the server builds its answer by hand: send Upgrade: websocket", "某一跳从应答中去掉了它，或者服务器手工构造应答：请发送 Upgrade: websocket";
    NoConnectionField = "101_without_connection", Some(Reason::Upstream101NoConnection),
        "the 101 has no Connection: upgrade", "101 中没有 Connection: upgrade",
        "a hop takes it out of the answer, or the server builds its answer by hand: send Connection: Upgrade", "某一跳从应答中去掉了它，或者服务器手工构造应答：请发送 Connection: Upgrade";
    AcceptMissing = "accept_missing", Some(Reason::UpstreamAcceptMissing),
        "the 101 has no Sec-WebSocket-Accept", "101 中没有 Sec-WebSocket-Accept",
        "use a WebSocket library at the server instead of an answer made by hand", "服务器上请使用 WebSocket 库，而不是手工构造应答";
    AcceptMismatch = "accept_mismatch", Some(Reason::UpstreamAcceptMismatch),
        "the 101 has a wrong Sec-WebSocket-Accept", "101 中的 Sec-WebSocket-Accept 不正确",
        "a hop changes Sec-WebSocket-Key or answers from a cache, or the server computes it wrongly: compare with --compare", "某一跳修改了 Sec-WebSocket-Key 或用缓存应答，或者服务器计算错误：用 --compare 比较";
    SubprotocolUnrequested = "subprotocol_unrequested", Some(Reason::UpstreamSubprotocolUnrequested),
        "the server chose a subprotocol that was not offered, so clients fail the connection", "服务器选择了没有提供过的子协议，客户端会判定连接失败",
        "let the server choose one of the offered subprotocols or none (handleProtocols in ws)", "让服务器从所提供的子协议中选择，或不选择（ws 中的 handleProtocols）";
    ExtensionUnrequested = "extension_unrequested", Some(Reason::UpstreamExtensionUnrequested),
        "the 101 names an extension that was not offered, or an empty one", "101 中有未提供过的扩展，或为空",
        "let the server agree only to what is offered, and send no field otherwise", "让服务器只同意所提供的扩展，否则不发送该字段";
    BodyWith101 = "101_with_body", Some(Reason::Upstream101WithBody),
        "the 101 announces a body", "101 声明了消息体",
        "a hop adds Content-Length or Transfer-Encoding to the 101: it must not", "某一跳给 101 加上了 Content-Length 或 Transfer-Encoding：不应如此";
    SecondAnswer = "second_answer", Some(Reason::UpstreamDouble101),
        "the server sent a second HTTP answer right after its 101", "服务器在 101 之后又发送了一个 HTTP 应答",
        "two handlers answer the same upgrade: attach the WebSocket server once", "两个处理函数应答了同一次升级：WebSocket 服务器只绑定一次";

    ClosedAtOnce = "closed_at_once", Some(Reason::UpstreamCloseImmediate),
        "the WebSocket opens, and the server closes it at once with an empty Close frame", "WebSocket 打开后，服务器立即以空的 Close 帧关闭",
        "with express-ws this means: no route for this path, or a middleware refused; otherwise look at the application's log", "使用 express-ws 时，这表示该路径没有路由，或某个中间件拒绝了；否则查看应用日志";
    Closed = "closed_by_server", Some(Reason::UpstreamClose),
        "the server closes the WebSocket", "服务器关闭了 WebSocket",
        "detail has its code and reason; look at the application's log", "detail 中有关闭码和理由；查看应用日志";
    ClosedByPolicy = "closed_by_policy", Some(Reason::UpstreamClosePolicy),
        "the application refuses to continue and closes the WebSocket", "应用拒绝继续并关闭了 WebSocket",
        "detail has its code and reason: often a token that is missing or has expired", "detail 中有关闭码和理由：往往是令牌缺失或已过期";
    ClosedWithError = "closed_with_error", Some(Reason::UpstreamCloseError),
        "the server closes the WebSocket because of an error", "服务器因错误关闭了 WebSocket",
        "detail has its code and reason; look at the application's log", "detail 中有关闭码和理由；查看应用日志";
    ClosedTooBig = "closed_message_too_big", Some(Reason::UpstreamCloseTooBig),
        "the server closes the WebSocket because a message is too large for it", "服务器因消息过大关闭了 WebSocket",
        "send smaller messages, or raise the limit of the server's WebSocket library", "发送较小的消息，或调大服务器 WebSocket 库的上限";
    ClosedRestart = "closed_for_restart", Some(Reason::UpstreamCloseRestart),
        "the server closes the WebSocket because it restarts or is overloaded", "服务器正在重启或过载，因此关闭了 WebSocket",
        "wait and try again; if it goes on, look at the application's log and its load", "稍等后再试；如果持续如此，查看应用的日志和负载";
    ReservedCode = "reserved_close_code", Some(Reason::ReservedCloseCodeOnWire),
        "the server sends a Close frame with a code that must not be sent, so clients see 1006", "服务器发送的 Close 帧带有不允许发送的关闭码，客户端看到 1006",
        "let the application close with 1000 or a code from 4000 to 4999; detail has the code that it used", "让应用使用 1000 或 4000 到 4999 的关闭码；detail 中有它使用的关闭码";
    Ended = "ended_without_close", Some(Reason::UpstreamEofNoClose),
        "the server ends the connection without a Close frame: clients see 1006", "服务器没有发送 Close 帧就断开了连接：客户端看到 1006",
        "the application destroys its sockets or crashes after the 101, or a hop cuts it off: look at the logs of both", "应用在 101 之后销毁连接或崩溃，或者某一跳切断了它：查看两者的日志";
    TunnelReset = "reset_after_open", Some(Reason::UpstreamReset),
        "the connection is reset after the WebSocket has opened: clients see 1006", "WebSocket 打开后连接被重置：客户端看到 1006",
        "the application crashes, or a hop kills the connection: look at the logs of both", "应用崩溃，或某一跳切断了连接：查看两者的日志";
    ProtocolError = "protocol_error", Some(Reason::UpstreamProtocolError),
        "the server sends something that is not a valid WebSocket frame: clients see 1006 or 1002", "服务器发送的不是合法的 WebSocket 帧：客户端看到 1006 或 1002",
        "detail has the violation: a second handler writes to the socket, a hop changes the stream, or compression was not agreed on", "detail 中有违反的规则：另一个处理函数写入了该连接，某一跳修改了数据流，或压缩没有协商";
    DeflateBroken = "deflate_broken", Some(Reason::UpstreamProtocolError),
        "the server compresses its messages wrongly: clients see 1006 or 1007", "服务器压缩消息的方式不正确：客户端看到 1006 或 1007",
        "update the WebSocket library of the server, or switch permessage-deflate off there", "更新服务器的 WebSocket 库，或在服务器上关闭 permessage-deflate";
    PingUnanswered = "ping_unanswered", Some(Reason::UpstreamTimeout),
        "the WebSocket opens, but the server does not answer a Ping", "WebSocket 能打开，但服务器不应答 Ping",
        "the application is stuck, or reads nothing while it sends; or a hop accepts the upgrade and does not pass frames on", "应用卡住，或只发送而不读取；也可能是某一跳接受了升级却不转发帧";
    EchoMissing = "echo_missing", None,
        "the WebSocket opens, but the message that --echo sent does not come back", "WebSocket 能打开，但 --echo 发送的消息没有返回",
        "if the server sends messages back, look for an application that is stuck or a hop that holds frames back; otherwise leave --echo out", "如果服务器会原样返回消息，请查找卡住的应用或扣住帧的某一跳；否则不要使用 --echo";
    CloseUnanswered = "close_unanswered", Some(Reason::CloseHandshakeTimeout),
        "the server does not answer a Close frame, so clients see 1006, some after a long wait", "服务器不应答 Close 帧，客户端看到 1006，有的还要等很久",
        "update the WebSocket library of the server, or look for a hop that does not pass frames on", "更新服务器的 WebSocket 库，或查找不转发帧的某一跳";
    WechatRefused = "wechat_platform_refused", Some(Reason::OriginNotAllowed),
        "the server admits some WeChat clients and refuses others, because they send another Origin or none", "服务器只放行部分微信客户端：其他平台发送的 Origin 不同，或者没有 Origin",
        "admit all Origins of the platform (in wsgate the origin wechat with your app ids, and the route's host), and authenticate clients with a token", "放行该平台的所有 Origin（在 wsgate 中使用来源 wechat，列出 AppID 和路由的 host），并用令牌验证客户端";
    WechatRule = "wechat_rule", None,
        "the URL works, but mini programs on devices may not use it", "URL 可用，但真机上的小程序不允许使用",
        "use wss:// and a domain that is on the mini program's socket list (开发管理 → 服务器域名)", "使用 wss:// 和已加入小程序 socket 合法域名的域名（开发管理 → 服务器域名）";
    IdleCut = "idle_cut", Some(Reason::UpstreamEofNoClose),
        "a hop or the server cuts an idle WebSocket off", "某一跳或服务器切断了空闲的 WebSocket",
        "send a Ping or a small message as often as detail says, or raise the timer of the hop", "按 detail 中的间隔发送 Ping 或一条小消息，或调大那一跳的超时";

}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_finding_has_its_own_name_and_both_languages() {
        let mut seen = HashSet::new();
        for finding in Finding::ALL {
            assert!(seen.insert(finding.id()), "{}", finding.id());
            for text in [finding.cause(Language::Zh), finding.fix(Language::Zh)] {
                assert!(!text.is_ascii(), "{text}");
            }
            for text in [finding.cause(Language::En), finding.fix(Language::En)] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
            }
        }
    }

    #[test]
    fn the_document_lists_every_finding() {
        let page = std::fs::read_to_string("docs/diagnose.md").unwrap();
        for finding in Finding::ALL {
            let reason = finding
                .reason()
                .map_or_else(String::new, |reason| format!("`{reason}`"));
            let cause = finding.cause(Language::En);
            let row = format!("| `{}` | {reason} | {cause} |\n", finding.id());
            assert!(page.contains(&row), "missing or old: {row}");
        }
    }
}
