//! The same application reached in two ways: the hop to blame is where they differ.

use super::report::Report;
use crate::text::Language;

/// Where two ways to the same application part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Both work.
    Nowhere,
    /// Only the direct one works: a hop on the other way is to blame.
    Hop,
    /// Only the direct one fails.
    Direct,
    /// Both fail in the same way: the application is to blame.
    Same,
    /// Both fail, each in its own way.
    Both,
}

impl Comparison {
    /// Compares a report with that of the direct way.
    #[must_use]
    pub fn of(report: &Report, direct: &Report) -> Self {
        match (report.verdict.works(), direct.verdict.works()) {
            (true, true) => Self::Nowhere,
            (false, true) => Self::Hop,
            (true, false) => Self::Direct,
            (false, false) if report.verdict.finding == direct.verdict.finding => Self::Same,
            (false, false) => Self::Both,
        }
    }

    /// Its stable name.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Nowhere => "nowhere",
            Self::Hop => "hop",
            Self::Direct => "direct",
            Self::Same => "same",
            Self::Both => "both",
        }
    }

    /// What it means.
    #[must_use]
    pub const fn words(self, language: Language) -> &'static str {
        match self {
            Self::Nowhere => language.pick("both ways work", "两条路径都正常"),
            Self::Hop => language.pick(
                "only the direct way works: a hop in front of the backend is to blame, at this stage",
                "只有直连正常：问题出在后端前面的某一跳，就在这个阶段",
            ),
            Self::Direct => language.pick(
                "only the direct way fails: the backend may require TLS, another Host, or fields that a hop adds",
                "只有直连失败：后端可能要求 TLS、另一个 Host，或某一跳添加的字段",
            ),
            Self::Same => language.pick(
                "both ways fail alike: the backend itself is to blame",
                "两条路径的失败相同：问题出在后端本身",
            ),
            Self::Both => language.pick(
                "both ways fail, each in its own way: repair the backend first",
                "两条路径都失败，但情况不同：先修复后端",
            ),
        }
    }
}
