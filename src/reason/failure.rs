//! A reason with the facts of one case.

use super::{By, Later, Level, Reason, Status};

/// A [`Reason`] with the facts of one case. Every stage fails with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub reason: Reason,
    /// The facts of this case: the wrong value, the library's message, the first bytes.
    pub detail: Option<String>,
    /// A hint that fits this case better than the reason's general one.
    pub hint: Option<String>,
    /// A search for better words, which runs if the record is written.
    pub later: Option<Later>,
    /// Who caused it, if the reason leaves that to the stage.
    pub by: Option<By>,
    /// The HTTP status, if the reason leaves that to the stage or another answer was given.
    pub status: Option<u16>,
    /// Seconds until a new attempt can succeed, for `Retry-After`, if they are known.
    pub retry_after: Option<u64>,
    /// Whether this case gets no HTTP answer although its reason usually does.
    pub unanswered: bool,
    /// The methods in the answer's Allow field, if it has one (RFC 9110 section 10.2.1).
    pub allow: Option<String>,
    /// The level of its record, if it differs from the reason's.
    pub level: Option<Level>,
}

impl Failure {
    /// A failure with `detail`: the facts of this case, in lowercase words.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::from(reason)
        }
    }

    /// The same with a hint that replaces the reason's general one.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, caused by this party.
    #[must_use]
    pub fn by(mut self, by: By) -> Self {
        self.by = Some(by);
        self
    }

    /// The same with this HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The same with the seconds until a new attempt can succeed.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The same for a client that can't be answered: it has not sent a request, or its connection is lost.
    #[must_use]
    pub fn unanswered(mut self) -> Self {
        self.unanswered = true;
        self
    }

    /// The same with the methods that are allowed.
    #[must_use]
    pub fn allowing(mut self, methods: impl Into<String>) -> Self {
        self.allow = Some(methods.into());
        self
    }

    /// The same with another level for its record.
    #[must_use]
    pub fn at(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// The HTTP status of the refusal, if an HTTP answer is possible.
    #[must_use]
    pub fn http_status(&self) -> Option<u16> {
        if self.unanswered {
            return None;
        }
        match self.reason.spec().status {
            Status::None => None,
            Status::Fixed(status) => Some(self.status.unwrap_or(status)),
            Status::Stage => self.status,
        }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            detail: None,
            hint: None,
            later: None,
            by: None,
            status: None,
            retry_after: None,
            unanswered: false,
            allow: None,
            level: None,
        }
    }
}
