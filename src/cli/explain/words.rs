//! The languages of `wsgate explain`: the words around a reason's own texts.

use crate::reason::{By, NoteCode, Reason, Stage, zh};
use crate::text::Language;

/// The words around the texts.
pub(super) struct Words {
    pub(super) stage: &'static str,
    pub(super) by: &'static str,
    pub(super) level: &'static str,
    pub(super) status: &'static str,
    pub(super) cause: &'static str,
    pub(super) client_sees: &'static str,
    pub(super) fix: &'static str,
    /// After a name in a column.
    pub(super) colon: &'static str,
    /// After a name in running text.
    pub(super) colon_inline: &'static str,
    pub(super) full_stop: &'static str,
    /// The stage of a reason that can happen at several stages.
    pub(super) anywhere: &'static str,
    /// Who caused it, if that differs from case to case.
    pub(super) either: &'static str,
    pub(super) no_status: &'static str,
    pub(super) status_varies: &'static str,
    /// After the code of a note.
    pub(super) is_a_note: &'static str,
    /// After the name of a finding.
    pub(super) is_a_finding: &'static str,
    pub(super) is_a_trouble: &'static str,
    /// Before the reason that means the same as a finding.
    pub(super) same_reason: &'static str,
    /// Before the meaning of a note.
    pub(super) meaning: &'static str,
    /// Before the reasons that can show a number.
    pub(super) reasons: &'static str,
    /// If no reason shows it.
    pub(super) no_reason: &'static str,
    /// How to find out which reason it was.
    pub(super) which: &'static str,
    /// After a close code: it shows every refused handshake too.
    pub(super) refused: &'static str,
    /// After a close code that explains a refusal.
    pub(super) explained: &'static str,
    /// After a status: the application may have sent it.
    pub(super) application: &'static str,
    /// A record of a request without a reason.
    pub(super) unexplained: &'static str,
    /// A record about the proxy itself.
    pub(super) of_the_proxy: &'static str,
    /// The beginning of the reference.
    pub(super) introduction: &'static str,
    /// The beginning of its last section.
    pub(super) notes: &'static str,
    /// The width of a name and its padding, in columns.
    column: usize,
}

impl Words {
    /// The spaces between a name with its colon and its value. A Chinese character takes two columns.
    pub(super) fn padding(&self, name: &str) -> String {
        let wide: usize = name.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
        " ".repeat(self.column.saturating_sub(wide))
    }
}

const ENGLISH: Words = Words {
    stage: "stage",
    by: "by",
    level: "level",
    status: "status",
    cause: "cause",
    client_sees: "client sees",
    fix: "what to do",
    colon: ":",
    colon_inline: ": ",
    full_stop: ".",
    anywhere: "the stage that the connection had reached",
    either: "client or upstream",
    no_status: "none",
    status_varies: "varies",
    is_a_note: " is a note: it did not end anything.",
    is_a_finding: " is a finding of wsgate diagnose.",
    is_a_trouble: " (a problem that the admin page names)",
    same_reason: "reason",
    meaning: "meaning: ",
    reasons: "Reasons for which a client sees it:",
    no_reason: "No reason of wsgate shows it to a client.",
    which: "To see which it was: wsgate find --client ADDRESS --since 10m records; without wsgate in the path: wsgate diagnose URL",
    refused: "Every handshake that is refused or fails shows 1006 too. Of a tunnel that was open:",
    explained: "A route with `explain_refusals` also sends it, with the reason's code as its text, to say why a handshake was refused.",
    application: "The upstream can answer a plain request with any status; such a record has the event `request` and no reason.",
    unexplained: "This record has no reason: nothing failed.",
    of_the_proxy: "This record is about the proxy itself; docs/records.md says what its event means.",
    introduction: "# Reasons\n\n\
         Every refused handshake and every ended tunnel has one of these codes in the field `reason` of its record.\n\
         `stage` says how far the connection got, and `by` says who caused the end. `status` is the HTTP status that the\n\
         client received, if any. The meaning of a code never changes.\n\n\
         `wsgate explain --markdown` generates this page; `wsgate explain CODE` prints one entry.\n",
    notes: "\n## Notes\n\nThe `notes` of a record report what is worth knowing but did not end anything.\n\n",
    column: 12,
};

const CHINESE: Words = Words {
    stage: "阶段",
    by: "由谁引起",
    level: "级别",
    status: "状态码",
    cause: "原因",
    client_sees: "客户端所见",
    fix: "处理办法",
    colon: "：",
    colon_inline: "：",
    full_stop: "。",
    anywhere: "连接当时所处的阶段",
    either: "client 或 upstream（客户端或上游，视情况而定）",
    no_status: "无",
    status_varies: "视情况而定",
    is_a_note: " 是一条备注（note）：它没有导致任何连接结束。",
    is_a_finding: " 是 wsgate diagnose 的一个结论。",
    is_a_trouble: "（admin 页面所说的问题）",
    same_reason: "原因码",
    meaning: "含义：",
    reasons: "会让客户端看到它的原因：",
    no_reason: "wsgate 没有任何原因会让客户端看到它。",
    which: "要知道是哪一个：wsgate find --client 地址 --since 10m records；路径中没有 wsgate 时：wsgate diagnose URL",
    refused: "每一次被拒绝或失败的握手，客户端看到的也是 1006。对于已经打开的隧道：",
    explained: "设置了 `explain_refusals` 的路由也会发送它，并以原因码作为文本，说明握手为什么被拒绝。",
    application: "对普通请求，上游可以返回任何状态码；这样的记录 event 为 `request`，没有 reason。",
    unexplained: "这条记录没有原因：没有任何失败。",
    of_the_proxy: "这条记录是关于代理自身的；docs/records.md 说明了它的 event。",
    introduction: "# 原因码\n\n\
         每一次被拒绝的握手、每一条结束的隧道，记录的 `reason` 字段都是下列原因码之一。\n\
         `stage` 表示连接到了哪个阶段，`by` 表示由谁造成，`status` 是返回给客户端的 HTTP 状态码（如果有）。\n\
         原因码一经发布，含义不再改变。记录里的 `hint` 是英文，一般与这里的「处理办法」内容相同；如果记录里的提示针对具体情况另有说明，以记录里的为准。\n\n\
         本页由 `wsgate explain --markdown --lang zh` 生成；`wsgate explain CODE --lang zh` 打印其中一条。\n",
    notes: "\n## 备注\n\n记录的 `notes` 写明值得注意、但没有导致连接结束的情况。\n\n",
    column: 12,
};

impl Language {
    pub(super) const fn words(self) -> &'static Words {
        match self {
            Self::En => &ENGLISH,
            Self::Zh => &CHINESE,
        }
    }

    pub(super) fn client_sees(self, reason: Reason) -> String {
        match self {
            Self::En => reason.client_sees(),
            Self::Zh => zh::client_sees(reason),
        }
    }

    pub(super) const fn meaning(self, note: NoteCode) -> &'static str {
        match self {
            Self::En => note.meaning(),
            Self::Zh => zh::meaning(note),
        }
    }

    /// The name in records; in Chinese followed by its meaning.
    pub(super) fn stage(self, stage: Stage) -> String {
        match self {
            Self::En => stage.name().to_owned(),
            Self::Zh => format!("{}（{}）", stage.name(), zh::stage(stage)),
        }
    }

    /// The name in records; in Chinese followed by its meaning.
    pub(super) fn by(self, by: By) -> String {
        match self {
            Self::En => by.name().to_owned(),
            Self::Zh => format!("{}（{}）", by.name(), zh::by(by)),
        }
    }
}
