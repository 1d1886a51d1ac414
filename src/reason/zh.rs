//! The vocabulary in Simplified Chinese: what `wsgate explain --lang zh` prints. Records stay English.
//!
//! Each text says the same as its English counterpart in `reason.rs`, in the terms of Chinese engineers. Words in
//! backticks are the same in both. The compiler checks that every reason, note, stage and party has a text.

mod table;

use super::{By, NoteCode, Reason, Stage, Status};

/// What happened, in one line without the full stop.
#[must_use]
pub const fn cause(reason: Reason) -> &'static str {
    table::texts(reason).0
}

/// What to do, in one line; names the keys and commands that the English hint names.
#[must_use]
pub const fn fix(reason: Reason) -> &'static str {
    table::texts(reason).1
}

/// What a note means, in one line without the full stop.
#[must_use]
pub const fn meaning(note: NoteCode) -> &'static str {
    match note {
        NoteCode::WouldRefuse => {
            "该路由的 policy 为 report；若为 enforce，这个请求会因 detail 中的原因被拒绝"
        }
        NoteCode::SniHostMismatch => "Host 与 TLS 的 SNI 不同，但两者都是本代理服务的域名",
        NoteCode::SpoofedHeaderStripped => {
            "不在 trusted_proxies 中的对端发来了只有代理才能设置的字段；这些字段已被删除。若该对端是自己的前置代理，把它的地址加进 `trusted_proxies`"
        }
        NoteCode::QuerySecondQuestionMark => {
            "查询字符串里有第二个问号；express-ws 会丢弃它之后的所有内容"
        }
        NoteCode::RequestIdReplaced => {
            "客户端的 X-Request-ID 太长，或含有不允许写入日志的字符，已被替换"
        }
        NoteCode::WechatRefererMissing => {
            "所有小程序的 Origin 都相同，而请求没有能指明是哪个小程序的 Referer；来源 wechat 仍予放行"
        }
        NoteCode::EarlyBytesHeld => {
            "客户端在收到 101 之前就发送了数据；这些数据先暂存，在 101 之后转发"
        }
        NoteCode::UpstreamInterim => "上游在正式应答之前发送了临时响应（1xx）；没有转发",
        NoteCode::UpstreamSubprotocolIgnored => {
            "客户端提出了子协议，而上游一个也没有选择；有些浏览器会因此断开连接"
        }
        NoteCode::ResponseNotDelivered => "应答尚未全部写出，客户端就离开了",
        NoteCode::RelayCut => "上游的应答中途断开，或没有在期限内结束；已收到的部分已转发",
        NoteCode::RefusalExplained => {
            "该路由开启了 explain_refusals：客户端收到的是 101 和一个带原因码的 Close 帧；没有任何数据到达上游"
        }
        NoteCode::BytesAfterClose => {
            "某一侧在 Close 帧之后又发送了数据，这是协议不允许的；没有转发"
        }
        NoteCode::EndpointSkipped => {
            "与某个端点建立连接失败，或与它保持的连接已失效，于是又尝试了一次；见 attempts"
        }
        NoteCode::DnsAnswerStale => {
            "上游域名的解析超时或暂时失败，于是沿用上一次成功解析的地址；detail 写明这些地址有多旧，以及出现了什么错误"
        }
    }
}

/// What a stage does.
#[must_use]
pub const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Accept => "接受连接",
        Stage::Tls => "TLS 握手",
        Stage::Http => "读取请求",
        Stage::Policy => "访问规则",
        Stage::Upstream => "连接上游",
        Stage::Tunnel => "隧道",
    }
}

/// The party's name.
#[must_use]
pub const fn by(by: By) -> &'static str {
    match by {
        By::Client => "客户端",
        By::Upstream => "上游",
        By::Proxy => "代理自身",
        By::Network => "网络或中间某一跳",
    }
}

/// The close code that a browser reports at the end of a tunnel.
const fn close_seen(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientClose | Reason::ClientGoingAway => {
            "对它的 Close 帧的应答中的关闭码；没有收到应答则为 1006"
        }
        Reason::UpstreamClose
        | Reason::UpstreamClosePolicy
        | Reason::UpstreamCloseTooBig
        | Reason::UpstreamCloseError
        | Reason::UpstreamCloseRestart => "上游的关闭码；该帧没有关闭码则为 1005",
        Reason::UpstreamCloseImmediate => "1005，紧接在 open 事件之后",
        Reason::UpstreamEofNoClose | Reason::UpstreamReset | Reason::UpstreamTimeout => {
            "1014；若设置了 `on_abort: transparent`，或上游在一帧的中间断开，则为 1006"
        }
        Reason::IdleTimeout
        | Reason::MaxLifetime
        | Reason::ClosedByOperator
        | Reason::PongTimeout => "1001；客户端已失联则为 1006",
        Reason::MessageTooBig => "1009；若该消息的开头已经转发，则为 1006",
        Reason::ClientProtocolError | Reason::UpstreamProtocolError => {
            "1002；若该帧的开头已经转发，则为 1006"
        }
        Reason::ReservedCloseCodeOnWire => "1005、1006 和 1015 报告为 1006；其他关闭码原样报告",
        Reason::DrainGraceful => "`shutdown.close_code` 设定的关闭码，默认 1012",
        _ => "1006，除非结束之前已有 Close 帧到达",
    }
}

/// What a client sees, for people who have only the client's side.
#[must_use]
pub fn client_sees(reason: Reason) -> String {
    const HANDSHAKE: &str = "浏览器报告关闭码 1006，微信小程序报告 `_code:20 Invalid HTTP status`";
    let spec = reason.spec();
    match (spec.stage, spec.status) {
        (_, Status::Fixed(status)) if reason.is_plain() => format!("HTTP 状态码 {status}"),
        (_, Status::Stage) if reason.is_plain() => "上游发来的状态码，以及不完整的应答".to_owned(),
        (_, Status::Fixed(status)) => format!("HTTP 状态码 {status}；{HANDSHAKE}"),
        (_, Status::Stage) => {
            format!("除 101 以外、200 到 599 之间的 HTTP 状态码；{HANDSHAKE}")
        }
        (Stage::Tls, Status::None) => {
            "TLS 握手失败：关闭码 1006，微信小程序为 `_code:8` 或 `_code:5`".to_owned()
        }
        (Stage::Tunnel, Status::None) => close_seen(reason).to_owned(),
        (_, Status::None) => {
            "连接在没有 HTTP 应答的情况下结束：关闭码 1006，微信小程序为 `_code:2` 或 `_code:9`"
                .to_owned()
        }
    }
}
