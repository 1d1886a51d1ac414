//! What the operator is told about a certificate or key file.

use crate::config::Severity;

/// A problem with a certificate or key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// An error keeps the proxy from starting.
    pub severity: Severity,
    /// The key: `cert`, `key` or `ca`.
    pub field: &'static str,
    /// The problem, in words for the operator.
    pub message: String,
}

impl Finding {
    pub(super) fn error(field: &'static str, message: String) -> Self {
        Self {
            severity: Severity::Error,
            field,
            message,
        }
    }

    pub(super) fn warning(field: &'static str, message: String) -> Self {
        Self {
            severity: Severity::Warning,
            field,
            message,
        }
    }
}
