//! What the operator is told about a certificate or key file.

use crate::config::Severity;

/// Something found in a certificate or key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Errors keep the proxy from starting.
    pub severity: Severity,
    /// `cert`, `key` or `ca`.
    pub field: &'static str,
    /// What, in words for the operator.
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
