//! The file that the process is reading: a network file system may never answer.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Marks a file as being read, until this is dropped. The process reads one file at a time.
#[derive(Debug)]
pub struct AwaitedFile(());

impl AwaitedFile {
    /// To be called before the system is asked for anything about `file`.
    #[must_use]
    pub fn begin(file: &Path) -> Self {
        *lock() = Some(file.to_owned());
        Self(())
    }

    /// The file that is being read now; `None`: none is.
    #[must_use]
    pub fn current() -> Option<PathBuf> {
        lock().clone()
    }
}

impl Drop for AwaitedFile {
    fn drop(&mut self) {
        *lock() = None;
    }
}

fn lock() -> MutexGuard<'static, Option<PathBuf>> {
    FILE.lock().unwrap_or_else(PoisonError::into_inner)
}
