//! What a record reports in addition to its reason.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! notes {
    ($( $variant:ident = $code:literal, $meaning:literal; )*) => {
        /// Something that is worth reporting but ended nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum NoteCode { $( #[doc = $meaning] $variant, )* }

        impl NoteCode {
            /// Every note.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// The stable snake_case code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $( Self::$variant => $code, )* }
            }

            /// What it means, in one line.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $( Self::$variant => $meaning, )* }
            }
        }
    };
}

notes! {
    WouldRefuse = "would_refuse",
        "the route's policy is report: with enforce, this request would be refused for the reason in detail";
    SniHostMismatch = "sni_host_mismatch",
        "Host differs from the TLS server name, and both are names of this proxy";
    SpoofedHeaderStripped = "spoofed_header_stripped",
        "a peer that is not in trusted_proxies sent fields that only a proxy may set; they were removed. If the peer is one of your own hops, add its address to `trusted_proxies`";
    QuerySecondQuestionMark = "query_second_question_mark",
        "the query contains a second question mark; express-ws drops everything after it";
    WechatRefererMissing = "wechat_referer_missing",
        "all mini programs share this Origin, and there is no Referer that names this one; the origin wechat admits it anyway";
    RequestIdReplaced = "request_id_replaced",
        "the client's X-Request-ID was too long or had characters that are not allowed in a log, and was replaced";
    EarlyBytesHeld = "early_bytes_held",
        "the client sent bytes before the 101; they were held and passed on after it";
    UpstreamInterim = "upstream_interim",
        "the upstream sent interim responses (1xx) before its answer; they were not passed on";
    UpstreamSubprotocolIgnored = "upstream_subprotocol_ignored",
        "the client offered subprotocols and the upstream chose none; some browsers then fail the connection";
    ResponseNotDelivered = "response_not_delivered",
        "the client left before the whole answer could be written";
    RelayCut = "relay_cut",
        "the upstream's answer was cut off or did not end before the deadline; the part that had arrived was relayed";
    RefusalExplained = "refusal_explained",
        "the route has explain_refusals: the client was answered with 101 and a Close frame with the reason's code; nothing reached the upstream";
    BytesAfterClose = "bytes_after_close",
        "a side sent bytes after its Close frame, where nothing may follow; they were not passed on";
    EndpointSkipped = "endpoint_skipped",
        "a connection to an endpoint failed, or a kept connection to it was dead, and another attempt followed; see attempts";
    DnsAnswerStale = "dns_answer_stale",
        "the look-up of the upstream's name timed out or failed temporarily, and the addresses of the last good look-up were used; detail has their age and the error";
}

impl Serialize for NoteCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for NoteCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        let found = Self::ALL.iter().find(|note| note.code() == code);
        found.copied().ok_or_else(|| de::Error::custom(code))
    }
}

/// One note of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Which one.
    pub code: NoteCode,
    /// The facts of this case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Note {
    /// A note with the facts of this case.
    #[must_use]
    pub fn new(code: NoteCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: Some(detail.into()),
        }
    }
}

impl From<NoteCode> for Note {
    fn from(code: NoteCode) -> Self {
        Self { code, detail: None }
    }
}
