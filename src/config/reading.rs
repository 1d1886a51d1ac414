//! Which file is being read, for whoever waits for it: a network file system may never answer.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// That a file is being read, until it is dropped. The process reads one at a time.
#[derive(Debug)]
pub struct Reading(());

impl Reading {
    /// Before the system is asked for anything about `file`.
    #[must_use]
    pub fn begin(file: &Path) -> Self {
        *lock() = Some(file.to_owned());
        Self(())
    }

    /// The file that the system is asked for.
    #[must_use]
    pub fn file() -> Option<PathBuf> {
        lock().clone()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        *lock() = None;
    }
}

fn lock() -> MutexGuard<'static, Option<PathBuf>> {
    FILE.lock().unwrap_or_else(PoisonError::into_inner)
}
