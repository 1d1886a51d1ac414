//! The two sides of a tunnel.

use crate::reason::By;

/// A side of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Upstream,
}

impl Side {
    pub fn by(self) -> By {
        match self {
            Self::Client => By::Client,
            Self::Upstream => By::Upstream,
        }
    }
}
