//! Close codes and HTTP statuses in words.

use std::fmt::Write as _;

use crate::reason::Reason;
use crate::text::Language;

/// What a close code means (RFC 6455 section 7.4.1 and the IANA registry), in English and Chinese.
const CLOSE_CODES: &[(u16, &str, &str, &str)] = &[
    (
        1000,
        "normal closure",
        "the purpose of the connection is fulfilled",
        "正常关闭：连接的任务已经完成",
    ),
    (
        1001,
        "going away",
        "the page was left, the app was closed, or a server or proxy ends a connection that it no longer serves",
        "离开：用户离开了页面、关闭了应用，或者服务器、代理结束了不再服务的连接",
    ),
    (
        1002,
        "protocol error",
        "one side received something that is not valid WebSocket",
        "协议错误：一方收到了不合法的 WebSocket 数据",
    ),
    (
        1003,
        "unsupported data",
        "one side received a kind of message that it can't accept, such as binary instead of text",
        "不支持的数据：一方收到了无法接受的消息类型，例如应为文本却收到二进制",
    ),
    (
        1004,
        "reserved",
        "it has no meaning and must not be sent",
        "保留：没有含义，不允许发送",
    ),
    (
        1005,
        "no code",
        "a Close frame without a code arrived; the number itself is never sent",
        "没有关闭码：收到的 Close 帧不带关闭码；这个数字本身从不发送",
    ),
    (
        1006,
        "abnormal closure",
        "the client's own words for: no valid Close frame arrived. It is never sent, so it says nothing about the cause",
        "异常关闭：客户端自己的说法，意思是没有收到合法的 Close 帧。它从不在网络上发送，所以不说明原因",
    ),
    (
        1007,
        "invalid payload",
        "a text message is not UTF-8, or a message could not be decompressed",
        "无效的数据：文本消息不是 UTF-8，或者消息无法解压",
    ),
    (
        1008,
        "policy violation",
        "the server refuses to continue, and has no more precise code",
        "违反策略：服务器拒绝继续，又没有更准确的关闭码",
    ),
    (
        1009,
        "message too big",
        "a message is larger than one side accepts",
        "消息过大：消息超出了一方能接受的大小",
    ),
    (
        1010,
        "mandatory extension",
        "the client required an extension that the server did not agree to",
        "缺少扩展：服务器没有同意客户端要求的扩展",
    ),
    (
        1011,
        "internal error",
        "the server failed unexpectedly",
        "内部错误：服务器出现意外错误",
    ),
    (
        1012,
        "service restart",
        "the server restarts; clients should connect again after a random delay",
        "服务重启：服务器正在重启；客户端应随机延迟后重连",
    ),
    (
        1013,
        "try again later",
        "the server is overloaded or not available; clients should wait before they connect again",
        "稍后再试：服务器过载或不可用；客户端应等待后再重连",
    ),
    (
        1014,
        "bad gateway",
        "the server behind a proxy ended the connection without a Close frame, or could not be reached",
        "网关错误：代理后面的服务器没有发送 Close 帧就断开了连接，或者无法到达",
    ),
    (
        1015,
        "TLS handshake",
        "reserved for a failed TLS handshake; it is never sent, and browsers show 1006 instead",
        "TLS 握手失败的保留码；它从不发送，浏览器显示的是 1006",
    ),
    (
        3000,
        "unauthorized",
        "the server requires authentication",
        "未授权：服务器要求身份验证",
    ),
    (
        3003,
        "forbidden",
        "the server does not allow this",
        "禁止：服务器不允许这样做",
    ),
];

/// What the number after `_code:` means in the error of a WeChat device, and where to look, in English and Chinese.
const DEVICE_CODES: &[(u16, &str, &str)] = &[
    (
        1,
        "the device can't resolve the host's name: nothing reached the server",
        "设备无法解析主机名：请求没有到达服务器",
    ),
    (
        2,
        "the connection broke before an answer: look for tcp_… and tls_client_closed",
        "连接在应答之前中断：查找 tcp_… 和 tls_client_closed",
    ),
    (
        5,
        "the TLS handshake took too long: look for tls_handshake_timeout",
        "TLS 握手超时：查找 tls_handshake_timeout",
    ),
    (
        8,
        "the TLS handshake failed, on Android mostly because an intermediate certificate is missing: look for tls_alert_… and tls_client_closed, and run wsgate diagnose",
        "TLS 握手失败，安卓上多半是缺少中间证书：查找 tls_alert_… 和 tls_client_closed，并运行 wsgate diagnose",
    ),
    (
        9,
        "there was no answer in time: look for tcp_accept_failed and upstream_handshake_timeout, or nothing reached the server",
        "没有及时得到应答：查找 tcp_accept_failed 和 upstream_handshake_timeout，或者请求没有到达服务器",
    ),
    (
        20,
        "the answer was not 101: every refused handshake, by the proxy or by the upstream; look for event refused",
        "应答不是 101：代理或上游拒绝了握手；查找 event 为 refused 的记录",
    ),
    (
        21,
        "the 101 lacks Upgrade, Connection or a right Sec-WebSocket-Accept: look for upstream_101_… and upstream_accept_…",
        "101 中缺少 Upgrade、Connection 或正确的 Sec-WebSocket-Accept：查找 upstream_101_… 和 upstream_accept_…",
    ),
    (
        111,
        "nothing listens on the address: nothing reached the server",
        "该地址上没有程序在监听：请求没有到达服务器",
    ),
];

/// The text for an error of a WeChat device, which contains `_code:N`.
pub(super) fn device(text: &str, language: Language) -> Option<String> {
    let (_, rest) = text.split_once("_code:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let code = digits.parse::<u16>().ok()?;
    let (_, en, zh) = DEVICE_CODES.iter().find(|(known, ..)| *known == code)?;
    Some(match language {
        Language::En => format!("_code:{code}: {en}\n"),
        Language::Zh => format!("_code:{code}：{zh}\n"),
    })
}

/// What a close code says, and which reasons show it.
pub(super) fn close_code(code: u16, language: Language) -> String {
    let words = language.words();
    let known = CLOSE_CODES.iter().find(|(known, ..)| *known == code);
    let meaning = match (known, language, code) {
        (Some((_, name, meaning, _)), Language::En, _) => format!("{name}\n  {meaning}"),
        (Some((_, _, _, meaning)), Language::Zh, _) => (*meaning).to_owned(),
        (None, Language::En, 3000..=3999) => {
            "is a code of a library or framework, registered with IANA".to_owned()
        }
        (None, Language::Zh, 3000..=3999) => "程序库或框架在 IANA 注册的关闭码".to_owned(),
        (None, Language::En, 4000..) => {
            "is a code of the application: its own documentation says what it means".to_owned()
        }
        (None, Language::Zh, 4000..) => "应用自己的关闭码：含义见该应用的文档".to_owned(),
        (None, Language::En, _) => "is not assigned; it must not be sent".to_owned(),
        (None, Language::Zh, _) => "没有分配，不允许发送".to_owned(),
    };
    let gap = match language {
        Language::En => " ",
        Language::Zh => words.colon_inline,
    };
    let mut text = format!("{code}{gap}{meaning}\n");
    if matches!(code, 1008 | 1013) {
        let _ = writeln!(text, "\n{}", words.explained);
    }
    let intro = if code == 1006 {
        words.refused
    } else {
        words.reasons
    };
    reasons(&mut text, intro, language, |reason| {
        reason.closes_with(code)
    });
    text
}

/// Which reasons answer with a status.
pub(super) fn status(status: u16, language: Language) -> String {
    let words = language.words();
    let phrase = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    let mut text = match phrase {
        Some(phrase) => format!("{status} {phrase}\n"),
        None => format!("{status}\n"),
    };
    reasons(&mut text, words.reasons, language, |reason| {
        reason.answers(status)
    });
    let _ = writeln!(text, "\n{}", words.application);
    text
}

/// Lists reasons with what causes them.
fn reasons(text: &mut String, intro: &str, language: Language, is_one: impl Fn(Reason) -> bool) {
    let words = language.words();
    let found: Vec<_> = Reason::ALL
        .iter()
        .copied()
        .filter(|reason| is_one(*reason))
        .collect();
    if found.is_empty() {
        let _ = writeln!(text, "\n{}", words.no_reason);
        return;
    }
    let width = found.iter().map(|reason| reason.code().len()).max();
    let width = width.unwrap_or_default();
    let _ = writeln!(text, "\n{intro}");
    for reason in found {
        let cause = reason.cause(language);
        let _ = writeln!(text, "  {:width$}  {cause}", reason.code());
    }
    let _ = writeln!(text, "\n{}", words.which);
}
