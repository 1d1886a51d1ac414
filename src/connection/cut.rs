//! The end of a shutdown's patience, with what ended it.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Cuts what is still open; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    token: CancellationToken,
    cause: Arc<OnceLock<String>>,
}

impl Cut {
    /// Cuts, because of `cause`: words for records. Only the first time counts.
    pub fn cut(&self, cause: String) {
        // Before the token, so that whoever is woken by that finds it.
        let _ = self.cause.set(cause);
        self.token.cancel();
    }

    /// Completes when it has cut.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// What ended the patience.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.cause
            .get()
            .map_or("the shutdown ended", String::as_str)
    }
}
