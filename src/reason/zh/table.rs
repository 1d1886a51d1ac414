//! Cause and remedy of every reason in Simplified Chinese.

use crate::reason::Reason;

macro_rules! texts {
    ($( $variant:ident: $cause:literal, $fix:literal; )*) => {
        /// What happened and what to do, each in one line without the full stop.
        pub(super) const fn texts(reason: Reason) -> (&'static str, &'static str) {
            match reason { $( Reason::$variant => ($cause, $fix), )* }
        }
    };
}

texts! {
    // accept
    TcpAcceptFailed: "文件描述符或内存不足，代理无法处理这个连接；连接已被重置，若记录里没有 peer，则它仍在等待",
        "调高容器或 systemd 单元的 nofile 上限，或调低 `limits.connections`，使其不超出该上限";
    TcpConnLimit: "打开的连接数已达上限；这个连接已被重置",
        "调高 `limits.connections`，或找出重连时不做退避的客户端";
    ClientConnLimit: "单个客户端打开的连接数已达上限；这个连接已被重置，若它来自受信任的代理，则其请求得到 429",
        "若许多用户共用一个地址，请调高 `limits.connections_per_client`；若所有客户端看起来都是同一个地址，请把前面那一跳写进 `trusted_proxies`";
    TcpProbe: "客户端建立连接后一个字节也没有发送就关闭了，TCP 健康检查就是这样",
        "无需处理；把健康检查改为请求 `probes.address` 上的 /readyz，就不会留下这类记录，还能发现代理正在排空";
    TcpResetBeforeRequest: "连接在完整的请求到达之前，或与请求到达的同时，被重置",
        "零星出现多是移动网络掉线或扫描器；同时大量出现时，检查前面那一跳的空闲超时，以及它是否重启过";
    TcpFirstByteTimeout: "客户端建立连接后，直到超时都没有发送任何数据",
        "可能是负载均衡预先建立的连接，也可能是客户端停住了；超时时间在启用 TLS 时为 `limits.tls_handshake`，否则为 `limits.request_head`";
    ProxyProtocolUnexpected: "最先到达的是 PROXY protocol 头，而这个监听端口不接受 PROXY protocol",
        "把 `listeners[].proxy_protocol` 设为 required，并把负载均衡写进 `trusted_proxies`；或在负载均衡上关闭 PROXY protocol，改为发送 X-Forwarded-For";
    ProxyProtocolMissing: "这个监听端口要求先收到 PROXY protocol 头，但前面那一跳发来了别的数据",
        "在负载均衡上为该端口开启 PROXY protocol（v1 或 v2），或删除 `listeners[].proxy_protocol`";
    ProxyProtocolInvalid: "PROXY protocol 头格式错误、不完整或校验和不符",
        "detail 写明了错在哪里：检查写入该头的那一跳，以及它与代理之间的所有设备";
    ProxyProtocolUntrusted: "这个监听端口只接受来自受信任代理的连接，因为客户端由它们的 PROXY protocol 头指明；该 peer 不是受信任的代理",
        "若 peer 就是负载均衡，把它的地址加进 `trusted_proxies`；若不是，用防火墙禁止其他地址访问该端口";
    TlsOnPlainPort: "未启用 TLS 的监听端口收到了 TLS ClientHello",
        "让 wss:// 指向启用了 TLS 的端口，为这个监听端口配置 `listeners[].tls`，或由负载均衡终止 TLS";

    // tls
    TlsPlainHttpOnTlsPort: "启用 TLS 的监听端口收到了明文 HTTP",
        "用 wss:// 或 https:// 访问该端口，或把负载均衡的后端协议设为 HTTPS 或 TCP";
    TlsNotTls: "最先到达的字节既不是 TLS 也不是 HTTP",
        "多半是扫描器；若不是，说明客户端用别的协议访问这个端口：detail 列出了最初的字节";
    TlsHandshakeTimeout: "客户端开始了 TLS 握手，但没有在期限内完成",
        "detail 写明进行到哪一步：客户端自己停下了、网络丢包（大包先丢：检查 MTU），或前面某一跳没有转发；超时时间是 `limits.tls_handshake`";
    TlsClientClosed: "客户端在 TLS 握手中途断开，没有发送 alert",
        "若恰好发生在证书发出之后，多半是客户端拒绝了证书：查看客户端自己的报错，并用它自己的信任库验证；`wsgate check` 能查出证书链、域名和有效期的问题，但不知道客户端信任谁";
    TlsVersionUnsupported: "客户端提供的 TLS 版本，这个监听端口都不支持",
        "升级客户端的 TLS 库：它至少需要支持 TLS 1.2；若 `listeners[].tls.min_version` 另有要求，则需要更高版本";
    TlsNoCommonCipher: "客户端与代理没有共同的加密套件；代理只提供 ECDHE 加 AES-GCM 或 ChaCha20，在 TLS 1.2 中还须与证书的密钥类型相符",
        "客户端过旧，或被限定使用旧套件：升级它的 TLS 库，或由前面一跳为它终止 TLS";
    TlsNoCommonGroup: "客户端与代理没有共同的密钥交换组（X25519MLKEM768、X25519、P-256、P-384）",
        "在客户端的 TLS 设置中启用上述任意一组";
    TlsNoCommonSigalg: "已配置的证书的密钥类型和签名算法，客户端都不接受",
        "为同样的域名在 `listeners[].tls.certificates` 中补上另一类证书（已有 ECDSA 就加 RSA，反之亦然）";
    TlsSniUnknown: "没有任何证书覆盖客户端请求的域名（SNI）",
        "把该域名的证书加进 `listeners[].tls.certificates`，修正 DNS，或把 `listeners[].tls.unknown_sni` 设为 default 以返回第一张证书";
    TlsAlpnNoOverlap: "客户端的 ALPN 列表里没有这个监听端口支持的协议；或者客户端没有发送 ALPN，而这个监听端口只支持 h2",
        "让客户端（或负载均衡的后端设置）在 ALPN 中提供监听端口支持的某个协议（detail 列出了这些协议），或在 `listeners[].tls.alpn` 中加上 http/1.1 或 h2；多数 WebSocket 客户端需要 http/1.1";
    TlsAlertUnknownCa: "客户端不信任证书的签发者（alert 48）：缺少中间证书、证书是自签名的，或客户端不认识签发它的 CA",
        "`listeners[].tls.certificates[].cert` 里要放完整的证书链，服务器证书在最前，因为 Android 不会自行下载中间证书；若 CA 是自建的，请在客户端安装它";
    TlsAlertBadCertificate: "客户端拒绝了证书（alert 42、43 或 46）：域名不符、签名太弱、密钥类型不受支持，或客户端没有说明的其他问题",
        "核对证书中的域名与客户端连接的主机名：`wsgate check` 会列出未被覆盖的主机名";
    TlsAlertCertExpired: "客户端认为证书已过期或尚未生效（alert 45）",
        "更新 `listeners[].tls.certificates[].cert` 指向的文件；若有效期本身没有问题，就是客户端的时钟不准";
    TlsAlertCertRevoked: "客户端认为证书已被吊销（alert 44）",
        "重新签发证书，并同时替换 `listeners[].tls.certificates[].cert` 和 `listeners[].tls.certificates[].key`";
    TlsAlertOther: "客户端以 alert 结束了 TLS 握手，原因与信任和有效期无关",
        "alert 的名称见 detail；检查客户端的 TLS 库，或它与代理之间的中间设备";
    TlsProtocolError: "客户端的 TLS 消息格式错误或次序不对",
        "可能是扫描器、有缺陷的 TLS 库，或篡改数据流的中间设备：见 detail，并换一条网络路径对比";
    TlsClosedUnused: "TLS 握手完成后，客户端没有发送请求就关闭了连接",
        "多为 TLS 健康检查或预连接；真实的客户端这样做，说明它拒绝了证书：运行 `wsgate check`，并用该客户端自己的信任库验证";
    TlsClientCertMissing: "这个监听端口要求客户端证书，而客户端没有出示",
        "为客户端配置证书；微信小程序和浏览器的 WebSocket 无法出示证书，在 Chromium 中只要被要求出示证书，WebSocket 就会失败：请为它们另开一个没有 `listeners[].tls.client_auth` 的监听端口";
    TlsClientCertInvalid: "客户端证书被拒绝：不是由配置的 CA 签发、不在有效期内，或不是客户端证书",
        "具体是哪一种见 detail；重新签发证书，或把其签发者加进 `listeners[].tls.client_auth.ca` 指向的文件";

    // http
    HttpHeaderTimeout: "请求头没有在期限内收完",
        "网络太慢，或客户端有意占住连接；超时时间是 `limits.request_head`";
    HttpHeadIncomplete: "客户端在请求头中途结束了数据流",
        "客户端发送途中放弃，或被前面那一跳切断：将 head_ms 与那一跳的超时设置对比";
    HttpMalformed: "请求头不符合 RFC 9112 的语法",
        "可能是扫描器，或者客户端、前面某一跳自行拼接了请求；detail 写明错误，若错在某个字节或某一行，也会写明位置";
    HttpTooLarge: "请求头，或分块请求体的块大小、扩展和尾部字段，超过了允许的大小",
        "让客户端减小 Cookie、不要把令牌放进 URL，或调高 `limits.header_bytes`";
    HttpVersionUnsupported: "请求所用的 HTTP 版本不能用于 WebSocket 握手和有上游的路由，例如 HTTP/1.0，或未经 ALPN 协商的 HTTP/2",
        "让 HTTP/1.0 的健康检查（HAProxy 的 httpchk 等）使用带 `routes[].respond` 的路由或 `probes.address`；若前面的代理使用 HTTP/1.0（nginx 1.29.7 之前的默认值），在那里设置 proxy_http_version 1.1；若要使用 HTTP/2，在 `listeners[].tls.alpn` 中加上 h2，没有 TLS 时则让前面一跳使用 HTTP/1.1";
    HttpHostMissing: "请求没有 Host 字段",
        "客户端自行拼接了请求，或前面那一跳丢掉了 Host：让它原样传递该字段";
    HttpHostInvalid: "Host 字段重复出现，或不是「主机名加可选端口」的形式",
        "检查前面那一跳如何改写 Host";
    HttpFramingConflict: "请求的长度有歧义（Content-Length 与 Transfer-Encoding 相互矛盾、重复或无效），或者分块、尾部字段格式错误",
        "这是请求走私（request smuggling）企图，或者客户端、前面某一跳有缺陷；detail 写明错误，上游绝不会收到完整的请求";
    HttpBodyOnUpgrade: "WebSocket 握手请求声明了请求体",
        "从客户端的升级请求中去掉 Content-Length 和 Transfer-Encoding";
    HttpEarlyData: "请求头之后紧跟着数据；客户端必须等待应答（RFC 6455 第 4.1 节）",
        "这是请求走私企图，或客户端不等待应答：修正客户端";
    HttpExpectRefused: "握手请求带有 Expect 字段，或普通请求带有 100-continue 以外的 Expect 字段",
        "从客户端请求中去掉 Expect（curl 只在带请求体时才会加上它）";
    HttpBodyTooLarge: "请求体超过该路由允许的大小",
        "让客户端少发一些，或调高 `routes[].http.max_body`";
    HttpBodyTimeout: "请求体没有在期限内收完",
        "网络太慢，或客户端有意一点一点地发送；超时时间是 `routes[].http.request_timeout`";
    HttpBodyIncomplete: "客户端在请求体中途结束了数据流",
        "用户在上传途中离开页面，或应用被系统杀掉；若大量出现，说明前面某一跳切断了上传：检查它的大小限制和超时设置";
    HttpConnectionProtected: "Connection 字段列出了代理不得删除的字段",
        "这是诱使代理丢弃安全字段的企图，或客户端有缺陷；字段名见 detail";
    H2cRefused: "握手请求、或发往 WebSocket 路由的请求，要求升级到明文 HTTP/2",
        "在客户端关闭 HTTP/2（curl：--http1.1，Java 的 HttpClient：version(HTTP_1_1)）；否则就是请求走私企图";
    H2ProtocolError: "客户端通过 HTTP/2 发送的内容违反了 RFC 9113，因此该流以 RST_STREAM 结束，或整个连接以 GOAWAY 结束",
        "可能是扫描器，或者客户端、前面某一跳有缺陷；detail 写明错误码，已知时也写明问题所在；如果是前面那一跳，让它用 HTTP/1.1 访问这个监听端口，或从 `listeners[].tls.alpn` 中去掉 h2";
    H2Flood: "客户端发送了太多没有实际作用的 HTTP/2 帧（重置、空帧、SETTINGS、PING、不结束的头部块），因此连接以 GOAWAY 结束",
        "这是攻击，或客户端陷入了循环：detail 写明是哪些帧；可用 `limits.connections_per_client` 限制这类客户端";
    H2StreamLimit: "客户端在一个连接上打开的 HTTP/2 流超过了该监听端口公布的数量",
        "客户端必须等它的某个流结束，或另开一个连接；如果前面那一跳替许多客户端转发，调高 `listeners[].http2.max_streams`";
    H2MalformedRequest: "HTTP/2 请求的头部违反 RFC 9113 第 8 节：伪字段缺失、重复、位置不对或取值无效，或者含有不允许的字段",
        "可能是扫描器，或者客户端、前面某一跳自行拼接了请求；问题见 detail；该连接上的其他流不受影响";
    H2ConnectionHeader: "HTTP/2 请求带有只有 HTTP/1.1 才允许的字段，例如 Connection、Upgrade 或 Transfer-Encoding（RFC 9113 第 8.2.2 节）",
        "前面某一跳把 HTTP/1.1 请求的字段原样放进了 HTTP/2：让它去掉这些字段，或让它用 HTTP/1.1 访问本代理";
    H2WsUnsupported: "客户端以行不通的方式请求 HTTP/2 上的 WebSocket：用 GET 加 HTTP/1.1 的字段，或使用了该连接没有公布的扩展 CONNECT",
        "公布了扩展 CONNECT（RFC 8441）时客户端必须使用它，否则应另开一个 HTTP/1.1 连接；设置 `listeners[].http2.websocket`: on 来公布它，或从 `listeners[].tls.alpn` 中去掉 h2";
    H2ProtocolUnknown: "HTTP/2 的扩展 CONNECT 请求了 websocket 以外的协议，或者不带 :protocol 的 CONNECT 请求普通隧道",
        ":protocol 只支持 websocket；其他协议一概不转发，本代理也不是正向代理";
    WsMethodNotGet: "握手请求的方法不是 GET",
        "改用 GET；使用 wx.connectSocket 时不要设置 method 选项";
    PlainHttpRequest: "WebSocket 路由收到了不带任何 WebSocket 字段的普通 HTTP 请求",
        "让健康检查请求 `probes.address` 上的 /healthz 或 /readyz；若该路由也处理普通请求，给它加上 `routes[].http`；在浏览器客户端中使用 new WebSocket";
    WsHandshakeMissing: "请求带有 Sec-WebSocket 字段，但没有 Upgrade、Sec-WebSocket-Key 和 Sec-WebSocket-Version，因此不是 WebSocket 握手",
        "让 WebSocket 库来发起客户端的请求，不要手工设置个别字段；如果本来就由库发起，检查前面是否有一跳只转发部分字段";
    WsUpgradeHeaderMissing: "请求有 Sec-WebSocket-Key 或 Sec-WebSocket-Version，却没有 Upgrade：它被前面某一跳去掉了",
        "让前面那一跳传递 Upgrade 和 Connection（nginx：两者都要 proxy_set_header），或在 CDN、负载均衡上开启 WebSocket 支持";
    WsConnectionTokenMissing: "请求有 Upgrade，但 Connection 字段不包含 upgrade：它被前面某一跳改写了",
        "若前面是 nginx：proxy_set_header Connection $connection_upgrade（由 $http_upgrade 的 map 得到）";
    WsUpgradeNotWebsocket: "Upgrade 字段写的是 websocket 以外的协议",
        "使用 WebSocket 客户端；其他协议一概不转发";
    WsKeyMissing: "缺少 Sec-WebSocket-Key",
        "客户端自行拼接了请求，或前面那一跳删掉了它不认识的字段：让 Sec-WebSocket-* 原样通过";
    WsKeyInvalid: "Sec-WebSocket-Key 重复出现，或不是 16 字节的 base64",
        "客户端自行生成了 key：让它的 WebSocket 库来生成，库会把 16 个随机字节以 base64 发送一次";
    WsVersionUnsupported: "Sec-WebSocket-Version 缺失，或不是 13",
        "使用符合 RFC 6455 的客户端；其他取值是已知的走私手法，绝不转发";
    WsProtocolHeaderInvalid: "Sec-WebSocket-Protocol 不是由互不相同的 token 组成的列表",
        "客户端的子协议要以名称数组传入（wx.connectSocket 的 protocols 必须是数组）";
    WsExtensionsHeaderInvalid: "Sec-WebSocket-Extensions 不符合 RFC 6455 第 9.1 节的语法",
        "修正客户端，或改写扩展协商内容的那一跳";
    LoopDetected: "根据 Via 字段，请求已经过本代理，或经过的代理太多",
        "有上游把请求又发回了本代理：`upstreams.*.endpoints` 要写后端本身，不要写会绕回本代理的域名或负载均衡";

    // policy
    HostNotAllowed: "Host 不是本代理服务的域名，或与建立 TLS 连接时的域名不一致",
        "把它写进 `routes[].host`，或修正 DNS 或负载均衡发送的 Host";
    PathNotAllowed: "对于这个 Host，没有路由匹配这个路径",
        "添加一条 `routes[].path` 为该路径的路由，或修正客户端的 URL";
    PathNearMiss: "路径与某条路由的路径只差大小写、斜杠，或至多两个字符（且不超过长度的四分之一）",
        "把客户端的 URL 改成这里给出的 `routes[].path`；握手请求从不重定向";
    PathAmbiguous: "路径可以有两种解读：含有点段（. 或 ..）、重复或编码的斜杠，或者多余或错误的百分号编码",
        "让客户端按 `routes[].path` 的写法发送路径：重复的斜杠来自基础 URL 与路径的拼接，其余来自手工拼接的 URL，或绕过路径名单的企图";
    OriginMissing: "请求没有 Origin，而该路由要求有 Origin",
        "客户端不是浏览器：为原生客户端单设一条路由，校验令牌，并把 `routes[].websocket.missing_origin` 设为 allow；或使用来源 wechat";
    OriginNull: "Origin 是 null（沙箱 iframe、本地文件页面或不透明重定向）",
        "从真正的 https 来源提供客户端的页面，并把该来源列入名单；null 无法放行";
    OriginMalformed: "Origin 不是 scheme://host 或 scheme://host:port 的形式",
        "浏览器不会这样发送：检查客户端，或改写 Origin 的那一跳";
    OriginMultiple: "请求带有不止一个 Origin 字段",
        "客户端或前面某一跳多加了一个 Origin：去掉其中一个";
    OriginNotAllowed: "Origin 不在该路由的名单上",
        "若页面是自己的，把它的来源按 origin 字段所示原样加进 `routes[].websocket.origins`";
    RefererAppidMismatch: "客户端的 Origin 是微信的或缺失，而 Referer 没有指明该路由列出的微信 AppID",
        "若小程序是自己的，把它的 AppID 加进 `routes[].websocket.wechat_app_ids`";
    SubprotocolNotAllowed: "客户端提出了子协议，但没有一个在该路由的名单上",
        "把其中一个名称加进 `routes[].websocket.subprotocols`，或修改客户端提出的子协议";
    WebsocketNotAllowed: "握手请求匹配到只处理普通请求的路由",
        "修正客户端的 URL，或给该路由加上 `routes[].websocket`";
    HttpMethodNotAllowed: "该路由不接受这个请求方法",
        "若应当由上游处理，把该方法加进 `routes[].http.methods`；浏览器发出的 OPTIONS 是 CORS 预检";
    RedirectRefused: "握手请求到达只做 https 跳转的监听端口，而 WebSocket 客户端不会跟随重定向",
        "让客户端改用 wss://；这个监听端口因 `listeners[].redirect_to_https` 而只做跳转";
    Draining: "代理正在停机或排空，不再接受新隧道",
        "负载均衡本应已停止向这里转发：让它的健康检查请求 `probes.address` 上的 /readyz，并让 `shutdown.delay` 长于它发现状态变化所需的时间；客户端会按 Retry-After 重连";
    ListenerChanged: "连接被接受之后、请求到达之前，配置重载改变了监听端口的要求（TLS、客户端证书或 PROXY protocol 头）",
        "无需处理：客户端的下一个连接按当前的 `listeners[].tls.client_auth` 和 `listeners[].proxy_protocol` 处理";
    RateLimited: "单个客户端每分钟的握手次数超过上限",
        "客户端重连时不做退避，或许多客户端共用一个地址：调高 `limits.handshakes_per_client`；若前面有负载均衡，还要设置 `trusted_proxies`";

    // upstream
    ClientGaveUp: "代理还在等待上游时，客户端就离开了",
        "上游应答的时间超过了客户端愿意等待的时间：将 detail 中的等待时间与客户端的连接超时和 `upstreams.*.handshake_timeout` 对比";
    UpstreamDnsFailed: "上游的域名无法解析",
        "检查 `upstreams.*.endpoints` 中的域名，以及本进程使用的 DNS 解析器";
    UpstreamRefused: "上游地址上没有程序在监听",
        "上游没有运行、正在启动、使用别的端口，或只监听 ::1：核对它的监听地址与 `upstreams.*.endpoints`";
    UpstreamConnectTimeout: "上游地址没有在期限内响应连接请求",
        "可能是防火墙或安全组丢包、主机宕机，或它的 accept 队列已满：attempts 列出了试过的每个地址；超时时间是 `upstreams.*.connect_timeout`";
    UpstreamUnreachable: "没有到达上游地址的路由",
        "检查容器网络，以及 `upstreams.*.endpoints` 中的地址";
    UpstreamResetOnConnect: "上游接受了连接，但在应答之前将其重置",
        "上游反复崩溃、过载，或主动销毁它不接受的连接：查看上游在该时刻的日志";
    UpstreamPortsExhausted: "代理已没有可用的文件描述符或本地端口来连接上游",
        "调高 nofile 上限，调低 `limits.connections`，或把负载分散到 `upstreams.*.endpoints` 中的多个地址";
    UpstreamNoneHealthy: "上游的所有端点都未通过健康检查，因此代理没有连接其中任何一个",
        "upstream_health 记录写明了从何时开始、原因是什么；检查上游是否在运行，对 `upstreams.*.health_check.path` 是否返回 2xx";
    UpstreamTunnelLimit: "到该上游的隧道数已达上限",
        "调高 `upstreams.*.max_tunnels`，或找出打开许多隧道却从不关闭的客户端";
    UpstreamTlsToPlainPort: "上游对代理的 ClientHello 返回的不是 TLS：它的端口没有启用 TLS",
        "把 `upstreams.*.endpoints` 中的 https:// 改成 http://，或改为上游的 TLS 端口";
    UpstreamTlsVerifyFailed: "上游的证书不受信任、域名不符，或不在有效期内",
        "具体是哪一种见 detail：用 `upstreams.*.tls.ca` 指定其签发者的证书文件，用 `upstreams.*.tls.server_name` 指定证书中的域名，或更新证书";
    UpstreamTlsFailed: "与上游的 TLS 握手失败，且原因不在证书",
        "detail 写明 alert 或错误：核对上游的 TLS 版本和加密套件（代理支持 1.2 和 1.3），并检查上游是否要求客户端证书（`upstreams.*.tls.cert`）";
    UpstreamTlsTimeout: "上游接受了连接，但没有在期限内完成 TLS 握手",
        "上游的事件循环阻塞，或它的端口没有启用 TLS、正在等待别的数据；超时时间是 `upstreams.*.connect_timeout`，其中包含 TLS 握手";
    UpstreamAlpnH2: "上游的这个端口只支持 HTTP/2，而协议升级需要 HTTP/1.1",
        "让上游在 h2 之外也接受 http/1.1（Node：http2.createSecureServer 的 allowHTTP1），或在 `upstreams.*.endpoints` 中改为它的 HTTP/1.1 端口";
    UpstreamPlainToTlsPort: "上游的端口要求 TLS，而代理用明文 HTTP 访问；上游返回了 TLS 数据，或返回了说明这一点的 HTTP 错误",
        "把 `upstreams.*.endpoints` 中的 http:// 改成 https://，或改为上游的明文 HTTP 端口";
    UpstreamHandshakeTimeout: "上游收到了握手请求，但没有在期限内应答",
        "上游的事件循环阻塞或鉴权太慢；超时时间是 `upstreams.*.handshake_timeout`";
    UpstreamResponseTimeout: "上游收到了普通请求，但没有在期限内应答",
        "查明上游当时在等什么；超时时间是 `routes[].http.response_timeout`";
    UpstreamClosedBeforeResponse: "上游没有返回完整的应答就关闭了连接",
        "上游处理请求时调用了 socket.destroy()、崩溃或重启：查看它在该时刻的日志";
    UpstreamMalformedResponse: "上游的应答不是 HTTP/1.1、自相矛盾，或无法转发",
        "detail 写明收到了什么；检查 `upstreams.*.endpoints` 是否指向上游的 HTTP 端口";
    UpstreamHeadTooLarge: "上游应答的头部超过了允许的大小",
        "让上游减小 Cookie 和其他字段，或调高 `limits.header_bytes`";
    UpstreamHttp10101: "上游以 HTTP/1.0 返回了 101，而 HTTP/1.0 不支持协议升级",
        "让上游，或上游前面的那一跳，使用 HTTP/1.1";
    UpstreamBadRequest: "握手请求正确，上游却返回 400",
        "查看转发回来的响应体和上游的日志，弄清它拒绝了什么";
    UpstreamUnauthorized: "上游返回 401",
        "上游的鉴权拒绝了客户端：检查客户端的令牌或 Cookie";
    UpstreamForbidden: "上游返回 403",
        "上游自己也检查 Origin 或访问权限：使它与 `routes[].websocket.origins` 一致";
    UpstreamNotFound: "上游返回 404：该路径上没有 WebSocket 处理函数",
        "核对该路径与上游 WebSocket 服务的路由：上游的路径与 `routes[].path` 不同、上游在该路径上只处理普通请求，或代理之后还有一跳使用自己的路由";
    UpstreamUpgradeRequired: "上游返回 426：它没有看到升级请求，或要求别的版本",
        "检查代理与上游之间是否有一跳去掉了 Upgrade；若没有，则是上游在该路径上要求别的协议或版本";
    UpstreamRedirect: "上游返回了重定向，而 WebSocket 客户端不会跟随",
        "Location 见 detail：若是登录页，客户端须先登录，或带上 Cookie 或令牌；若是同一位置、只是斜杠或协议不同，修正客户端的 URL，或关闭上游的重定向";
    UpstreamRateLimited: "上游返回 429",
        "上游对客户端限流：找出重连时不做退避的客户端";
    Upstream4xx: "上游返回了其他 4xx 状态码",
        "客户端收到的是原样的应答：查看响应体和上游的日志";
    Upstream5xx: "上游返回了 5xx 状态码",
        "500 是上游内部出错；502 和 504 来自代理之后、无法连通上游的一跳；503 表示上游过载、正在启动或已停用：查看它在该时刻的日志";
    Upstream2xxInsteadOf101: "上游返回成功，但没有切换协议：请求由普通的 HTTP 处理函数处理了",
        "让该路径指向上游的 WebSocket 服务，而不是它的页面或单页应用的兜底路由";
    Upstream101NoUpgrade: "上游的 101 没有 Upgrade: websocket",
        "代理之后的一跳删除了响应字段，或上游自行拼接了握手应答";
    Upstream101NoConnection: "上游的 101 没有 Connection: upgrade",
        "上游自行拼接了握手应答，或代理之后的一跳改写了 Connection";
    UpstreamAcceptMissing: "上游的 101 没有 Sec-WebSocket-Accept",
        "上游没有进行 WebSocket 握手就返回了 101：在上游使用 WebSocket 库";
    UpstreamAcceptMismatch: "上游的 Sec-WebSocket-Accept 与发出的 key 不匹配",
        "缓存返回了旧的 101，或代理之后的一跳替换了 Sec-WebSocket-Key";
    UpstreamSubprotocolUnrequested: "上游选择的子协议不是客户端提出的，或该路由不允许",
        "让上游只从客户端提出的子协议中选择；若设置了 `routes[].websocket.subprotocols`，还须在其范围之内";
    UpstreamExtensionUnrequested: "上游的 101 写有客户端没有提出的扩展，或扩展名为空",
        "若没有协商出扩展，让上游省略 Sec-WebSocket-Extensions";
    Upstream101WithBody: "上游的 101 声明了响应体",
        "上游不得随 101 发送 Content-Length 或 Transfer-Encoding";
    UpstreamDouble101: "上游在 101 之后立刻又发送了第二个 HTTP 响应",
        "上游有两个 upgrade 处理函数或中间件写同一个 socket：只保留一个";
    Upstream101Unsolicited: "上游对普通请求返回了 101，而该请求没有要求升级",
        "上游的 upgrade 处理函数接受了不带 Upgrade 的请求；若有人故意构造这样的请求，那就是攻击";
    UpstreamResponseCut: "上游对普通请求的应答中途断开",
        "上游在应答途中崩溃或重启：查看它在该时刻的日志";
    UpstreamResponseStalled: "上游对普通请求的应答发到一半就停住了",
        "让上游在事件流（SSE）中不时发送一行注释，或调高 `routes[].http.idle_timeout`";
    ClientLeftResponse: "普通请求的应答尚未发完，客户端就离开了",
        "多半是用户离开了页面，或客户端关闭了流；bytes_upstream_to_client 写明应答已发送多少";
    ClientStalledResponse: "客户端不再读取普通请求的应答",
        "客户端失联，或有意放慢读取；每段数据的期限是 `limits.write_stall`";

    // tunnel
    ClientClose: "客户端先发送了 Close 帧",
        "正常结束；若客户端本不该关闭，看它的关闭码：close_code_client 和 close_reason_client 是它发来的关闭码和原因";
    ClientGoingAway: "客户端以 1001 关闭；用户离开或刷新页面时，浏览器就会这样",
        "无需处理；若客户端马上重新连接，说明用户刷新了页面";
    ClientEofNoClose: "客户端正常结束了连接，但没有发送 Close 帧",
        "客户端没有调用 close() 就结束了：脚本退出，或手机系统把应用转入了后台";
    ClientReset: "客户端的连接异常中断",
        "网络切换、应用被杀，或前面的负载均衡空闲超时：看 suspect，并将 idle_ms 与那一跳的超时设置对比";
    ClientTimeout: "客户端一侧不再确认或接收任何数据",
        "手机失联或休眠，或前面某一跳丢弃了连接状态：用 `routes[].websocket.ping` 发送心跳，既能避免各跳超时，也能更早发现问题";
    UpstreamClose: "上游先发送了 Close 帧",
        "正常结束；close_code_upstream 和 close_reason_upstream 是上游发来的关闭码和原因";
    UpstreamCloseImmediate: "上游返回 101 后立刻发来空的 Close 帧，此前没有发送任何数据",
        "上游接受握手后立刻离开：该路径没有处理函数（express-ws 就是这样），或升级之后的某项检查拒绝了客户端；核对 path 与上游的路由，并检查它的鉴权";
    UpstreamClosePolicy: "上游的应用拒绝继续（1008、3000、3003，或 4000 及以上的自定义关闭码）",
        "查看 close_reason_upstream，并在上游的应用中查找该关闭码的含义";
    UpstreamCloseTooBig: "上游因消息太大而关闭（1009）",
        "让客户端发送较小的消息，或调高上游自己的限制（Node ws 的 maxPayload，Python websockets 的 max_size）";
    UpstreamCloseError: "上游因出错而关闭（1002、1003、1007、1010、1011 或 1014）",
        "查看上游在该时刻的日志；1002 和 1007 表示它不接受客户端发来的内容，1011 表示它的处理函数出错";
    UpstreamCloseRestart: "上游因重启或过载而关闭（1012、1013）",
        "若许多隧道同时结束，说明上游正在发布；让客户端以退避加随机抖动的方式重连";
    UpstreamEofNoClose: "上游正常结束了连接，但没有发送 Close 帧",
        "上游对 socket 调用了 terminate()、destroy() 或 end()，或它的进程退出、被杀：查看上游的日志和退出状态；客户端会收到什么由 `upstreams.*.on_abort` 决定";
    UpstreamReset: "上游的连接异常中断",
        "上游崩溃、内存不足（OOM）或 Pod 被删除，或它没有读完客户端的数据就关闭了（Node 中的 terminate() 或 destroy()）：查看上游在该时刻的日志和退出状态";
    UpstreamTimeout: "上游一侧不再确认或接收任何数据",
        "上游的主机或网络已中断：检查它所在的节点，以及它与代理之间的网络";
    CloseHandshakeTimeout: "一侧发送了 Close 帧，另一侧始终没有应答",
        "by 和 detail 写明是哪一侧没有应答；期限是 `limits.close_wait`";
    HalfCloseTimeout: "一侧没有发送 Close 帧就结束了数据流，另一侧随后一直沉默",
        "detail 写明哪一侧先结束、哪一侧没有跟着结束；期限是 `limits.close_wait`";
    IdleTimeout: "在该路由的空闲超时之内，两个对端都没有发送帧；已向两侧发送 Close 1001",
        "让应用发送心跳，间隔短于 `routes[].websocket.idle_timeout`，或调高该值";
    ClosedByOperator: "运维人员通过 admin 监听器关闭了这个隧道；已向两侧发送 Close 1001",
        "detail 写明是谁要求的；客户端应当重连";
    MaxLifetime: "隧道打开的时间达到该路由的上限；已向两侧发送 Close 1001",
        "客户端应当自行重连；上限是 `routes[].websocket.max_lifetime`";
    PongTimeout: "代理发出 Ping 之后，客户端没有发送任何数据",
        "客户端失联或休眠，或它的库不应答 Ping；期限是 `routes[].websocket.ping.timeout`";
    MessageTooBig: "消息超过该路由允许的大小；消息没有转发，并已向客户端发送 Close 1009",
        "发送较小的消息，或调高 `routes[].websocket.max_message`";
    ClientProtocolError: "客户端发来的不是合法的客户端 WebSocket 帧；没有转发",
        "detail 写明违反了哪条规则，并列出最初的字节：客户端的 WebSocket 库有缺陷，或前面某一跳插入了别的数据";
    UpstreamProtocolError: "上游发来的不是合法的服务端 WebSocket 帧；没有转发",
        "detail 写明违反了哪条规则，并列出最初的字节：上游的 WebSocket 库有缺陷，或上游有别的代码写同一个 socket";
    ReservedCloseCodeOnWire: "Close 帧带有不得发送的关闭码（如 1005、1006 或 1015）；已原样转发",
        "by 写明是哪一方的应用用该关闭码调用了 close()：改用 1000，或 3000 到 4999 之间的关闭码；用户的客户端可能因此报告 1006";
    TlsTruncated: "客户端的 TCP 流结束时，既没有 TLS close_notify，也没有 Close 帧",
        "多半是客户端被杀；若同时大量出现，说明前面某一跳切断了 TLS 连接";
    TlsRecordError: "来自客户端的某条 TLS 记录无法解密，或违反协议",
        "客户端网络中的中间设备篡改了数据流，或有人注入数据：见 detail";
    ClientWriteStalled: "客户端停止读取，发给它的数据等待太久",
        "客户端的应用被挂起，或网络太慢：向它少发送一些数据，或调高 `limits.write_stall`";
    UpstreamWriteStalled: "上游停止读取，发给它的数据等待太久",
        "上游的事件循环阻塞，或暂停了 socket 的读取；期限是 `limits.write_stall`";
    DrainGraceful: "代理正在停机或排空，已向客户端发送 Close 帧",
        "客户端应当自行重连；它们收到的关闭码是 `shutdown.close_code`，节奏由 `shutdown.spread` 决定";
    DrainForced: "停机或排空期间，还没来得及向客户端发送 Close 帧，隧道就结束了：期限已到、收到第二个信号，或某一侧先断开",
        "原因见 detail；用 `shutdown.drain` 给客户端更多时间，并让平台的宽限期比它更长";
    InternalAborted: "代理自身的代码没有给出原因就结束了：这是程序缺陷，或进程正在被强行终止",
        "请提交问题报告，并附上该时刻前后标准错误的输出，以及 `wsgate check` 的输出";
}
