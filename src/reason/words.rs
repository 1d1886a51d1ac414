//! Words about a failure that are searched for only when its record is written.

use std::fmt;
use std::sync::Arc;

use super::Failure;

/// The result of a search; `None` changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// Replaces the failure's detail.
    pub detail: Option<String>,
    /// A hint that fits this case better than the reason's general one.
    pub hint: Option<String>,
}

impl Words {
    /// Only a hint, if one was found.
    #[must_use]
    pub fn hint(hint: Option<String>) -> Self {
        Self { detail: None, hint }
    }
}

/// A search for words about one failure. Only the record may depend on its result: in a flood most records are counted
/// but not written, and then the search does not run.
#[derive(Clone)]
pub struct Later(Arc<dyn Fn() -> Words + Send + Sync>);

impl Later {
    /// Wraps a search, which should be bounded: it runs on the connection's task.
    pub fn new(search: impl Fn() -> Words + Send + Sync + 'static) -> Self {
        Self(Arc::new(search))
    }

    /// Runs the search.
    #[must_use]
    pub fn words(&self) -> Words {
        (self.0)()
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").finish_non_exhaustive()
    }
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Later {}

impl Failure {
    /// The same with a search for more words, which runs if the record is written.
    #[must_use]
    pub fn explained_later(mut self, search: impl Fn() -> Words + Send + Sync + 'static) -> Self {
        self.later = Some(Later::new(search));
        self
    }
}
