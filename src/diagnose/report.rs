//! What a diagnosis found, step by step, and its verdict.

use std::time::Duration;

use serde::Serialize;

use super::device::device_error;
use super::finding::Finding;
use crate::reason::Reason;
use crate::text::Language;
use crate::tls::chain::Described;

/// The version of the JSON form.
pub const SCHEMA: u32 = 1;

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should.
    Ok,
    /// It works, but something is worth knowing.
    Note,
    /// It failed.
    Failed,
}

/// One step of the way.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// `dns`, `tcp`, `tls`, `http`, `upgrade` or `tunnel`.
    pub stage: &'static str,
    /// What was tried, a stable name such as `walk` or `without_origin`.
    pub probe: &'static str,
    /// The address, if one was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How it went.
    pub outcome: Outcome,
    /// What it found, if that is a finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<&'static str>,
    /// The facts, in English and without secrets.
    pub detail: String,
    /// How long it took.
    pub ms: u64,
}

/// The answer to the question.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What it is.
    pub finding: Finding,
    /// The stage at which it happens.
    pub stage: &'static str,
    /// The facts of the case.
    pub detail: String,
    /// Who answered, if an answer named a hop.
    pub answered_by: Option<&'static str>,
    /// The reason that the proxy itself gave in its answer. It is more precise than what the answer shows.
    pub told: Option<Reason>,
}

impl Verdict {
    /// Whether a client can use the WebSocket.
    #[must_use]
    pub fn works(&self) -> bool {
        self.finding == Finding::Works
    }

    /// The reason that a record has for the same thing.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.told.or_else(|| self.finding.reason())
    }

    /// What happened, in one line.
    #[must_use]
    pub fn cause(&self, language: Language) -> &'static str {
        match self.told {
            Some(reason) => reason.cause(language),
            None => self.finding.cause(language),
        }
    }

    /// What to do.
    #[must_use]
    pub fn fix(&self, language: Language) -> &'static str {
        match self.told {
            Some(reason) => reason.fix(language),
            None => self.finding.fix(language),
        }
    }
}

/// A whole diagnosis.
#[derive(Debug)]
pub struct Report {
    /// The URL, without secrets.
    pub url: String,
    /// The steps in their order.
    pub steps: Vec<Step>,
    /// The certificates as they were sent, the server's own first.
    pub certificates: Vec<Described>,
    /// How many connections were opened.
    pub connections: u32,
    /// The verdict.
    pub verdict: Verdict,
}

impl Report {
    /// The JSON form, which docs/diagnose.md describes.
    #[must_use]
    pub fn json(&self, language: Language) -> serde_json::Value {
        let verdict = &self.verdict;
        serde_json::json!({
            "schema": SCHEMA,
            "url": self.url,
            "works": self.verdict.works(),
            "verdict": {
                "finding": verdict.finding.id(),
                "reason": verdict.reason().map(Reason::code),
                "stage": verdict.stage,
                "cause": verdict.cause(language),
                "detail": verdict.detail,
                "fix": verdict.fix(language),
                "answered_by": verdict.answered_by,
                "wechat_shows": device_error(verdict.finding, verdict.stage),
            },
            "steps": self.steps,
            "certificates": self.certificates,
            "connections": self.connections,
        })
    }
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
