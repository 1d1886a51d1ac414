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
    TcpAcceptFailed: "描述符或内存不足，代理无法处理这个连接；连接已被重置，若记录里没有 peer，则它仍在队列中等待",
        "调高容器或 systemd 单元的 nofile 上限，或把 `limits.connections` 降到该上限容得下的数值";
    TcpConnLimit: "打开的连接数已达上限，这个连接被重置",
        "调高 `limits.connections`，或找出断线后不退避就立刻重连的客户端";
    ClientConnLimit: "单个客户端打开的连接数已达上限：这个连接被重置；若它经由受信任的代理而来，则对其请求返回 429",
        "若许多用户共用一个出口地址，请调高 `limits.connections_per_client`；若所有客户端看起来都是同一个地址，请把前面那一跳写进 `trusted_proxies`";
    TcpProbe: "连接建立后一个字节也没发就关闭了，TCP 健康检查就是这样",
        "无需处理；把健康检查改为请求 `probes.address` 上的 /readyz，就不会留下这类记录，还能得知代理正在排空";
    TcpResetBeforeRequest: "连接在完整请求到达之前、或与请求同时被重置",
        "零星出现多是移动网络掉线或扫描器；同时大量出现时，检查前面那一跳（它的空闲超时、是否重启）";
    TcpFirstByteTimeout: "连上之后一直没有发送任何数据，直到超时",
        "可能是负载均衡预先建立的连接，也可能是客户端卡住；超时时间在启用 TLS 时取 `limits.tls_handshake`，否则取 `limits.request_head`";
    ProxyProtocolUnexpected: "最先到达的是 PROXY protocol 头，而这个监听端口不接受它",
        "把 `listeners[].proxy_protocol` 设为 required，并把负载均衡写进 `trusted_proxies`；或在负载均衡上关闭 PROXY protocol，改为发送 X-Forwarded-For";
    ProxyProtocolMissing: "这个监听端口要求先收到 PROXY protocol 头，但前面那一跳发来的不是",
        "在负载均衡上为该端口开启 PROXY protocol（v1 或 v2），或删除 `listeners[].proxy_protocol`";
    ProxyProtocolInvalid: "PROXY protocol 头格式错误、不完整或校验和不符",
        "detail 写明了错在哪里：检查写入该头的那一跳，以及它与代理之间的设备";
    ProxyProtocolUntrusted: "这个监听端口以 PROXY protocol 头认定客户端，因此只接受来自受信任的前置代理的连接，而该 peer 不在其中",
        "若 peer 就是负载均衡，把它的地址加进 `trusted_proxies`；若不是，用防火墙或安全组禁止其他地址访问该端口";
    TlsOnPlainPort: "未启用 TLS 的监听端口收到了 TLS ClientHello",
        "让 wss:// 指向启用了 TLS 的端口，或为这个监听配置 `listeners[].tls`，或由负载均衡终结 TLS";

    // tls
    TlsPlainHttpOnTlsPort: "启用 TLS 的监听端口收到了明文 HTTP",
        "访问该端口须用 wss:// 或 https://；若前面是负载均衡，把它的后端协议设为 HTTPS 或 TCP";
    TlsNotTls: "最先到达的字节既不是 TLS 也不是 HTTP",
        "多半是扫描器；若不是，说明客户端用别的协议访问了这个端口，见 detail 中的首批字节";
    TlsHandshakeTimeout: "客户端开始了 TLS 握手，但没有在规定时间内完成",
        "detail 说明进行到哪一步：客户端自己停下了、网络丢包（大包先丢：MTU），或某一跳没有转发；超时时间是 `limits.tls_handshake`";
    TlsClientClosed: "客户端在 TLS 握手中途断开，没有发送 alert",
        "若恰好发生在证书发出之后，多半是客户端拒绝了证书：查看客户端自己的报错，并用它自己的信任库验证；`wsgate check` 能查出证书链、域名和有效期的问题，但不知道客户端信任谁";
    TlsVersionUnsupported: "客户端支持的 TLS 版本，这个监听端口都不接受",
        "客户端过旧；最低可到 1.2，而 `listeners[].tls.min_version` 可以要求更高版本";
    TlsNoCommonCipher: "客户端与代理没有共同的加密套件（代理只提供 ECDHE 加 AES-GCM 或 ChaCha20；在 TLS 1.2 中还须与证书的密钥类型相符）",
        "客户端过旧，或被限定为老式套件：升级它的 TLS 库，或由前面一跳为它终结 TLS";
    TlsNoCommonGroup: "客户端与代理没有共同的密钥交换组（X25519MLKEM768、X25519、P-256、P-384）",
        "在客户端的 TLS 设置中启用上述任意一组";
    TlsNoCommonSigalg: "已配置的证书中，没有一张的密钥类型或签名算法能被客户端接受",
        "为同样的域名在 `listeners[].tls.certificates` 中补上另一类证书（已有 ECDSA 就加 RSA，反之亦然）";
    TlsSniUnknown: "客户端请求的域名（SNI）没有任何证书覆盖",
        "把对应证书加进 `listeners[].tls.certificates`，或修正 DNS；若想一律返回第一张证书，把 `listeners[].tls.unknown_sni` 设为 default";
    TlsAlpnNoOverlap: "客户端的 ALPN 列表里既没有 http/1.1 也没有 http/1.0，而这个监听端口只支持这两种",
        "让客户端（或负载均衡的后端设置）在 ALPN 中带上 http/1.1";
    TlsAlertUnknownCa: "客户端不信任证书的签发者（alert 48）：缺少中间证书、证书是自签名的，或客户端没有安装签发它的 CA",
        "`listeners[].tls.certificates[].cert` 里要放完整证书链，站点证书在最前，因为 Android 不会自行补全中间证书；若用自建 CA，请让客户端信任它";
    TlsAlertBadCertificate: "客户端拒绝了证书（alert 42、43 或 46）：域名不符、签名太弱、密钥类型不支持，或是它没有说明的问题",
        "核对证书中的域名与客户端访问的主机名：`wsgate check` 会列出未被覆盖的域名";
    TlsAlertCertExpired: "客户端认为证书已过期或尚未生效（alert 45）",
        "更新 `listeners[].tls.certificates[].cert` 指向的文件；若有效期本身没有问题，就是设备的时钟不准";
    TlsAlertCertRevoked: "客户端认为证书已被吊销（alert 44）",
        "重新签发证书，并同时替换 `listeners[].tls.certificates[].cert` 和 `listeners[].tls.certificates[].key`";
    TlsAlertOther: "客户端以 alert 结束了 TLS 握手，原因与信任和有效期都无关",
        "alert 的名称见 detail；检查客户端的 TLS 库，或它与代理之间的中间设备";
    TlsProtocolError: "客户端的 TLS 报文损坏或次序不对",
        "可能是扫描器、有缺陷的 TLS 库，或篡改数据流的中间设备：看 detail，并换一条网络路径对比";
    TlsClosedUnused: "TLS 握手完成后，客户端没有发送请求就关闭了连接",
        "多为 TLS 健康检查或浏览器预连接；若是真实客户端，则说明它不认可证书：运行 `wsgate check`，并用该客户端自己的信任库验证";
    TlsClientCertMissing: "这个监听端口要求客户端证书，而客户端没有出示",
        "给客户端配发证书；微信小程序和浏览器的 WebSocket 无法出示证书，而 Chromium 的 WebSocket 只要被要求出示证书就会失败：请为它们另开一个没有 `listeners[].tls.client_auth` 的监听";
    TlsClientCertInvalid: "客户端证书未被接受：不是由配置的 CA 签发、不在有效期内，或用途不是客户端认证",
        "具体是哪一种见 detail；重新签发证书，或把其签发者加进 `listeners[].tls.client_auth.ca` 指向的文件";

    // http
    HttpHeaderTimeout: "请求头没有在规定时间内收完",
        "网络太慢，或客户端有意占住连接；超时时间是 `limits.request_head`";
    HttpHeadIncomplete: "请求头还没发完，客户端就结束了数据流",
        "客户端发送途中放弃，或被前面那一跳切断：拿 head_ms 与那一跳的超时设置对比";
    HttpMalformed: "请求头不符合 RFC 9112 的语法",
        "可能是扫描器，或自行拼接请求的客户端或前置代理；detail 写明错误，若能定位到某个字节或某一行，也会写出";
    HttpTooLarge: "请求头，或分块请求体中数据以外的部分，超过允许的大小",
        "减小 Cookie、不要把令牌放进 URL，或调高 `limits.header_bytes`";
    HttpVersionUnsupported: "请求不是 HTTP/1.1，而 WebSocket 握手和有上游的路由都需要 HTTP/1.1",
        "若是 HTTP/1.0 的健康检查（HAProxy 的 httpchk 等），由带 `routes[].respond` 的路由或 `probes.address` 应答；若前置代理使用 HTTP/1.0（nginx 1.29.7 之前的默认值），在那里设置 proxy_http_version 1.1；若是 HTTP/2，须由前面一跳转成 1.1";
    HttpHostMissing: "请求没有 Host 字段",
        "客户端自行拼接了请求，或前面那一跳丢掉了 Host：让它原样传递该字段";
    HttpHostInvalid: "Host 字段重复出现，或不是「主机名加可选端口」的形式",
        "检查前面那一跳如何改写 Host";
    HttpFramingConflict: "请求的长度有歧义（Content-Length 与 Transfer-Encoding 相互矛盾、重复或无效），或者分块、尾部字段格式错误",
        "请求走私（smuggling）企图，或客户端、前置代理有缺陷；detail 写明错误，上游绝不会收到完整的请求";
    HttpBodyOnUpgrade: "WebSocket 握手请求声明了请求体",
        "从客户端的升级请求中去掉 Content-Length 和 Transfer-Encoding";
    HttpEarlyData: "请求头之后立刻跟着数据；客户端必须先等到应答（RFC 6455 第 4.1 节）",
        "请求走私企图，或客户端不等应答就发数据：修正客户端";
    HttpExpectRefused: "握手请求带有 Expect 字段，或普通请求的 Expect 不是 100-continue",
        "从客户端请求中去掉 Expect（curl 只在带请求体时才会加上它）";
    HttpBodyTooLarge: "请求体超过该路由允许的大小",
        "让客户端少发一些，或调高 `routes[].http.max_body`";
    HttpBodyTimeout: "请求体没有在规定时间内收完",
        "网络太慢，或客户端有意一点一点地发送；超时时间是 `routes[].http.request_timeout`";
    HttpBodyIncomplete: "请求体还没发完，客户端就结束了数据流",
        "上传途中离开页面或应用被杀掉；若大量出现，说明前面那一跳切断了上传：检查它的大小限制和超时";
    HttpConnectionProtected: "Connection 字段列出了途中不得删除的字段",
        "企图诱使代理丢弃安全相关字段，或客户端有缺陷；字段名见 detail";
    H2cRefused: "握手请求、或发往 WebSocket 路由的请求，要求升级到明文 HTTP/2",
        "在客户端关闭 HTTP/2（curl：--http1.1，Java 的 HttpClient：version(HTTP_1_1)）；否则就是请求走私企图";
    WsMethodNotGet: "握手请求的方法不是 GET",
        "改用 GET；使用 wx.connectSocket 时不要设置 method 选项";
    PlainHttpRequest: "WebSocket 路由收到了不带任何 WebSocket 字段的普通 HTTP 请求",
        "健康检查应请求 `probes.address` 上的 /healthz 或 /readyz；要处理普通请求，给路由加上 `routes[].http`；浏览器页面须用 new WebSocket";
    WsHandshakeMissing: "请求带有 Sec-WebSocket 字段，却没有 Upgrade、Sec-WebSocket-Key 和 Sec-WebSocket-Version：这不是 WebSocket 握手",
        "让 WebSocket 库来发起客户端的请求，不要手工设置个别字段；如果本来就是库发起的，检查前面是否有一跳只转发了部分字段";
    WsUpgradeHeaderMissing: "有 Sec-WebSocket-Key 或 Sec-WebSocket-Version，却没有 Upgrade：被前面那一跳去掉了",
        "让前面那一跳传递 Upgrade 和 Connection（nginx：两者都要 proxy_set_header），或在 CDN、负载均衡上开启 WebSocket 支持";
    WsConnectionTokenMissing: "有 Upgrade，但 Connection 里没有 upgrade：被前面那一跳改写了",
        "若前面是 nginx：proxy_set_header Connection $connection_upgrade（由 $http_upgrade 的 map 得到）";
    WsUpgradeNotWebsocket: "Upgrade 字段写的不是 websocket，而是别的协议",
        "使用 WebSocket 客户端；其他协议一概不转发";
    WsKeyMissing: "缺少 Sec-WebSocket-Key",
        "客户端自行拼接了请求，或前面那一跳删掉了它不认识的字段：让 Sec-WebSocket-* 原样通过";
    WsKeyInvalid: "Sec-WebSocket-Key 重复出现，或不是 16 字节的 base64",
        "客户端手工生成了 key：交给它的 WebSocket 库去做，库会以 base64 发送一次 16 字节的随机数";
    WsVersionUnsupported: "Sec-WebSocket-Version 缺失，或不是 13",
        "使用符合 RFC 6455 的客户端；其他取值是已知的走私手法，绝不转发";
    WsProtocolHeaderInvalid: "Sec-WebSocket-Protocol 不是由互不相同的 token 组成的列表",
        "客户端的子协议要以名称数组传入（wx.connectSocket 的 protocols 必须是数组）";
    WsExtensionsHeaderInvalid: "Sec-WebSocket-Extensions 不符合 RFC 6455 第 9.1 节的语法",
        "修正客户端，或改写了扩展协商内容的前面那一跳";
    LoopDetected: "从 Via 字段看，请求已经经过本代理，或经过的代理太多",
        "有上游把请求又发回了本代理：`upstreams.*.endpoints` 要写后端本身，不要写会绕回这里的域名或负载均衡";

    // policy
    HostNotAllowed: "Host 不是本代理服务的域名，或与建立 TLS 时的域名不一致",
        "把它写进 `routes[].host`，或修正 DNS，或修正负载均衡发送的 Host";
    PathNotAllowed: "对于这个 Host，没有路由匹配这个路径",
        "添加一条 `routes[].path` 为该路径的路由，或修正客户端的 URL";
    PathNearMiss: "路径与某条路由只差大小写、斜杠，或至多两个字符（且不超过长度的四分之一）",
        "把客户端的 URL 改成这里给出的 `routes[].path`；握手请求从不重定向";
    PathAmbiguous: "路径有两种解读方式（点段、重复或编码的斜杠、多余或错误的百分号编码）",
        "让客户端按 `routes[].path` 的写法发送路径：重复的斜杠来自基础 URL 与路径的拼接，其余来自手工拼出的 URL，或绕过名单的企图";
    OriginMissing: "请求没有 Origin，而该路由要求有",
        "对方不是浏览器：为原生客户端单设一条路由，用令牌鉴权并把 `routes[].websocket.missing_origin` 设为 allow；小程序则使用来源 wechat";
    OriginNull: "Origin 是 null（沙箱 iframe、本地文件页面或不透明重定向）",
        "让页面从真正的 https 来源提供，并把该来源列入名单；null 不能放行";
    OriginMalformed: "Origin 不是 scheme://host 或 scheme://host:port 的形式",
        "浏览器不会这样发：检查客户端，或改写了 Origin 的前面那一跳";
    OriginMultiple: "请求带有不止一个 Origin 字段",
        "前面那一跳或客户端多加了一个 Origin：去掉其中一个";
    OriginNotAllowed: "Origin 不在该路由的名单上",
        "若页面是你们自己的，把它的来源按 origin 字段所示原样加进 `routes[].websocket.origins`";
    RefererAppidMismatch: "客户端的 Origin 属于微信或缺失，而 Referer 没有指明该路由名单上的微信 AppID",
        "若小程序是你们自己的，把它的 AppID 加进 `routes[].websocket.wechat_app_ids`";
    SubprotocolNotAllowed: "客户端提出了子协议，但没有一个在该路由的名单上",
        "把其中一个名称加进 `routes[].websocket.subprotocols`，或修改客户端提出的子协议";
    WebsocketNotAllowed: "握手请求到了只处理普通请求的路由",
        "修正客户端的 URL，或给该路由加上 `routes[].websocket`";
    HttpMethodNotAllowed: "该路由不接受这个请求方法",
        "若应当交给上游处理，把该方法加进 `routes[].http.methods`；浏览器发出的 OPTIONS 是 CORS 预检";
    RedirectRefused: "握手请求到了只负责跳转 https 的监听端口，而 WebSocket 客户端不会跟随重定向",
        "让客户端改用 wss://；这个监听因 `listeners[].redirect_to_https` 而只做跳转";
    Draining: "代理正在停机，或被要求排空，不再接受新隧道",
        "负载均衡本应已停止向这里转发：让它的健康检查请求 `probes.address` 上的 /readyz，并使 `shutdown.delay` 长于它发现状态变化所需的时间；客户端会按 Retry-After 重连";
    ListenerChanged: "连接被接受之后、请求到达之前，配置重载改变了监听端口的要求（TLS、客户端证书或 PROXY protocol 头）",
        "无需处理：客户端的下一个连接会按现在的 `listeners[].tls.client_auth` 和 `listeners[].proxy_protocol` 被接受或拒绝";
    RateLimited: "单个客户端一分钟内的握手次数超过上限",
        "客户端重连时没有退避，或许多用户共用一个地址：调高 `limits.handshakes_per_client`；在负载均衡之后还要设置 `trusted_proxies`";

    // upstream
    ClientGaveUp: "代理还在等待上游时，客户端先走了",
        "上游比客户端的耐心更慢：用 detail 中的等待时间，与客户端的连接超时和 `upstreams.*.handshake_timeout` 对比";
    UpstreamDnsFailed: "上游的域名无法解析",
        "检查 `upstreams.*.endpoints` 中的域名，以及本进程所用的 DNS 解析器";
    UpstreamRefused: "上游地址上没有程序在监听",
        "上游没有运行、尚在启动、换了端口，或只绑定了 ::1：核对它的监听地址与 `upstreams.*.endpoints`";
    UpstreamConnectTimeout: "上游地址没有在规定时间内响应连接请求",
        "可能是防火墙或安全组丢包、主机宕机，或 accept 队列已满：attempts 列出了试过的每个地址；超时时间是 `upstreams.*.connect_timeout`";
    UpstreamUnreachable: "没有到达上游地址的路由",
        "检查容器网络，以及 `upstreams.*.endpoints` 中的地址";
    UpstreamResetOnConnect: "上游接受了连接，却在应答之前将其重置",
        "上游反复崩溃、过载，或主动销毁它不接受的连接：查看上游在该时刻的日志";
    UpstreamPortsExhausted: "代理没有可用的描述符或本地端口来连接上游",
        "调高 nofile 或降低 `limits.connections`；把连接分散到 `upstreams.*.endpoints` 中的多个地址";
    UpstreamNoneHealthy: "上游的所有端点都未通过健康检查，因此一个也没有尝试连接",
        "upstream_health 记录写明了从何时起、因何而起：上游是否在运行，对 `upstreams.*.health_check.path` 是否返回 2xx？";
    UpstreamTunnelLimit: "到该上游的隧道数已达上限",
        "调高 `upstreams.*.max_tunnels`，或找出只开不关的客户端";
    UpstreamTlsToPlainPort: "代理发出 ClientHello，上游回的却不是 TLS：那是明文端口",
        "把 `upstreams.*.endpoints` 中的 https:// 改成 http://，或改写为上游的 TLS 端口";
    UpstreamTlsVerifyFailed: "上游的证书不受信任、域名不符，或不在有效期内",
        "具体是哪一种见 detail：用 `upstreams.*.tls.ca` 指定其签发者的证书文件，用 `upstreams.*.tls.server_name` 指定证书中的域名，或更新证书";
    UpstreamTlsFailed: "与上游的 TLS 握手失败，且原因不在证书",
        "alert 或出错之处见 detail：核对上游的 TLS 版本和加密套件（代理支持 1.2 和 1.3），以及上游是否要求客户端证书（`upstreams.*.tls.cert`）";
    UpstreamTlsTimeout: "上游接受了连接，但没有在规定时间内完成 TLS 握手",
        "上游的事件循环阻塞，或该端口不是 TLS 端口、正在等待别的数据；超时时间是 `upstreams.*.connect_timeout`，已包含 TLS 握手";
    UpstreamAlpnH2: "上游的这个端口只支持 HTTP/2，而协议升级需要 HTTP/1.1",
        "让上游在 h2 之外也接受 http/1.1（Node：http2.createSecureServer 的 allowHTTP1），或在 `upstreams.*.endpoints` 中改写为它的 HTTP/1.1 端口";
    UpstreamPlainToTlsPort: "上游端口要求 TLS，而代理用明文 HTTP 访问：它回了 TLS 数据，或用 HTTP 错误说明了这一点",
        "把 `upstreams.*.endpoints` 中的 http:// 改成 https://，或在那里填上游的明文 HTTP 端口";
    UpstreamHandshakeTimeout: "上游收下了握手请求，但没有在规定时间内应答",
        "上游的事件循环阻塞或鉴权太慢；超时时间是 `upstreams.*.handshake_timeout`";
    UpstreamResponseTimeout: "上游收下了普通请求，但没有在规定时间内应答",
        "查明上游当时在等什么；超时时间是 `routes[].http.response_timeout`";
    UpstreamClosedBeforeResponse: "上游没有给出完整应答就关闭了连接",
        "上游处理请求时调用了 socket.destroy()、崩溃或重启：查看它在该时刻的日志";
    UpstreamMalformedResponse: "上游的应答不是 HTTP/1.1、自相矛盾，或无法原样传递",
        "detail 说明收到的不是应答而是什么：`upstreams.*.endpoints` 指向的是上游的 HTTP 端口吗？";
    UpstreamHeadTooLarge: "上游应答的头部超过允许的大小",
        "减小上游的 Cookie 和响应头，或调高 `limits.header_bytes`";
    UpstreamHttp10101: "上游以 HTTP/1.0 返回 101，而 HTTP/1.0 没有协议升级",
        "上游（或代理之后的一跳）必须使用 HTTP/1.1";
    UpstreamBadRequest: "握手请求正确，上游却返回 400",
        "看转发回来的响应体和上游的日志，弄清它拒绝了什么";
    UpstreamUnauthorized: "上游返回 401",
        "上游的鉴权拒绝了客户端：检查它的令牌或 Cookie";
    UpstreamForbidden: "上游返回 403",
        "上游自己也检查 Origin 或访问权限：使其与 `routes[].websocket.origins` 一致";
    UpstreamNotFound: "上游返回 404：该路径上没有 WebSocket 处理函数",
        "核对该路径与上游 WebSocket 服务的路由：与 `routes[].path` 不同、该处只处理普通请求，或代理之后还有一跳带着自己的路由";
    UpstreamUpgradeRequired: "上游返回 426：它没有看到升级请求，或看到的是别的版本",
        "检查代理与上游之间是否有一跳去掉了 Upgrade；若没有，则是上游的服务在该路径上要求别的协议或版本";
    UpstreamRedirect: "上游返回了重定向，而 WebSocket 客户端不会跟随",
        "Location 见 detail：若是登录页，客户端要先登录，或带上 cookie 或令牌；若只是斜杠或协议不同的同一处，改正客户端的 URL，或关闭上游的重定向";
    UpstreamRateLimited: "上游返回 429",
        "上游对客户端限流：找出断线重连时没有退避的客户端";
    Upstream4xx: "上游返回了其他 4xx 状态码",
        "应答已原样转发：看响应体和上游的日志";
    Upstream5xx: "上游返回了 5xx 状态码",
        "500 是上游内部出错；502 和 504 来自代理之后够不到上游的一跳；503 表示上游过载、正在启动或已停用：查看它在该时刻的日志";
    Upstream2xxInsteadOf101: "上游返回成功却没有切换协议：请求被普通 HTTP 处理函数接走了",
        "让该路径到达上游的 WebSocket 服务，而不是它的页面或单页应用的兜底路由";
    Upstream101NoUpgrade: "上游的 101 没有 Upgrade: websocket",
        "代理之后的一跳删掉了响应字段，或上游自行拼接了握手应答";
    Upstream101NoConnection: "上游的 101 没有 Connection: upgrade",
        "上游自行拼接了握手应答，或代理之后的一跳改写了 Connection";
    UpstreamAcceptMissing: "上游的 101 没有 Sec-WebSocket-Accept",
        "上游没有做 WebSocket 握手就返回了 101：在那里使用 WebSocket 库";
    UpstreamAcceptMismatch: "上游的 Sec-WebSocket-Accept 与发出的 key 对不上",
        "101 来自缓存，或代理之后的一跳替换了 Sec-WebSocket-Key";
    UpstreamSubprotocolUnrequested: "上游选择的子协议不是客户端提出的，或该路由不允许",
        "让上游只从客户端提出的子协议中选择；若设置了 `routes[].websocket.subprotocols`，还须在其范围之内";
    UpstreamExtensionUnrequested: "上游的 101 写了客户端没有提出的扩展，或写了空的扩展字段",
        "没有协商出扩展时，让上游不要发送 Sec-WebSocket-Extensions";
    Upstream101WithBody: "上游的 101 声明了响应体",
        "上游不得随 101 发送 Content-Length 或 Transfer-Encoding";
    UpstreamDouble101: "上游紧接着 101 又发了第二个 HTTP 响应",
        "上游有两个 upgrade 处理函数、或某个中间件，同时写同一个 socket：只保留一个";
    Upstream101Unsolicited: "上游对普通请求返回了没有人要求的 101",
        "上游的 upgrade 处理函数接受了不带 Upgrade 的请求；若有人特意构造这样的请求，那就是攻击";
    UpstreamResponseCut: "上游对普通请求的应答中途断开",
        "上游在应答途中崩溃或重启：查看它自己在该时刻的日志";
    UpstreamResponseStalled: "上游对普通请求的应答发到一半就没有动静了",
        "让事件流（SSE）不时发送一行注释，或调高 `routes[].http.idle_timeout`";
    ClientLeftResponse: "应答还在发送，客户端就离开了",
        "多半是离开页面或主动关闭了流：bytes_upstream_to_client 写明应答发到了哪里";
    ClientStalledResponse: "客户端不再读取普通请求的应答",
        "客户端失联，或有意放慢读取；每一段数据的期限是 `limits.write_stall`";

    // tunnel
    ClientClose: "客户端先发送了 Close 帧",
        "正常结束；若它本不该关闭，去问客户端的代码：close_code_client 和 close_reason_client 是它给出的关闭码和原因";
    ClientGoingAway: "客户端以 1001 关闭，浏览器离开或刷新页面时就是这样",
        "无需处理；若客户端马上又连上来，说明是刷新页面";
    ClientEofNoClose: "客户端正常结束了连接，但没有发送 Close 帧",
        "客户端没有调用 close() 就结束了：脚本退出，或手机系统把应用转入了后台";
    ClientReset: "客户端的连接异常中断",
        "切换网络、应用被杀，或前面负载均衡的空闲超时：看 suspect，并拿 idle_ms 与那一跳的超时设置对比";
    ClientTimeout: "客户端一侧不再确认或接收任何数据",
        "手机失联或休眠，或中间某一跳丢弃了连接状态：用 `routes[].websocket.ping` 发心跳，既能让各跳保活，也能更早发现";
    UpstreamClose: "上游先发送了 Close 帧",
        "正常结束；close_code_upstream 和 close_reason_upstream 是上游给出的关闭码和原因";
    UpstreamCloseImmediate: "上游返回 101 后立刻发来空的 Close 帧，此前没有任何数据",
        "上游接受后立刻离开：该路径没有处理函数（express-ws 会这样），或有检查在升级之后拒绝；核对 path 与上游的路由，并检查它的鉴权";
    UpstreamClosePolicy: "上游的应用拒绝继续（1008、3000、3003，或 4000 以上的自定义码）",
        "看 close_reason_upstream，并在上游应用中查该关闭码的含义";
    UpstreamCloseTooBig: "消息超过上游的限制，上游关闭了连接（1009）",
        "让客户端拆成多条较小的消息发送，或调高上游自己的限制（Node ws 的 maxPayload，Python websockets 的 max_size）";
    UpstreamCloseError: "上游因出错而关闭（1002、1003、1007、1010、1011 或 1014）",
        "查看上游在该时刻的日志；1002 和 1007 表示它不接受客户端发来的内容，1011 表示它的处理函数出错";
    UpstreamCloseRestart: "上游因重启或过载而关闭（1012、1013）",
        "若同时大量结束，多半是上游在发布；让客户端以退避加随机抖动的方式重连";
    UpstreamEofNoClose: "上游正常结束了连接，但没有发送 Close 帧",
        "它对 socket 调用了 terminate()、destroy() 或 end()，或进程退出、被杀：查看上游的日志和退出状态；告诉客户端什么由 `upstreams.*.on_abort` 决定";
    UpstreamReset: "上游的连接异常中断",
        "崩溃、内存不足被杀（OOM）或 Pod 被删除，或上游在客户端的数据尚未读完时就关闭了（Node 中的 terminate() 或 destroy()）：查看上游在该时刻的日志和退出状态";
    UpstreamTimeout: "上游一侧不再确认或接收任何数据",
        "它所在的主机或网络已不可达：检查上游所在的节点，以及两者之间的网络";
    CloseHandshakeTimeout: "一侧发送了 Close 帧，另一侧始终没有应答",
        "by 和 detail 写明是哪一侧没有应答；期限是 `limits.close_wait`";
    HalfCloseTimeout: "一侧没有发送 Close 帧就结束了数据流，另一侧随后一直沉默",
        "detail 写明哪一侧先结束、哪一侧没有跟上；等待的时间是 `limits.close_wait`";
    IdleTimeout: "两个方向都没有对端的帧通过，达到该路由的空闲超时；已向两侧发送 Close 1001",
        "让应用的心跳间隔短于 `routes[].websocket.idle_timeout`，或调高该值";
    MaxLifetime: "隧道的存续时间达到该路由的上限；已向两侧发送 Close 1001",
        "客户端应当自行重连；上限是 `routes[].websocket.max_lifetime`";
    PongTimeout: "代理发出 Ping 之后，客户端没有任何回应",
        "客户端失联或休眠，或它的库不应答 Ping；期限是 `routes[].websocket.ping.timeout`";
    MessageTooBig: "消息超过该路由允许的大小；消息没有转发，并已向客户端发送 Close 1009",
        "拆成多条较小的消息发送，或调高 `routes[].websocket.max_message`";
    ClientProtocolError: "客户端发来的不是合法的客户端 WebSocket 帧；没有转发",
        "违反了哪条规则和首批字节见 detail：客户端 WebSocket 库的缺陷，或前面某一跳把别的数据放进了隧道";
    UpstreamProtocolError: "上游发来的不是合法的服务端 WebSocket 帧；没有转发",
        "违反了哪条规则和首批字节见 detail：上游 WebSocket 库的缺陷，或上游有别的代码绕过它直接写 socket";
    ReservedCloseCodeOnWire: "Close 帧带有不得发送的关闭码（如 1005、1006 或 1015）；已照样转发",
        "by 写明是哪一方的应用用它调用了 close()：改用 1000，或 3000 到 4999 之间的码；用户面前的客户端可能因此报告 1006";
    TlsTruncated: "客户端的 TCP 流结束时，既没有 TLS close_notify，也没有 Close 帧",
        "多半是客户端被杀；若同时大量出现，说明前面有一跳切断了 TLS 连接";
    TlsRecordError: "客户端的某条 TLS 记录无法解密，或违反协议",
        "客户端网络上有中间设备篡改数据流，或有人注入数据：见 detail";
    ClientWriteStalled: "客户端停止读取，待发给它的数据等得太久",
        "应用被挂起，或网络太慢：少向它发一些，或调高 `limits.write_stall`";
    UpstreamWriteStalled: "上游停止读取，待发给它的数据等得太久",
        "上游的事件循环阻塞，或暂停了 socket 的读取；期限是 `limits.write_stall`";
    DrainGraceful: "代理正在停机，或被要求排空，已向客户端发送 Close 帧",
        "客户端应当自行重连；关闭码是 `shutdown.close_code`，节奏由 `shutdown.spread` 决定";
    DrainForced: "停机或排空开始时隧道仍然打开，还没来得及向客户端发送 Close 帧就结束了：到了期限、收到第二个信号，或一侧先断开",
        "detail 写明是什么拖住了它；用 `shutdown.drain` 给客户端更多时间，并让平台的宽限期比它更长";
    InternalAborted: "代理自己的代码没有说明原因就结束了：程序缺陷，或进程被强行终止",
        "请附上该时刻前后标准错误的输出，以及 `wsgate check` 的结果，提交问题报告";
}
