//! What is known of the proxy.

use std::time::Duration;

use super::document::Document;

/// What is known of the proxy.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The last one that came.
    pub document: Option<Box<Document>>,
    /// How long ago it came.
    pub age: Duration,
    pub failure: Option<Failure>,
    /// Whom it is asked of, and how often.
    pub target: String,
    pub every: Duration,
}

/// Why there is no newer document.
#[derive(Debug)]
pub(super) struct Failure {
    pub what: String,
    /// The time of day at which it failed first (UTC).
    pub since: String,
    /// How long it has failed.
    pub lasting: Duration,
}
